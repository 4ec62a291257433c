"""The command line of tuning: tune, and compare --tuned."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearnext.errors import ConfigError
from nearnext.recommenders.neighbours import VSKNN

pytestmark = pytest.mark.slow

Command = Callable[..., Any]

CLICKS = [
    f"s{session},item-{(session * 3 + click * click) % 11},{1_600_000_000 + session * 600 + click * 10}"
    for session in range(120)
    for click in range(2 + session % 3)
]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "clicks.csv"
    path.write_text("session_id,item_id,timestamp\n" + "\n".join(CLICKS) + "\n", "utf-8")
    return path


def test_tune_writes_options_that_fit_and_compare_read(nearnext: Command, log: Path, tmp_path: Path):
    out = tmp_path / "options.toml"
    done = nearnext("tune", log, "--method", "VSKNN", "--trials", "5", "--out", out, "--json", tmp_path / "t.json")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert len(result["trials"]) == 5
    assert {"tuning", "seed", "command", "duration_seconds", "versions", "machine"} <= result["protocol"].keys()
    assert result["protocol"]["versions"]["optuna"]
    assert result["data"]["fingerprint"]
    options = tomllib.loads(out.read_text("utf-8"))["vsknn"]
    assert options == result["options"]
    assert f"{result['best_figure']:.4f}" in done.out
    assert nearnext("fit", log, "--method", "vsknn", "--config", out, "--out", tmp_path / "m").code == 0
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text("utf-8"))
    assert options.items() <= manifest["params"].items()
    compared = nearnext("compare", log, "--methods", "vsknn", "--config", out, "--json", tmp_path / "c.json")
    assert compared.code == 0, compared.err
    assert options.items() <= json.loads((tmp_path / "c.json").read_text("utf-8"))["methods"][0]["params"].items()


def test_the_same_command_goes_on_where_it_stopped(
    nearnext: Command, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fit, fits = VSKNN.fit, 0

    def stopped(self: VSKNN, sessions: Any) -> VSKNN:
        nonlocal fits
        fits += 1
        if fits == 3:
            raise KeyboardInterrupt
        return fit(self, sessions)

    monkeypatch.setattr(VSKNN, "fit", stopped)
    first = nearnext("tune", log, "--trials", "4")
    assert first.code == 130
    assert "stopped tuning vsknn after 2 of 4 trials, best HitRate+MRR@20 0." in first.err
    assert "run the same command to go on" in first.err
    second = nearnext("tune", log, "--trials", "4", "--json", tmp_path / "t.json")
    assert second.code == 0, second.err
    assert "4 trials in" in second.out
    assert "(2 from earlier runs, 0 pruned, 0 failed)" in second.out
    assert fits == 5


def test_what_cannot_go_on_says_that_it_was_interrupted(
    nearnext: Command, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stopped(*_: Any, **__: Any) -> VSKNN:
        raise KeyboardInterrupt

    monkeypatch.setattr(VSKNN, "fit", stopped)
    done = nearnext("fit", log, "--method", "vsknn", "--out", tmp_path / "m")
    assert (done.code, done.err.split()) == (130, ["interrupted"])
    assert not (tmp_path / "m").exists()


def test_methods_without_options_say_so_in_one_line(nearnext: Command, log: Path):
    done = nearnext("tune", log, "--method", "pop", "--trials", "9")
    assert done.code == 0, done.err
    assert done.out.count("pop: nothing to tune: it has no options") == 1
    assert "[pop]" in done.out


def test_failed_trials_are_shown(nearnext: Command, log: Path, monkeypatch: pytest.MonkeyPatch):
    fit = VSKNN.fit

    def fastidious(self: VSKNN, sessions: Any) -> VSKNN:
        if self.k != 1000:
            raise ConfigError(f"{self.k} neighbours are not [1000]")
        return fit(self, sessions)

    monkeypatch.setattr(VSKNN, "fit", fastidious)
    done = nearnext("tune", log, "--trials", "3")
    assert done.code == 0, done.err
    assert "(0 from earlier runs, 0 pruned, 2 failed)" in done.out
    assert "trial 1 failed: " in done.out
    assert "neighbours are not [1000]" in done.out
    assert "nothing was better than what the search began with" in done.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--trials", "0"], "trials must be a whole number of at least 1, found 0"),
        (["--budget", "0"], "budget must be a finite number above 0, found 0.0"),
        (["--budget", "-5"], "budget must be a finite number above 0"),
        (["--metric", "Luck@20"], "'luck' cannot be tuned; known: HitRate"),
        (["--validation", "1.5"], "validation must be a finite number above 0 and below 1, found 1.5"),
        (["--method", "magic"], "unknown method 'magic'"),
        (["--set", "kk=1"], "vsknn has no option 'kk'"),
        (["--set", "k=many"], "k must be a whole number of at least 1, found 'many'"),
        (["--config", "/no/such/file.toml"], "No such file"),
        (["--out", "/proc/nowhere/o.toml"], "/proc/nowhere"),
        (["--out", "options.yaml"], "expected a file named .toml"),
        (["--out", "clicks.toml"], "clicks.toml is there and is no TOML file"),
        (["--study", "/proc/nowhere"], "cannot write /proc/nowhere"),
        (["--study", "clicks.csv"], "is no study of nearnext"),
        (["--unknown", "guess"], "known: miss, drop"),
        (["--seed", "-1"], "seed"),
        (["--min-length", "4"], "too short to hold out a validation period"),
    ],
)
def test_tuning_that_makes_no_sense_gives_one_line(
    nearnext: Command, log: Path, tmp_path: Path, arguments: list[str], reason: str
):
    (tmp_path / "clicks.toml").write_text("k = \n", "utf-8")
    if "--min-length" in arguments:
        log.write_text("session_id,item_id,timestamp\na,x,1\na,y,2\na,z,3\na,x,4\n", "utf-8")
    done = nearnext("tune", log, "--trials", "2", *arguments)
    assert done.code == 2, done.out
    assert done.err.startswith("error: ")
    assert reason in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--method", "magic"], ["--set", "k=0"], ["--set", "kk=1"]])
def test_options_are_checked_before_the_log_is_read(nearnext: Command, tmp_path: Path, arguments: list[str]):
    (tmp_path / "broken.csv").write_text("no,log\n", "utf-8")
    done = nearnext("tune", tmp_path / "broken.csv", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "magic" in done.err or "vsknn" in done.err


def test_fewer_than_no_threads_are_refused(nearnext: Command, log: Path):
    done = nearnext("tune", log, "--trials", "1", "--threads", "-1")
    assert done.code == 2
    assert "--threads" in done.err


def test_a_study_of_another_log_is_refused(nearnext: Command, log: Path, tmp_path: Path):
    assert nearnext("tune", log, "--trials", "1", "--study", tmp_path / "s.json").code == 0
    log.write_text(log.read_text("utf-8") + "s999,item-1,1700000000\ns999,item-2,1700000001\n", "utf-8")
    done = nearnext("tune", log, "--trials", "1", "--study", tmp_path / "s.json")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is a study of another log" in done.err


def test_a_tuned_comparison_tells_what_each_method_was_given(nearnext: Command, log: Path, tmp_path: Path):
    files = ["--json", tmp_path / "r.json", "--report", tmp_path / "r.html"]
    tuned = ["--tuned", "--trials", "3", "--budget", "2", "--metric", "MRR@5", "--set", "sr.steps=2"]
    done = nearnext("compare", log, "--methods", "pop,sr,vsknn", *tuned, *files)
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "r.json").read_text("utf-8"))
    page = (tmp_path / "r.html").read_text("utf-8")
    pop, sr, vsknn = (method["tuning"] for method in result["methods"])
    assert [each["used"]["trials"] for each in (pop, sr, vsknn)] == [1, 3, 3]
    assert all(each["budget"] == {"trials": 3, "minutes": 2.0} for each in (pop, sr, vsknn))
    assert sr["options"]["steps"] == 2
    assert result["methods"][2]["params"]["k"] == vsknn["options"]["k"]
    for text in ("at most 3 trials and 2 minutes to maximise MRR@5", f"{vsknn['best_figure']:.4f}"):
        assert text in done.out
        assert text in page
    assert f"k: {vsknn['options']['k']}" in page
    assert "nothing to tune: it has no options" in page
    again = nearnext("compare", log, "--methods", "pop,sr,vsknn", *tuned, *files)
    assert again.code == 0, again.err
    repeated = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert [method["tuning"]["used"]["earlier_trials"] for method in repeated["methods"]] == [1, 3, 3]
    assert [method["metrics"] for method in repeated["methods"]] == [method["metrics"] for method in result["methods"]]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--trials", "5"], "--trials says how to tune; add --tuned"),
        (["--trials", "30"], "--trials says how to tune; add --tuned"),
        (["--metric", "HitRate+MRR@20"], "--metric says how to tune; add --tuned"),
        (["--study", "nearnext-tuning"], "--study says how to tune; add --tuned"),
        (["--budget", "5"], "--budget says how to tune; add --tuned"),
        (["--study", "there"], "--study says how to tune; add --tuned"),
        (["--tuned", "--trials", "0"], "trials must be a whole number of at least 1"),
        (["--tuned", "--budget", "0"], "budget must be a finite number above 0"),
        (["--tuned", "--metric", "Gini@5"], "cannot be tuned"),
        (["--tuned", "--study", "clicks.csv"], "name a folder"),
    ],
)
def test_tuned_comparisons_that_make_no_sense_give_one_line(
    nearnext: Command, log: Path, arguments: list[str], reason: str
):
    done = nearnext("compare", log, "--methods", "pop", *arguments)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert reason in done.err

"""The command line on good and bad input: right results, or one line that says what to do and exit status 2."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nearnext.cli import main

pytestmark = pytest.mark.slow

Command = Callable[..., Any]

CLICKS = [
    (f"s{session}", f"item-{(session * 3 + click * click) % 11}", 1_600_000_000 + session * 600 + click * 10)
    for session in range(60)
    for click in range(2 + session % 3)
]


def write(path: Path, rows: list[tuple[Any, ...]], header: str = "session_id,item_id,timestamp") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "clicks.csv", CLICKS)


def test_compare_prints_a_table_and_writes_json_and_page(nearnext: Command, log: Path, tmp_path: Path):
    done = nearnext("compare", log, "--json", tmp_path / "r.json", "--report", tmp_path / "r.html", "--k", "3,5")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert result["protocol"]["k"] == [3, 5]
    assert result["protocol"]["command"].startswith("nearnext --quiet compare")
    assert "HitRate@5" in result["methods"][0]["metrics"]
    for method in result["methods"]:
        value = f"{method['metrics']['MRR@5']['value']:.4f}".removeprefix("0")
        assert value in done.out
    assert done.out.index("at each k") < done.out.index("own lists, not filled")  # right after the filled lists
    assert "leak audit passed" in done.out
    assert "<html" in (tmp_path / "r.html").read_text("utf-8")


def test_compare_takes_options_from_file_and_line(nearnext: Command, log: Path, tmp_path: Path):
    config = tmp_path / "options.toml"
    config.write_text("[vsknn]\nk = 5\nweighting = 'same'\n[sr]\nsteps = 2\n", "utf-8")
    done = nearnext(
        "compare", log, "--methods", "vsknn,sr", "--config", config, "--set", "vsknn.k=6", "--json", tmp_path / "r.json"
    )
    assert done.code == 0, done.err
    first, second = json.loads((tmp_path / "r.json").read_text("utf-8"))["methods"]
    assert (first["params"]["k"], first["params"]["weighting"], second["params"]["steps"]) == (6, "same", 2)


def test_stats_prints_table_1(nearnext: Command, log: Path, tmp_path: Path):
    done = nearnext("stats", log, "--json", tmp_path / "s.json", "--report", tmp_path / "s.html")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "s.json").read_text("utf-8"))
    assert result["table1"]["before"]["sessions"] == 60
    assert result["table1"]["before"]["events"] == len(CLICKS)
    assert sum(result["figure1"]["lengths"]) == pytest.approx(1.0)


def test_a_fitted_model_recommends_and_is_evaluated(nearnext: Command, log: Path, tmp_path: Path):
    model = tmp_path / "model"
    assert nearnext("fit", log, "--method", "sknn", "--set", "SKNN.k=20", "--out", model).code == 0
    done = nearnext("recommend", model, "--session", "item-0,item-3,never", "--k", "3", "--json")
    answer = json.loads(done.out)[0]
    assert len(answer["items"]) == 3
    assert answer["unknown"] == ["never"]
    table = nearnext("recommend", model, "--session", "item-0,item-3,never", "--k", "3")
    assert all(item in table.out for item in answer["items"])
    assert "never" in table.out
    later = write(tmp_path / "later.csv", [(f"t{s}", f"item-{s % 11}", 1_700_000_000 + s) for s in range(4)] * 2)
    done = nearnext("evaluate", model, later, "--k", "2", "--json", tmp_path / "e.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "e.json").read_text("utf-8"))["protocol"]["cases"] == 4


def test_evaluating_on_what_was_learned_is_pointed_out(nearnext: Command, log: Path, tmp_path: Path):
    nearnext("fit", log, "--method", "pop", "--out", tmp_path / "model")
    done = nearnext("evaluate", tmp_path / "model", log)
    assert done.out.startswith("not clean: all 60 test sessions are training sessions")


def test_synth_and_prepare_make_logs_that_can_be_compared(nearnext: Command, tmp_path: Path):
    shop, clean = tmp_path / "shop.csv", tmp_path / "clean.parquet"
    assert nearnext("synth", shop, "--sessions", "300", "--items", "100").code == 0
    assert "reads it or writes it twice" in nearnext("synth", shop, "--item-table", shop).err
    assert nearnext("synth", shop, "--sessions", "300", "--items", "100").code == 0
    own = write(tmp_path / "own.csv", CLICKS)
    kept = own.read_bytes()
    for taken in ([own], [tmp_path / "new.csv", "--item-table", own]):
        assert "own.csv exists and was not written by synth" in nearnext("synth", *taken).err
    assert own.read_bytes() == kept
    assert nearnext("prepare", shop, clean, "--min-support", "2").code == 0
    assert nearnext("compare", clean, "--methods", "pop,markov").code == 0


def test_rejected_rows_are_counted_shown_and_written_aside(nearnext: Command, tmp_path: Path):
    rows = [*CLICKS, ("", "item-1", 1_600_000_000), ("s1", "", 1_600_000_000), ("s1", "item-1", "yesterday")]
    log = write(tmp_path / "bad.csv", rows)
    done = nearnext("stats", log, "--rejects", tmp_path / "aside.csv")
    assert done.code == 0
    assert "missing session id" in done.out
    aside = (tmp_path / "aside.csv").read_text("utf-8")
    assert [line for line in range(len(CLICKS) + 2, len(CLICKS) + 5) if f"{line}" in aside] == [182, 183, 184]
    strict = nearnext("stats", log, "--strict")
    assert strict.code == 2
    assert strict.err.count("\n") == 1
    again = nearnext("stats", tmp_path, "--rejects", tmp_path / "aside.csv")  # in the folder of the log
    assert again.code == 0, again.err
    refused = nearnext("evaluate", "model", tmp_path / "aside.csv", "--rejects", tmp_path / "aside.csv")
    assert "reads it or writes it twice" in refused.err
    assert (tmp_path / "aside.csv").read_text("utf-8") == aside


def test_leading_zeros_survive_to_the_recommendation(nearnext: Command, tmp_path: Path):
    log = write(tmp_path / "z.csv", [("a", "007", 1), ("a", "7", 2), ("b", "007", 3), ("b", "7", 4)])
    nearnext("fit", log, "--method", "markov", "--out", tmp_path / "m")
    answer = json.loads(nearnext("recommend", tmp_path / "m", "--session", "007", "--k", "1", "--json").out)[0]
    assert answer["items"] == ["7"]


def test_ids_with_commas_are_quoted_on_the_command_line(nearnext: Command, tmp_path: Path):
    log = tmp_path / "c.csv"
    log.write_text('session_id,item_id,timestamp\na,"x,1",1\na,y,2\nb,"x,1",3\nb,y,4\n', "utf-8")
    nearnext("fit", log, "--method", "markov", "--out", tmp_path / "m")
    answer = json.loads(nearnext("recommend", tmp_path / "m", "--session", '"x,1"', "--k", "1", "--json").out)[0]
    assert (answer["items"], answer["unknown"]) == (["y"], [])


BAD_LOGS: dict[str, bytes] = {
    "empty": b"",
    "header only": b"session_id,item_id,timestamp\n",
    "one session": b"session_id,item_id,timestamp\na,x,1\na,y,2\n",
    "one click each": b"session_id,item_id,timestamp\na,x,1\nb,y,2\nc,x,3\n",
    "no item column": b"session_id,thing,timestamp\na,x,1\n",
    "no times": b"session_id,item_id,timestamp\na,x,soon\na,y,later\n",
    "garbage": bytes(range(256)) * 50,
    "json that is none": b"{not json\n{neither\n",
}


@pytest.mark.parametrize("name", list(BAD_LOGS))
@pytest.mark.parametrize("command", ["compare", "fit"])
def test_logs_that_cannot_be_used_give_one_line(nearnext: Command, tmp_path: Path, name: str, command: str):
    path = tmp_path / "log.csv"
    path.write_bytes(BAD_LOGS[name])
    done = nearnext(command, path, *(["--out", tmp_path / "m"] if command == "fit" else []))
    if (name, command) == ("one session", "fit"):
        assert done.code == 0  # one session is enough to learn from
        return
    assert done.code == 2, (done.out, done.err)
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--methods", "pop,magic"], "unknown method 'magic'; known: metric"),
        (["--split", "random"], "unknown split 'random'; expected last:FRACTION"),
        (["--split", "last:2"], "above 0 and below 1"),
        (["--split", "days:400"], "ask for fewer days"),
        (["--unknown", "guess"], "known: miss, drop"),
        (["--k", "0"], "0"),
        (["--k", "many"], "expected whole numbers"),
        (["--set", "vsknn.kk=1"], "vsknn has no option 'kk'"),
        (["--set", "k=1"], "expected METHOD.OPTION=VALUE"),
        (["--set", "vsknn.k"], "expected NAME=VALUE"),
        (["--set", "vsknn.k=-4"], "vsknn: k must be a whole number of at least 1, found '-4'"),
        (["--column", "item=sku"], "sku"),
        (["--column", "thing=item_id"], "thing"),
        (["--layout", "excel"], "excel"),
        (["--time-unit", "fortnights"], "fortnights"),
        (["--filter", "some"], "unknown mode 'some'"),
        (["--min-length", "0"], "min_length must be a whole number of at least 1"),
        (["--min-support", "99999"], "no training sessions left"),
        (["--max-length", "-1"], "max_length must be a whole number of at least 0"),
        (["--gap", "-5"], "gap"),
        (["--config", "/no/such/file.toml"], "No such file"),
        (["--test", "/no/such/log.csv"], "/no/such/log.csv"),
        (["--json", "/proc/nowhere/result.json"], "/proc/nowhere"),
    ],
)
def test_options_that_make_no_sense_give_one_line(nearnext: Command, log: Path, arguments: list[str], reason: str):
    done = nearnext("compare", log, *arguments)
    assert done.code == 2, done.out
    assert done.err.startswith("error: ")
    assert reason in done.err
    assert done.err.count("\n") == 1


def test_a_negative_gap_is_refused_where_sessions_are_cut(nearnext: Command, tmp_path: Path):
    log = write(tmp_path / "users.csv", CLICKS, "user_id,item_id,timestamp")
    done = nearnext("stats", log, "--gap", "-5")
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_k_larger_than_the_catalogue_is_answered(nearnext: Command, log: Path):
    assert nearnext("compare", log, "--methods", "pop,sknn", "--k", "500").code == 0


@pytest.mark.parametrize("damage", ["truncate", "alter", "remove", "schema", "not json", "not a model"])
def test_damaged_models_are_refused(nearnext: Command, log: Path, tmp_path: Path, damage: str):
    model = tmp_path / "model"
    nearnext("fit", log, "--method", "sknn", "--out", model)
    state, manifest = model / "state.safetensors", model / "manifest.json"
    content = state.read_bytes()
    if damage == "truncate":
        state.write_bytes(content[:-7])
    elif damage == "alter":
        state.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "remove":
        state.unlink()
    elif damage == "schema":
        manifest.write_text(manifest.read_text("utf-8").replace('"schema": 1', '"schema": 99'), "utf-8")
    elif damage == "not json":
        manifest.write_text("{", "utf-8")
    else:
        model = tmp_path
    done = nearnext("recommend", model, "--session", "item-1")
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_fit_never_overwrites_what_is_no_model(nearnext: Command, log: Path, tmp_path: Path):
    keep = tmp_path / "photos"
    keep.mkdir()
    (keep / "cat.jpg").write_bytes(b"cat")
    done = nearnext("fit", log, "--out", keep)
    assert done.code == 2
    assert (keep / "cat.jpg").read_bytes() == b"cat"


def test_fitting_again_replaces_the_model(nearnext: Command, log: Path, tmp_path: Path):
    for method in ("pop", "markov"):
        assert nearnext("fit", log, "--method", method, "--out", tmp_path / "m").code == 0
    assert json.loads((tmp_path / "m" / "manifest.json").read_text("utf-8"))["method"] == "markov-1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.csv", "m"]


def test_the_installed_program_answers(log: Path):
    program = [sys.executable, "-c", "from nearnext.cli import main; main()", "stats", str(log)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "sessions" in done.stdout


def test_wrong_extensions_are_read_by_content(nearnext: Command, tmp_path: Path):
    frame = pl.DataFrame(CLICKS, schema=["session_id", "item_id", "timestamp"], orient="row")
    frame.write_parquet(tmp_path / "really-parquet.csv")
    assert nearnext("stats", tmp_path / "really-parquet.csv").code == 0


@pytest.mark.parametrize(
    ("words", "progress"),
    [("-q stats LOG", False), ("stats LOG -q", False), ("stats --quiet LOG", False), ("stats LOG", True)],
)
def test_quiet_counts_before_and_after_the_command(
    log: Path, monkeypatch: pytest.MonkeyPatch, words: str, progress: bool
):
    shown: list[bool] = []
    monkeypatch.setattr("nearnext.cli.app.show_progress", shown.append)
    monkeypatch.setattr(sys, "argv", ["nearnext", *words.replace("LOG", str(log)).split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, shown) == (0, [progress])


def test_the_cut_of_sessions_is_named_where_the_log_has_none(nearnext: Command, log: Path, tmp_path: Path):
    rows = [(f"u{number}", item, time) for number, (_, item, time) in enumerate(CLICKS)]
    users = write(tmp_path / "users.csv", rows, "user_id,item_id,timestamp")
    said = "end after 20 minutes without a click (--gap)"
    assert said in nearnext("stats", users, "--gap", "20", "--min-length", "1").out
    assert said not in nearnext("stats", log, "--gap", "20").out


def test_notes_of_event_types_are_printed_once(nearnext: Command, tmp_path: Path):
    rows = [(*row, kind) for row in CLICKS for kind in ("view", "buy")]
    log = write(tmp_path / "typed.csv", rows, "session_id,item_id,timestamp,event_type")
    done = nearnext("compare", log, "--methods", "pop,sr")
    assert done.code == 0, done.err
    assert done.out.count("repeat the click before them under another event type") == 1

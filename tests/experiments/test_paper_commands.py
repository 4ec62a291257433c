"""``nearnext paper`` on good and bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Command = Callable[..., Any]
COMPARED = ("table2", "coverage")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [
        f"s{session},item-{(session * 3 + click * click) % 31},{1_600_000_000 + session * 600 + click * 10}"
        for session in range(120)
        for click in range(2 + session % 4)
    ]
    path = tmp_path / "clicks.csv"
    path.write_text("\n".join(["session_id,item_id,timestamp", *rows]) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("command", ["table1", "fig1"])
def test_what_describes_a_log_is_printed_and_written(nearnext: Command, log: Path, tmp_path: Path, command: str):
    done = nearnext("paper", command, log, "--json", tmp_path / "r.json", "--report", tmp_path / "r.html")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert result["table1"]["before"]["sessions"] == 120
    assert result["paper"]["log"] == "clicks.csv"
    assert "clicks.csv" in done.out
    assert "<html" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("command", COMPARED)
def test_what_compares_methods_is_printed_and_written(nearnext: Command, log: Path, tmp_path: Path, command: str):
    done = nearnext(
        *("paper", command, log, "--methods", "POP,sknn", "--replicates", "50", "--min-support", "1"),
        *("--json", tmp_path / "r.json", "--report", tmp_path / "r.html"),
    )
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert {method["label"] for method in result["methods"]} == {"POP", "SKNN"}
    assert result["protocol"]["filter"] == {"min_length": 2, "min_support": 1, "mode": "paper", "max_length": 1000}
    assert result["protocol"]["command"].startswith("nearnext --quiet paper")
    assert "As the paper prints it" in done.out
    assert "leak audit passed" in done.out
    assert "<html" in (tmp_path / "r.html").read_text("utf-8")


def test_the_papers_filter_is_the_default(nearnext: Command, log: Path, tmp_path: Path):
    done = nearnext("paper", "table2", log, "--methods", "pop", "--replicates", "20", "--json", tmp_path / "r.json")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert result["protocol"]["filter"]["min_support"] == 5
    assert result["data"]["train"]["sessions"] + result["data"]["test"]["sessions"] <= 120
    assert result["data"]["raw_train_sessions"] == 108


def test_finished_rows_are_taken_from_the_work_folder(nearnext: Command, log: Path, tmp_path: Path):
    arguments = ("paper", "table2", log, "--methods", "pop,sknn", "--replicates", "20", "--work", tmp_path / "runs")
    first = nearnext(*arguments)
    assert "taken from finished runs" not in first.out
    second = nearnext(*arguments)
    assert "taken from finished runs: POP, SKNN" in second.out
    other = nearnext("paper", "coverage", *arguments[2:])
    assert "taken from finished runs: POP, SKNN" in other.out


def test_options_of_a_method_reach_it(nearnext: Command, log: Path, tmp_path: Path):
    config = tmp_path / "options.toml"
    config.write_text("[sknn]\nk = 5\n[vstan]\nk = 9\n", "utf-8")
    arguments = ("--config", config, "--set", "vsknn.k=6", "--replicates", "20", "--json", tmp_path / "r.json")
    done = nearnext("paper", "table2", log, "--methods", "sknn,vsknn", *arguments)
    assert done.code == 0, done.err
    methods = json.loads((tmp_path / "r.json").read_text("utf-8"))["methods"]
    assert {method["name"]: method["params"]["k"] for method in methods} == {"sknn": 5, "vsknn": 6}


def test_a_test_log_of_its_own_is_predicted(nearnext: Command, log: Path, tmp_path: Path):
    later = tmp_path / "later.csv"
    rows = [f"t{s},item-{(s + click) % 31},{1_700_000_000 + s * 60 + click}" for s in range(9) for click in range(3)]
    later.write_text("\n".join(["session_id,item_id,timestamp", *rows]) + "\n", "utf-8")
    arguments = ("--test", later, "--replicates", "20", "--min-support", "1", "--json", tmp_path / "r.json")
    done = nearnext("paper", "table2", log, "--methods", "pop", *arguments)
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert result["protocol"]["cases"] == 18
    assert result["paper"]["log"] == "clicks.csv, tested on later.csv"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["table2", "--methods", "magic"], "unknown method 'magic'"),
        (["table3", "--encoders", "CNN"], "'cnn' is not an encoder of this table; known: RNN, MaxPool"),
        (["table2", "--methods", "pop", "--split", "random"], "unknown split 'random'"),
        (
            ["table2", "--methods", "pop", "--preset", "huge"],
            "unknown preset 'huge'; known: paper, authors",
        ),
        (["table2", "--methods", "pop", "--quick", "--preset", "paper"], "found --preset paper as well; give one"),
        (["table2", "--methods", "pop", "--unknown", "guess"], "known: miss, drop"),
        (["table2", "--methods", "pop", "--set", "pop.k=1"], "pop has no option 'k'"),
        (["table2", "--methods", "pop", "--min-support", "9999"], "no training sessions left"),
        (["table2", "--methods", "pop", "--work", "/proc/nowhere/runs"], "choose another folder"),
        (["coverage", "--methods", "pop", "--report", "/proc/nowhere/r.html"], "/proc/nowhere"),
        (["table1", "--json", "/proc/nowhere/r.json"], "/proc/nowhere"),
        (["table1", "--min-length", "0"], "min_length must be a whole number of at least 1"),
    ],
)
def test_options_that_make_no_sense_give_one_line(nearnext: Command, log: Path, arguments: list[str], reason: str):
    command, *options = arguments
    done = nearnext("paper", command, log, *options)
    assert done.code == 2, done.out
    assert done.err.startswith("error: ")
    assert reason in done.err
    assert done.err.count("\n") == 1

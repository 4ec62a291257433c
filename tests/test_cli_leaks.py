"""The first line of every command names what is wrong with its data; honest data have nothing to say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nearnext.data.imprint import Imprint

Command = Callable[..., Any]

ROWS = [
    (f"v{s}", f"i{(s * 3 + j * j) % 11}", 1_600_000_000 + 400 * s + 20 * j) for s in range(80) for j in range(2 + s % 3)
]
FRAME = pl.DataFrame(ROWS, schema=["session", "item", "time"], orient="row")
CUT = 1_600_000_000 + 400 * 50


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, Path]:
    parts = {
        "all": FRAME,
        "early": FRAME.filter(pl.col("time") < CUT),
        "late": FRAME.filter(pl.col("time") >= CUT),
        "renamed": FRAME.with_columns(("copy-" + pl.col("session")).alias("session")),
    }
    for name, frame in parts.items():
        frame.write_csv(tmp_path / f"{name}.csv")
    return {name: tmp_path / f"{name}.csv" for name in parts}


LEAKS = [
    ("all", "all", "not clean: all 80 test sessions are training sessions"),
    ("all", "renamed", "not clean: all 80 test sessions are training sessions"),
    ("all", "late", "not clean: all 30 test sessions are training sessions"),
    (
        "late",
        "early",
        "not clean: the test log (2020-09-13 12:26 to 2020-09-13 17:54) is earlier than the training",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("train", "test", "line"), LEAKS)
def test_compare_says_it_first_in_terminal_json_and_page(
    nearnext: Command, logs: dict[str, Path], tmp_path: Path, train: str, test: str, line: str
):
    json_file, page = tmp_path / "r.json", tmp_path / "r.html"
    options = ("--methods", "pop,sr", "--replicates", "99", "--json", json_file, "--report", page)
    done = nearnext("compare", logs[train], "--test", logs[test], *options)
    assert done.code == 0, done.err
    assert done.out.startswith(line)
    assert "leak audit passed" not in done.out
    assert f"leak audit: not clean: the test part against the training part: {line.removeprefix('not clean: ')}" in (
        done.out
    )
    result = json.loads(json_file.read_text("utf-8"))
    assert next(iter(result)) == "warnings"
    assert result["warnings"][0].startswith(line)
    assert (result["leaks"]["clean"], result["audit"]["passed"]) == (False, False)
    assert result["audit"]["verdict"].startswith("not clean: ")
    body = page.read_text("utf-8")
    assert body.index("not clean: ") < body.index("<h1>")


def test_honest_comparisons_are_clean_and_pass(nearnext: Command, logs: dict[str, Path], tmp_path: Path):
    for arguments in (("--test", logs["late"]), ("--split", "last:0.2")):
        log = logs["early" if arguments[0] == "--test" else "all"]
        json_file = tmp_path / "r.json"
        done = nearnext("compare", log, *arguments, "--methods", "pop,sr", "--json", json_file)
        result = json.loads(json_file.read_text("utf-8"))
        assert (result["warnings"], result["leaks"]["verdict"], result["audit"]["verdict"]) == ([], "clean", "passed")
        assert "leak audit passed" in done.out
        assert "not clean" not in done.out


def test_evaluate_knows_what_the_model_was_fitted_on(nearnext: Command, logs: dict[str, Path], tmp_path: Path):
    nearnext("fit", logs["all"], "--method", "sr", "--out", tmp_path / "all")
    nearnext("fit", logs["early"], "--method", "sr", "--out", tmp_path / "early")
    done = nearnext("evaluate", tmp_path / "all", logs["renamed"], "--json", tmp_path / "e.json")
    assert done.out.startswith("not clean: all 80 test sessions are training sessions")
    assert json.loads((tmp_path / "e.json").read_text("utf-8"))["warnings"][0].startswith("not clean: all 80")
    honest = nearnext("evaluate", tmp_path / "early", logs["late"], "--json", tmp_path / "e.json")
    assert "not clean" not in honest.out
    assert "clean: compared by times, ids and clicks" in honest.out
    assert json.loads((tmp_path / "e.json").read_text("utf-8"))["leaks"]["clean"] is True


def test_a_model_without_an_imprint_says_that_it_cannot_be_checked(
    nearnext: Command, logs: dict[str, Path], tmp_path: Path
):
    nearnext("fit", logs["early"], "--method", "sr", "--out", tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text("utf-8"))
    del manifest["sha256"]["training.safetensors"]
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    (tmp_path / "m" / "training.safetensors").unlink()
    done = nearnext("evaluate", tmp_path / "m", logs["late"])
    assert done.out.startswith("leaks are not checked")


@pytest.mark.slow
def test_the_papers_tables_say_it_first(nearnext: Command, logs: dict[str, Path], tmp_path: Path):
    options = ("--methods", "POP", "--min-support", "1", "--replicates", "99", "--report", tmp_path / "t.html")
    done = nearnext("paper", "table2", logs["late"], "--test", logs["early"], *options)
    assert done.code == 0, done.err
    assert done.out.startswith("not clean: the test log")
    page = (tmp_path / "t.html").read_text("utf-8")
    assert page.index("not clean: ") < page.index("<h1>")


def test_an_imprint_holds_no_id(nearnext: Command, logs: dict[str, Path], tmp_path: Path):
    nearnext("fit", logs["early"], "--method", "pop", "--out", tmp_path / "m")
    kept = (tmp_path / "m" / "training.safetensors").read_bytes()
    assert b"v49" not in kept
    assert b"i3" not in kept


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    rows = [row for s, i, t in ROWS for row in ((s, i, t, "view"), (s, i, t + 1, "cart"))]
    path = tmp_path / "shop.csv"
    pl.DataFrame(rows, schema=["session", "item", "time", "event"], orient="row").write_csv(path)
    return path


SAID = "clicks (50.0%) repeat the click before them under another event type (cart, view): they count as one click"


@pytest.mark.slow
def test_event_types_are_named_first_and_merged(nearnext: Command, shop: Path, logs: dict[str, Path], tmp_path: Path):
    json_file, page = tmp_path / "r.json", tmp_path / "r.html"
    for command in (
        ("stats", shop, "--json", json_file, "--report", page),
        ("compare", shop, "--methods", "pop,sr", "--json", json_file, "--report", page),
        ("fit", shop, "--method", "sr", "--out", tmp_path / "m"),
        ("paper", "table1", shop, "--json", json_file),
        ("tune", shop, "--method", "sr", "--trials", "2", "--study", tmp_path / "study", "--json", json_file),
    ):
        done = nearnext(*command)
        assert done.code == 0, done.err
        assert SAID in done.out.splitlines()[0]
        assert "--events cart" in done.out.splitlines()[0]
        if command[0] != "fit":
            assert SAID in json.loads(json_file.read_text("utf-8"))["warnings"][0]
    assert page.read_text("utf-8").index(SAID) < page.read_text("utf-8").index("<h1>")
    once, kept = (
        nearnext("stats", path, *more, "--min-support", "1", "--json", tmp_path / f"{n}.json")
        for n, (path, more) in enumerate([(logs["all"], ()), (shop, ("--keep-repeats",))])
    )
    assert once.code == kept.code == 0
    assert "one click counts several times" in kept.out.splitlines()[0]
    nearnext("stats", shop, "--min-support", "1", "--json", tmp_path / "2.json")
    tables = [json.loads((tmp_path / f"{n}.json").read_text("utf-8"))["table1"]["before"] for n in range(3)]
    assert tables[1]["events"] == 2 * tables[0]["events"]
    assert tables[2] == tables[0]


def test_imprints_of_a_model_and_of_its_log_agree(nearnext: Command, logs: dict[str, Path], tmp_path: Path):
    from nearnext import load_artifact, read_sessions

    nearnext("fit", logs["early"], "--method", "pop", "--out", tmp_path / "m")
    kept = load_artifact(tmp_path / "m").recommender.imprint
    assert kept is not None
    assert kept.contents.tolist() == Imprint.of(read_sessions(logs["early"])).contents.tolist()

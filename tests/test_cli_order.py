"""Options and output paths are checked before anything is read: the log and the model named here do not exist."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearnext import Markov, Sessions, save_artifact

Command = Callable[..., Any]

WRONG = (
    ("recommend MODEL --session a --k 0", "k must be a whole number of at least 1, found 0"),
    (
        "recommend MODEL --session a --at-most 0:category",
        "at_most of 'category' must be a whole number of at least 1, found 0",
    ),
    ("recommend MODEL --log LOG --out x.parquet --k 0", "k must be a whole number of at least 1, found 0"),
    ("similar MODEL a --k 0", "k must be a whole number of at least 1, found 0"),
    ("explain MODEL --session a --item b --k 0", "k must be a whole number of at least 1, found 0"),
    ("export MODEL --vectors x.parquet --tolerance -1", "tolerance must be a finite number of at least 0"),
    ("index MODEL --kind ivf", "unknown kind of index 'ivf'; known: auto, exact, approximate"),
    ("index MODEL --recall-floor 95", "recall_floor must be a finite number of at least 0 and at most 1"),
    ("index MODEL --threads 0", "threads must be a whole number of at least 1"),
    ("fit LOG --method pop --out x --remember -1", "remember must be a whole number of at least 0"),
    ("evaluate MODEL LOG --k 0", "k must be a whole number of at least 1"),
    ("evaluate MODEL LOG --k ''", "expected list lengths k of at least 1, found none"),
    ("evaluate MODEL LOG --unknown skip", "unknown rule for unknown items 'skip'; known: miss, drop"),
    ("evaluate MODEL LOG --max-length -1", "max_length must be a whole number of at least 0"),
    ("compare LOG --split last:2", "the number of split 'last:2' must be a finite number above 0 and below 1"),
    ("compare LOG --split days:0", "the number of split 'days:0' must be a finite number above 0"),
    ("compare LOG --split windows:nan", "the number of split 'windows:nan' must be a whole number of at least 1"),
    ("compare LOG --split authors:-1", "the number of split 'authors:-1' must be a whole number of at least 0"),
    ("compare LOG --unknown skip", "unknown rule for unknown items 'skip'"),
    ("compare LOG --cold-items 1", "cold_items must be a finite number of at least 0 and below 1"),
    ("tune LOG --seed -1", "seed must be a whole number of at least 0"),
    ("prepare LOG x --partitions -1", "partitions must be a whole number of at least 0"),
    ("replay MODEL LOG --url http://localhost:1 --limit -1", "limit must be a whole number of at least 0"),
    ("replay MODEL LOG --url http://localhost:1 --k 0", "k must be a whole number of at least 1"),
)

WRITES = (
    "recommend MODEL --session a --json {}",
    "recommend MODEL --log LOG --out {}.parquet",
    "similar MODEL a --json {}",
    "export MODEL --vectors {}.parquet",
    "index MODEL --out {}",
    "fit LOG --method pop --out {}",
    "fit LOG --method pop --out x --rejects {}",
    "evaluate MODEL LOG --runs {}",
    "evaluate MODEL LOG --json {}",
    "compare LOG --runs {}",
    "compare LOG --work {}",
    "compare LOG --report {}",
    "compare LOG --tuned --study {}",
    "tune LOG --study {}",
    "tune LOG --out {}",
    "stats LOG --json {}",
    "prepare LOG {}",
    "synth {}.parquet",
    "paper table1 LOG --json {}",
    "serve MODEL --event-log {}",
)


@pytest.mark.parametrize(("line", "error"), WRONG)
def test_a_wrong_option_is_refused_before_anything_is_read(
    nearnext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, error: str
):
    monkeypatch.chdir(tmp_path)
    done = nearnext(*shlex.split(line))
    assert done.code == 2
    assert done.err.startswith(f"error: {error}"), done.err


@pytest.mark.parametrize("where", ["a file", "/proc"])
@pytest.mark.parametrize("line", WRITES)
def test_a_path_that_cannot_be_written_is_refused_before_anything_is_read(
    nearnext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, where: str
):
    monkeypatch.chdir(tmp_path)
    folder = Path(where)
    if where == "a file":
        (folder := tmp_path / "file").write_text("nothing", "utf-8")
    elif not folder.is_dir():
        pytest.skip("needs a file system that makes no files, even for an administrator")
    done = nearnext(*shlex.split(line.format(folder / "out")))
    assert done.code == 2
    assert "LOG" not in done.err
    assert "MODEL" not in done.err
    assert str(folder / "out") in done.err


@pytest.mark.parametrize(
    ("option", "error"),
    [
        (("--exclude", "nope"), "no such items to exclude or allow: nope"),
        (("--where", "price < 50"), "rules need an item table"),
        (("--after", "purchase"), "rules need an item table"),
    ],
)
def test_what_a_model_cannot_be_asked_is_refused_before_the_log_is_read(
    nearnext: Command, tmp_path: Path, option: tuple[str, ...], error: str
):
    model = save_artifact(Markov().fit(Sessions.of([["a", "b"], ["b", "a"]])), tmp_path / "model")
    done = nearnext("recommend", model, "--log", "LOG", "--out", tmp_path / "lists.parquet", *option)
    assert (done.code, done.err.startswith(f"error: {error}")) == (2, True), done.err

"""Options and output paths are checked before anything is read: the log and the model named here do not exist."""

import os
import shlex
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nearnext import Markov, Sessions, load_artifact, read_items, save_artifact
from nearnext.errors import ArtifactError

Command = Callable[..., Any]

WRONG = (
    ("recommend MODEL --session a --k 0", "k must be a whole number of at least 1, found 0"),
    (
        "recommend MODEL --session a --at-most 0:category",
        "at_most of 'category' must be a whole number of at least 1, found 0",
    ),
    ("recommend MODEL --log LOG --out x.parquet --k 0", "k must be a whole number of at least 1, found 0"),
    ("recommend MODEL --session a,,b", "expected item ids as --session, found an empty id in 'a,,b'"),
    ("recommend MODEL --session a --where 'price <'", "condition 'price <': expected a value at character 8"),
    ("recommend MODEL --log LOG --out x.parquet --boost '2:price <<'", "condition 'price <<': expected a value"),
    ("serve MODEL --where 'price <'", "condition 'price <': expected a value at character 8"),
    ("serve MODEL --boost '2:not'", "condition 'not': expected a column at character 4"),
    ("serve MODEL --at-most 0:category", "at_most of 'category' must be a whole number of at least 1, found 0"),
    ("serve MODEL --host 192.0.2.1", "cannot listen on 192.0.2.1:8000: "),
    ("serve MODEL --event-log MODEL/events", "--event-log MODEL/events: it would be removed with MODEL"),
    ("serve MODEL --catalogue MODEL/changes", "--catalogue MODEL/changes: it would be removed with MODEL"),
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
    ("fit LOG --method pop --out x --rejects x/rows.csv", "cannot write x/rows.csv: x is written as a whole"),
    ("prepare LOG x --rejects x/rows.csv", "cannot write x/rows.csv: x is written as a whole"),
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
    "serve MODEL --catalogue {}",
)


@pytest.fixture(autouse=True)
def unchanged_process(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """`serve` takes the logging and SIGHUP of its whole process, which later tests need as they were."""
    monkeypatch.setattr("nearnext.serving.server.log_config", lambda: {"version": 1, "incremental": True})
    hangup = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, hangup)


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


@pytest.mark.parametrize("line", WRITES)
def test_a_path_that_is_not_utf8_is_refused_before_anything_is_read(nearnext: Command, tmp_path: Path, line: str):
    target = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/out")
    done = nearnext(*shlex.split(line.format(target)))
    assert (done.code, done.err.count("its path is not UTF-8")) == (2, 1), done.err


def test_a_model_is_neither_saved_nor_loaded_where_a_path_is_not_utf8(tmp_path: Path):
    model = save_artifact(Markov().fit(Sessions.of([["a", "b"]])), tmp_path / "model")
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(ArtifactError, match=r"cannot write .*: its path is not UTF-8; nothing was replaced"):
        save_artifact(load_artifact(model).recommender, folder)
    with pytest.raises(ArtifactError, match=r"cannot read .*: its path is not UTF-8; rename it"):
        load_artifact(folder)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        (("--exclude", "nope"), "no such items to exclude or allow: nope"),
        (("--where", "price < 50"), "attributes and rules need an item table"),
        (("--after", "purchase"), "attributes and rules need an item table"),
    ],
)
def test_what_a_model_cannot_be_asked_is_refused_before_the_log_is_read(
    nearnext: Command, tmp_path: Path, option: tuple[str, ...], error: str
):
    model = save_artifact(Markov().fit(Sessions.of([["a", "b"], ["b", "a"]])), tmp_path / "model")
    (log := tmp_path / "log.csv").write_text("no columns of a log\n", "utf-8")
    done = nearnext("recommend", model, "--log", log, "--out", tmp_path / "lists.parquet", *option)
    assert (done.code, done.err.startswith(f"error: {error}")) == (2, True), done.err


@pytest.mark.parametrize(
    "line",
    ["recommend MODEL --log LOG --out x.parquet", "evaluate MODEL LOG", "replay MODEL LOG --url http://localhost:1"],
)
def test_a_missing_model_and_a_missing_log_are_refused_before_the_other_is_read(
    nearnext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("no columns of a log\n", "utf-8")
    assert nearnext(*shlex.split(line.replace("LOG", "log.csv"))).err.startswith("error: MODEL holds no nearnext model")
    Path("MODEL").mkdir()
    Path("MODEL/manifest.json").write_text(
        '{"schema": 1, "method": "x", "params": {}, "sha256": {"state.safetensors": "", "vocabulary.parquet": ""}}',
        "utf-8",
    )
    assert nearnext(*shlex.split(line)).err.startswith("error: no log at LOG")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            "serve model --where 'colour = 1'",
            "condition 'colour = 1': expected a column at character 1, found 'colour'",
        ),
        ("serve model --at-most 2:colour", "at most: expected a column, found 'colour'"),
        ("serve model --api-key-file keys", "cannot read the API keys in keys"),
        ("serve model --catalogue log.csv", "{folder}/log.csv is no catalogue of nearnext"),
        ("recommend model --session a --boost '2:colour = 1'", "condition 'colour = 1': expected a column"),
        (
            "recommend model --session a --after buy",
            "this model did not measure which categories sessions leave after buy",
        ),
        (
            "recommend model --log log.csv --out model/x.parquet",
            "cannot write model/x.parquet: it would be removed with",
        ),
        ("evaluate model log.csv --runs model/runs", "cannot write model/runs: it would be removed with the model in"),
    ],
)
def test_what_a_manifest_and_an_item_table_tell_is_refused_before_the_model_is_loaded(
    nearnext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, error: str
):
    monkeypatch.chdir(tmp_path)
    items = read_items(pl.DataFrame({"item_id": ["a", "b"], "price": [1.0, 2.0]}))
    save_artifact(Markov().fit(Sessions.of([["a", "b"], ["b", "a"]]), items=items), "model")
    Path("model/vocabulary.parquet").write_text("no model loads with this", "utf-8")
    Path("log.csv").write_text("no columns of a log, and no catalogue either\n" * 20, "utf-8")
    before = sorted(tmp_path.iterdir())
    done = nearnext(*shlex.split(line))
    said = done.err.splitlines()[-1]
    assert (done.code, said.startswith("error: " + error.format(folder=tmp_path))) == (2, True), done.err
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before] in ([], [tmp_path / "model.catalogue"])

"""Lists for a whole log: those of recommend one by one, written block by block."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nearnext import VSKNN, Markov, Sessions
from nearnext.artifact import save_artifact
from nearnext.errors import DataError
from nearnext.recommenders import batch

pytestmark = pytest.mark.slow

Command = Callable[..., Any]

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])
LATER = Sessions.of([["i3"], ["never", "i1", "i0"], ["never"], *LOG[40:60]])


@pytest.mark.parametrize("options", [{}, {"exclude": ["i3", "i1"], "exclude_seen": True}, {"allow": ["i2", "i5"]}])
def test_lists_are_those_of_recommend(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nearnext.recommenders.ranking.MOST_LISTS", 7)
    vsknn = VSKNN().fit(LOG)
    asked = batch.batch_request(vsknn, 5, threads=2, **options)
    assert batch.write_lists(vsknn, LATER, tmp_path / "lists.parquet", asked) == 23
    rows = pl.read_parquet(tmp_path / "lists.parquet").to_dicts()
    assert [row["session_id"] for row in rows] == LATER.session_ids.to_list()
    for row, clicks in zip(rows, [["i3"], ["never", "i1", "i0"], ["never"], *LOG[40:60]], strict=True):
        alone = vsknn.recommend([clicks], 5, **options)[0]
        assert row["items"] == alone.items
        assert row["scores"] == pytest.approx(alone.scores, rel=1e-5)
        assert (row["own"], row["unknown"]) == (alone.own, len(alone.unknown))
        assert row["sources"] == alone.sources


def test_a_session_for_which_nothing_is_allowed_has_an_empty_list(tmp_path: Path):
    markov = Markov().fit(LOG)
    batch.write_lists(markov, LATER, tmp_path / "lists.parquet", batch.batch_request(markov, allow=[]))
    assert pl.read_parquet(tmp_path / "lists.parquet")["items"].list.len().to_list() == [0] * 23


def test_ids_that_name_no_item_are_said_before_anything_is_written(tmp_path: Path):
    markov = Markov().fit(LOG)
    with pytest.raises(DataError, match="no such items to exclude or allow: nope"):
        batch.batch_request(markov, exclude=["nope"])
    asked = batch.batch_request(markov)
    with pytest.raises(DataError, match="expected items of the model in the log, found none"):
        batch.write_lists(markov, Sessions.of([["x", "y"]]), tmp_path / "lists.parquet", asked)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_lists_of_a_log(nearnext: Command, tmp_path: Path):
    model = save_artifact(Markov().fit(LOG), tmp_path / "model", {})
    LATER.to_frame().drop_nulls().write_parquet(tmp_path / "later.parquet")
    done = nearnext("recommend", model, "--log", tmp_path / "later.parquet", "--out", tmp_path / "l.parquet", "--k", 3)
    assert done.code == 0, done.err
    assert "23 lists of markov-1" in done.out
    frame = pl.read_parquet(tmp_path / "l.parquet")
    assert frame.columns == ["session_id", "items", "scores", "sources", "own", "unknown"]
    assert frame["items"].list.len().to_list() == [3] * 23


def test_lists_replace_neither_the_log_nor_the_model(nearnext: Command, tmp_path: Path):
    model = save_artifact(Markov().fit(LOG), tmp_path / "model", {})
    log, vocabulary = tmp_path / "later.parquet", model / "vocabulary.parquet"
    LATER.to_frame().drop_nulls().write_parquet(log)
    before = log.read_bytes(), vocabulary.read_bytes()
    for out in (log, vocabulary):
        done = nearnext("recommend", model, "--log", log, "--out", out)
        assert (done.code, "reads it or writes it twice" in done.err) == (2, True)
    assert (log.read_bytes(), vocabulary.read_bytes()) == before
    assert "name a file that ends in .parquet" in nearnext("recommend", model, "--log", log, "--out", "lists.csv").err


@pytest.mark.parametrize(
    "arguments",
    [[], ["--out", "l.parquet"], ["--log", "x.csv"], ["--log", "x.csv", "--out", "l.parquet", "--session", "a"]],
)
def test_what_to_recommend_for_is_asked_for(nearnext: Command, tmp_path: Path, arguments: list[str]):
    done = nearnext("recommend", tmp_path, *arguments)
    assert done.code == 2
    assert "--out" in done.err


def test_a_list_longer_than_the_catalogue_costs_no_more(tmp_path: Path):
    markov = Markov().fit(LOG)
    asked, items = 10**12, LOG.n_items
    answer = markov.recommend([["i3"]], asked)[0]
    assert (len(answer.items), answer.shortage) == (items, f"{items} of {asked}: no further item may be recommended")
    batch.write_lists(markov, LATER, tmp_path / "lists.parquet", batch.batch_request(markov, asked))
    assert pl.read_parquet(tmp_path / "lists.parquet")["items"].list.len().to_list() == [items] * 23

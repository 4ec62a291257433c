"""Events to predict: which clicks they mark, that marks stay with their clicks, and what becomes a case."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metric_support import LOG, tiny
from nearnext.data.filters import Filter, apply_filter
from nearnext.data.prefixes import Prefixes
from nearnext.data.prepare import prepare
from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_last
from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.cases import Cases
from nearnext.training.validation import Validation

Command = Callable[..., Any]

ROWS = [
    ("s1", "a", "view"),
    ("s1", "b", "view"),
    ("s1", "b", "purchase"),
    ("s1", "a", "purchase"),
    ("s2", "c", "purchase"),
    ("s2", "c", "view"),
    ("s2", "a", "cart"),
]


def log_of(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    sessions, items, events = zip(*rows, strict=True)
    return pl.DataFrame(
        {"session_id": sessions, "item_id": items, "event": events, "timestamp": range(100, 100 + len(rows))}
    )


def marked(sessions: Sessions) -> list[tuple[str, bool]]:
    return list(zip(map(str, sessions.vocabulary.decode(sessions.items)), sessions.predicted.tolist(), strict=True))


def test_a_run_on_one_item_is_to_be_predicted_if_one_of_its_events_is():
    sessions = read_sessions(log_of(ROWS), target=["purchase"])
    assert marked(sessions) == [("a", False), ("b", True), ("a", True), ("c", True), ("a", False)]
    every = read_sessions(log_of(ROWS), target=["purchase"], collapse_repeats=False)
    assert every.predicted.tolist() == [kind == "purchase" for _, _, kind in ROWS]
    assert read_sessions(log_of(ROWS)).targets is None


def test_marks_stay_with_their_clicks():
    n = 40
    clicks = [[f"i{(7 * s + j * j) % 9}" for j in range(1 + s % 4)] for s in range(n)]
    sessions = Sessions.of(clicks)
    sessions = replace(sessions, targets=sessions.times // 1_000_000 % 3 == 0)

    def check(found: Sessions) -> None:
        assert found.targets is not None
        np.testing.assert_array_equal(found.targets, found.times // 1_000_000 % 3 == 0)

    check(sessions.select(np.arange(n)[::-2]))
    check(sessions.select(np.arange(5, 20)))
    check(sessions.keep_events(sessions.items != 2))
    check(sessions.with_vocabulary(sessions.vocabulary).reindexed())
    check(apply_filter(sessions, Filter(min_length=2, min_support=9, max_length=2))[0])
    both = sessions.followed_by(replace(sessions, targets=None))
    assert both.predicted[: sessions.n_events].tolist() == sessions.predicted.tolist()
    assert both.predicted[sessions.n_events :].all()
    assert sessions.fingerprint() != replace(sessions, targets=None).fingerprint()


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_prepared_log_keeps_them(tmp_path: Path, partitions: int):
    rows = [(f"s{s}", f"i{(s + j) % 7}", ("view", "purchase")[(s + j) % 3 == 0]) for s in range(30) for j in range(3)]
    prepare(log_of(rows), tmp_path / "log", target=["purchase"], partitions=partitions)
    found, expected = read_sessions(tmp_path / "log"), read_sessions(log_of(rows), target=["purchase"])
    assert found.targets is not None
    assert found.fingerprint() == expected.fingerprint()
    prepare(log_of(rows), tmp_path / "log", partitions=partitions)
    assert read_sessions(tmp_path / "log").targets is None
    with pytest.raises(ConfigError, match="a Parquet file keeps no event types"):
        prepare(log_of(rows), tmp_path / "log.parquet", target=["purchase"])


def test_cases_end_before_what_is_to_be_predicted_and_count_it_alone():
    rng = np.random.default_rng(7)
    clicks = [rng.integers(0, 5, rng.integers(1, 9)).tolist() for _ in range(30)]
    sessions = Sessions.of(clicks)
    sessions = replace(sessions, targets=rng.random(sessions.n_events) < 0.4)
    items, targets = sessions.items, sessions.predicted
    cases, row = Cases.of(sessions), 0
    for session, (begin, end) in enumerate(zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)):
        for at in range(begin + 1, end):
            if targets[at]:
                later = items[at:end][targets[at:end]]
                assert cases.session[row] == session
                assert (cases.prefixes.starts[row], cases.prefixes.ends[row]) == (begin, at)
                assert cases.targets[row] == items[at]
                assert (cases.remaining[row], cases.distinct[row]) == (len(later), len(set(later.tolist())))
                every = np.arange(1, sessions.n_items + 1, dtype=np.int32)
                assert cases.take([row]).remain(every[np.newaxis])[0].tolist() == [i in later for i in every]
                row += 1
    assert row == len(cases) > 0
    assert len(Prefixes.every(replace(sessions, targets=None))) == sessions.n_events - sessions.n_sessions


def test_nothing_to_predict_is_an_error():
    for target in (["order"], ["purchase", "order"]):
        with pytest.raises(
            DataError, match="no event is of type order, which target names; found types purchase, view, cart"
        ):
            read_sessions(log_of(ROWS), target=target)
    with pytest.raises(DataError, match="no event column"):
        read_sessions(log_of(ROWS).drop("event"), target=["purchase"])
    with pytest.raises(ConfigError, match="purchase not among events"):
        read_sessions(log_of(ROWS), events=["view"], target=["purchase"])
    with pytest.raises(DataError, match="expected a click to predict after another, found none"):
        Cases.of(read_sessions(log_of(ROWS), target=["purchase"]).select([1]))


@pytest.mark.slow
def test_epochs_are_compared_on_what_is_to_be_predicted_if_there_is_any():
    early = replace(LOG, targets=np.arange(LOG.n_events) < LOG.n_events // 2)
    assert "no validation part" in tiny().fit(early).note
    with pytest.raises(DataError, match="expected clicks to predict after others"):
        split_last(early, 0.1)
    some = split_last(replace(LOG, targets=np.arange(LOG.n_events) % 2 == 0), 0.1).test
    assert 0 < len(Validation.of(some).targets) < some.n_events - some.n_sessions


def test_commands_score_what_is_to_be_predicted(nearnext: Command, tmp_path: Path):
    kinds = ("view", "cart", "purchase")
    rows = [(f"s{s}", f"i{(s + j * j) % 7}", kinds[j % 3]) for s in range(60) for j in range(2 + s % 4)]
    log, runs = tmp_path / "log.csv", tmp_path / "runs"
    log_of(rows).write_csv(log)
    done = nearnext("compare", log, "--methods", "sr,pop", "--target", "purchase", "--min-support", 1, "--runs", runs)
    assert done.code == 0, done.err
    n_purchases = sum(kind == "purchase" for session, _, kind in rows if int(session[1:]) >= 54)
    assert len((runs / "qrels.txt").read_text("utf-8").splitlines()) == n_purchases
    assert nearnext("fit", log, "--method", "sr", "--target", "purchase", "--out", tmp_path / "model").code == 0

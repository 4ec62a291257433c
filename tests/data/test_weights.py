"""Weights of events as they are read, and that they stay with their clicks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nearnext.data.filters import Filter, apply_filter
from nearnext.data.prepare import prepare
from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.recommenders.named import make_recommender

Command = Callable[..., Any]
WEIGHTS = {"cart": 3, "purchase": 5}

ROWS = [
    ("s1", "a", "view"),
    ("s1", "b", "view"),
    ("s1", "b", "purchase"),
    ("s1", "a", "purchase"),
    ("s2", "c", "cart"),
    ("s2", "c", "view"),
    ("s2", "a", "view"),
    ("s2", "a", "view"),
]


def log_of(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    sessions, items, events = zip(*rows, strict=True)
    return pl.DataFrame(
        {"session_id": sessions, "item_id": items, "event": events, "timestamp": range(100, 100 + len(rows))}
    )


def weighed(sessions: Sessions) -> list[tuple[str, float]]:
    assert sessions.weights is not None
    return list(zip(map(str, sessions.vocabulary.decode(sessions.items)), sessions.weights.tolist(), strict=True))


def test_a_run_on_one_item_has_the_largest_weight_of_its_events():
    merged = [("a", 1.0), ("b", 5.0), ("a", 5.0), ("c", 3.0), ("a", 1.0)]
    assert weighed(read_sessions(log_of(ROWS), weights=WEIGHTS)) == [*merged, ("a", 1.0)]
    assert weighed(read_sessions(log_of(ROWS), weights=WEIGHTS, collapse_repeats=True)) == merged
    every = read_sessions(log_of(ROWS), weights=WEIGHTS, collapse_repeats=False)
    assert weighed(every) == [(item, float({"view": 1, **WEIGHTS}[kind])) for _, item, kind in ROWS]
    assert read_sessions(log_of(ROWS)).weights is None


def test_a_column_of_weights_counts_row_by_row():
    frame = log_of(ROWS).with_columns(pl.Series("kg", [1.0, 2, 3, 0, 5, 6, 7, 0.5]))
    found = read_sessions(frame, columns={"weight": "kg"})
    assert weighed(found) == [("a", 1), ("b", 3), ("a", 0), ("c", 6), ("a", 7), ("a", 0.5)]
    assert read_sessions(frame.rename({"kg": "weight"})).weights is None  # never guessed from a name


@pytest.mark.parametrize("value", ["-1", "much", "", "nan", "inf"])
def test_a_row_whose_weight_is_no_number_of_at_least_0_is_rejected(value: str, tmp_path: Path):
    log_of(ROWS).with_columns(pl.Series("w", ["1"] * 7 + [value])).write_csv(tmp_path / "log.csv")
    assert read_sessions(tmp_path / "log.csv", columns={"weight": "w"}).n_events == 5
    with pytest.raises(DataError, match=r"weight is no number of 0 to 10\^9 1"):
        read_sessions(tmp_path / "log.csv", columns={"weight": "w"}, strict=True)


def test_the_most_popular_item_has_the_largest_sum_of_weights():
    rows = [("s1", "a", "view"), ("s1", "b", "purchase"), ("s2", "a", "view"), ("s2", "a", "view")]
    assert read_sessions(log_of(rows)).vocabulary.ids.to_list() == ["a", "b"]
    assert read_sessions(log_of(rows), weights={"purchase": 5}).vocabulary.ids.to_list() == ["b", "a"]


def test_weights_stay_with_their_clicks():
    n = 40
    sessions = Sessions.of([[f"i{(7 * s + j * j) % 9}" for j in range(1 + s % 4)] for s in range(n)])
    sessions = replace(sessions, weights=(sessions.times // 1_000_000 % 5).astype(np.float64))

    def check(found: Sessions) -> None:
        np.testing.assert_array_equal(found.weights, found.times // 1_000_000 % 5)

    check(sessions.select(np.arange(n)[::-2]))
    check(sessions.select(np.arange(5, 20)))
    check(sessions.keep_events(sessions.items != 2))
    check(sessions.with_vocabulary(sessions.vocabulary).reindexed())
    check(apply_filter(sessions, Filter(min_length=2, min_support=9, max_length=2))[0])
    both = sessions.followed_by(replace(sessions, weights=None))
    assert both.weights is not None
    assert both.weights.tolist() == [*(sessions.times // 1_000_000 % 5).tolist(), *[1] * sessions.n_events]
    assert sessions.fingerprint() != replace(sessions, weights=None).fingerprint()


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("target", [None, ["purchase"]])
def test_a_prepared_log_keeps_them(tmp_path: Path, partitions: int, target: list[str] | None):
    rows = [(f"s{s}", f"i{(s + j) % 7}", ("view", "purchase")[(s + j) % 3 == 0]) for s in range(30) for j in range(3)]
    chosen: Any = {"weights": {"purchase": 5}, "target": target}
    prepare(log_of(rows), tmp_path / "log", partitions=partitions, **chosen)
    found, expected = read_sessions(tmp_path / "log"), read_sessions(log_of(rows), **chosen)
    assert found.weights is not None
    assert (found.targets is None) == (target is None)
    assert found.vocabulary.ids.to_list() == expected.vocabulary.ids.to_list()
    assert found.fingerprint() == expected.fingerprint()
    with pytest.raises(ConfigError, match="a Parquet file keeps no event types or weights"):
        prepare(log_of(rows), tmp_path / "log.parquet", weights={"purchase": 5})


def test_weights_that_cannot_be_used_are_refused():
    with pytest.raises(DataError, match="no event is of type order, which weights names; found types view"):
        read_sessions(log_of(ROWS), weights={"order": 2})
    with pytest.raises(
        ConfigError, match="expected to read the events to weigh, found cart, purchase not among events"
    ):
        read_sessions(log_of(ROWS), events=["view"], weights={"purchase": 5, "View": 1, "cart": 2})
    with pytest.raises(DataError, match="no event column"):
        read_sessions(log_of(ROWS).drop("event"), weights=WEIGHTS)
    with pytest.raises(ConfigError, match="by event type or in a column, found both"):
        read_sessions(log_of(ROWS), weights=WEIGHTS, columns={"weight": "timestamp"})
    with pytest.raises(ConfigError, match="expected a weight above 0, found only 0 for view"):
        read_sessions(log_of(ROWS), weights={"view": 0})
    for value in (-1, float("nan"), float("inf"), "5", True):
        with pytest.raises(ConfigError, match="weight of cart must be a finite number of at least 0"):
            read_sessions(log_of(ROWS), weights={"cart": value})  # pyright: ignore[reportArgumentType]
    weightless = read_sessions(log_of(ROWS).with_columns(none=0), columns={"weight": "none"})
    with pytest.raises(DataError, match="every click has weight 0, so there is nothing to learn"):
        make_recommender("pop", {}).fit(weightless)
    with pytest.raises(ConfigError, match="expected the weight of each event type"):
        read_sessions(log_of(ROWS), weights=5)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("option", ["--events", "--target", "--weights"])
def test_an_event_option_without_a_value_is_no_missing_option(option: str, nearnext: Command, tmp_path: Path):
    log_of(ROWS).write_csv(tmp_path / "log.csv")
    for empty in ("", "view,"):
        done = nearnext("stats", tmp_path / "log.csv", option, empty)
        assert (done.code, done.err[:7]) == (2, "error: ")


def test_commands_learn_from_weights(nearnext: Command, tmp_path: Path):
    kinds = ("view", "cart", "purchase")
    rows = [(f"s{s}", f"i{(s + j * j) % 7}", kinds[j % 3]) for s in range(60) for j in range(2 + s % 4)]
    log, model = tmp_path / "log.csv", tmp_path / "model"
    log_of(rows).write_csv(log)
    done = nearnext(
        "fit", log, "--method", "pop", "--weights", "cart=3, purchase=0", "--min-support", 1, "--out", model
    )
    assert done.code == 0, done.err
    for given, said in {
        "purchas=5": "no event is of type purchas, which weights names; found types view, cart, purchase",
        "cart": "--weights cart: expected NAME=VALUE",
        "cart=-1": "weight of cart must be a finite number of at least 0, found '-1'",
        "cart=1e10": "and at most 1000000000, found 10000000000.0",
        "cart=nan": "weight of cart must be a finite number of at least 0",
        "cart=1,cart=2": "cart is given twice",
    }.items():
        refused = nearnext("fit", log, "--method", "pop", "--weights", given, "--out", tmp_path / "none")
        assert refused.code == 2
        assert said in " ".join(refused.err.split())

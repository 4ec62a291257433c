"""Splits follow time: nothing of the test part reaches vocabulary, counts or filters."""

from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.data.filters import Filter
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.data.splits import split_at, split_days, split_last, split_parts, split_windows, time_windows
from nearnext.errors import ConfigError, DataError

logs = st.lists(
    st.tuples(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=5), st.integers(0, 50)), min_size=4, max_size=20
)


def log_of(drawn: list[tuple[list[str], int]]) -> Sessions:
    return Sessions.of([clicks for clicks, _ in drawn], starts=[float(start * 1000) for _, start in drawn])


@settings(max_examples=80)
@given(logs, st.floats(0.05, 0.6))
def test_training_never_starts_after_the_test_does(drawn: list[tuple[list[str], int]], fraction: float):
    split = split_last(log_of(drawn), fraction)
    assert split.train.starts.max() <= split.cut_time <= split.test.starts.min()
    assert split.train.n_sessions + split.test.n_sessions == len(drawn)


@settings(max_examples=40)
@given(logs, logs)
def test_later_sessions_change_nothing_that_is_learned(
    drawn: list[tuple[list[str], int]], later: list[tuple[list[str], int]]
):
    log = log_of(drawn)
    n_train = len(drawn) // 2
    grown = log.followed_by(Sessions.of([c for c, _ in later], starts=[1e6 + s for _, s in later]))
    for chosen in (Filter(), Filter(2, 2), Filter(2, 2, "iterated")):
        try:
            before = split_at(log, n_train, chosen=chosen).train.fingerprint()
        except DataError:
            continue
        assert split_at(grown, n_train, chosen=chosen).train.fingerprint() == before


def test_the_last_tenth_is_rounded_up():
    train, test = split_last(Sessions.of([["a", "b"]] * 58), fraction=0.1)
    assert (train.n_sessions, test.n_sessions) == (52, 6)


def test_a_tenth_of_ten_is_one():
    assert split_last(Sessions.of([["a", "b"]] * 10), fraction=0.1).test.n_sessions == 1


def test_equal_starts_are_split_in_the_order_of_the_log():
    log = Sessions.of([["a", "b"], ["c", "d"], ["e", "f"]], starts=[5.0, 5.0, 5.0])
    assert split_at(log, 2).train.session_ids.to_list() == [0, 1]


def test_unknown_items_stay_as_misses_or_leave_with_sessions_too_short():
    train = Sessions.of([["a", "b"], ["b", "a"]])
    test = Sessions.of([["a", "x", "b"], ["x", "a"], ["x", "y"]], starts=[1e5, 2e5, 3e5])
    miss, drop = (split_parts(train, test, unknown=rule) for rule in ("miss", "drop"))
    assert miss.test.items.tolist() == [1, 0, 2, 0, 1, 0, 0]
    assert drop.test.items.tolist() == [1, 2]
    assert (miss.unknown_clicks, drop.unknown_clicks) == (4, 4)
    assert (miss.short_test_sessions, drop.short_test_sessions) == (0, 2)


def test_support_is_counted_in_training_alone():
    train = Sessions.of([["a", "b"], ["a", "b"], ["a", "r"]])
    test = Sessions.of([["r", "a", "b"]] * 9, starts=[1e5 + i for i in range(9)])
    split = split_parts(train, test, chosen=Filter(2, 2))
    assert split.train.vocabulary.ids.to_list() == ["a", "b"]
    assert split.test.items[:3].tolist() == [0, 1, 2]


def test_sessions_that_run_into_the_test_part_are_counted():
    log = Sessions.of([["a", "b"], ["a", "b"], ["b", "a"]], starts=[0.0, 9.5, 10.0])
    assert split_at(log, 2).overlapping_sessions == 1


def test_days_are_counted_back_from_the_last_click():
    log = Sessions.of([["a", "b"]] * 72)
    split = split_days(log, days=1.5)
    assert split.cut_time > int(log.times.max()) - 1.5 * 86_400 * MICROSECONDS
    assert split.test.n_sessions == 36


def test_windows_are_slices_of_equal_duration_without_overlap():
    log = Sessions.of([["a", "b"]] * 40, starts=[float(i * i) for i in range(40)])
    parts = time_windows(log, 4)
    assert sum(part.n_sessions for part in parts) == 40
    assert all(one.starts.max() < other.starts.min() for one, other in pairwise(parts))
    assert [part.n_sessions for part in parts] == [20, 8, 6, 6]


def test_each_window_learns_from_itself_alone():
    log = Sessions.of([[f"w{s // 10}", "b"] for s in range(20)])
    splits = split_windows(log, windows=2, fraction=0.2)
    assert [sorted(split.train.vocabulary.ids.to_list()) for split in splits] == [["b", "w0"], ["b", "w1"]]


def test_validation_is_cut_from_the_end_of_training():
    split = split_last(Sessions.of([[f"i{s}", "b"] for s in range(100)]), 0.1)
    inner = split.validation(0.05)
    assert (inner.train.n_sessions, inner.test.n_sessions) == (85, 5)
    assert inner.test.starts.max() < split.test.starts.min()
    assert inner.train.n_items == 86


@pytest.mark.parametrize(
    ("split", "error", "reason"),
    [
        (lambda: split_last(Sessions.of([["a", "b"]])), DataError, "both need at least one"),
        (lambda: split_last(Sessions.of([["a", "b"]] * 9), 1.0), ConfigError, "above 0 and below 1"),
        (lambda: split_days(Sessions.of([["a", "b"]] * 9), 3), DataError, "ask for fewer days"),
        (lambda: split_days(Sessions.of([["a", "b"]] * 9), 0), ConfigError, "finite number above 0"),
        (lambda: split_windows(Sessions.of([["a", "b"]] * 3), 5), DataError, "fewer than 2 sessions"),
        (lambda: split_windows(Sessions.of([["a", "b"]] * 3), 0), ConfigError, "at least 1"),
        (lambda: split_last(Sessions.of([["a"]] * 9)), DataError, "no training sessions left"),
        (lambda: split_last(Sessions.of([["a", "b"], ["a"]]), 0.5), DataError, "no test sessions of 2 or more"),
        (
            lambda: split_last(Sessions.of([["a", "b"]] * 9), unknown=cast("Any", "maybe")),
            ConfigError,
            "known: miss, drop",
        ),
    ],
)
def test_splits_that_cannot_be_made_say_why(split: object, error: type[Exception], reason: str):
    with pytest.raises(error, match=reason):
        split()  # type: ignore[operator]


def test_times_do_not_have_to_be_distinct():
    log = Sessions.of([["a", "b"]] * 10, starts=[0.0] * 10)
    assert np.unique(log.starts).tolist() == [0]
    assert split_last(log, 0.2).test.n_sessions == 2

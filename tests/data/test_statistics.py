import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.filters import Filter
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.data.statistics import (
    RECURRING_BINS,
    click_share_of_top,
    clicks_per_day,
    describe,
    gini,
    length_distribution,
    recurring_distribution,
    table1,
)
from nearnext.data.vocabulary import Vocabulary

LOGS = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12), min_size=1, max_size=20)


def empty_sessions() -> Sessions:
    return Sessions.of([["a", "b"]]).select(np.array([False]))


def test_every_figure_of_a_small_log() -> None:
    log = Sessions.of([["a", "b", "a", "a"], ["b"], ["c", "b", "a"]], starts=[100, 50, 200])
    found = describe(log)
    assert (found.sessions, found.events, found.items) == (3, 8, 3)
    assert (found.mean_length, found.median_length, found.max_length) == (8 / 3, 3.0, 4)
    assert found.one_click_sessions == 1 / 3
    assert found.recurring_clicks == 2 / 8
    assert found.recurring_sessions == 1 / 3
    assert (found.first_time, found.last_time) == (50 * MICROSECONDS, 202 * MICROSECONDS)
    assert found.top_1_percent == found.top_10_percent == 4 / 8
    # Sorted counts 1, 3, 4: (−2 × 1 + 0 × 3 + 2 × 4) / (3 × 8).
    assert found.gini == pytest.approx(6 / 24)


def test_a_log_without_sessions_has_counts_of_zero_and_undefined_shares() -> None:
    found = describe(empty_sessions())
    assert (found.sessions, found.events, found.items, found.max_length) == (0, 0, 0, 0)
    assert math.isnan(found.mean_length)
    assert math.isnan(found.median_length)
    assert math.isnan(found.recurring_clicks)
    assert math.isnan(found.gini)
    assert found.first_time is None
    assert length_distribution(empty_sessions()).tolist() == []
    assert recurring_distribution(empty_sessions()).tolist() == [0.0] * 11
    assert clicks_per_day(empty_sessions())[1].tolist() == []


def test_items_of_the_vocabulary_without_clicks_are_not_counted() -> None:
    log = Sessions.of([["a", "b"], ["c", "d"]])
    assert describe(log.select(np.array([True, False]))).items == 2


def test_unknown_items_are_clicks_but_never_recurring() -> None:
    log = Sessions.of([["a", "x", "y", "a"]]).with_vocabulary(Vocabulary.of(["a"]))
    found = describe(log)
    assert (found.events, found.items) == (4, 1)
    assert found.recurring_clicks == 1 / 4


def test_the_same_item_in_two_sessions_does_not_recur() -> None:
    assert describe(Sessions.of([["a", "b"], ["a", "b"]])).recurring_clicks == 0.0


def test_table1_describes_both_sides_of_the_paper_filter() -> None:
    log = Sessions.of([["a", "b"], ["b", "a"], ["a", "rare"], ["b"]])
    before, after, taken = table1(log, Filter(min_length=2, min_support=2))
    assert (before.items, before.sessions, before.events) == (3, 4, 7)
    assert (after.items, after.sessions, after.events) == (2, 2, 4)
    assert (taken.short_sessions, taken.rare_clicks) == (2, 1)


def test_lengths_are_shares_of_sessions() -> None:
    assert length_distribution(Sessions.of([["a"] * 3, ["a"], ["b"] * 3, ["c"] * 2])).tolist() == [0, 0.25, 0.25, 0.5]


@pytest.mark.parametrize(
    ("clicks", "expected"),
    [
        (["a", "b", "c"], "0"),
        ([*"abcdefghi", "a"], "(0–10%]"),  # 1 of 10
        ([*"abcdefgh", "a"], "(10–20%]"),  # 1 of 9
        ([*"abcdefg", "a", "b", "c"], "(20–30%]"),  # 3 of 10, which floating point calls 30.000000000000004%
        (["a", "a"], "(40–50%]"),
        (["a"] * 100, "(90–100%]"),
    ],
)
def test_a_session_falls_in_the_class_of_its_recurring_share(clicks: list[str], expected: str) -> None:
    shares = recurring_distribution(Sessions.of([clicks]))
    assert [name for name, share in zip(RECURRING_BINS, shares, strict=True) if share] == [expected]


def test_days_without_clicks_are_counted_as_zero() -> None:
    days, clicks = clicks_per_day(Sessions.of([["a"], ["a", "b"]], starts=[-1.0, 86_400 * 2 - 1]))
    assert days.astype(str).tolist() == ["1969-12-31", "1970-01-01", "1970-01-02", "1970-01-03"]
    assert clicks.tolist() == [1, 0, 1, 1]


def test_gini_of_one_item_among_many_clicked_once_is_near_one() -> None:
    # 99 items with one click and one with 901: (sum over i of (2i − 101) × x_i) / (100 × 1000).
    expected = (sum(2 * i - 101 for i in range(1, 100)) + 99 * 901) / (100 * 1000)
    assert gini(np.array([901] + [1] * 99)) == pytest.approx(expected)


def test_items_without_clicks_do_not_make_a_log_unequal() -> None:
    assert gini(np.array([0, 4, 4, 0])) == 0.0


def test_top_share_counts_the_named_share_of_items() -> None:
    counts = np.array([10] * 10 + [1] * 90)
    assert click_share_of_top(counts, 0.1) == 100 / 190
    assert click_share_of_top(counts, 1.0) == 1.0


@given(LOGS)
def test_figures_agree_with_counting_by_hand(clicks: list[list[str]]) -> None:
    log = Sessions.of(clicks)
    found = describe(log)
    recurring = [len(session) - len(set(session)) for session in clicks]
    assert found.items == len({item for session in clicks for item in session})
    assert found.recurring_clicks == pytest.approx(sum(recurring) / sum(map(len, clicks)))
    assert found.recurring_sessions == pytest.approx(sum(n > 0 for n in recurring) / len(clicks))
    assert length_distribution(log).sum() == pytest.approx(1)
    assert recurring_distribution(log).sum() == pytest.approx(1)
    assert clicks_per_day(log)[1].sum() == found.events
    assert 0 <= found.gini < 1
    assert found.top_1_percent <= found.top_10_percent <= 1


@pytest.mark.real_logs
def test_retailrocket_has_the_published_size() -> None:
    folder = os.environ.get("NEARNEXT_DATA")
    if folder is None:
        pytest.skip("NEARNEXT_DATA does not name the folder of real logs")
    frame = pl.read_parquet(Path(folder) / "retailrocket_tail" / "clicks.parquet")
    starts = np.flatnonzero(np.diff(frame["session_id"].to_numpy(), prepend=-1))
    vocabulary = Vocabulary(frame["item_id"].unique(maintain_order=True))
    log = Sessions(
        items=vocabulary.encode(frame["item_id"]),
        offsets=np.append(starts, frame.height).astype(np.int64),
        times=frame["timestamp"].to_numpy() * MICROSECONDS,
        vocabulary=vocabulary,
        session_ids=frame["session_id"].gather(starts),
    )
    found = describe(log)
    assert (found.sessions, found.events, found.items) == (58_727, 204_602, 31_756)
    assert found.one_click_sessions == 0.0

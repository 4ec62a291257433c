"""Filters: once each as in the paper, iterated to the fixed point, and the cut to the last clicks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.data.filters import Filter, FilterReport, apply_filter, keep_last_clicks
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError

logs = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6), min_size=1, max_size=12)

CHAIN = [["a", "a", "a"], ["a", "b"], ["b", "c"], ["c", "d"]]


def kept(clicks: list[list[str]], chosen: Filter) -> list[list[str]]:
    sessions, _ = apply_filter(Sessions.of(clicks), chosen)
    return [[str(raw) for raw in sessions.raw(s)] for s in range(sessions.n_sessions)]


def test_paper_mode_runs_once():
    # d is rare and goes, [c, d] falls below 2 clicks; now c is rare too, but nothing runs again.
    assert kept(CHAIN, Filter(2, 2)) == [["a", "a", "a"], ["a", "b"], ["b", "c"]]


def test_iterated_mode_runs_until_nothing_changes():
    assert kept(CHAIN, Filter(2, 2, "iterated")) == [["a", "a", "a"]]


def test_the_report_counts_what_was_taken():
    _, report = apply_filter(Sessions.of([["a"], *CHAIN]), Filter(2, 2))
    assert report == FilterReport(short_sessions=2, rare_clicks=1, cut_sessions=0, cut_clicks=0)


def test_long_sessions_keep_their_last_clicks_and_are_counted():
    sessions, report = apply_filter(Sessions.of([list("abcdef"), ["a", "b"]]), Filter(max_length=2))
    assert [sessions.raw(s) for s in (0, 1)] == [["e", "f"], ["a", "b"]]
    assert (report.cut_sessions, report.cut_clicks, report.short_sessions) == (1, 4, 0)


@given(logs, st.integers(1, 5))
def test_no_session_is_lost_for_its_length(clicks: list[list[str]], max_length: int):
    sessions = keep_last_clicks(Sessions.of(clicks), max_length)
    assert [sessions.raw(s) for s in range(sessions.n_sessions)] == [session[-max_length:] for session in clicks]


@settings(max_examples=60)
@given(logs, st.integers(1, 4), st.integers(1, 4))
def test_iterated_filters_reach_a_fixed_point_that_holds_both_bounds(
    clicks: list[list[str]], min_length: int, min_support: int
):
    chosen = Filter(min_length, min_support, "iterated")
    once, _ = apply_filter(Sessions.of(clicks), chosen)
    again, report = apply_filter(once, chosen)
    assert once.fingerprint() == again.fingerprint()
    assert report == FilterReport()
    if once.n_sessions:
        counts = once.item_counts()[1:]
        assert once.lengths.min() >= min_length
        assert counts[counts > 0].min() >= min_support


@given(logs, st.integers(1, 4), st.integers(1, 4))
def test_paper_filter_equals_three_plain_steps(clicks: list[list[str]], min_length: int, min_support: int):
    first = [session for session in clicks if len(session) >= min_length]
    flat = [raw for session in first for raw in session]
    second = [[raw for raw in session if flat.count(raw) >= min_support] for session in first]
    assert kept(clicks, Filter(min_length, min_support)) == [s for s in second if len(s) >= max(min_length, 1)]


@pytest.mark.parametrize("options", [{"min_length": 0}, {"min_support": -1}, {"max_length": 0}, {"mode": "twice"}])
def test_numbers_and_modes_out_of_range_are_refused(options: dict[str, object]):
    with pytest.raises(ConfigError):
        Filter(**options)  # pyright: ignore[reportArgumentType]


def test_filtering_changes_no_input():
    sessions = Sessions.of(CHAIN)
    before = sessions.fingerprint()
    apply_filter(sessions, Filter(2, 2, "iterated", 1))
    assert sessions.fingerprint() == before
    assert not np.shares_memory(keep_last_clicks(sessions, 1).items, sessions.items)

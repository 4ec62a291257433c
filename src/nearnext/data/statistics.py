"""What a log looks like: the paper's Table 1 and Figure 1, clicks per day, and how clicks spread over items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearnext.data.filters import Filter, FilterReport, apply_filter
from nearnext.data.sessions import MICROSECONDS, Sessions, require_sessions
from nearnext.types import BoolArray, FloatArray, Int64Array

RECURRING_BINS = ("0", *(f"({tenth * 10}–{tenth * 10 + 10}%]" for tenth in range(10)))
"""Names of the classes of ``recurring_distribution``: none, then tenths that include their upper end."""

DAY = 86_400 * MICROSECONDS
TENTHS = 10

PAPER = Filter(min_length=2, min_support=5)
"""The filter of the paper: sessions of 2 clicks and more, items of 5 clicks and more. Paper: §5.1."""

NOT_A_NUMBER = float("nan")


@dataclass(frozen=True)
class LogStatistics:
    """Size and shape of a log; what cannot be said of a log without clicks is NaN or None.

    ``events`` are clicks, ``items`` the distinct ones clicked, lengths in clicks. Shares are in [0, 1]: of sessions
    with one click, of clicks on an item already clicked in the session and of sessions that have such a click, of
    clicks on the most clicked 1% and 10% of items (at least one). ``gini``: inequality of clicks over the clicked
    items, 0 (equal) to 1 (one item has all). Times of the first and last click are microseconds since 1970 UTC.

    >>> describe(Sessions.of([["a", "b", "a", "b"], ["c"]])).recurring_clicks
    0.4
    """

    sessions: int
    events: int
    items: int
    mean_length: float
    median_length: float
    max_length: int
    one_click_sessions: float
    recurring_clicks: float
    recurring_sessions: float
    gini: float
    top_1_percent: float
    top_10_percent: float
    first_time: int | None
    last_time: int | None


def describe(sessions: Sessions) -> LogStatistics:
    """The statistics of a log; clicks on items outside the vocabulary count as clicks, never as recurring.

    >>> statistics = describe(Sessions.of([["a", "b", "a"], ["b"]]))
    >>> statistics.items, statistics.mean_length, statistics.one_click_sessions
    (2, 2.0, 0.5)
    """
    require_sessions("sessions", sessions)
    lengths = sessions.lengths
    counts = sessions.item_counts()[1:]
    recurring = _recurring_counts(sessions)
    empty = sessions.n_sessions == 0
    return LogStatistics(
        sessions=sessions.n_sessions,
        events=sessions.n_events,
        items=int(np.count_nonzero(counts)),
        mean_length=_mean(lengths),
        median_length=NOT_A_NUMBER if empty else float(np.median(lengths)),
        max_length=int(lengths.max(initial=0)),
        one_click_sessions=_mean(lengths == 1),
        recurring_clicks=NOT_A_NUMBER if empty else float(recurring.sum() / sessions.n_events),
        recurring_sessions=_mean(recurring > 0),
        gini=gini(counts),
        top_1_percent=click_share_of_top(counts, 0.01),
        top_10_percent=click_share_of_top(counts, 0.1),
        first_time=None if empty else int(sessions.times.min()),
        last_time=None if empty else int(sessions.times.max()),
    )


def table1(sessions: Sessions, chosen: Filter = PAPER) -> tuple[LogStatistics, LogStatistics, FilterReport]:
    """The statistics before and after a filter, and what the filter took. Paper: Table 1.

    By default it is the filter of the paper.

    >>> log = Sessions.of([["a", "b"], ["a", "b"], ["c"]])
    >>> before, after, taken = table1(log, Filter(min_length=2, min_support=2))
    >>> before.sessions, after.sessions, taken.short_sessions
    (3, 2, 1)
    """
    kept, report = apply_filter(sessions, chosen)
    return describe(sessions), describe(kept), report


def length_distribution(sessions: Sessions) -> FloatArray:
    """The share of sessions with 0, 1, 2, ... clicks, up to the longest: [longest + 1]. Paper: Figure 1, left."""
    return np.bincount(sessions.lengths) / max(sessions.n_sessions, 1)


def recurring_distribution(sessions: Sessions) -> FloatArray:
    """The share of sessions in each class of ``RECURRING_BINS`` by recurring clicks: [11]. Paper: Figure 1, right.

    >>> recurring_distribution(Sessions.of([["a", "b", "a", "a"], ["a", "b"]])).tolist()
    [0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    # Whole numbers, so that a share of exactly 30% lands in the class that ends with it.
    classes = -(-TENTHS * _recurring_counts(sessions) // sessions.lengths)
    return np.bincount(classes, minlength=len(RECURRING_BINS)) / max(sessions.n_sessions, 1)


def clicks_per_day(sessions: Sessions) -> tuple[NDArray[np.datetime64], Int64Array]:
    """Every UTC day from the first click to the last, and its clicks, days without any included: [days] and [days]."""
    day = sessions.times // DAY
    first = int(day.min()) if len(day) else 0
    clicks = np.bincount(day - first).astype(np.int64)
    return np.arange(first, first + len(clicks)).astype("datetime64[D]"), clicks


def gini(counts: Int64Array) -> float:
    """The Gini index of clicks over the items that have any, 0 (equal) to 1; NaN without clicks: counts [I]."""
    clicked = np.sort(counts[counts > 0])
    n_items = len(clicked)
    if n_items == 0:
        return NOT_A_NUMBER
    ranks = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((ranks * clicked).sum() / (n_items * clicked.sum()))


def click_share_of_top(counts: Int64Array, share: float) -> float:
    """The share of clicks on the most clicked ``share`` (above 0) of the clicked items, at least one; NaN without."""
    clicked = np.sort(counts[counts > 0])[::-1]
    if len(clicked) == 0:
        return NOT_A_NUMBER
    return float(clicked[: max(1, round(share * len(clicked)))].sum() / clicked.sum())


def _mean(values: Int64Array | BoolArray) -> float:
    return float(values.mean()) if len(values) else NOT_A_NUMBER


def _recurring_counts(sessions: Sessions) -> Int64Array:
    """Clicks of each session on an item clicked earlier in it: [S]."""
    session = sessions.session_of_event()
    recurring = np.ones(sessions.n_events, dtype=np.bool_)
    recurring[np.unique(session * (sessions.n_items + 1) + sessions.items, return_index=True)[1]] = False
    recurring[sessions.items == 0] = False  # unknown items are one index
    return np.bincount(session[recurring], minlength=sessions.n_sessions).astype(np.int64)

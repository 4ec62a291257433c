"""Statistics of the items of a log, for the re-ranker: age, trend, and what sessions do at an item.

Age and trend are in shares of the log's clicks instead of days: they mean the same on a log of hours, on one of years,
and where times only encode order.
"""

from collections.abc import Iterator

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.blocks import in_blocks
from nearnext.data.sessions import Sessions
from nearnext.types import FloatArray, IndexArray, Int64Array, ScoreArray

ITEM_FEATURES = {
    "since last click": "logarithm of the share of the log's clicks after the item's last one",
    "since first click": "logarithm of the share of the log's clicks after the item's first one",
    "latest trend": "logarithm of clicks in the last 1/32 of the log over a quarter of those in the last 1/8",
    "late trend": "logarithm of clicks in the last 1/8 of the log over a quarter of those in the last 1/2",
    "long trend": "logarithm of clicks in the last 1/2 of the log over half of all",
    "revisit rate": "share of the item's clicks in sessions that had clicked it before",
    "first rate": "share of the item's clicks that begin a session",
    "last rate": "share of the item's clicks that end a session",
    "revisit after": "share of clicks right after the item that are on an item that the session had clicked before",
}
"""What is known of an item, the columns of `item_statistics` in their order."""

EXACT = 1 << 24
"""Clicks up to which all are put in order of time; of a larger log so many say how late the others are."""

CLICKS = 5
"""A rate of an item counts as many clicks at the log's rate in addition."""


def item_statistics(sessions: Sessions) -> ScoreArray:
    """The `ITEM_FEATURES` of each item, [I + 1, 9]; index 0 and items without a click have the mean of the others."""
    clicks = sessions.item_counts().astype(np.float64)
    clicked = np.flatnonzero(clicks[1:]) + 1
    result = np.zeros((len(clicks), len(ITEM_FEATURES)), dtype=np.float32)
    if len(clicked):
        result[:, :5] = _ages_and_trends(sessions, clicks)
        result[:, 5:] = _rates(sessions, clicks)
        rest = np.setdiff1d(np.arange(len(clicks)), clicked)
        result[rest] = result[clicked].mean(axis=0, dtype=np.float64)
    return result


def _ages_and_trends(sessions: Sessions, clicks: FloatArray) -> FloatArray:
    """The first five columns: [I + 1, 5]."""
    n, last, first = sessions.n_events, np.ones(len(clicks)), np.zeros(len(clicks))
    within = {share: np.ones(len(clicks)) for share in (1 / 32, 1 / 8, 1 / 2)}
    for items, later in _shares_later(sessions):
        np.minimum.at(last, items, later)
        np.maximum.at(first, items, later)
        for share in within:
            within[share] += np.bincount(items[later < share], minlength=len(clicks))
    ages = [np.log(age + n**-0.5) for age in (last, first)]
    trends = [
        np.log(within[1 / 32] / (within[1 / 8] / 4 + 0.75)),
        np.log(within[1 / 8] / (within[1 / 2] / 4 + 0.75)),
        np.log(within[1 / 2] / (clicks / 2 + 1)),
    ]
    return np.stack([*ages, *trends], axis=1)


def _shares_later(sessions: Sessions) -> Iterator[tuple[IndexArray, FloatArray]]:
    """Items of clicks, and the share of the log's clicks that are not earlier, part by part; of a large log rounded."""
    n, times = sessions.n_events, sessions.times
    if n <= EXACT:
        later = np.empty(n)
        later[np.argsort(times, kind="stable")] = np.arange(n, 0, -1) / n
        yield sessions.items, later
        return
    moments = np.sort(times[:: -(-n // EXACT)])
    for items, block in zip(in_blocks(sessions.items), in_blocks(times), strict=True):
        yield items, np.maximum(1.0 - np.searchsorted(moments, block) / len(moments), 1 / n)


def _rates(sessions: Sessions, clicks: FloatArray) -> FloatArray:
    """The last four columns: [I + 1, 4]."""
    counts = np.zeros((5, len(clicks)))
    _count(sessions.items, sessions.offsets, counts)
    revisits, firsts, lasts, revisits_after, after = counts

    def rate(part: FloatArray, whole: FloatArray) -> FloatArray:
        return (part + CLICKS * part.sum() / max(whole.sum(), 1.0)) / (whole + CLICKS)

    rates = [rate(revisits, clicks), rate(firsts, clicks), rate(lasts, clicks), rate(revisits_after, after)]
    return np.stack(rates, axis=1)


@compiled()
def _count(items: IndexArray, offsets: Int64Array, counts: FloatArray) -> None:
    """Add each item's revisits, first and last clicks of sessions, revisits right after it, clicks right after it."""
    session_of = np.full(counts.shape[1], -1)
    for session in range(len(offsets) - 1):
        begin, end = offsets[session], offsets[session + 1]
        counts[1, items[begin]] += 1
        counts[2, items[end - 1]] += 1
        for click in range(begin, end):
            item = items[click]
            revisit = item > 0 and session_of[item] == session
            session_of[item] = session
            counts[0, item] += revisit
            if click > begin:
                counts[3, items[click - 1]] += revisit
                counts[4, items[click - 1]] += 1

"""Statistics that features are made of: of a session's own clicks, and of the items of a log.

A session that has come back to items comes back again: on RSC15, 61% of the next clicks are revisits where at most half
of 8 to 15 clicks were on different items, and 12% where all were. Age and trend of items are in shares of the log's
clicks instead of days: they mean the same on a log of hours, on one of years, and where times only encode order.
"""

from collections.abc import Iterator

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.blocks import in_blocks
from nearnext.data.sessions import Sessions
from nearnext.types import FloatArray, IndexArray, Int64Array, ScoreArray

SESSION_FEATURES = {
    "distinct share": "different items over clicks",
    "distinct": "logarithm of the number of different items",
    "recent revisits": "share of revisits among the last five clicks",
    "revisit": "whether the last click is a revisit",
    "back and forth": "whether the last click is on the same item as the last but two",
}
"""What is the same for all candidates of a session."""

OWN_FEATURES = {
    "last": "whether it is the last click",
    "last but one": "whether it is the click before",
    "clicks since": "one more than the logarithm of the clicks since it was clicked, its own included",
    "distinct since": "one more than the logarithm of the different items since it was clicked, itself included",
    "loop": "those over all different items: 1 if it was left longest ago",
    "followed last": "logarithm of one more than the times that it followed the last click's item",
    "followed both": "likewise after the last two clicks' items",
    "led to last": "likewise right before the last click's item",
    "count rank": "one over its rank among the session's items by clicks, then recency",
    "share of clicks": "its clicks over all",
    "count over age": "logarithm of its clicks over the clicks since, its own included",
    "share after last": "its share of what followed the last click's item",
}
"""What is 0 for a candidate that the session has not clicked."""


@compiled()
def add_session(
    clicks: IndexArray, group_of: IndexArray, counts: Int64Array, edges: Int64Array, features: ScoreArray
) -> int:
    """Write the session's features to all candidates, [C, 5]; returns the number G of different items.

    An unknown click, index 0, is an item of its own. Of the session's clicks [n], at least one, ``group_of`` receives
    one more than the recency rank of each item, zeros before [I + 1], ``counts`` the clicks of each different item by
    recency [n], ``edges`` the positions of the first and of the last click on each [2, n].
    """
    n, n_distinct = len(clicks), 0
    for click in range(n - 1, -1, -1):
        item = clicks[click]
        group = group_of[item] - 1 if item > 0 else -1
        if group < 0:
            group = n_distinct
            n_distinct += 1
            counts[group] = 0
            edges[1, group] = click
            if item > 0:
                group_of[item] = group + 1
        counts[group] += 1
        edges[0, group] = click
    recent = 0
    for click in range(max(n - 5, 0), n):
        recent += _revisits(clicks, click, group_of, edges)
    features[:, 0] = n_distinct / n
    features[:, 1] = np.log(n_distinct)
    features[:, 2] = recent / min(n, 5)
    features[:, 3] = _revisits(clicks, n - 1, group_of, edges)
    features[:, 4] = 1.0 if n > 2 and clicks[n - 1] > 0 and clicks[n - 1] == clicks[n - 3] else 0.0  # noqa: PLR2004
    return n_distinct


@compiled()
def _revisits(clicks: IndexArray, click: int, group_of: IndexArray, edges: Int64Array) -> int:
    """1 if a click is on an item that was clicked before it, else 0."""
    item = clicks[click]
    return 1 if item > 0 and edges[0, group_of[item] - 1] < click else 0


@compiled()
def add_own(
    clicks: IndexArray,  # of a session, at least one: [n]
    n_distinct: int,  # number G of different items
    position_of: IndexArray,  # one more than each candidate's position, 0 for other items: [I + 1]
    group_of: IndexArray,  # as `add_session` leaves it: [I + 1]
    counts: Int64Array,  # likewise: [n]
    edges: Int64Array,  # likewise: [2, n]
    features: ScoreArray,  # of the candidates, zeros before: [C, 12]
) -> None:
    """Write the features of the candidates that the session has clicked; ``group_of`` is 0 again afterwards."""
    n = len(clicks)
    by_count = np.argsort(-counts[:n_distinct], kind="mergesort")
    for rank in range(n_distinct):
        group = by_count[rank]
        item = clicks[edges[1, group]]
        position = position_of[item] - 1
        if item > 0 and position >= 0:
            feature, since = features[position], np.log(n - edges[1, group])
            feature[0] = 1.0 if item == clicks[n - 1] else 0.0
            feature[1] = 1.0 if n > 1 and item == clicks[n - 2] else 0.0
            feature[2] = since + 1.0
            feature[3] = np.log(group + 1.0) + 1.0
            feature[4] = (group + 1.0) / n_distinct
            feature[8] = 1.0 / (rank + 1.0)
            feature[9] = counts[group] / n
            feature[10] = np.log(counts[group]) - since
    _add_transitions(clicks, position_of, features)
    for group in range(n_distinct):
        group_of[clicks[edges[1, group]]] = 0


@compiled()
def _add_transitions(clicks: IndexArray, position_of: IndexArray, features: ScoreArray) -> None:
    """What came right after and right before earlier clicks on the last click's item."""
    n, last = len(clicks), clicks[-1]
    followed = 0
    if last > 0:
        for click in range(n - 1):
            item, following = clicks[click], clicks[click + 1]
            if item == last:
                followed += 1
                position = position_of[following] - 1
                if following > 0 and position >= 0:
                    features[position, 5] += 1.0
                    if click > 0 and clicks[click - 1] > 0 and clicks[click - 1] == clicks[n - 2]:
                        features[position, 6] += 1.0
            position = position_of[item] - 1
            if following == last and item > 0 and position >= 0:
                features[position, 7] += 1.0
    for position in range(len(features)):
        feature = features[position]
        feature[11] = feature[5] / max(followed, 1)
        for column in range(5, 8):
            feature[column] = np.log1p(feature[column])


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

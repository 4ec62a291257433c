"""Features of a session's own clicks: how much it repeats itself, and where each candidate stands among its items.

A session that has come back to items comes back again: on RSC15, 61% of the next clicks are revisits where at most half
of 8 to 15 clicks were on different items, and 12% where all were.
"""

import numpy as np

from nearnext.compiled import compiled
from nearnext.types import IndexArray, Int64Array, ScoreArray

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

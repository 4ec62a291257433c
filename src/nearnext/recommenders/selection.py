"""Choosing the best of many scored items; of equal scores the smaller index wins, which is the more popular item."""

import numpy as np

from nearnext.compiled import compiled
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

__all__ = ["fill_from_popularity", "keep_best"]


@compiled()
def keep_best(
    candidates: IndexArray, n_candidates: int, scores: FloatArray, items: IndexArray, values: ScoreArray
) -> int:
    """The best candidates in falling order of score, written into ``items`` and ``values``; returns how many.

    Scores are compared as 32-bit floats, so that the order in which a sum was taken cannot decide a tie.

    Args:
        candidates: distinct item indices, of which the first ``n_candidates`` count: [n].
        n_candidates: how many candidates there are.
        scores: score of each item index; only positive ones are kept: [I + 1].
        items: receives item indices: [k].
        values: receives their scores: [k].
        n_candidates: how many of ``candidates`` are in use.

    >>> import numpy as np
    >>> items, values = np.zeros(2, np.int32), np.zeros(2, np.float32)
    >>> scores = np.array([0.0, 0.5, 0.9, 0.5])
    >>> keep_best(np.array([3, 1, 2], np.int32), 3, scores, items, values), items.tolist()
    (2, [2, 1])
    """
    k = len(items)
    n_kept = 0
    for position in range(n_candidates):
        item = candidates[position]
        value = np.float32(scores[item])
        if not value > 0:
            continue
        if n_kept == k:
            if value < values[k - 1] or (value == values[k - 1] and item > items[k - 1]):
                continue
            slot = k - 1
        else:
            slot = n_kept
            n_kept += 1
        while slot > 0 and (values[slot - 1] < value or (values[slot - 1] == value and items[slot - 1] > item)):
            items[slot] = items[slot - 1]
            values[slot] = values[slot - 1]
            slot -= 1
        items[slot] = item
        values[slot] = value
    return n_kept


@compiled()
def fill_from_popularity(
    items: IndexArray,
    own: IndexArray,
    admissible: BoolArray,
    clicks: IndexArray,
    starts: Int64Array,
    ends: Int64Array,
    exclude_seen: bool,
) -> None:
    """Short lists completed in place with the most popular admissible items, which is the order of the index.

    Args:
        items: lists to complete: [B, k].
        own: how many leading entries each list has already: [B].
        admissible: which item indices may be recommended: [I + 1].
        clicks: clicks of all prefixes: [E].
        starts: first click of each prefix: [B].
        ends: one past the last click of each prefix: [B].
        exclude_seen: leave out what the prefix contains.
    """
    n_lists, k = items.shape
    if (own >= k).all():
        return
    taken = np.zeros(len(admissible), dtype=np.int64)
    for row in range(n_lists):
        filled = own[row]
        if filled == k:
            continue
        for position in range(filled):
            taken[items[row, position]] = row + 1
        if exclude_seen:
            for position in range(starts[row], ends[row]):
                taken[clicks[position]] = row + 1
        for item in range(1, len(admissible)):
            if filled == k:
                break
            if admissible[item] and taken[item] != row + 1:
                items[row, filled] = item
                filled += 1

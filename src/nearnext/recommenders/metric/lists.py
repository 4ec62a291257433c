"""Lists from candidates: the most probable ones first, then the nearest other items."""

import numpy as np

from nearnext.compiled import compiled
from nearnext.recommenders.metric.features import Lists
from nearnext.topk import insert
from nearnext.types import IndexArray, Int64Array, ScoreArray

__all__ = ["best_candidates", "followed_by"]


@compiled()
def best_candidates(
    offsets: Int64Array, candidates: IndexArray, values: ScoreArray, items: IndexArray, scores: ScoreArray
) -> IndexArray:
    """Write the k candidates of the highest values of each prefix; returns how many: [B].

    Args:
        offsets: where each prefix's candidates begin, and the end of the last: [B + 1].
        candidates: item indices: [C].
        values: to rank by, at least 0: [C].
        items: receives item indices: [B, k].
        scores: receives their values: [B, k].

    >>> items, scores = np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32)
    >>> values = np.array([0.2, 0.5, 0.2], np.float32)
    >>> best_candidates(np.array([0, 3]), np.array([9, 4, 3], np.int32), values, items, scores).tolist(), items.tolist()
    ([2], [[4, 3]])
    """
    listed = np.zeros(len(offsets) - 1, dtype=np.int32)
    for row in range(len(listed)):
        n = 0
        for position in range(offsets[row], offsets[row + 1]):
            n = insert(np.int64(candidates[position]), values[position], n, items[row], scores[row])
        listed[row] = n
    return listed


def followed_by(near: Lists, own: IndexArray, items: IndexArray, scores: ScoreArray, temperature: float) -> IndexArray:
    """Append the nearest items to lists that hold all candidates; returns the new lengths: [B].

    An item that is farther by one temperature than the farthest candidate has 1 / e of the last candidate's score.

    Args:
        near: the nearest items, scores 1 + cosine: [B, K].
        own: lengths of the lists: [B].
        items: the lists, completed in position: [B, k].
        scores: their scores, above 0: [B, k].
        temperature: of the cosine.

    >>> near = Lists(np.array([[3, 1, 2]], np.int32), np.array([[1.9, 1.5, 1.0]], np.float32))
    >>> items, scores = np.array([[1, 3, 0]], np.int32), np.array([[0.6, 0.4, 0.0]], np.float32)
    >>> own = np.array([2], np.int32)
    >>> followed_by(near, own, items, scores, 0.5).tolist(), items.tolist(), scores.round(3).tolist()
    ([3], [[1, 3, 2]], [[0.6..., 0.4..., 0.146...]])
    """
    filled = own.copy()
    _follow(near.items, near.scores, filled, items, scores, temperature)
    return filled


@compiled()
def _follow(
    near: IndexArray,
    nearness: ScoreArray,
    filled: IndexArray,
    items: IndexArray,
    scores: ScoreArray,
    temperature: float,
) -> None:
    for row in range(len(filled)):
        n = filled[row]
        if n == 0 or n == items.shape[1]:
            continue
        listed, farthest = set(items[row, :n]), nearness[row, 0]
        for position in range(near.shape[1]):
            item = near[row, position]
            if item in listed:
                farthest = nearness[row, position]
        for position in range(near.shape[1]):
            item = near[row, position]
            if item == 0 or filled[row] == items.shape[1]:
                break
            if item not in listed:
                farther = max(np.float64(farthest) - np.float64(nearness[row, position]), 0.0)
                items[row, filled[row]] = item
                scores[row, filled[row]] = scores[row, n - 1] * np.exp(-farther / temperature)
                filled[row] += 1

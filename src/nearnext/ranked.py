"""A ranked list that grows item by item, for compiled searches through the catalogue."""

import numpy as np

from nearnext.compiled import compiled
from nearnext.types import IndexArray, ScoreArray

__all__ = ["insert_ranked"]


@compiled()
def insert_ranked(item: int, score: np.float32, n_listed: int, items: IndexArray, scores: ScoreArray) -> int:
    """One item, of a higher index than all listed ones, put in its place; gives how many are listed then.

    Equal scores stay in the order of the index.

    Args:
        item: item index.
        score: its score, higher is better.
        n_listed: how many places are filled.
        items: the list, best first: [k].
        scores: their scores: [k].

    >>> items, scores = np.array([4, 7], np.int32), np.array([0.5, 0.25], np.float32)
    >>> insert_ranked(9, np.float32(0.5), 2, items, scores), items.tolist()
    (2, [4, 9])
    """
    slot = n_listed
    if n_listed == len(items):
        if score <= scores[n_listed - 1]:
            return n_listed
        slot -= 1
    while slot > 0 and scores[slot - 1] < score:
        items[slot] = items[slot - 1]
        scores[slot] = scores[slot - 1]
        slot -= 1
    items[slot] = item
    scores[slot] = score
    return min(n_listed + 1, len(items))

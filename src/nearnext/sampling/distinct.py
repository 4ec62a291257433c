"""The distinct items of a batch: a step reads each row of a table once."""

import numpy as np

from nearnext.compiled import compiled
from nearnext.types import IndexArray, Int64Array

__all__ = ["DistinctItems"]


class DistinctItems:
    """A function that finds the distinct items of one batch after another, with scratch memory [I + 1] of its own.

    Args:
        n_items: number of items I.

    >>> rows, places = DistinctItems(9)(np.array([7, 3, 7], np.int32))
    >>> rows.tolist(), places.tolist()
    ([7, 3], [0, 1, 0])
    """

    def __init__(self, n_items: int) -> None:
        self._place_of = np.full(n_items + 1, -1, dtype=np.int64)

    def __call__(self, items: IndexArray) -> tuple[Int64Array, Int64Array]:
        """Distinct items by first appearance [U], and the position of each item among them [n]."""
        places = np.empty(len(items), dtype=np.int64)
        rows = np.empty(min(len(items), len(self._place_of)), dtype=np.int64)
        return rows[: _distinct(items, self._place_of, rows, places)], places


@compiled()
def _distinct(items: IndexArray, place_of: Int64Array, rows: Int64Array, places: Int64Array) -> int:
    """How many distinct items there are; ``place_of`` is left as all −1."""
    n_rows = 0
    for position in range(len(items)):
        item = items[position]
        if place_of[item] < 0:
            place_of[item] = n_rows
            rows[n_rows] = item
            n_rows += 1
        places[position] = place_of[item]
    for row in range(n_rows):
        place_of[rows[row]] = -1
    return n_rows

"""The distinct items of a batch: a step reads each row of a table once."""

import numpy as np

from nearnext.compiled import compiled
from nearnext.types import IndexArray, Int64Array

__all__ = ["DistinctItems"]


class DistinctItems:
    """A function that finds the distinct items of one batch after another, with scratch memory [I + 1] of its own.

    Args:
        n_items: number of items I.

    >>> rows, positions = DistinctItems(9)(np.array([7, 3, 7], np.int32))
    >>> rows.tolist(), positions.tolist()
    ([7, 3], [0, 1, 0])
    """

    def __init__(self, n_items: int) -> None:
        self._position_of = np.full(n_items + 1, -1, dtype=np.int64)

    def __call__(self, items: IndexArray) -> tuple[Int64Array, Int64Array]:
        """Distinct items by first appearance [U], and the position of each item among them [n]."""
        positions = np.empty(len(items), dtype=np.int64)
        rows = np.empty(min(len(items), len(self._position_of)), dtype=np.int64)
        return rows[: _distinct(items, self._position_of, rows, positions)], positions


@compiled()
def _distinct(items: IndexArray, position_of: Int64Array, rows: Int64Array, positions: Int64Array) -> int:
    """How many distinct items there are; ``position_of`` is left as all −1."""
    n_rows = 0
    for position in range(len(items)):
        item = items[position]
        if position_of[item] < 0:
            position_of[item] = n_rows
            rows[n_rows] = item
            n_rows += 1
        positions[position] = position_of[item]
    for row in range(n_rows):
        position_of[rows[row]] = -1
    return n_rows

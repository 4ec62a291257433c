"""What one training step reads: examples as positions in the log, their batch, and its distinct items."""

from dataclasses import dataclass

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.sessions import Sessions
from nearnext.types import BoolArray, IndexArray, Int64Array, ScoreArray


@dataclass(frozen=True, eq=False)
class Batch:
    """B training examples as item indices; 0 is padding and always masked.

    Attributes:
        sessions: session that each example is taken from: [B].
        prefixes: what is given, oldest click first, padded at the right; of a longer prefix the last T clicks: [B, T].
        positives: what follows, nearest click first, then what fills up a short list: [B, P].
        positive_mask: False where a short list is padded: [B, P].
        negatives: [B, N], or [N] where the whole batch shares them.
        negative_mask: False where an entry is no negative of that example: [B, N].
        log_proposal: natural logarithm of how often the proposal is expected to draw each negative for an example that
            may have it, as a correction for popularity (logQ) needs; 0 at index 0: [B, N], or [N] where shared.
        weights: of each example in the loss, by its next click; None: all are 1: [B].
    """

    sessions: Int64Array
    prefixes: IndexArray
    positives: IndexArray
    positive_mask: BoolArray
    negatives: IndexArray
    negative_mask: BoolArray
    log_proposal: ScoreArray
    weights: ScoreArray | None = None

    def __len__(self) -> int:
        return len(self.sessions)

    @property
    def shared(self) -> bool:
        """Whether all examples share one list of negatives [N]."""
        return self.negatives.ndim == 1


@dataclass(frozen=True, eq=False)
class Examples:
    """R examples; prefix r is ``items[first[r]:next_click[r]]``, and ``items[next_click[r]:end[r]]`` follows it."""

    sessions: Int64Array  # session of each example: [R]
    first: Int64Array  # first click of that session: [R]
    next_click: Int64Array  # the click that follows the prefix: [R]
    end: Int64Array  # one past the last click of the session: [R]

    @classmethod
    def at(cls, sessions: Sessions, next_click: Int64Array) -> "Examples":
        """The examples whose next clicks are these positions in the array of clicks: [R]."""
        owner = np.searchsorted(sessions.offsets, next_click, side="right") - 1
        return cls(owner, sessions.offsets[owner], next_click, sessions.offsets[owner + 1])

    def __len__(self) -> int:
        return len(self.next_click)

    def slice(self, begin: int, end: int) -> "Examples":
        """Examples begin..end − 1."""
        rows = slice(begin, end)
        return Examples(self.sessions[rows], self.first[rows], self.next_click[rows], self.end[rows])

    def where(self, kept: BoolArray) -> "Examples":
        """The examples that are kept: [R]."""
        return Examples(self.sessions[kept], self.first[kept], self.next_click[kept], self.end[kept])


def clicks_between(items: IndexArray, begin: Int64Array, end: Int64Array, width: int) -> IndexArray:
    """The first ``width`` clicks of each stretch ``items[begin:end]``, padded with 0 at the right: [R, width]."""
    positions = begin[:, None] + np.arange(width)
    return np.where(positions < end[:, None], items[np.minimum(positions, len(items) - 1)], np.int32(0))


class DistinctItems:
    """A function that finds the distinct items of one batch after another, with scratch memory [I + 1] of its own.

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

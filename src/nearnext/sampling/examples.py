"""Training examples as positions in the log: an example is the click that comes next after its prefix."""

from dataclasses import dataclass

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.types import BoolArray, IndexArray, Int64Array

__all__ = ["Examples", "clicks_between"]


@dataclass(frozen=True, eq=False)
class Examples:
    """R examples; prefix r is ``items[first[r]:next_click[r]]``, and ``items[next_click[r]:end[r]]`` follows it.

    Attributes:
        sessions: session of each example: [R].
        first: first click of that session: [R].
        next_click: the click that follows the prefix: [R].
        end: one past the last click of the session: [R].

    >>> examples = Examples.at(Sessions.of([["a", "b"], ["b", "c", "a"]]), np.array([1, 4]))
    >>> examples.sessions.tolist(), examples.first.tolist(), examples.end.tolist()
    ([0, 1], [0, 2], [2, 5])
    """

    sessions: Int64Array
    first: Int64Array
    next_click: Int64Array
    end: Int64Array

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
    """The first ``width`` clicks of each stretch ``items[begin:end]``, padded with 0 at the right: [R, width].

    >>> clicks_between(np.array([5, 6, 7], np.int32), np.array([0, 2]), np.array([2, 3]), width=2).tolist()
    [[5, 6], [7, 0]]
    """
    positions = begin[:, None] + np.arange(width)
    return np.where(positions < end[:, None], items[np.minimum(positions, len(items) - 1)], np.int32(0))

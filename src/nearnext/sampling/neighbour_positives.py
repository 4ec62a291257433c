"""Items that may complete a short list of positives: candidates of each session, prepared before training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nearnext.errors import DataError
from nearnext.types import IndexArray, Int64Array

__all__ = ["NeighbourPositives"]


@dataclass(frozen=True, eq=False)
class NeighbourPositives:
    """Candidate items of each session; those of session s are ``items[offsets[s]:offsets[s + 1]]``.

    Attributes:
        offsets: where the candidates of each session begin, and the end of the last ones: [S + 1].
        items: item indices in 1..I, distinct within a session and none of its own clicks: [n].

    Raises:
        DataError: offsets that do not rise from 0 to the number of items, or an index below 1.

    Paper: §4.5, "prepare more positives before training using KNN method".

    >>> neighbours = NeighbourPositives.of([[3, 4], []])
    >>> neighbours.n_sessions, neighbours.offsets.tolist()
    (2, [0, 2, 2])
    """

    offsets: Int64Array
    items: IndexArray

    def __post_init__(self) -> None:
        rising = len(self.offsets) > 0 and self.offsets[0] == 0 and not np.any(np.diff(self.offsets) < 0)
        if not rising or self.offsets[-1] != len(self.items):
            raise DataError(
                f"expected offsets that rise from 0 to {len(self.items)}, the number of candidates, one more than "
                "sessions; give one list for each session"
            )
        if len(self.items) and self.items.min() < 1:
            raise DataError(f"expected candidates with item indices of at least 1, found {self.items.min()}")

    @classmethod
    def of(cls, candidates: Sequence[Sequence[int]]) -> "NeighbourPositives":
        """Candidates from one list of item indices for each session."""
        offsets = np.cumsum([0, *(len(one) for one in candidates)], dtype=np.int64)
        return cls(offsets, np.array([item for one in candidates for item in one], dtype=np.int32))

    @property
    def n_sessions(self) -> int:
        """Number of sessions S that candidates were prepared for."""
        return len(self.offsets) - 1

    def check(self, n_sessions: int, n_items: int) -> None:
        """A check that the candidates belong to this many sessions and items.

        Raises:
            DataError: they do not.
        """
        highest = int(self.items.max()) if len(self.items) else 0
        if self.n_sessions != n_sessions or highest > n_items:
            raise DataError(
                f"expected neighbour positives of {n_sessions} sessions over {n_items} items, found {self.n_sessions} "
                f"sessions and item index {highest}; prepare them from the sessions to be sampled"
            )

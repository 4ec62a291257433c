"""Positives of an example: the clicks that follow the prefix, and what fills up a short list.

Paper: §4.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.sampling.batch import Examples, clicks_between
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array

Fill = Literal["knn", "repeat", "first", "own", "mask"]
"""What completes a list of fewer than P positives: neighbours' items, the same clicks again, the first of them again,
the session's own last clicks before them, or nothing."""


@dataclass(frozen=True, eq=False)
class NeighbourPositives:
    """Candidate items of each session; those of session s are ``items[offsets[s]:offsets[s + 1]]``.

    Attributes:
        offsets: where the candidates of each session begin, and the end of the last ones: [S + 1].
        items: item indices in 1..I, distinct within a session and none of its own clicks: [n].

    Paper: §4.5, "prepare more positives before training using KNN method".
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
        """Check that the candidates belong to this many sessions and items, or raise `DataError`."""
        highest = int(self.items.max()) if len(self.items) else 0
        if self.n_sessions != n_sessions or highest > n_items:
            raise DataError(
                f"expected neighbour positives of {n_sessions} sessions over {n_items} items, found {self.n_sessions} "
                f"sessions and item index {highest}; prepare them from the sessions to be sampled"
            )


NONE = NeighbourPositives.of([])


@dataclass(frozen=True, eq=False)
class Positives:
    """The rule that gives each example P positives: the first P clicks after the prefix, in temporal order.

    Paper: §4.5.
    """

    sessions: Sessions  # the log
    n_positives: int  # P
    # ``knn``: a short list is completed with distinct candidates of the session, chosen at random, and masked where
    # those do not suffice; ``repeat``: with its own clicks again, in order; ``first``: with the first of them again;
    # ``own``: with the prefix's clicks, the last one first, then as ``first``; ``mask``: not at all
    fill: Fill = "mask"
    neighbours: NeighbourPositives = NONE  # candidates of each session; only ``knn`` has any

    def draw(self, examples: Examples, rng: np.random.Generator) -> tuple[IndexArray, BoolArray]:
        """Positives of the examples, 0 where masked, and their mask: [R, P] each."""
        items, width = self.sessions.items, self.n_positives
        if self.fill in ("repeat", "first", "own"):
            positives = items[self._clicks(examples)]
        else:
            positives = clicks_between(items, examples.next_click, examples.end, width)
        if self.fill == "knn":
            candidates, following = self.neighbours, np.minimum(examples.end - examples.next_click, width)
            uniforms = rng.random(positives.shape)
            _choose(candidates.offsets, candidates.items, examples.sessions, following, uniforms, positives)
        return positives, positives > 0

    def _clicks(self, examples: Examples) -> Int64Array:
        """Positions of the positives in the log, where nothing is masked: [R, P]."""
        step = np.arange(self.n_positives)
        following = (examples.end - examples.next_click)[:, None]
        if self.fill == "repeat":
            return examples.next_click[:, None] + step % np.minimum(following, self.n_positives)
        back = np.where(step < following, step, 0)
        if self.fill == "own":
            own = following - 1 - step  # −1 for the first missing one: the last click of the prefix
            given = (examples.first - examples.next_click)[:, None]
            back = np.where((own < 0) & (own >= given), own, back)
        return examples.next_click[:, None] + back

    def expected_counts(self, chances: FloatArray) -> FloatArray:
        """How often each item is expected among the positives of an epoch: [I + 1]."""
        expected = np.zeros(self.sessions.n_items + 1)
        none = np.zeros(self.sessions.n_sessions + 1, np.int64)
        candidates = self.neighbours.offsets if self.fill == "knn" else none, self.neighbours.items
        clicks = self.sessions.items, self.sessions.offsets
        _expect(*clicks, chances, self.n_positives, self.fill, *candidates, expected)
        return expected


def require_neighbours(fill: Fill, neighbours: NeighbourPositives | None, sessions: Sessions) -> NeighbourPositives:
    """The candidates that a fill needs, checked against the sessions; none where it needs none."""
    if fill != "knn":
        return NONE
    if neighbours is None:
        raise ConfigError("fill 'knn' needs neighbour positives, found none; prepare them or choose 'repeat' or 'mask'")
    neighbours.check(sessions.n_sessions, sessions.n_items)
    return neighbours


@compiled()
def _choose(
    offsets: Int64Array,
    candidates: IndexArray,
    sessions: Int64Array,
    following: Int64Array,
    uniforms: FloatArray,
    positives: IndexArray,
) -> None:
    """Short lists completed in place by distinct candidates, each subset as likely as any other (Fisher–Yates)."""
    n_rows, width = positives.shape
    for row in range(n_rows):
        if following[row] == width:
            continue
        pool = candidates[offsets[sessions[row]] : offsets[sessions[row] + 1]].copy()
        for step in range(min(width - following[row], len(pool))):
            chosen = step + int(uniforms[row, step] * (len(pool) - step))
            positives[row, following[row] + step] = pool[chosen]
            pool[chosen] = pool[step]


@compiled()
def _expect(
    items: IndexArray,
    offsets: Int64Array,
    chances: FloatArray,
    width: int,
    fill: str,
    candidate_offsets: Int64Array,
    candidates: IndexArray,
    expected: FloatArray,
) -> None:
    """Expected number of times each item is a positive, added to ``expected``: [I + 1]."""
    for session in range(len(offsets) - 1):
        begin, end = candidate_offsets[session], candidate_offsets[session + 1]
        chosen = 0.0
        for click in range(offsets[session], offsets[session + 1]):
            if chances[click] == 0:
                continue
            following = min(width, offsets[session + 1] - click)
            for step in range(following):
                times = (width - 1 - step) // following + 1 if fill == "repeat" else 1
                expected[items[click + step]] += chances[click] * times
            if fill in ("first", "own"):
                own = min(width - following, click - offsets[session]) if fill == "own" else 0
                for step in range(own):
                    expected[items[click - 1 - step]] += chances[click]
                expected[items[click]] += chances[click] * (width - following - own)
            chosen += chances[click] * min(width - following, end - begin)
        for position in range(begin, end):
            expected[candidates[position]] += chosen / (end - begin)

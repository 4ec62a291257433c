"""Positive-negative sampling: each session split at a random point, a new one in each epoch."""

from dataclasses import dataclass

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.options import Count
from nearnext.sampling.positives import Fill
from nearnext.sampling.sampler import Sampler
from nearnext.types import FloatArray, Int64Array

__all__ = ["PositiveNegative"]


@dataclass(frozen=True, kw_only=True)
class PositiveNegative(Sampler):
    """One example a session and epoch: the clicks before a random point are given, the first P after it are positives.

    A session of n clicks is split after its first 1..n − 1 clicks, each with the same probability. Units are sessions.

    Attributes:
        n_positives: P, positives of each example; 8 in the paper (§5.3).
        negatives: where negatives come from; the paper draws 8 uniformly.
        max_length: T, the last clicks of a prefix that are given; 15 in the paper.
        fill: what completes a list of fewer than P positives. ``knn``: items of the nearest training sessions, chosen
            at random from ``neighbours``, masked where those do not suffice; ``repeat``: the same clicks again, in
            order; ``first``: the first of them again; ``own``: the given clicks, the last one first, then as ``first``;
            ``mask``: nothing.
        overlaps: whether two examples of a batch may have a positive in common; if not, the later one waits for
            another epoch.

    Raises:
        ConfigError: an option out of range.

    Paper: §4.5.

    >>> log = Sessions.of([["a", "b", "c", "d"]])
    >>> batch = next(PositiveNegative(n_positives=2, fill="repeat").epoch(log, epoch=0, seed=7, batch_size=32))
    >>> batch.prefixes[0, :4].tolist(), batch.positives[0].tolist()
    ([1, 2, 3, 0], [4, 4])
    """

    max_length: Count = 15
    fill: Fill = "mask"
    overlaps: bool = True

    @property
    def _prefix_length(self) -> int:
        return self.max_length

    @property
    def _fill(self) -> Fill:
        return self.fill

    @property
    def _overlaps(self) -> bool:
        return self.overlaps

    def _units(self, sessions: Sessions) -> Int64Array:
        return np.flatnonzero(sessions.lengths > 1)

    def _examples(
        self, sessions: Sessions, units: Int64Array, rng: np.random.Generator
    ) -> tuple[Int64Array, Int64Array]:
        return sessions.offsets[units] + rng.integers(1, sessions.lengths[units]), np.arange(len(units) + 1)

    def _chances(self, sessions: Sessions) -> FloatArray:
        chances = np.repeat(1.0 / np.maximum(sessions.lengths - 1, 1), sessions.lengths)
        chances[sessions.offsets[:-1]] = 0.0
        return chances

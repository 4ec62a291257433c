"""The samplers: positive-negative, sliding window and every prefix.

Paper: §4.5, §5.6.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.options import Count
from nearnext.sampling.positives import Fill
from nearnext.sampling.sampler import Sampler
from nearnext.types import FloatArray, Int64Array


@dataclass(frozen=True, kw_only=True)
class PositiveNegative(Sampler):
    """One example a session and epoch: the clicks before a random point are given, the first P after it are positives.

    A session of n clicks is split after its first 1..n − 1 clicks, each with the same probability. Units are sessions.

    Attributes:
        n_positives: P, positives of each example; 8 in the paper (§5.3).
        negatives: where negatives come from; the paper draws 8 uniformly.
        max_length: T, the last clicks of a prefix that are given; 15 in the paper.
        fill: how to complete a list of fewer than P positives. ``knn``: items of the nearest training sessions, chosen
            at random from ``neighbours``, masked where those do not suffice; ``repeat``: the same clicks again, in
            order; ``first``: the first of them again; ``own``: the given clicks, the last one first, then as ``first``;
            ``mask``: nothing.
        overlaps: whether two examples of a batch may have a positive in common; if not, the later one waits for
            another epoch.

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
    def prefix_length(self) -> int:
        return self.max_length

    @property
    def _fill(self) -> Fill:
        return self.fill

    @property
    def _overlaps(self) -> bool:
        return self.overlaps

    def units(self, sessions: Sessions) -> Int64Array:
        return np.flatnonzero(sessions.lengths > 1)

    def examples(
        self, sessions: Sessions, units: Int64Array, rng: np.random.Generator
    ) -> tuple[Int64Array, Int64Array]:
        return sessions.offsets[units] + rng.integers(1, sessions.lengths[units]), np.arange(len(units) + 1)

    def chances(self, sessions: Sessions) -> FloatArray:
        chances = np.repeat(1.0 / np.maximum(sessions.lengths - 1, 1), sessions.lengths)
        chances[sessions.offsets[:-1]] = 0.0
        return chances


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Sampler):
    """One example for each position of a window of w clicks in a session; only the next P clicks are positives.

    A session of at most w clicks has one window: all clicks but the last, padded. The beginnings of a longer session
    are never given on their own, which is why the paper left this sampler (Table 3, SW). Units are windows.

    Attributes:
        n_positives: P, positives of each example; the end of a session has fewer, masked.
        negatives: where negatives come from.
        window: w, which is T.

    Paper: §5.6, Table 3.

    >>> log = Sessions.of([["a", "b", "c", "d"]])
    >>> batch = next(SlidingWindow(window=2, n_positives=1).epoch(log, epoch=0, seed=7, batch_size=32))
    >>> sorted(zip(batch.prefixes.tolist(), batch.positives.tolist()))
    [([1, 2], [3]), ([2, 3], [4])]
    """

    window: Count = 5

    @property
    def prefix_length(self) -> int:
        return self.window

    def units(self, sessions: Sessions) -> Int64Array:
        position = np.arange(sessions.n_events) - np.repeat(sessions.offsets[:-1], sessions.lengths)
        shortest = np.repeat(np.minimum(self.window, sessions.lengths - 1), sessions.lengths)
        return np.flatnonzero((position > 0) & (position >= shortest))

    def chances(self, sessions: Sessions) -> FloatArray:
        chances = np.zeros(sessions.n_events)
        chances[self.units(sessions)] = 1.0
        return chances


@dataclass(frozen=True, kw_only=True)
class EveryPrefix(Sampler):
    """One example for each proper prefix of each session in every epoch, the cases of the evaluation.

    Attributes:
        n_positives: P, the next clicks that are positives; the end of a session has fewer, masked.
        negatives: where negatives come from.
        max_length: T, the last clicks of a prefix that are given.
        unit: ``prefix``: prefixes are shuffled, and ``batch_size`` counts them; ``session``: sessions are, and a batch
            holds every prefix of its sessions, in order.

    Reference: Tan, Xu, Liu, Improved Recurrent Neural Networks for Session-based Recommendations, DLRS 2016 (there as
    augmentation of the data).

    >>> log = Sessions.of([["a", "b", "c"]])
    >>> batch = next(EveryPrefix(n_positives=2, unit="session").epoch(log, epoch=0, seed=7, batch_size=1))
    >>> batch.prefixes[:, :3].tolist(), batch.positives.tolist()
    ([[1, 0, 0], [1, 2, 0]], [[2, 3], [3, 0]])
    """

    n_positives: Count = 1
    max_length: Count = 15
    unit: Literal["prefix", "session"] = "prefix"

    @property
    def prefix_length(self) -> int:
        return self.max_length

    def units(self, sessions: Sessions) -> Int64Array:
        return np.flatnonzero(self.chances(sessions) if self.unit == "prefix" else sessions.lengths > 1)

    def examples(
        self, sessions: Sessions, units: Int64Array, rng: np.random.Generator
    ) -> tuple[Int64Array, Int64Array]:
        if self.unit == "prefix":
            return super().examples(sessions, units, rng)
        n_prefixes = sessions.lengths[units] - 1
        offsets = np.concatenate([[0], np.cumsum(n_prefixes)]).astype(np.int64)
        # Row r of the unit that begins at row o is the click r − o + 1 positions after its session's first.
        shift: Int64Array = np.repeat(sessions.offsets[units] + 1 - offsets[:-1], n_prefixes)
        return shift + np.arange(len(shift)), offsets

    def chances(self, sessions: Sessions) -> FloatArray:
        chances = np.ones(sessions.n_events)
        chances[sessions.offsets[:-1]] = 0.0
        return chances

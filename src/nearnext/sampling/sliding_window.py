"""Sliding-window sampling: a window of fixed length, and the clicks that follow it."""

from dataclasses import dataclass

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.options import Count
from nearnext.sampling.sampler import Sampler
from nearnext.types import FloatArray, Int64Array

__all__ = ["SlidingWindow"]


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Sampler):
    """One example for each position of a window of w clicks in a session; only the next P clicks are positives.

    A session of at most w clicks has one window: all clicks but the last, padded. The beginnings of a longer session
    are never given on their own, which is why the paper left this sampler (Table 3, SW). Units are windows.

    Attributes:
        n_positives: P, positives of each example; the end of a session has fewer, masked.
        negatives: where negatives come from.
        window: w, which is T.

    Raises:
        ConfigError: an option out of range.

    Paper: §5.6, Table 3.

    >>> log = Sessions.of([["a", "b", "c", "d"]])
    >>> batch = next(SlidingWindow(window=2, n_positives=1).epoch(log, epoch=0, seed=7, batch_size=32))
    >>> sorted(zip(batch.prefixes.tolist(), batch.positives.tolist()))
    [([1, 2], [3]), ([2, 3], [4])]
    """

    window: Count = 5

    @property
    def _prefix_length(self) -> int:
        return self.window

    def _units(self, sessions: Sessions) -> Int64Array:
        position = np.arange(sessions.n_events) - np.repeat(sessions.offsets[:-1], sessions.lengths)
        shortest = np.repeat(np.minimum(self.window, sessions.lengths - 1), sessions.lengths)
        return np.flatnonzero((position > 0) & (position >= shortest))

    def _chances(self, sessions: Sessions) -> FloatArray:
        chances = np.zeros(sessions.n_events)
        chances[self._units(sessions)] = 1.0
        return chances

"""Every-prefix sampling: each proper prefix of each session with what follows it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.options import Count
from nearnext.sampling.sampler import Sampler
from nearnext.types import FloatArray, Int64Array

__all__ = ["EveryPrefix"]


@dataclass(frozen=True, kw_only=True)
class EveryPrefix(Sampler):
    """One example for each proper prefix of each session: all that the evaluation asks for, in every epoch.

    Attributes:
        n_positives: P, the next clicks that are positives; the end of a session has fewer, masked.
        negatives: where negatives come from.
        max_length: T, the last clicks of a prefix that are given.
        unit: ``prefix``: prefixes are shuffled, and ``batch_size`` counts them; ``session``: sessions are, and a batch
            holds every prefix of its sessions, in order.

    Raises:
        ConfigError: an option out of range.

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
    def _prefix_length(self) -> int:
        return self.max_length

    def _units(self, sessions: Sessions) -> Int64Array:
        return np.flatnonzero(self._chances(sessions) if self.unit == "prefix" else sessions.lengths > 1)

    def _examples(
        self, sessions: Sessions, units: Int64Array, rng: np.random.Generator
    ) -> tuple[Int64Array, Int64Array]:
        if self.unit == "prefix":
            return super()._examples(sessions, units, rng)
        n_prefixes = sessions.lengths[units] - 1
        offsets = np.concatenate([[0], np.cumsum(n_prefixes)]).astype(np.int64)
        # Row r of the unit that begins at row o is the click r − o + 1 places after its session's first.
        shift: Int64Array = np.repeat(sessions.offsets[units] + 1 - offsets[:-1], n_prefixes)
        return shift + np.arange(len(shift)), offsets

    def _chances(self, sessions: Sessions) -> FloatArray:
        chances = np.ones(sessions.n_events)
        chances[sessions.offsets[:-1]] = 0.0
        return chances

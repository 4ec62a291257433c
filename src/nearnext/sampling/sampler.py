"""What every sampler is, and the samplers: positive-negative, sliding window and every prefix.

Paper: §4.5, §5.6.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.options import Count, Natural, check, checked
from nearnext.sampling.batch import Batch
from nearnext.sampling.negatives import Negatives, Uniform
from nearnext.sampling.plan import EpochPlan, epoch_order
from nearnext.sampling.positives import Fill, NeighbourPositives, Positives, require_neighbours
from nearnext.types import FloatArray, Int64Array


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """The options common to all samplers, and the epoch that they define.

    An epoch shuffles its units (sessions, or prefixes), and takes examples from each; ``batch_size`` counts units.
    A session shorter than 2 clicks gives none.

    Attributes:
        n_positives: P, positives of each example.
        negatives: where negatives come from.

    Raises:
        ConfigError: an option out of range.

    >>> from nearnext.sampling import EveryPrefix
    >>> sampler: Sampler = EveryPrefix(n_positives=1)
    >>> log = Sessions.of([["a", "b", "c"], ["b", "c"]])
    >>> sampler.n_batches(log, batch_size=2)
    2
    >>> [batch.prefixes[:, 0].tolist() for batch in sampler.epoch(log, 0, 7, batch_size=3)]
    [[3, 1, 3]]
    """

    n_positives: Count = 8
    negatives: Negatives = field(default_factory=Uniform)

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_neighbours(self) -> bool:
        """Whether `epoch` needs ``neighbours``: candidates prepared before training."""
        return self._fill == "knn"

    def n_batches(self, sessions: Sessions, batch_size: int) -> int:
        """Number of batches in each epoch.

        Raises:
            ConfigError: batch_size below 1.
        """
        return -(-len(self._units(sessions)) // checked("batch_size", batch_size, Count))

    def epoch(
        self,
        sessions: Sessions,
        epoch: int,
        seed: int,
        batch_size: int,
        *,
        start_batch: int = 0,
        neighbours: NeighbourPositives | None = None,
    ) -> Iterator[Batch]:
        """The batches of an epoch; order and draws depend on ``seed``, ``epoch`` and ``batch_size`` alone.

        Args:
            sessions: known items only.
            epoch: number of the epoch, from 0; another epoch gives another order and other draws.
            seed: at least 0.
            batch_size: units in each batch; the last batch holds what is left.
            start_batch: batches to skip, for a run that resumes: the rest is what an uninterrupted run would see.
            neighbours: candidates of each session, where `needs_neighbours`.

        Raises:
            DataError: unknown items, no session of 2 clicks, fewer than 2 items, an epoch without negatives, or
                neighbours of other sessions.
            ConfigError: a number out of range, or neighbours missing.
        """
        for name, number in (("epoch", epoch), ("seed", seed), ("start_batch", start_batch)):
            checked(name, number, Natural)
        self.negatives.check_batch_size(batch_size)
        n_batches = self.n_batches(sessions, batch_size)
        _check(sessions, n_batches)
        if start_batch > n_batches:
            raise ConfigError(f"start_batch must be at most {n_batches}, the batches of an epoch, found {start_batch}")
        ready = require_neighbours(self._fill, neighbours, sessions)
        positives = Positives(sessions, self.n_positives, self._fill, ready)
        order = epoch_order(seed, epoch)
        next_clicks, unit_offsets = self._examples(sessions, order.permutation(self._units(sessions)), order)
        plan = EpochPlan(
            sessions=sessions,
            prefix_length=self._prefix_length,
            positives=positives,
            draw_negatives=self.negatives.drawer(sessions, lambda: positives.expected_counts(self._chances(sessions))),
            next_clicks=next_clicks,
            unit_offsets=unit_offsets,
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            overlaps=self._overlaps,
        )
        return plan.batches(start_batch)

    @property
    @abstractmethod
    def _prefix_length(self) -> int:
        """T, the last clicks of a prefix that are given."""

    @property
    def _fill(self) -> Fill:
        return "mask"

    @property
    def _overlaps(self) -> bool:
        return True

    @abstractmethod
    def _units(self, sessions: Sessions) -> Int64Array:
        """What is shuffled: sessions, or positions of next clicks: [U]."""

    def _examples(
        self,
        sessions: Sessions,  # noqa: ARG002
        units: Int64Array,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> tuple[Int64Array, Int64Array]:
        """Positions of next clicks for shuffled units [R], and where each unit begins, and the end: [U + 1]."""
        return units, np.arange(len(units) + 1)

    @abstractmethod
    def _chances(self, sessions: Sessions) -> FloatArray:
        """How often each click is expected as the next click of an example in an epoch: [E]."""


def _check(sessions: Sessions, n_batches: int) -> None:
    if sessions.n_events and sessions.items.min() == 0:
        raise DataError("expected known items only, found clicks on unknown items; drop them before sampling")
    if n_batches == 0:
        raise DataError(f"expected a session of at least 2 clicks to sample from, found none of {sessions.n_sessions}")
    if sessions.n_items < 2:  # noqa: PLR2004 - one to be near, one to be far
        raise DataError("expected at least 2 items, found 1: it has no negatives; give a log with more items")


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


@dataclass(frozen=True, kw_only=True)
class EveryPrefix(Sampler):
    """One example for each proper prefix of each session: all that the evaluation asks for, in every epoch.

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
        # Row r of the unit that begins at row o is the click r − o + 1 positions after its session's first.
        shift: Int64Array = np.repeat(sessions.offsets[units] + 1 - offsets[:-1], n_prefixes)
        return shift + np.arange(len(shift)), offsets

    def _chances(self, sessions: Sessions) -> FloatArray:
        chances = np.ones(sessions.n_events)
        chances[sessions.offsets[:-1]] = 0.0
        return chances

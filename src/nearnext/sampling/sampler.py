"""What every sampler is: an epoch of batches that depends on the sessions, the seed and the epoch alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.options import Count, Natural, check, checked
from nearnext.sampling.batch import Batch
from nearnext.sampling.negatives import Negatives, Uniform
from nearnext.sampling.neighbour_positives import NeighbourPositives
from nearnext.sampling.plan import EpochPlan, epoch_order
from nearnext.sampling.positives import Fill, Positives, require_neighbours
from nearnext.types import FloatArray, Int64Array

__all__ = ["Sampler"]


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
        """What is shuffled: sessions, or places of next clicks: [U]."""

    def _examples(
        self,
        sessions: Sessions,  # noqa: ARG002
        units: Int64Array,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> tuple[Int64Array, Int64Array]:
        """Places of next clicks for shuffled units [R], and where each unit's begin, and the end: [U + 1].

        As it stands, units are those places.
        """
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

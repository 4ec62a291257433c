"""The base class of samplers: an epoch is ordered, cut into batches and drawn block by block."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.event_weights import training_weights
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.options import Count, Natural, check, checked
from nearnext.sampling.batch import Batch, Examples, clicks_between
from nearnext.sampling.negatives import Block, Drawer, Negatives, Uniform
from nearnext.sampling.positives import Fill, NeighbourPositives, Positives, require_neighbours
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

BLOCK = 4096
"""Units drawn together: enough to make numpy's cost per call small, few enough to stay in the processor's cache."""


def epoch_order(seed: int, epoch: int) -> np.random.Generator:
    """The generator that orders an epoch; its blocks use others, numbered from 1."""
    return np.random.default_rng([seed, epoch, 0])


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """The options common to all samplers, and the epoch that they define.

    An epoch shuffles its units (sessions, or prefixes), and takes examples from each; ``batch_size`` counts units.
    A session shorter than 2 clicks gives none. Your own sampler defines `prefix_length`, `units` and `chances`, and
    `examples` if its units are not positions of next clicks.

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
        return -(-len(self.units(sessions)) // checked("batch_size", batch_size, Count))

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
        examples = self.examples(sessions, order.permutation(self.units(sessions)), order)
        draw = self.negatives.drawer(sessions, lambda: positives.expected_counts(self.chances(sessions)))
        return self._batches(positives, draw, *examples, batch_size, (seed, epoch), start_batch)

    def _batches(
        self,
        positives: Positives,
        draw_negatives: Drawer,
        next_clicks: Int64Array,  # position of each example's next click: [R]
        unit_offsets: Int64Array,  # where each unit begins among the examples, and the end of the last one: [U + 1]
        batch_size: int,
        seeds: tuple[int, int],
        start_batch: int,
    ) -> Iterator[Batch]:
        """The batches from ``start_batch`` on, drawn only from the block that it is in."""
        n_units = len(unit_offsets) - 1
        n_batches = -(-n_units // batch_size)
        per_block = max(1, BLOCK // batch_size)
        weights = training_weights(positives.sessions)
        for block in range(start_batch // per_block, -(-n_batches // per_block)):
            first = block * per_block
            units = np.minimum(np.arange(first, min(first + per_block, n_batches) + 1) * batch_size, n_units)
            rows, others = unit_offsets[units], (np.diff(units) - 1) / max(n_units - 1, 1)
            rng = np.random.default_rng([*seeds, block + 1])
            examples = Examples.at(positives.sessions, next_clicks[rows[0] : rows[-1]])
            drawn = list(self._block(positives, draw_negatives, examples, rows - rows[0], others, rng, weights))
            if block == 0 and not any(batch.negative_mask.any() for batch in drawn):
                raise DataError(
                    f"none of {sum(map(len, drawn))} examples has a negative: their sessions leave no item to draw; "
                    "give a log with more items or exclude less"
                )
            yield from drawn[max(start_batch - first, 0) :]

    def _block(
        self,
        positives: Positives,
        draw_negatives: Drawer,
        examples: Examples,
        cuts: Int64Array,
        others: FloatArray,
        rng: np.random.Generator,
        weights: ScoreArray | None,
    ) -> Iterator[Batch]:
        """The batches that are drawn together, see `Block`."""
        items, length = positives.sessions.items, self.prefix_length
        drawn, mask = positives.draw(examples, rng)
        if not self._overlaps:
            kept = _without_overlaps(drawn, cuts, positives.sessions.n_items)
            examples, drawn, mask = examples.where(kept), drawn[kept], mask[kept]
            cuts = np.concatenate([[0], np.cumsum(kept)])[cuts]
        begins = np.maximum(examples.first, examples.next_click - length)
        prefixes = clicks_between(items, begins, examples.next_click, length)
        negatives = draw_negatives(Block(examples, drawn, cuts, others), rng)
        for (begin, end), negative in zip(pairwise(cuts.tolist()), negatives, strict=True):
            yield Batch(
                sessions=examples.sessions[begin:end],
                prefixes=prefixes[begin:end],
                positives=drawn[begin:end],
                positive_mask=mask[begin:end],
                negatives=negative.items,
                negative_mask=negative.mask,
                log_proposal=negative.log_proposal,
                weights=None if weights is None else weights[examples.next_click[begin:end]],
            )

    @property
    @abstractmethod
    def prefix_length(self) -> int:
        """T, the last clicks of a prefix that are given."""

    @property
    def _fill(self) -> Fill:
        return "mask"

    @property
    def _overlaps(self) -> bool:
        return True

    @abstractmethod
    def units(self, sessions: Sessions) -> Int64Array:
        """What is shuffled, for example the positions of all next clicks in ``sessions.items``: [U]."""

    def examples(
        self,
        sessions: Sessions,  # noqa: ARG002
        units: Int64Array,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> tuple[Int64Array, Int64Array]:
        """Positions of next clicks for shuffled units [R], and where each unit begins, and the end: [U + 1]."""
        return units, np.arange(len(units) + 1)

    @abstractmethod
    def chances(self, sessions: Sessions) -> FloatArray:
        """How often each click is expected as the next click of an example in an epoch: [E]."""


def _check(sessions: Sessions, n_batches: int) -> None:
    if sessions.n_events and sessions.items.min() == 0:
        raise DataError("expected known items only, found clicks on unknown items; drop them before sampling")
    if n_batches == 0:
        raise DataError(f"expected a session of at least 2 clicks to sample from, found none of {sessions.n_sessions}")
    if sessions.n_items < 2:  # noqa: PLR2004 - one to be near, one to be far
        raise DataError("expected at least 2 items, found 1: it has no negatives; give a log with more items")


@compiled()
def _without_overlaps(positives: IndexArray, cuts: Int64Array, n_items: int) -> BoolArray:
    """Which examples have no positive in common with an earlier one that is kept of their batch: [R, P] → [R]."""
    kept: BoolArray = np.zeros(len(positives), dtype=np.bool_)
    batch_of = np.zeros(n_items + 1, dtype=np.int64)  # the last batch that an item was a positive in, from 1
    for batch in range(1, len(cuts)):
        for row in range(cuts[batch - 1], cuts[batch]):
            kept[row] = True
            for item in positives[row]:
                kept[row] = kept[row] and not (item > 0 and batch_of[item] == batch)
            if kept[row]:
                for item in positives[row]:
                    batch_of[item] = batch
    return kept

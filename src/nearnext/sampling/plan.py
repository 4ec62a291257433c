"""An epoch that is laid out: its examples in order, cut into batches and drawn block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.sampling.batch import Batch, Examples, clicks_between
from nearnext.sampling.negatives import Block, Drawer
from nearnext.sampling.positives import Positives
from nearnext.types import BoolArray, IndexArray, Int64Array

BLOCK = 4096
"""Units drawn together: enough to make numpy's cost per call small, few enough to stay in the processor's cache."""


def epoch_order(seed: int, epoch: int) -> np.random.Generator:
    """The generator that fixes the order of an epoch; its blocks have others, seeded by their number from 1."""
    return np.random.default_rng([seed, epoch, 0])


@dataclass(frozen=True, eq=False, kw_only=True)
class EpochPlan:
    """The examples of an epoch in order, and how the rest of each batch is drawn."""

    sessions: Sessions
    prefix_length: int
    positives: Positives
    draw_negatives: Drawer
    next_clicks: Int64Array  # position of each example's next click: [R]
    unit_offsets: Int64Array  # where each unit begins among the examples, and the end of the last one: [U + 1]
    batch_size: int
    seed: int
    epoch: int
    # whether two examples of a batch may have a positive in common; if not, the later one is left out
    overlaps: bool = True

    def batches(self, start_batch: int) -> Iterator[Batch]:
        """The batches from ``start_batch`` on, drawn only from the block that it is in."""
        n_units = len(self.unit_offsets) - 1
        n_batches = -(-n_units // self.batch_size)
        per_block = max(1, BLOCK // self.batch_size)
        for block in range(start_batch // per_block, -(-n_batches // per_block)):
            first = block * per_block
            units = np.minimum(np.arange(first, min(first + per_block, n_batches) + 1) * self.batch_size, n_units)
            drawn = self._block(block, units)
            yield from drawn[max(start_batch - first, 0) :]

    def _block(self, block: int, units: Int64Array) -> list[Batch]:
        """The batches that begin and end at these units: [batches + 1] → batches."""
        rng = np.random.default_rng([self.seed, self.epoch, block + 1])
        rows = self.unit_offsets[units]
        examples = Examples.at(self.sessions, self.next_clicks[rows[0] : rows[-1]])
        positives, mask = self.positives.draw(examples, rng)
        cuts = rows - rows[0]
        if not self.overlaps:
            kept = _without_overlaps(positives, cuts, self.sessions.n_items)
            examples, positives, mask = examples.where(kept), positives[kept], mask[kept]
            cuts = np.concatenate([[0], np.cumsum(kept)])[cuts]
        given = np.maximum(examples.first, examples.next_click - self.prefix_length)
        prefixes = clicks_between(self.sessions.items, given, examples.next_click, self.prefix_length)
        others = (np.diff(units) - 1) / max(len(self.unit_offsets) - 2, 1)
        negatives = self.draw_negatives(Block(examples, positives, cuts, others), rng)
        batches = [
            Batch(
                sessions=examples.sessions[begin:end],
                prefixes=prefixes[begin:end],
                positives=positives[begin:end],
                positive_mask=mask[begin:end],
                negatives=drawn.items,
                negative_mask=drawn.mask,
                log_proposal=drawn.log_proposal,
            )
            for (begin, end), drawn in zip(pairwise(cuts.tolist()), negatives, strict=True)
        ]
        if block == 0 and not any(batch.negative_mask.any() for batch in batches):
            raise DataError(
                f"none of {len(examples)} examples has a negative: their sessions leave no item to draw; "
                "give a log with more items or exclude less"
            )
        return batches


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

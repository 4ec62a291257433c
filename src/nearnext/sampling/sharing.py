"""Negatives that a whole batch shares: what is drawn for all of it, and the positives of its other examples."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nearnext.sampling.examples import Examples
from nearnext.sampling.exclusion import Exclusion
from nearnext.sampling.proposal import Proposal, log_counts
from nearnext.types import BoolArray, FloatArray, IndexArray, ScoreArray

__all__ = ["Drawn", "Sharing"]


class Drawn(NamedTuple):
    """Negatives of one batch, their mask and log expected counts, shaped as in `Batch`."""

    items: IndexArray
    mask: BoolArray
    log_proposal: ScoreArray


@dataclass(frozen=True, eq=False)
class Sharing:
    """One list of negatives for all examples of a batch, masked for each where it excludes them.

    Attributes:
        items: item index of each click of the log: [E].
        proposal: what extra negatives are drawn from.
        expected: how often each item is expected as a positive in an epoch, where the positives of the other examples
            are negatives: [I + 1]; None: they are none.
        whole_session: whether an example excludes the prefix too.
        marked: scratch memory, all False between uses: [I + 1].
    """

    items: IndexArray
    proposal: Proposal
    expected: FloatArray | None
    whole_session: bool
    marked: BoolArray

    def of(self, examples: Examples, positives: IndexArray, extra: IndexArray, others: float) -> Drawn:
        """Negatives [N] of one batch, their masks [B, N] and log expected counts [N].

        The expected count of an item is that for an example of a session without it, over all orders of the epoch, as
        if no other example excluded it from what was drawn.

        Args:
            examples: of the batch.
            positives: of the examples, 0 where masked: [B, P].
            extra: what was drawn, 0 where an example has no negatives: [n].
            others: of all examples but one, the share that the batch holds besides one of its own.
        """
        items = extra if self.expected is None else np.concatenate([positives.ravel(), extra])
        excluded, _ = Exclusion.of(
            self.items, examples, positives, whole_session=self.whole_session, marked=self.marked
        ).of_candidates(np.broadcast_to(items, (len(examples), len(items))), self.proposal.shares)
        counts = len(extra) * self.proposal.shares[items]
        if self.expected is not None:
            counts += others * self.expected[items]
        return Drawn(items, ~excluded, log_counts(counts, (items > 0) & (counts > 0)))

"""Negatives: items drawn uniformly, by popularity or by rarity for each example, or shared in the batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.options import Count, Natural, NonNegative, Search, check
from nearnext.sampling.batch import Examples
from nearnext.sampling.exclusion import Drawn, Exclusion
from nearnext.sampling.proposal import Proposal
from nearnext.types import FloatArray, IndexArray, Int64Array

Exclude = Literal["positives", "session"]
"""Which clicks of its session are no negatives of an example: those from its positives on, or all."""

Share = Literal["none", "negatives", "batch"]
"""What an example's negatives are: its own draws, those of all examples of the batch, or these and the positives of the
other examples."""


Alpha = Annotated[NonNegative, Search(0.0, 1.0, why="negatives from uniform to popular")]
"""Exponent of the clicks in a draw by popularity."""


class Block(NamedTuple):
    """Consecutive batches that are drawn together."""

    examples: Examples  # their examples: [R]
    positives: IndexArray  # positives of the examples, 0 where masked: [R, P]
    cuts: Int64Array  # where each batch begins among the rows, and the end of the last one: [batches + 1]
    others: FloatArray  # of all examples but one, the share that each batch holds besides one of its own: [batches]

    def batches(self) -> Iterator[tuple[int, int, Examples, IndexArray, float]]:
        """For each batch: first row, end row, examples, positives, and share of the others."""
        for (begin, end), others in zip(pairwise(self.cuts.tolist()), self.others.tolist(), strict=True):
            yield begin, end, self.examples.slice(begin, end), self.positives[begin:end], others


Drawer = Callable[[Block, np.random.Generator], Iterator[Drawn]]


@dataclass(frozen=True, kw_only=True)
class Negatives(ABC):
    """What is common to all kinds of negatives: which items are none.

    Items outside the vocabulary never are. ``exclude="positives"`` leaves out the example's positives, filled up ones
    included, and every later click of its session, even past the first P: a click that came after the prefix is no
    negative of it (Paper: §4, "sampled from the rest of the items"). ``exclude="session"`` leaves out the prefix too.
    """

    exclude: Exclude = "positives"

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def drawer(self, sessions: Sessions, expected_positives: Callable[[], FloatArray]) -> Drawer:
        """A function that draws the negatives of consecutive batches: [B, N] each, or [N] where shared.

        Args:
            sessions: the log; popularity is counted in it.
            expected_positives: how often each item is expected as a positive in an epoch: [I + 1].
        """

    def check_batch_size(self, batch_size: int) -> None:  # noqa: B027 - most kinds draw for batches of any size
        """Check that batches of this size can have negatives, or raise `ConfigError`."""


@dataclass(frozen=True, kw_only=True)
class PerExample(Negatives, ABC):
    """Negatives drawn for each example on its own, with replacement, from one distribution over the items.

    With ``share="none"`` these are its negatives. With ``share="negatives"`` the draws for all examples of its batch
    are, and with ``share="batch"`` the positives of the other examples as well: an example is compared with all items
    of its batch (Paper: §4.3, "inside N-sized mini-batches"). What an example excludes is masked.

    Attributes:
        exclude: ``positives`` or ``session``, see `Negatives`.
        n_negatives: N, negatives of each example, with replacement.
        share: ``none``, ``negatives`` or ``batch``, see above.
    """

    n_negatives: Count = 8
    share: Share = "none"

    @abstractmethod
    def proposal(self, counts: Int64Array) -> Proposal:
        """What they are drawn from, given the clicks of each item: [I + 1]."""

    def drawer(self, sessions: Sessions, expected_positives: Callable[[], FloatArray]) -> Drawer:
        proposal = self.proposal(sessions.item_counts())
        expected = expected_positives() if self.share == "batch" else None
        exclusion = Exclusion.over(sessions, proposal, whole_session=self.exclude == "session")

        def draw(block: Block, rng: np.random.Generator) -> Iterator[Drawn]:
            drawn = exclusion.each(block.examples, block.positives, self.n_negatives, rng)
            for begin, end, examples, positives, others in block.batches():
                own = Drawn(drawn.items[begin:end], drawn.mask[begin:end], drawn.log_proposal[begin:end])
                if self.share != "none":
                    own = exclusion.shared(examples, positives, own.items.ravel(), others, expected)
                yield own

        return draw


@dataclass(frozen=True, kw_only=True)
class Uniform(PerExample):
    """Negatives drawn uniformly from all items of the vocabulary (Paper: §4.5); options are those of `PerExample`.

    >>> Uniform(n_negatives=4)
    Uniform(exclude='positives', n_negatives=4, share='none')
    """

    def proposal(self, counts: Int64Array) -> Proposal:
        return Proposal.of((np.arange(len(counts)) > 0).astype(np.float64))


@dataclass(frozen=True, kw_only=True)
class Popularity(PerExample):
    """Negatives drawn in proportion to clicks to the power of alpha; an item without clicks is never drawn.

    Other options are those of `PerExample`.

    Attributes:
        alpha: at least 0; 1: as clicked, 0: uniform over the clicked items.

    Reference: Hidasi & Karatzoglou, Recurrent Neural Networks with Top-k Gains, CIKM 2018, §4.

    >>> Popularity(alpha=0.5).proposal(np.array([0, 9, 4])).shares.round(3).tolist()
    [0.0, 0.6, 0.4]
    """

    alpha: Alpha = 0.75

    def proposal(self, counts: Int64Array) -> Proposal:
        return Proposal.by_popularity(counts, self.alpha)


@dataclass(frozen=True, kw_only=True)
class InversePopularity(PerExample):
    """Negatives drawn in proportion to 1 / clicks to the power of alpha: rare items most; one without clicks never.

    Other options are those of `PerExample`.

    Attributes:
        alpha: at least 0; 0: uniform over the clicked items.

    >>> InversePopularity().proposal(np.array([0, 4, 1])).shares.tolist()
    [0.0, 0.2, 0.8]
    """

    alpha: Alpha = 1.0

    def proposal(self, counts: Int64Array) -> Proposal:
        return Proposal.by_popularity(counts, -self.alpha)


@dataclass(frozen=True, kw_only=True)
class ReversedPopularity(PerExample):
    """Negatives drawn in proportion to (highest count + 1 − clicks): nearly uniformly, the most clicked hardly ever.

    The authors' program draws from this. Options are those of `PerExample`.

    >>> ReversedPopularity().proposal(np.array([0, 9, 7])).shares.tolist()
    [0.0, 0.25, 0.75]
    """

    def proposal(self, counts: Int64Array) -> Proposal:
        return Proposal.of(np.where(np.arange(len(counts)) > 0, counts.max() + 1.0 - counts, 0.0))


@dataclass(frozen=True, kw_only=True)
class InBatch(Negatives):
    """Negatives shared in the batch: the positives of its other examples, and extra draws by popularity.

    N is the number of positives in the batch, masked ones included, and ``extra``. An item that several examples have
    as a positive occurs as often. The expected count of an item is that for an example of a session without it, over
    all orders of the epoch: the item's expected count among the positives of an epoch, times the share of all other
    examples that the batch holds, and ``extra`` times its probability.

    Attributes:
        exclude: ``positives`` or ``session``, see `Negatives`.
        extra: items drawn for the whole batch in addition to its positives, with replacement.
        alpha: exponent of the clicks in the extra draws, at least 0.

    Reference: Hidasi & Karatzoglou, Recurrent Neural Networks with Top-k Gains, CIKM 2018, §3 and §4. Paper: §4.5.

    >>> InBatch(extra=2048, alpha=0.5)
    InBatch(exclude='positives', extra=2048, alpha=0.5)
    """

    extra: Annotated[
        Natural, Search(256, 4096, log=True, why="extra negatives; more is nearer to the full softmax, slower")
    ] = 0
    alpha: Alpha = 0.75

    def check_batch_size(self, batch_size: int) -> None:
        if batch_size == 1 and self.extra == 0:
            raise ConfigError(
                "a batch of one has no other example's positives; raise batch_size or ask for extra draws"
            )

    def drawer(self, sessions: Sessions, expected_positives: Callable[[], FloatArray]) -> Drawer:
        proposal = Proposal.by_popularity(sessions.item_counts(), self.alpha)
        exclusion = Exclusion.over(sessions, proposal, whole_session=self.exclude == "session")
        expected = expected_positives()

        def draw(block: Block, rng: np.random.Generator) -> Iterator[Drawn]:
            for _, _, examples, positives, others in block.batches():
                yield exclusion.shared(examples, positives, proposal.draw(rng, self.extra), others, expected)

        return draw

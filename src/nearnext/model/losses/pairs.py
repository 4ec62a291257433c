"""Losses on pairs of a positive and a negative: BPR, TOP1, contrastive and WARP, and the pairs themselves."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from nearnext.errors import ConfigError
from nearnext.model.losses.loss_input import LossInput, MaskedDistances, mean_where
from nearnext.options import NonNegative, Search, at_least, options

Pairing = Literal["matched", "all"]

Margin = Annotated[
    NonNegative, Search(0.05, 1.0, why="how far negatives must be; paper: 0.3 of a cosine distance of 2")
]
"""How much farther than a positive a negative must be, in units of distance."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distances of the pairs of a batch, ready to broadcast; K is 1 when matched, N when all meet all."""

    positive: Tensor  # ``[B, P, 1]`` distances of the sessions to the positives
    negative: Tensor  # ``[B, P, 1]`` (matched) or ``[B, 1, N]`` (all) distances of the sessions to the negatives
    mask: Tensor  # ``[B, P, K]`` True where positive and negative both count
    positive_negative: Tensor | None  # ``[B, P, K]`` distances between the two items of a pair, or None


def pairs_of(batch: MaskedDistances, pairing: Pairing) -> Pairs:
    """The pairs of a batch."""
    if pairing == "all":
        return Pairs(
            positive=batch.positive[:, :, None],
            negative=batch.negative[:, None, :],
            mask=batch.positive_mask[:, :, None] & batch.negative_mask[:, None, :],
            positive_negative=batch.positive_negative,
        )
    if batch.positive.shape != batch.negative.shape:
        raise ConfigError(
            "pairing 'matched' needs as many negatives as positives, found "
            f"{batch.negative.shape[1]} and {batch.positive.shape[1]} per session; sample as many or use pairing 'all'"
        )
    items = batch.positive_negative
    return Pairs(
        positive=batch.positive[:, :, None],
        negative=batch.negative[:, :, None],
        mask=(batch.positive_mask & batch.negative_mask)[:, :, None],
        positive_negative=None if items is None else items.diagonal(dim1=1, dim2=2)[:, :, None],
    )


@options
class PairLoss:
    """A loss of pairs: its mean over the pairs of a session, then over sessions. The paper gives that of one pair only.

    Attributes:
        pairing: ``all``: every positive with every negative of its session; ``matched``: the j-th with the j-th.

    Raises:
        ConfigError: an unknown pairing, or unequal numbers in ``matched``.
    """

    pairing: Pairing = "all"

    needs_item_distances = False

    @abstractmethod
    def of_pair(self, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of each pair, from its distances: [B, P, 1] and [B, P, 1] or [B, 1, N] → [B, P, K]."""

    def __call__(self, batch: LossInput) -> Tensor:
        masked = batch.masked()
        pairs = pairs_of(masked, self.pairing)
        per_pair = self.of_pair(pairs.positive, pairs.negative)
        return masked.mean_over_sessions(mean_where(per_pair.flatten(1), pairs.mask.flatten(1)))


class BPR(PairLoss):
    """Bayesian personalised ranking, ``−ln σ(d_kn − d_kp)``, the mean over the pairs of a session, then over sessions.

    In (0, ∞); ln 2 where positive and negative are equally far. Moving a negative farther never raises it. Options and
    errors are those of `PairLoss`.

    Paper: eq. (1), (5), §3. Reference: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback,
    UAI 2009.

    >>> import torch
    >>> BPR()(LossInput(positive=torch.tensor([[0.5]]), negative=torch.tensor([[0.5]])))
    tensor(0.6931)
    """

    def of_pair(self, positive: Tensor, negative: Tensor) -> Tensor:
        # −ln σ(x) = softplus(−x), which neither overflows nor loses the small end.
        return softplus(positive - negative)


class TOP1(PairLoss):
    """TOP1, ``σ(d_kp − d_kn) + σ((1 − d_kn)²)``, the mean over the pairs of a session, then over sessions; in (½, 2).

    1 − d is the score of an item at cosine distance d, so that the second term draws negatives to score 0,
    distance 1; with another distance than cosine that point has no such meaning. Options and errors are those of
    `PairLoss`.

    Limit of a law: moving a negative farther never raises the loss while its distance is at most 1; beyond, the
    regulariser pulls it back.

    Paper: eq. (2), (6), §3. Reference: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks,
    ICLR 2016.

    >>> TOP1()(LossInput(positive=torch.tensor([[1.0]]), negative=torch.tensor([[1.0]])))  # σ(0) + σ(0)
    tensor(1.)
    """

    def of_pair(self, positive: Tensor, negative: Tensor) -> Tensor:
        return torch.sigmoid(positive - negative) + torch.sigmoid((1 - negative).square())


@options
class Contrastive:
    """Contrastive loss, ``y d + (1 − y) max(0, m − d)``: positives (y = 1) at distance 0, negatives at m or beyond.

    A session's loss is the mean over its positives of ``d`` plus the mean over its negatives of ``max(0, m − d)``;
    the loss is the mean over sessions, in [0, ∞).

    Deviation: eq. (3) prints the negative term as ``max(0, d − m)``, which would pull far negatives nearer; ``m − d``
    is meant, as in the reference.

    Attributes:
        margin: distance beyond which a negative is left alone, at least 0. The paper prints none for this loss; the
            default is that of its triplet loss.

    Raises:
        ConfigError: a margin that is negative or no finite number.

    Paper: eq. (3), §3. Reference: Hadsell, Chopra, LeCun, Dimensionality Reduction by Learning an Invariant Mapping,
    CVPR 2006.

    >>> batch = LossInput(positive=torch.tensor([[0.25]]), negative=torch.tensor([[0.5, 2.0]]))
    >>> Contrastive(margin=1.0)(batch)  # 0.25 + (0.5 + 0) / 2
    tensor(0.5000)
    """

    margin: Margin = 0.3

    needs_item_distances = False

    def __call__(self, batch: LossInput) -> Tensor:
        masked = batch.masked()
        pull = mean_where(masked.positive, masked.positive_mask)
        push = mean_where(torch.relu(self.margin - masked.negative), masked.negative_mask)
        return masked.mean_over_sessions(pull + push)


@options
class WARP:
    """Rank-weighted hinge, ``H(rank_p) max(0, m + d_kp − d_kn)`` with ``H(r) = 1 + 1/2 + ... + 1/r``.

    A negative violates when it is not farther than the positive by the margin. The rank of a positive is estimated as
    the number of its violators, or, with ``n_items``, as their share of the session's negatives times the other
    ``n_items − 1`` items. The hinge is averaged over the violators, then over positives and sessions. The weight is a
    constant to the gradient, which reaches distances through the hinge only. In [0, ∞), 0 once the margin holds.

    Limit of a law: the derivative with respect to a negative's distance is never positive, but where a negative leaves
    the violators the mean of the hinges that remain may jump up.

    Deviation: the reference draws negatives until one violates, and floors the rank; here all sampled negatives of a
    session are looked at together, the mean over violators is the expectation over the one drawn, and H is
    interpolated between integers.

    Attributes:
        margin: m, at least 0, in units of distance.
        n_items: size of the catalogue, at least 2, or None to rank among the sampled negatives.

    Raises:
        ConfigError: a number out of range.

    Paper: named in §3. Reference: Weston, Bengio, Usunier, WSABIE: Scaling Up To Large Vocabulary Image Annotation,
    IJCAI 2011.

    >>> batch = LossInput(positive=torch.tensor([[0.5]]), negative=torch.tensor([[0.5, 0.25, 2.0]]))
    >>> WARP(margin=0.25)(batch)  # two violators: (1 + 1/2) × (0.25 + 0.5) / 2
    tensor(0.5625)
    """

    margin: Margin = 0.3
    n_items: Annotated[int, at_least(2)] | None = None

    needs_item_distances = False

    def __call__(self, batch: LossInput) -> Tensor:
        masked = batch.masked()
        hinge = torch.relu(self.margin + masked.positive[:, :, None] - masked.negative[:, None, :])  # [B, P, N]
        violates = (hinge > 0) & masked.negative_mask[:, None, :]
        rank = violates.sum(dim=2).to(hinge.dtype)  # [B, P]
        if self.n_items is not None:
            rank = rank / masked.negative_mask.sum(dim=1, keepdim=True).clamp(min=1) * (self.n_items - 1)
        per_positive = _harmonic(rank) * mean_where(hinge, violates)
        return masked.mean_over_sessions(mean_where(per_positive, masked.positive_mask))


def _harmonic(rank: Tensor) -> Tensor:
    """``1 + 1/2 + ... + 1/r``, smooth between integers: the digamma function of r + 1, plus Euler's constant."""
    return torch.digamma(rank + 1) + np.euler_gamma

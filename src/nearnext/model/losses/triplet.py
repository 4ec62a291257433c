"""Triplet loss with margin, rank weights and swap: the three variants of the paper's ablation."""

from typing import Annotated

import torch
from torch import Tensor

from nearnext.errors import ConfigError
from nearnext.model.losses.loss_input import LossInput
from nearnext.model.losses.pairs import Margin, Pairing, pairs_of
from nearnext.options import Search, options


@options
class Triplet:
    """Weighted triplet loss, ``1/|S| Σ_s Σ_j w_j max(0, d(s, i_p) − d(s, i_n) + m)`` with ``w_j = √(1 / (1 + j))``.

    j is the position of a positive among the session's positives in temporal order, from 0: the next click weighs 1,
    the second √½, the third √⅓. That is how the paper's "particular position" is read here. The loss is in [0, ∞) and
    exactly 0 once every negative is farther than its positive by the margin; moving a negative farther never raises it.

    With ``pairing="all"`` each positive meets every negative of its session and the hinges are averaged over the
    negatives, so that one weight per positive keeps its meaning and the scale does not grow with N.

    With ``chord`` each distance d counts as √(2 d). Of the cosine distance that is the Euclidean distance of normalised
    vectors, which the authors' program uses, with a margin of 0.5.

    Deviation: eq. (8) sums j = 0..L, L + 1 terms for L positives; here j = 0..L − 1.

    Attributes:
        margin: m, at least 0; 0.3 in the paper (§5.3).
        swap: the negative counts at ``min(d(s, i_n), d(i_p, i_n))``, as if anchor and positive were swapped
            (Paper: §4.2). Needs the distances between items.
        rank_weights: whether w_j is as above; otherwise every w_j is 1.
        pairing: ``matched``: the j-th positive with the j-th negative, as many of one as of the other (eq. 8; the
            order of the negatives then matters); ``all``: every positive with every negative.
        chord: whether √(2 d) is compared instead of d.

    Raises:
        ConfigError: a margin below 0, an unknown choice, unequal numbers in ``matched``, or ``swap`` without
            ``positive_negative``.

    Paper: eq. (4), (7), (8), §4.2. References: Hoffer, Ailon, Deep Metric Learning Using Triplet Network, 2015;
    Balntas et al., Learning Local Feature Descriptors with Triplets and Shallow CNNs, BMVC 2016 (swap).

    >>> batch = LossInput(positive=torch.tensor([[0.5, 0.25]]), negative=torch.tensor([[0.5, 1.0]]))
    >>> Triplet(margin=0.25)(batch)  # 1 × max(0, 0.5 − 0.5 + 0.25) + √½ × max(0, 0.25 − 1 + 0.25)
    tensor(0.2500)
    """

    margin: Margin = 0.3
    swap: Annotated[bool, Search(why="the harder of two negatives or not; paper: yes")] = False
    rank_weights: bool = True
    pairing: Pairing = "matched"
    chord: bool = False

    @property
    def needs_item_distances(self) -> bool:
        """Whether the loss reads ``positive_negative``: with swap."""
        return self.swap

    def __call__(self, batch: LossInput) -> Tensor:
        """The loss of a batch, a scalar."""
        masked = batch.masked()
        pairs = pairs_of(masked, self.pairing)
        positive, negative = pairs.positive, pairs.negative
        if self.swap:
            if pairs.positive_negative is None:
                raise ConfigError(
                    "swap needs positive_negative [B, P, N] distances, found none; give them to LossInput"
                )
            negative = torch.minimum(negative, pairs.positive_negative)
        if self.chord:
            positive, negative = _chord(positive), _chord(negative)
        hinge = torch.where(pairs.mask, torch.relu(positive - negative + self.margin), 0.0)
        per_positive = hinge.sum(dim=2) / pairs.mask.sum(dim=2).clamp(min=1)  # [B, P]
        if self.rank_weights:
            position = masked.positive_mask.cumsum(dim=1).clamp(min=1)  # 1 + j, counted over real positives only
            per_positive = per_positive * position.rsqrt()
        return masked.mean_over_sessions(per_positive.sum(dim=1))


def _chord(distance: Tensor) -> Tensor:
    # The slope of √ is infinite at 0: there the gradient is 0 instead.
    apart = distance > 0
    return (2 * distance.where(apart, 1.0)).sqrt().where(apart, 0.0)

"""Weighted approximate-rank pairwise loss, with the rank estimated from the sampled negatives."""

from typing import Annotated

import torch
from torch import Tensor

from nearnext.model.losses.loss_input import LossInput, mean_where
from nearnext.model.losses.pairing import Margin
from nearnext.options import at_least, options

__all__ = ["WARP"]

EULER_GAMMA = 0.5772156649015329


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

    @property
    def needs_item_distances(self) -> bool:
        """Whether the loss reads ``positive_negative``: no."""
        return False

    def __call__(self, batch: LossInput) -> Tensor:
        """The loss of a batch, a scalar."""
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
    return torch.digamma(rank + 1) + EULER_GAMMA

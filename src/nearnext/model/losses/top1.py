"""TOP1 in distance form: a smooth rank and a regulariser that keeps negative scores near zero."""

import torch
from torch import Tensor

from nearnext.model.losses.loss_input import LossInput, mean_where
from nearnext.model.losses.pairing import Pairing, pairs_of
from nearnext.options import options

__all__ = ["TOP1"]


@options
class TOP1:
    """TOP1, ``σ(d_kp − d_kn) + σ((1 − d_kn)²)``, the mean over the pairs of a session, then over sessions; in (½, 2).

    1 − d is the score of an item at cosine distance d, so that the second term draws negatives to score 0,
    distance 1; with another distance than cosine that point has no such meaning. The paper gives the loss of one
    pair only; the mean over a session's pairs is ours.

    Limit of a law: moving a negative farther never raises the loss while its distance is at most 1; beyond, the
    regulariser pulls it back.

    Attributes:
        pairing: ``all``: every positive with every negative of its session; ``matched``: the j-th with the j-th.

    Raises:
        ConfigError: an unknown pairing, or unequal numbers in ``matched``.

    Paper: eq. (2), (6), §3. Reference: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks,
    ICLR 2016.

    >>> TOP1()(LossInput(positive=torch.tensor([[1.0]]), negative=torch.tensor([[1.0]])))  # σ(0) + σ(0)
    tensor(1.)
    """

    pairing: Pairing = "all"

    @property
    def needs_item_distances(self) -> bool:
        """Whether the loss reads ``positive_negative``: no."""
        return False

    def __call__(self, batch: LossInput) -> Tensor:
        """The loss of a batch, a scalar."""
        masked = batch.masked()
        pairs = pairs_of(masked, self.pairing)
        score = 1 - pairs.negative
        per_pair = torch.sigmoid(pairs.positive - pairs.negative) + torch.sigmoid(score.square())
        return masked.mean_over_sessions(mean_where(per_pair.flatten(1), pairs.mask.flatten(1)))

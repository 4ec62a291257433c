"""Contrastive loss: positives are pulled to the session, negatives pushed out of a margin."""

import torch
from torch import Tensor

from nearnext.model.losses.loss_input import LossInput, mean_where
from nearnext.model.losses.pairing import Margin
from nearnext.options import options

__all__ = ["Contrastive"]


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

    @property
    def needs_item_distances(self) -> bool:
        """Whether the loss reads ``positive_negative``: no."""
        return False

    def __call__(self, batch: LossInput) -> Tensor:
        """The loss of a batch, a scalar."""
        masked = batch.masked()
        pull = mean_where(masked.positive, masked.positive_mask)
        push = mean_where(torch.relu(self.margin - masked.negative), masked.negative_mask)
        return masked.mean_over_sessions(pull + push)

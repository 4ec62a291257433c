"""Which positive meets which negative of its session: the j-th with the j-th, or all with all."""

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from nearnext.errors import ConfigError
from nearnext.model.losses.loss_input import MaskedDistances
from nearnext.options import NonNegative, Search

__all__ = ["Margin", "Pairing", "Pairs", "pairs_of"]

Pairing = Literal["matched", "all"]

Margin = Annotated[
    NonNegative, Search(0.05, 1.0, why="how far negatives must be; paper: 0.3 of a cosine distance of 2")
]
"""How much farther than a positive a negative must be, in units of distance."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distances of the pairs of a batch, ready to broadcast; K is 1 when matched, N when all meet all.

    Attributes:
        positive: ``[B, P, 1]`` distances of the sessions to the positives.
        negative: ``[B, P, 1]`` (matched) or ``[B, 1, N]`` (all) distances of the sessions to the negatives.
        mask: ``[B, P, K]`` True where positive and negative both count.
        positive_negative: ``[B, P, K]`` distances between the two items of a pair, or None.
    """

    positive: Tensor
    negative: Tensor
    mask: Tensor
    positive_negative: Tensor | None


def pairs_of(batch: MaskedDistances, pairing: Pairing) -> Pairs:
    """The pairs of a batch.

    Raises:
        ConfigError: ``matched`` with unequal numbers of positives and negatives.

    >>> import torch
    >>> from nearnext.model.losses import LossInput
    >>> batch = LossInput(positive=torch.tensor([[0.1, 0.2]]), negative=torch.tensor([[0.9, 0.4]])).masked()
    >>> (pairs_of(batch, "matched").mask.shape, pairs_of(batch, "all").mask.shape)
    (torch.Size([1, 2, 1]), torch.Size([1, 2, 2]))
    """
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

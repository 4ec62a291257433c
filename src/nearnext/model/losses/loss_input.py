"""What a loss reads, distances from sessions to their items, and the protocol that every loss on distances follows."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from nearnext.errors import ConfigError


@dataclass(frozen=True, eq=False)
class MaskedDistances:
    """Inputs of a loss: distances of at least float32, 0 where masked, and both masks."""

    positive: Tensor  # ``[B, P]`` distances
    negative: Tensor  # ``[B, N]`` distances
    positive_mask: Tensor  # ``[B, P]`` booleans, True where the entry counts
    negative_mask: Tensor  # ``[B, N]`` booleans, likewise
    positive_negative: Tensor | None  # ``[B, P, N]`` distances between items, or None
    log_proposal: Tensor | None  # ``[B, N]`` logarithms of expected counts, or None
    weights: Tensor | None = None  # ``[B]`` factors of the sessions' losses, or None

    def mean_over_sessions(self, per_session: Tensor) -> Tensor:
        """The mean of ``per_session: [B]``, times the weights if any; 0 where no session has a positive and a negative.

        It is over the sessions that have both.
        """
        counted = self.positive_mask.any(dim=1) & self.negative_mask.any(dim=1)
        per_session = per_session if self.weights is None else per_session * self.weights
        return torch.where(counted, per_session, 0.0).sum() / counted.sum().clamp(min=1)


@dataclass(frozen=True, eq=False)
class LossInput:
    """The distances of a batch of anchor sessions to their positives and negatives.

    Attributes:
        positive: ``[B, P]`` distances of each session to its positives, in temporal order, nearest click first.
        negative: ``[B, N]`` distances of each session to its negatives.
        positive_negative: ``[B, P, N]`` distances between the session's positives and its negatives; only a loss
            with ``needs_item_distances`` reads it.
        positive_mask: ``[B, P]`` booleans, False where a short list is padded; None when all are real.
        negative_mask: ``[B, N]`` booleans, likewise.
        log_proposal: ``[B, N]`` or ``[N]`` natural logarithms of how often the sampler expects to draw each negative,
            for a loss that corrects for popularity (NCAS).
        weights: ``[B]`` factors of the sessions' losses, see `MaskedDistances.mean_over_sessions`; None when all are 1.

    Raises:
        ConfigError: shapes that do not fit together, or masks that are not boolean.

    >>> batch = LossInput(positive=torch.tensor([[0.1, 0.2]]), negative=torch.tensor([[0.9, 0.4, 1.0]]))
    >>> batch.masked().negative_mask.tolist()
    [[True, True, True]]
    """

    positive: Tensor
    negative: Tensor
    positive_negative: Tensor | None = None
    positive_mask: Tensor | None = None
    negative_mask: Tensor | None = None
    log_proposal: Tensor | None = None
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        if self.positive.ndim != 2 or self.negative.ndim != 2 or len(self.positive) != len(self.negative):  # noqa: PLR2004
            raise ConfigError(
                "positive distances must be [B, P] and negative distances [B, N] of the same B, found "
                f"{tuple(self.positive.shape)} and {tuple(self.negative.shape)}"
            )
        positive, negative = tuple(self.positive.shape), tuple(self.negative.shape)
        _require_shape("positive_negative", self.positive_negative, (*positive, negative[1]))
        _require_shape("positive_mask", self.positive_mask, positive)
        _require_shape("negative_mask", self.negative_mask, negative)
        _require_shape("log_proposal", self.log_proposal, negative, negative[1:])
        _require_shape("weights", self.weights, positive[:1])
        for name, mask in (("positive_mask", self.positive_mask), ("negative_mask", self.negative_mask)):
            if mask is not None and mask.dtype != torch.bool:
                raise ConfigError(f"{name} must be boolean, found {mask.dtype}; compare the lengths instead")

    def masked(self) -> MaskedDistances:
        """The same distances with every mask given, at least float32, and 0 wherever an entry is masked."""
        positive_mask, negative_mask = (
            torch.ones_like(distances, dtype=torch.bool) if mask is None else mask
            for mask, distances in ((self.positive_mask, self.positive), (self.negative_mask, self.negative))
        )
        item_distances, log_proposal = self.positive_negative, self.log_proposal
        if item_distances is not None:
            item_distances = _zero_masked(item_distances, positive_mask[:, :, None] & negative_mask[:, None, :])
        if log_proposal is not None:
            log_proposal = _zero_masked(log_proposal.expand_as(self.negative), negative_mask)
        return MaskedDistances(
            positive=_zero_masked(self.positive, positive_mask),
            negative=_zero_masked(self.negative, negative_mask),
            positive_mask=positive_mask,
            negative_mask=negative_mask,
            positive_negative=item_distances,
            log_proposal=log_proposal,
            weights=self.weights,
        )


@runtime_checkable
class Loss(Protocol):
    """A pure function from the distances of a batch to a scalar, written as a frozen config.

    The result is the mean over the sessions that have at least one positive and one negative, 0 where none has; it is
    float32 for inputs of lower precision, the input's precision otherwise.
    """

    @property
    def needs_item_distances(self) -> bool:
        """Whether the loss reads ``positive_negative``."""
        ...

    def __call__(self, batch: LossInput) -> Tensor:
        """The loss of a batch, a scalar."""
        ...


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the last dimension of the entries that count, 0 where none does."""
    return torch.where(mask, values, 0.0).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)


def _require_shape(name: str, tensor: Tensor | None, *shapes: tuple[int, ...]) -> None:
    if tensor is not None and tuple(tensor.shape) not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise ConfigError(f"{name} must have shape {expected} to fit the distances, found {list(tensor.shape)}")


def _zero_masked(values: Tensor, mask: Tensor) -> Tensor:
    # Selecting before any arithmetic keeps even a NaN under the mask out of the value and of the gradient.
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    return torch.where(mask, wide, 0.0)

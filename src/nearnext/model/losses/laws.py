"""The laws of losses on distances."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from nearnext.model.losses.loss_input import Loss, LossInput
from nearnext.registration import Laws, require_lawful

SESSIONS, POSITIVES, NEGATIVES = 3, 4, 4

FARTHER = 0.25
"""How much farther negatives are moved."""


def check_loss(loss: Loss, *, monotone: bool = False) -> None:
    """A check that a loss on distances keeps the laws of its kind.

    Args:
        loss: as it is used.
        monotone: whether moving a negative farther must never raise it; smoothed labels and TOP1 do not promise that.

    Raises:
        ContractError: it breaks one; the message names the law and an example.

    >>> from nearnext.model.losses import Triplet
    >>> check_loss(Triplet(margin=0.5), monotone=True)
    """
    require_lawful(loss, {**LAWS, **(MONOTONE if monotone else {})}, f"loss {type(loss).__name__}")


def _config(loss: Loss) -> str | None:
    if not dataclasses.is_dataclass(loss) or isinstance(loss, type):
        return f"found {loss!r}; put @dataclass(frozen=True) above the class"
    if not isinstance(getattr(loss, "needs_item_distances", None), bool):
        return "found no needs_item_distances; put needs_item_distances = False, or True, into the class"
    hash(loss)
    return None


def _scalar(loss: Loss) -> str | None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        found: Any = loss(_given(loss, _batch(dtype=dtype)))
        if not isinstance(found, Tensor) or found.shape != ():
            shape = f"shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            return f"found {shape} for distances [{SESSIONS}, {POSITIVES}]; give the mean over the sessions"
        expected = torch.promote_types(dtype, torch.float32)
        if found.dtype != expected or not found.isfinite():
            return f"expected a finite {expected}, found {found.item()} of {found.dtype} for distances of {dtype}"
    return None


def _masked(loss: Loss) -> str | None:
    batch = _short()
    for value in (0.0, 7.0, float("nan")):
        spoiled = _spoiled(batch, value)
        found, expected = loss(_given(loss, spoiled)), loss(_given(loss, batch))
        if not torch.allclose(found, expected):
            return f"with {value} where masked it is {found:.6g}, before {expected:.6g}; compute on batch.masked()"
        for one, other in zip(_gradients(loss, spoiled), _gradients(loss, batch), strict=True):
            if not torch.allclose(one, other):
                return f"with {value} where masked the gradient is another; compute on batch.masked()"
    return None


def _mean(loss: Loss) -> str | None:
    batch = _short()
    alone = torch.stack([loss(_given(loss, _session(batch, row))) for row in range(SESSIONS)])
    found = loss(_given(loss, batch))
    if torch.allclose(found, alone.mean()):
        return None
    return f"it is {found:.6g}, the mean of the {SESSIONS} sessions alone {alone.mean():.6g}; see mean_over_sessions"


def _nothing(loss: Loss) -> str | None:
    batch = _batch(positive_mask=torch.zeros(SESSIONS, POSITIVES, dtype=torch.bool))
    found = loss(_given(loss, batch))
    if found.item() == 0.0 and not any(bool(one.any()) for one in _gradients(loss, batch)):
        return None
    return f"it is {found:.6g}, or has a gradient; see mean_over_sessions"


def _gradient(loss: Loss) -> str | None:
    positive, negative = _gradients(loss, _batch())
    if positive.any() and negative.any():
        return None
    still = "positives" if not positive.any() else "negatives"
    return f"the distances of the {still} have no gradient, so that nothing is learned from them"


def _item_distances(loss: Loss) -> str | None:
    batch = _short()
    other = dataclasses.replace(batch, positive_negative=torch.zeros(SESSIONS, POSITIVES, NEGATIVES).double())
    reads = not torch.allclose(loss(batch), loss(other))
    if reads == loss.needs_item_distances:
        return None
    verb = "reads" if reads else "does not read"
    return f"it {verb} positive_negative, and needs_item_distances is {loss.needs_item_distances}"


def _unmodified(loss: Loss) -> str | None:
    batch = _short()
    before = {name: value.clone() for name, value in vars(batch).items() if value is not None}
    loss(_given(loss, batch))
    changed = [name for name, value in before.items() if not torch.equal(getattr(batch, name), value)]
    return f"{changed[0]} was changed in place; work on a copy" if changed else None


def _farther(loss: Loss) -> str | None:
    for seed in range(8):
        batch = _batch(seed)
        before = loss(_given(loss, batch)).item()
        for column in range(NEGATIVES):
            negative = batch.negative.clone()
            negative[0, column] += FARTHER
            after = loss(_given(loss, dataclasses.replace(batch, negative=negative))).item()
            if after > before + 1e-12:
                nearer = f"{batch.negative[0, column]:.3f}"
                return f"a negative at {nearer} moved to {negative[0, column]:.3f}: {before:.6g} became {after:.6g}"
    return None


LAWS: Laws[Loss] = {
    "it is a frozen dataclass that says whether it needs item distances": _config,
    "a batch gives one finite number, of at least 32 bits": _scalar,
    "inputs are not modified": _unmodified,
    "masked entries change neither value nor gradient": _masked,
    "a batch gives the mean of its sessions": _mean,
    "a batch without a positive gives 0, and no gradient": _nothing,
    "positives and negatives get a gradient": _gradient,
    "item distances are read where needs_item_distances says so, and only there": _item_distances,
}

MONOTONE: Laws[Loss] = {"moving a negative farther never raises it": _farther}


def _batch(seed: int = 0, dtype: torch.dtype = torch.float64, **masks: Tensor) -> LossInput:
    draw = torch.Generator().manual_seed(seed)

    def distances(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, generator=draw, dtype=torch.float64)

    # Positives are far, so that every loss has something to do.
    return LossInput(
        positive=(1.0 + distances(SESSIONS, POSITIVES) / 2).to(dtype),
        negative=distances(SESSIONS, NEGATIVES).to(dtype),
        positive_negative=distances(SESSIONS, POSITIVES, NEGATIVES).to(dtype),
        log_proposal=distances(SESSIONS, NEGATIVES).to(dtype),
        **masks,
    )


def _short() -> LossInput:
    """Sessions that lack some positives and negatives."""
    return _batch(
        positive_mask=torch.tensor([[1, 1, 0, 1], [1, 0, 1, 0], [1, 1, 1, 1]]).bool(),
        negative_mask=torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1]]).bool(),
    )


def _given(loss: Loss, batch: LossInput) -> LossInput:
    """What a loss gets in training: item distances only where it needs them."""
    return batch if loss.needs_item_distances else dataclasses.replace(batch, positive_negative=None)


def _session(batch: LossInput, row: int) -> LossInput:
    return LossInput(**{name: value[row : row + 1] for name, value in vars(batch).items() if value is not None})


def _spoiled(batch: LossInput, value: float) -> LossInput:
    """Another value wherever an entry is masked."""
    masked = batch.masked()
    assert batch.positive_negative is not None  # noqa: S101 - `_batch` gives both
    assert batch.log_proposal is not None  # noqa: S101
    pairs = masked.positive_mask[:, :, None] & masked.negative_mask[:, None, :]
    return dataclasses.replace(
        batch,
        positive=batch.positive.where(masked.positive_mask, value),
        negative=batch.negative.where(masked.negative_mask, value),
        positive_negative=batch.positive_negative.where(pairs, value),
        log_proposal=batch.log_proposal.where(masked.negative_mask, value),
    )


def _gradients(loss: Loss, batch: LossInput) -> tuple[Tensor, Tensor]:
    """Of the distances to positives and to negatives, 0 where they have none."""
    positive, negative = batch.positive.clone().requires_grad_(), batch.negative.clone().requires_grad_()
    found = loss(_given(loss, dataclasses.replace(batch, positive=positive, negative=negative)))
    if found.requires_grad:
        found.backward()  # pyright: ignore[reportUnknownMemberType] - torch leaves it partly untyped
    return tuple(torch.zeros_like(one) if one.grad is None else one.grad for one in (positive, negative))  # pyright: ignore[reportReturnType]

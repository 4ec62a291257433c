"""Laws that hold for every loss on distances, and, where one has a limit, the limit."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nearnext.model.losses import BPR, NCAS, TOP1, WARP, Contrastive, Loss, LossInput, Triplet
from nearnext.registry import LOSSES
from nearnext.testing import check_loss

EXACT_NCAS: list[Loss] = [NCAS(smoothing=0.0), NCAS(smoothing=0.0, direction="cross_entropy", temperature=0.1)]
SMOOTHED_NCAS: list[Loss] = [NCAS(), NCAS(direction="cross_entropy"), NCAS(temperature=0.1)]
MARGIN: list[Loss] = [
    Triplet(),
    Triplet(margin=0.0),
    Triplet(swap=True),
    Triplet(pairing="all"),
    Triplet(pairing="all", swap=True, rank_weights=False),
    WARP(),
    WARP(n_items=1000),
]
MONOTONE: list[Loss] = [Contrastive(), Contrastive(margin=1.0), BPR(), BPR(pairing="matched"), *EXACT_NCAS]
TOP1S: list[Loss] = [TOP1(), TOP1(pairing="matched")]
EVERY = [*MONOTONE, *MARGIN, *TOP1S, *SMOOTHED_NCAS]
every_loss = pytest.mark.parametrize("loss", EVERY, ids=str)

SESSIONS, POSITIVES, NEGATIVES = 3, 4, 4
MASKED = LossInput(
    positive=torch.zeros(SESSIONS, POSITIVES),
    negative=torch.zeros(SESSIONS, NEGATIVES),
    positive_mask=torch.tensor([[1, 1, 0, 1], [1, 0, 1, 0], [1, 1, 1, 1]]).bool(),
    negative_mask=torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1]]).bool(),
)


def random_batch(seed: int = 0, dtype: torch.dtype = torch.float64, **masks: Any) -> LossInput:
    torch.manual_seed(seed)
    return LossInput(
        positive=2 * torch.rand(SESSIONS, POSITIVES, dtype=dtype),
        negative=2 * torch.rand(SESSIONS, NEGATIVES, dtype=dtype),
        positive_negative=2 * torch.rand(SESSIONS, POSITIVES, NEGATIVES, dtype=dtype),
        log_proposal=torch.rand(SESSIONS, NEGATIVES, dtype=dtype),
        **masks,
    )


def masked_batch(seed: int = 0) -> LossInput:
    return random_batch(seed, positive_mask=MASKED.positive_mask, negative_mask=MASKED.negative_mask)


def session(batch: LossInput, row: int) -> LossInput:
    rows = {name: value[row : row + 1] for name, value in vars(batch).items() if value is not None}
    return LossInput(**rows)


def with_gradients(batch: LossInput) -> LossInput:
    item_distances = None if batch.positive_negative is None else batch.positive_negative.clone().requires_grad_()
    return replace(
        batch,
        positive=batch.positive.clone().requires_grad_(),
        negative=batch.negative.clone().requires_grad_(),
        positive_negative=item_distances,
    )


def gradients(loss: Loss, batch: LossInput) -> tuple[Tensor, Tensor, Tensor]:
    batch = with_gradients(batch)
    loss(batch).backward()
    assert batch.positive.grad is not None
    assert batch.negative.grad is not None
    assert batch.positive_negative is not None
    items = batch.positive_negative.grad
    return (
        batch.positive.grad,
        batch.negative.grad,
        torch.zeros_like(batch.positive_negative) if items is None else items,
    )


def spoiled(batch: LossInput, value: float) -> LossInput:
    positive_mask, negative_mask = batch.masked().positive_mask, batch.masked().negative_mask
    assert batch.positive_negative is not None
    assert batch.log_proposal is not None
    return replace(
        batch,
        positive=torch.where(positive_mask, batch.positive, value),
        negative=torch.where(negative_mask, batch.negative, value),
        positive_negative=torch.where(
            positive_mask[:, :, None] & negative_mask[:, None, :], batch.positive_negative, value
        ),
        log_proposal=torch.where(negative_mask, batch.log_proposal, value),
    )


def test_every_loss_of_the_registry_is_held_to_the_laws() -> None:
    assert {type(loss) for loss in EVERY} == set(LOSSES.values())


@every_loss
def test_the_laws_of_losses_hold(loss: Loss) -> None:
    check_loss(loss, monotone=loss in MONOTONE or isinstance(loss, Triplet))


distances = st.lists(st.floats(0.0, 2.0), min_size=6, max_size=6)


@pytest.mark.parametrize("loss", [*MONOTONE, *[part for part in MARGIN if isinstance(part, Triplet)]], ids=str)
@settings(deadline=None, max_examples=60)
@given(distances, distances, st.integers(0, 5), st.floats(0.0, 3.0))
def test_moving_a_negative_farther_never_raises_the_loss(
    loss: Loss, positive: list[float], negative: list[float], moved: int, by: float
) -> None:
    farther = list(negative)
    farther[moved] += by
    items = torch.linspace(0, 2, 18, dtype=torch.float64).reshape(2, 3, 3)
    before, after = (
        loss(
            LossInput(
                torch.tensor(positive, dtype=torch.float64).reshape(2, 3),
                torch.tensor(values, dtype=torch.float64).reshape(2, 3),
                positive_negative=items,
            )
        ).item()
        for values in (negative, farther)
    )
    assert after <= before + 1e-12


@pytest.mark.parametrize("loss", [*MONOTONE, *MARGIN], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_no_negative_is_ever_drawn_nearer(loss: Loss, seed: int) -> None:
    _, negative, items = gradients(loss, random_batch(seed))
    assert (negative <= 0).all()
    assert (items <= 0).all()
    assert negative.sum() < 0


@pytest.mark.parametrize("loss", TOP1S, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_top1_draws_no_negative_nearer_within_distance_1(loss: Loss, seed: int) -> None:
    batch = random_batch(seed)
    _, negative, _ = gradients(loss, replace(batch, negative=batch.negative / 2))
    assert (negative < 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_smoothed_ncas_draws_nearer_just_the_negatives_below_their_share(seed: int) -> None:
    batch = replace(random_batch(seed), log_proposal=None)
    batch = replace(batch, negative=batch.negative * 2)
    probabilities = torch.cat([-batch.positive, -batch.negative], dim=1).softmax(dim=1)
    share = 0.9 / (POSITIVES + NEGATIVES)
    _, negative, _ = gradients(NCAS(smoothing=0.9, direction="cross_entropy"), batch)
    below = probabilities[:, POSITIVES:] < share
    assert torch.equal(negative > 0, below)
    assert below.any()


@pytest.mark.parametrize("loss", [loss for loss in EVERY if not isinstance(loss, NCAS)], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_no_positive_is_ever_pushed_away(loss: Loss, seed: int) -> None:
    positive, _, _ = gradients(loss, random_batch(seed))
    assert (positive >= 0).all()
    assert positive.sum() > 0


@pytest.mark.parametrize("loss", MARGIN, ids=str)
def test_once_the_margin_holds_the_loss_and_its_gradient_are_exactly_zero(loss: Loss) -> None:
    batch = random_batch()
    apart = replace(
        batch,
        negative=batch.positive.amax() + 0.3 + batch.negative,
        positive_negative=torch.full((SESSIONS, POSITIVES, NEGATIVES), 5.0, dtype=torch.float64),
    )
    assert loss(apart).item() == 0.0
    assert all(gradient.count_nonzero() == 0 for gradient in gradients(loss, apart))


@every_loss
def test_padding_a_batch_changes_nothing(loss: Loss) -> None:
    batch = random_batch()
    assert batch.positive_negative is not None
    assert batch.log_proposal is not None
    real = torch.ones(SESSIONS, POSITIVES + 2).bool()
    real[:, POSITIVES:] = False
    padded = LossInput(
        positive=torch.nn.functional.pad(batch.positive, (0, 2)),
        negative=torch.nn.functional.pad(batch.negative, (0, 2)),
        positive_negative=torch.nn.functional.pad(batch.positive_negative, (0, 2, 0, 2)),
        log_proposal=torch.nn.functional.pad(batch.log_proposal, (0, 2)),
        positive_mask=real,
        negative_mask=real,
    )
    torch.testing.assert_close(loss(padded), loss(batch))


@every_loss
@pytest.mark.parametrize("emptied", ["positive_mask", "negative_mask"])
def test_a_session_without_positives_or_without_negatives_is_left_out_of_the_mean(loss: Loss, emptied: str) -> None:
    batch = masked_batch()
    mask = getattr(batch, emptied).clone()
    mask[1] = False
    others = torch.stack([loss(session(batch, 0)), loss(session(batch, 2))])
    torch.testing.assert_close(loss(replace(batch, **{emptied: mask})), others.mean())


@pytest.mark.parametrize("loss", [loss for loss in EVERY if getattr(loss, "pairing", "all") == "all"], ids=str)
def test_the_order_of_the_negatives_does_not_matter(loss: Loss) -> None:
    batch = masked_batch()
    assert batch.positive_negative is not None
    assert batch.log_proposal is not None
    assert batch.negative_mask is not None
    order = torch.tensor([2, 0, 3, 1])
    permuted = replace(
        batch,
        negative=batch.negative[:, order],
        negative_mask=batch.negative_mask[:, order],
        positive_negative=batch.positive_negative[:, :, order],
        log_proposal=batch.log_proposal[:, order],
    )
    torch.testing.assert_close(loss(permuted), loss(batch))


@every_loss
@pytest.mark.parametrize("nearest", [0.0, 1e-30, 1e4, 1e30])
@pytest.mark.parametrize("farthest", [0.0, 1e-30, 1e4, 1e30])
def test_extreme_distances_give_finite_loss_and_gradients(loss: Loss, nearest: float, farthest: float) -> None:
    batch = LossInput(
        positive=torch.tensor([[nearest, 0.5]]),
        negative=torch.tensor([[farthest, 0.5]]),
        positive_negative=torch.full((1, 2, 2), farthest),
    )
    assert loss(batch).isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(loss, batch))


@every_loss
def test_gradient_is_the_derivative_of_the_value(loss: Loss) -> None:
    batch = with_gradients(masked_batch())
    assert batch.positive_negative is not None

    def value(positive: Tensor, negative: Tensor, items: Tensor) -> Tensor:
        return loss(replace(batch, positive=positive, negative=negative, positive_negative=items))

    assert torch.autograd.gradcheck(value, (batch.positive, batch.negative, batch.positive_negative))


@every_loss
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32(loss: Loss, low: torch.dtype) -> None:
    batch = random_batch(dtype=low)
    wide = LossInput(**{name: value.float() for name, value in vars(batch).items() if value is not None})
    assert loss(batch).dtype == torch.float32
    torch.testing.assert_close(loss(batch), loss(wide))
    assert all(gradient.dtype == low for gradient in gradients(loss, batch))


@pytest.mark.parametrize("loss", EVERY, ids=str)
def test_a_few_gradient_steps_on_the_distances_lower_the_loss(loss: Loss) -> None:
    batch = with_gradients(random_batch())
    assert batch.positive_negative is not None
    start = loss(batch).item()
    optimiser = torch.optim.SGD([batch.positive, batch.negative, batch.positive_negative], lr=0.02)
    for _ in range(10):
        optimiser.zero_grad()
        loss(batch).backward()
        optimiser.step()
    assert loss(batch).item() < start

"""The sampled softmax written for speed is the one that its formula says, gradients included."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nearnext.model.distances import l2_normalised
from nearnext.training.next_item import sampled_softmax


def drawn(n: int, u: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sessions and items of length 1, targets of which two are the same, own items, and presences of 1e-6 to 1."""
    draw = np.random.default_rng(seed)
    sessions, items = (
        l2_normalised(torch.from_numpy(draw.standard_normal((rows, dim)).astype(np.float32))) for rows in (n, u)
    )
    targets = torch.from_numpy(draw.integers(0, u, n))
    targets[-1] = targets[0]
    certain = torch.cat([torch.from_numpy(draw.integers(0, u, (n, 3))), targets[:, None], targets[:, None]], dim=1)
    presence = torch.from_numpy(np.linspace(-14, 0, u).astype(np.float32))
    return sessions.requires_grad_(), items.requires_grad_(), targets, certain, presence


def plain(
    sessions: Tensor,
    items: Tensor,
    targets: Tensor,
    certain: Tensor,
    presence: Tensor,
    temperature: float,
    smoothing: float,
) -> Tensor:
    """The formula, term by term, in 64 bits."""
    drawn = presence.double().expand(len(sessions), -1).scatter(1, certain, 0.0)
    logits = sessions.double() @ items.double().T / temperature - drawn
    return functional.cross_entropy(logits, targets, label_smoothing=smoothing)


@pytest.mark.parametrize("temperature", [0.005, 0.07, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_loss_and_gradients_are_those_of_the_formula(temperature: float, smoothing: float):
    given = drawn(9, 30, 5)
    loss = sampled_softmax(*given, temperature, smoothing)
    found = torch.autograd.grad(3.0 * loss, given[:2])
    wanted_loss = plain(*given, temperature, smoothing)
    wanted = torch.autograd.grad(3.0 * wanted_loss, given[:2])
    assert float(loss.detach()) == pytest.approx(float(wanted_loss.detach()), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-5 * float(other.abs().max()))


def test_one_item_alone_is_certain():
    sessions, items, targets, certain, _ = drawn(2, 1, 4)
    loss = sampled_softmax(sessions, items, targets, certain, torch.tensor([-5.0]), 0.07, 0.1)
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-5)

"""Row-wise Adagrad and Adam by hand and against torch."""

import math

import numpy as np
import pytest
import torch

from nearnext.recommenders.gru4rec.optimisers import OPTIMISERS, Adagrad, Adam, OptimiserName, make_optimiser


def test_adagrad_divides_by_the_root_of_all_squares_so_far_and_keeps_momentum():
    weights = np.zeros((3, 1), dtype=np.float32)
    optimiser = Adagrad(weights, learning_rate=0.1, momentum=0.5)
    optimiser.step(np.array([[3.0]], np.float32), np.array([2]))
    first = -0.1 * 3 / math.sqrt(9 + 1e-6)
    assert weights[:, 0].tolist() == pytest.approx([0, 0, first])
    optimiser.step(np.array([[4.0]], np.float32), np.array([2]))
    second = 0.5 * first - 0.1 * 4 / math.sqrt(25 + 1e-6)
    assert weights[:, 0].tolist() == pytest.approx([0, 0, first + second])


def test_adam_on_all_rows_is_torch_s_adam():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 3)).astype(np.float32)
    reference = torch.from_numpy(weights.copy()).requires_grad_()
    theirs, ours = torch.optim.Adam([reference], lr=0.05), Adam(weights, learning_rate=0.05)
    for _ in range(5):
        gradient = rng.normal(size=(4, 3)).astype(np.float32)
        reference.grad = torch.from_numpy(gradient)
        theirs.step()
        ours.step(gradient)
    assert weights == pytest.approx(reference.detach().numpy(), abs=1e-5)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_rows_without_gradient_stay(name: OptimiserName):
    weights = np.ones((5, 2), dtype=np.float32)
    make_optimiser(name, weights, 0.1, 0.0).step(np.ones((2, 2), np.float32), np.array([4, 1]))
    assert (weights == 1).all(axis=1).tolist() == [True, False, True, True, False]

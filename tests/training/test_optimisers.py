"""Exact Adam on rows gives what Adam on the whole table gives; the lazy one and Adagrad leave other rows alone."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.training.optimisers import WholeAdam
from nearnext.training.row_optimisers import RowAdagrad, RowAdam
from nearnext.training.tables import RowTable

RATE = 0.01


def steps(adam: RowTable, rows: list[list[int]], rate: float = RATE) -> None:
    """One step for each list of rows, with gradients that depend on the step and the row alone."""
    for step, chosen in enumerate(rows):
        index = torch.tensor(chosen)
        adam.read(index, rate)
        gradient = torch.sin(index.float()[:, None] * 7 + step + torch.arange(3))
        adam.write(index, gradient, rate)


def tables() -> tuple[torch.Tensor, torch.Tensor]:
    table = torch.linspace(-1, 1, 60).reshape(20, 3)
    return table, table.clone()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=5, unique=True), min_size=1, max_size=120))
def test_rows_end_where_adam_on_the_whole_table_leaves_them(rows: list[list[int]]):
    mine, whole = tables()
    lazy = RowAdam(mine)
    steps(lazy, rows)
    steps(WholeAdam(whole), rows)
    lazy.settle(RATE)
    np.testing.assert_allclose(mine.numpy(), whole.numpy(), atol=2e-5)


def test_a_row_that_waits_for_thousands_of_steps_ends_where_adam_leaves_it():
    mine, whole = tables()
    lazy, dense = RowAdam(mine), WholeAdam(whole)
    for adam in (lazy, dense):
        steps(adam, [[3], *[[0]] * 3000, [3], [5], *[[0]] * 30])
    lazy.settle(RATE)
    np.testing.assert_allclose(mine.numpy(), whole.numpy(), atol=5e-5)


def test_reading_shows_a_row_as_adam_has_it_now():
    mine, whole = tables()
    lazy, dense = RowAdam(mine), WholeAdam(whole)
    for adam in (lazy, dense):
        steps(adam, [[4], [1], [2]])
    every_row = torch.arange(20)
    np.testing.assert_allclose(lazy.read(every_row, RATE).numpy(), dense.read(every_row, RATE).numpy(), atol=1e-6)


def test_settling_between_two_learning_rates_applies_each_to_its_own_steps():
    mine, whole = tables()
    lazy, dense = RowAdam(mine), WholeAdam(whole)
    for adam in (lazy, dense):
        steps(adam, [[4], [1]])
        adam.settle(RATE)
        steps(adam, [[2], [2]], rate=RATE / 10)
        adam.settle(RATE / 10)
    np.testing.assert_allclose(mine.numpy(), whole.numpy(), atol=1e-6)


def test_a_row_without_any_gradient_stays_exactly():
    mine, _ = tables()
    before = mine[7].clone()
    lazy = RowAdam(mine)
    steps(lazy, [[1], [2]] * 50)
    lazy.settle(RATE)
    assert torch.equal(mine[7], before)


EVERY: dict[str, Callable[[torch.Tensor], RowTable]] = {
    "exact adam": RowAdam,
    "lazy adam": partial(RowAdam, betas=(0.9, 0.98), exact=False),
    "adagrad": partial(RowAdagrad, momentum=0.3),
    "whole adam": WholeAdam,
}
every_optimiser = pytest.mark.parametrize("optimiser", EVERY.values(), ids=EVERY.keys())


@every_optimiser
def test_a_restored_optimiser_goes_on_as_if_nothing_had_been(optimiser: Callable[[torch.Tensor], RowTable]):
    first, second = [[4, 1], [2], [1]], [[2, 7], [4]]
    table, other = tables()
    through = optimiser(table)
    steps(through, first)
    state = {name: tensor.clone() for name, tensor in through.state().items()}
    other.copy_(table)
    resumed = optimiser(other)
    resumed.restore(state)
    for adam in (through, resumed):
        steps(adam, second)
        adam.settle(RATE)
    torch.testing.assert_close(other, table)


@pytest.mark.parametrize("optimiser", [EVERY["lazy adam"], EVERY["adagrad"]])
def test_rows_that_no_step_reads_stay(optimiser: Callable[[torch.Tensor], RowTable]):
    table, before = tables()
    lazy = optimiser(table)
    steps(lazy, [[4, 1], [1], [4]])
    lazy.settle(RATE)
    assert (table != before).any(dim=1).nonzero().flatten().tolist() == [1, 4]


@pytest.mark.parametrize("exact", [True, False])
def test_on_all_rows_it_is_torch_s_adam(exact: bool):
    mine, theirs = tables()
    adam = RowAdam(mine, betas=(0.9, 0.98), exact=exact)
    reference = torch.optim.Adam([theirs.requires_grad_()], lr=RATE, betas=(0.9, 0.98))
    rows = torch.arange(len(mine))
    for step in range(5):
        theirs.grad = torch.sin(theirs.detach() * 9 + step)
        adam.write(rows, theirs.grad, RATE)
        reference.step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_adagrad_divides_by_the_root_of_all_squares_so_far_and_keeps_momentum():
    table, rows = torch.zeros(3, 1), torch.tensor([2])
    adagrad = RowAdagrad(table, momentum=0.5)
    adagrad.write(rows, torch.tensor([[3.0]]), 0.1)
    first = -0.1 * 3 / math.sqrt(9 + 1e-6)
    assert table[:, 0].tolist() == pytest.approx([0, 0, first])
    adagrad.write(rows, torch.tensor([[4.0]]), 0.1)
    second = 0.5 * first - 0.1 * 4 / math.sqrt(25 + 1e-6)
    assert table[:, 0].tolist() == pytest.approx([0, 0, first + second])

"""Moving a row only when it is read gives what Adam on the whole table gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.training.row_adam import RowAdam, TableOptimiser, WholeAdam

RATE = 0.01


def steps(adam: TableOptimiser, rows: list[list[int]], rate: float = RATE) -> None:
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


@pytest.mark.parametrize("optimiser", [RowAdam, WholeAdam])
def test_a_restored_optimiser_goes_on_as_if_nothing_had_been(optimiser: type[RowAdam] | type[WholeAdam]):
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

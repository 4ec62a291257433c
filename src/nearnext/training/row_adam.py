"""Adam for embedding tables of which a step reads a few rows only.

Adam moves every row in every step, by its momentum, even where the gradient is zero. A row that no batch reads can be
moved later: what Adam would have done to it in the meantime is a known function of the two moments it had. So a step
costs as much as the rows that it reads, not as the table, and the result is that of Adam on the whole table.
"""

from typing import Protocol

import numpy as np
import torch
from numba import njit
from torch import Tensor

from nearnext.model.tensors import as_tensor
from nearnext.types import FloatArray, Int64Array, ScoreArray

__all__ = ["BETAS", "EPSILON", "RowAdam", "TableOptimiser", "WholeAdam"]

BETAS = (0.9, 0.999)
EPSILON = 1e-8

HORIZON = 40_000
"""Steps after which the bias corrections are 1 in 64 bits."""

RATIO = BETAS[0] / BETAS[1] ** 0.5


class TableOptimiser(Protocol):
    """Adam over a table of embeddings, rows at a time.

    >>> table = torch.zeros(3, 2)
    >>> adam: TableOptimiser = WholeAdam(table)
    >>> adam.read(torch.tensor([1]), learning_rate=0.1).shape
    torch.Size([1, 2])
    """

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:
        """The rows as Adam has them now, copied: [U] distinct row numbers → [U, D]."""
        ...

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """One step of Adam, with these gradients for rows that were just read and 0 for all others: [U], [U, D]."""
        ...

    def settle(self, learning_rate: float) -> None:
        """Every row moved to where Adam has it now: before the table is read or the learning rate changes."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What a later `restore` needs, besides the table."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """The moments as they were when ``state`` was taken."""
        ...


class WholeAdam:
    """Adam that moves the whole table in every step, which is what an accelerator does fastest.

    Args:
        table: values of the rows, changed in place: [rows, D].

    >>> table = torch.ones(2, 1)
    >>> WholeAdam(table).write(torch.tensor([1]), torch.tensor([[5.0]]), learning_rate=0.1)
    >>> table.flatten().tolist()
    [1.0, 0.89999...]
    """

    def __init__(self, table: Tensor) -> None:
        self._table = table
        self._adam = torch.optim.Adam([table], betas=BETAS, eps=EPSILON)

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:  # noqa: ARG002, D102
        return self._table.index_select(0, rows)

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:  # noqa: D102
        self._adam.param_groups[0]["lr"] = learning_rate
        self._table.grad = torch.zeros_like(self._table).index_copy_(0, rows, gradient)
        self._adam.step()  # pyright: ignore[reportUnknownMemberType] - its closure is untyped
        self._table.grad = None

    def settle(self, learning_rate: float) -> None:
        """Nothing: no row waits."""

    def state(self) -> dict[str, Tensor]:  # noqa: D102
        return dict(self._adam.state[self._table])

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: D102
        self._adam.state[self._table].update(state)


class RowAdam:
    """Adam that moves a row when it is read, on the CPU.

    With c(s) = √(1 − β₂ˢ) / (1 − β₁ˢ) and r = β₁ / √β₂, a row with moments m, v that waits from step t to step u
    moves by −lr · m / √v · Σ_{s=t+1..u} r^(s−t) c(s), and m, v shrink by β₁^(u−t), β₂^(u−t). That is exact but for ε,
    which is taken as it is in the first of these steps.

    Args:
        table: values of the rows, changed in place: [rows, D].

    Reference: Kingma, Ba, Adam, 2015.

    >>> table = torch.ones(2, 1)
    >>> RowAdam(table).write(torch.tensor([1]), torch.tensor([[5.0]]), learning_rate=0.1)
    >>> table.flatten().tolist()
    [1.0, 0.89999...]
    """

    def __init__(self, table: Tensor) -> None:
        self._table = table.numpy()
        self._mean = np.zeros_like(self._table)
        self._square = np.zeros_like(self._table)
        self._moved = np.zeros(len(table), dtype=np.int64)
        self._steps = 0
        self._ahead = _sums_ahead(RATIO, BETAS[0], BETAS[1], HORIZON)

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:  # noqa: D102
        values = np.empty((len(rows), self._table.shape[1]), dtype=self._table.dtype)
        arrays = (self._table, self._mean, self._square, self._moved)
        _catch_up(*arrays, rows.numpy(), self._steps, learning_rate, self._ahead, values)
        return as_tensor(values)

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:  # noqa: D102
        self._steps += 1
        arrays = (self._table, self._mean, self._square, self._moved)
        _step(*arrays, rows.numpy(), gradient.numpy(), self._steps, learning_rate)

    def settle(self, learning_rate: float) -> None:  # noqa: D102
        waiting = np.flatnonzero(self._moved < self._steps)
        for begin in range(0, len(waiting), 4096):
            self.read(as_tensor(waiting[begin : begin + 4096]), learning_rate)

    def state(self) -> dict[str, Tensor]:  # noqa: D102
        arrays = {"mean": self._mean, "square": self._square, "moved": self._moved, "steps": np.array(self._steps)}
        return {name: as_tensor(array) for name, array in arrays.items()}

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: D102
        self._mean[:], self._square[:] = state["mean"].numpy(), state["square"].numpy()
        self._moved[:], self._steps = state["moved"].numpy(), int(state["steps"])


@njit(cache=True, nogil=True)
def _sums_ahead(ratio: float, beta1: float, beta2: float, horizon: int) -> FloatArray:
    """Σ_{s>t} r^(s−t) c(s) for t = 0..horizon; from there on it no longer changes."""
    sums = np.empty(horizon + 1)
    ahead = ratio / (1 - ratio)
    for step in range(horizon, -1, -1):
        sums[step] = ahead
        if step > 0:
            ahead = ratio * (np.sqrt(1 - beta2**step) / (1 - beta1**step) + ahead)
    return sums


@njit(cache=True, nogil=True, error_model="numpy")
def _catch_up(
    table: ScoreArray,
    mean: ScoreArray,
    square: ScoreArray,
    moved: Int64Array,
    rows: Int64Array,
    steps: int,
    learning_rate: float,
    ahead: FloatArray,
    values: ScoreArray,
) -> None:
    """Rows moved to where Adam has them after ``steps`` steps, and copied into ``values``."""
    last = len(ahead) - 1
    for place in range(len(rows)):
        row = rows[place]
        waited = steps - moved[row]
        if waited > 0:
            drift = ahead[min(moved[row], last)] - RATIO**waited * ahead[min(steps, last)]
            factor = np.float32(learning_rate * drift)
            epsilon = np.float32(EPSILON * np.sqrt(1 - BETAS[1] ** (moved[row] + 1)))
            of_mean, of_square = np.float32(BETAS[0] ** waited), np.float32(BETAS[1] ** waited)
            p, m, v = table[row], mean[row], square[row]
            for d in range(table.shape[1]):
                p[d] -= factor * m[d] / (np.sqrt(v[d]) + epsilon)
                m[d] *= of_mean
                v[d] *= of_square
            moved[row] = steps
        values[place] = table[row]


@njit(cache=True, nogil=True, error_model="numpy")
def _step(
    table: ScoreArray,
    mean: ScoreArray,
    square: ScoreArray,
    moved: Int64Array,
    rows: Int64Array,
    gradient: ScoreArray,
    steps: int,
    learning_rate: float,
) -> None:
    """Step number ``steps`` of Adam on rows that stand where the step before left them."""
    beta1, beta2, epsilon = np.float32(BETAS[0]), np.float32(BETAS[1]), np.float32(EPSILON)
    rest1, rest2 = np.float32(1 - BETAS[0]), np.float32(1 - BETAS[1])
    rate = np.float32(learning_rate / (1 - BETAS[0] ** steps))
    correction = np.float32(1 / np.sqrt(1 - BETAS[1] ** steps))
    for place in range(len(rows)):
        row = rows[place]
        p, m, v, g = table[row], mean[row], square[row], gradient[place]
        for d in range(table.shape[1]):
            m[d] = beta1 * m[d] + rest1 * g[d]
            v[d] = beta2 * v[d] + rest2 * g[d] * g[d]
            p[d] -= rate * m[d] / (np.sqrt(v[d]) * correction + epsilon)
        moved[row] = steps

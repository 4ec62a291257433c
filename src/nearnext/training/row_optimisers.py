"""Adam and Adagrad on the rows of an embedding table that a step reads; its cost does not grow with the table.

Adam moves every row in every step, by its momentum, even where the gradient is zero. ``RowAdam`` does that exactly,
when the row is next read: what Adam would have done in the meantime is a known function of the row's two moments. Its
lazy form, and Adagrad, leave a row and its moments as they are until it is read again. On the CPU compiled code reads
and moves the rows, on other devices tensor operations do.

Each is a `nearnext.training.tables.RowTable`.

References: Kingma, Ba, Adam, 2015; Duchi et al., Adagrad, 2011.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from nearnext.compiled import compiled
from nearnext.errors import ConfigError
from nearnext.model.arithmetic import copy_to
from nearnext.model.tensors import as_tensor
from nearnext.types import FloatArray, Int64Array, ScoreArray

BETAS = (0.9, 0.999)
EPSILON = 1e-8
ADAGRAD_EPSILON = 1e-6
"""Added to Adagrad's sum of squares before its root, as in the program of the authors of GRU4Rec."""

HORIZON = 40_000
"""Steps after which the bias corrections are 1 in 64 bits, for β₂ up to 0.999."""


ZerosLike = Callable[[Tensor], Tensor]
"""`torch.zeros_like`, or another function that makes zeros of the shape and type of a tensor."""


class RowOptimiser:
    """A table [rows, D], changed in place, and what an update rule keeps of it, as tensors by name.

    Default: no row waits for a step, so that reading copies rows as they are.
    """

    def __init__(self, table: Tensor, **kept: Tensor) -> None:
        self._table, self._kept = table, kept

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:  # noqa: ARG002
        return self._table.index_select(0, rows)

    def catch_up(self, rows: Tensor, learning_rate: float) -> None:
        """Default: no-op, no row waits."""

    def settle(self, learning_rate: float) -> None:
        """Default: no-op, no row waits."""

    def state(self) -> dict[str, Tensor]:
        return dict(self._kept)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self._kept.items():
            tensor.copy_(state[name])


class _AnyAdam(RowOptimiser):
    """Both moments of each row, the last step that moved it where it may wait, and the number of steps."""

    def __init__(self, table: Tensor, betas: tuple[float, float], n_waiting: int, zeros_like: ZerosLike) -> None:
        mean, square = zeros_like(table), zeros_like(table)
        moved, steps = zeros_like(torch.empty(n_waiting, dtype=torch.int64)), torch.tensor(0)
        super().__init__(table, mean=mean, square=square, moved=moved, steps=steps)
        self._betas = betas

    def _next_step(self) -> int:
        """The number of the step that begins, from 1."""
        return int(self._kept["steps"].add_(1))


class RowAdam(_AnyAdam):
    """Adam on the rows that a step reads of a table [rows, D] on the CPU, changed in place.

    With c(s) = √(1 − β₂ˢ) / (1 − β₁ˢ) and r = β₁ / √β₂, a row with moments m, v that waits from step t to step u
    moves by −lr · m / √v · Σ_{s=t+1..u} r^(s−t) c(s), and m, v shrink by β₁^(u−t), β₂^(u−t). That is exact but for ε,
    which is taken as it is in the first of these steps, and for a learning rate that changes without `settle`. Not
    ``exact``, a row that no step reads keeps value and moments.
    """

    def __init__(
        self,
        table: Tensor,
        *,
        betas: tuple[float, float] = BETAS,
        exact: bool = True,
        zeros_like: ZerosLike = torch.zeros_like,
    ) -> None:
        super().__init__(table, betas, len(table) if exact else 0, zeros_like)
        mean, square, self._moved, self._steps = (tensor.numpy() for tensor in self._kept.values())
        self._arrays = table.numpy(), mean, square, self._moved
        self._ahead = _sums_ahead(*betas, HORIZON) if exact else np.zeros(0)

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:
        values = self._table.new_empty(len(rows), self._table.shape[1])
        steps = int(self._steps)
        _catch_up(*self._arrays, rows.numpy(), steps, learning_rate, *self._betas, self._ahead, values.numpy())
        return values

    def catch_up(self, rows: Tensor, learning_rate: float) -> None:
        self.read(rows, learning_rate)

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        given = rows.numpy(), gradient.contiguous().numpy()
        _adam(*self._arrays, *given, self._next_step(), learning_rate, *self._betas)

    def settle(self, learning_rate: float) -> None:
        waiting = np.flatnonzero(self._moved < self._steps)
        for begin in range(0, len(waiting), 4096):
            self.catch_up(as_tensor(waiting[begin : begin + 4096]), learning_rate)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        if "mean" not in state:
            raise ConfigError("expected a checkpoint of the CPU, found one of a GPU; resume on a GPU, or train again")
        super().restore(state)


class TensorRowAdam(_AnyAdam):
    """The lazy `RowAdam` in tensor operations, for a table on any device."""

    def __init__(self, table: Tensor, *, betas: tuple[float, float] = BETAS) -> None:
        super().__init__(table, betas, 0, torch.zeros_like)

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        beta1, beta2 = self._betas
        steps, means, squares = self._next_step(), self._kept["mean"], self._kept["square"]
        mean = means.index_select(0, rows).lerp_(gradient, 1 - beta1)
        square = squares.index_select(0, rows).mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        means.index_copy_(0, rows, mean)
        squares.index_copy_(0, rows, square)
        length = square.sqrt_().div_((1 - beta2**steps) ** 0.5).add_(EPSILON)
        self._table.index_add_(0, rows, mean.div_(length), alpha=-learning_rate / (1 - beta1**steps))


class TensorRowAdagrad(RowOptimiser):
    """`RowAdagrad` in tensor operations, for a table on any device."""

    def __init__(self, table: Tensor, *, momentum: float = 0.0, zeros_like: ZerosLike = torch.zeros_like) -> None:
        super().__init__(table, squares=zeros_like(table), velocity=zeros_like(table))
        self._momentum = momentum

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        squares = self._kept["squares"].index_select(0, rows).addcmul_(gradient, gradient)
        self._kept["squares"].index_copy_(0, rows, squares)
        step = gradient / squares.add_(ADAGRAD_EPSILON).sqrt_()
        velocity = self._kept["velocity"].index_select(0, rows).mul_(self._momentum).sub_(step, alpha=learning_rate)
        self._kept["velocity"].index_copy_(0, rows, velocity)
        self._table.index_add_(0, rows, velocity)


class RowAdagrad(TensorRowAdagrad):
    """Adagrad with momentum: v ← μ v − η g / √(Σ g² + 1e-6), w ← w + v; a row that no step reads keeps its momentum.

    The table is on the CPU and changed in place: [rows, D].
    """

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        arrays = self._table.numpy(), self._kept["squares"].numpy(), self._kept["velocity"].numpy()
        _adagrad(*arrays, rows.numpy(), gradient.contiguous().numpy(), learning_rate, self._momentum)


@compiled()
def _sums_ahead(beta1: float, beta2: float, horizon: int) -> FloatArray:
    """Σ_{s>t} r^(s−t) c(s) for t = 0..horizon; from there on it no longer changes."""
    ratio = beta1 / np.sqrt(beta2)
    sums = np.empty(horizon + 1)
    ahead = ratio / (1 - ratio)
    for step in range(horizon, -1, -1):
        sums[step] = ahead
        if step > 0:
            ahead = ratio * (np.sqrt(1 - beta2**step) / (1 - beta1**step) + ahead)
    return sums


@compiled(error_model="numpy")
def _catch_up(
    table: ScoreArray,
    mean: ScoreArray,
    square: ScoreArray,
    moved: Int64Array,
    rows: Int64Array,
    steps: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    ahead: FloatArray,
    values: ScoreArray,
) -> None:
    """Rows moved to where Adam has them after ``steps`` steps (lazy: as they are), and copied into ``values``."""
    last, ratio, exact = len(ahead) - 1, beta1 / np.sqrt(beta2), len(moved) > 0
    for at in range(len(rows)):
        row = rows[at]
        if exact and moved[row] < steps:
            waited = steps - moved[row]
            drift = ahead[min(moved[row], last)] - ratio**waited * ahead[min(steps, last)]
            factor = np.float32(learning_rate * drift)
            epsilon = np.float32(EPSILON * np.sqrt(1 - beta2 ** (moved[row] + 1)))
            of_mean, of_square = np.float32(beta1**waited), np.float32(beta2**waited)
            p, m, v = table[row], mean[row], square[row]
            for d in range(table.shape[1]):
                p[d] -= factor * m[d] / (np.sqrt(v[d]) + epsilon)
                m[d] *= of_mean
                v[d] *= of_square
            moved[row] = steps
        copy_to(values[at], table[row])


@compiled(error_model="numpy", fastmath={"contract"})
def _adam(
    table: ScoreArray,
    mean: ScoreArray,
    square: ScoreArray,
    moved: Int64Array,
    rows: Int64Array,
    gradient: ScoreArray,
    steps: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
) -> None:
    """Step number ``steps``, from 1, of Adam on rows that are as the step before left them."""
    keep1, keep2, epsilon = np.float32(beta1), np.float32(beta2), np.float32(EPSILON)
    rest1, rest2 = np.float32(1 - beta1), np.float32(1 - beta2)
    rate = np.float32(learning_rate / (1 - beta1**steps))
    correction = np.float32(1 / np.sqrt(1 - beta2**steps))
    for at in range(len(rows)):
        row = rows[at]
        p, m, v, g = table[row], mean[row], square[row], gradient[at]
        for d in range(table.shape[1]):
            m[d] = keep1 * m[d] + rest1 * g[d]
            v[d] = keep2 * v[d] + rest2 * g[d] * g[d]
            p[d] -= rate * m[d] / (np.sqrt(v[d]) * correction + epsilon)
        if len(moved):
            moved[row] = steps


@compiled(error_model="numpy")
def _adagrad(
    table: ScoreArray,
    squares: ScoreArray,
    velocity: ScoreArray,
    rows: Int64Array,
    gradient: ScoreArray,
    learning_rate: float,
    momentum: float,
) -> None:
    rate, keep, epsilon = np.float32(learning_rate), np.float32(momentum), np.float32(ADAGRAD_EPSILON)
    for at in range(len(rows)):
        row = rows[at]
        w, s, v, g = table[row], squares[row], velocity[row], gradient[at]
        for d in range(table.shape[1]):
            s[d] += g[d] * g[d]
            v[d] = keep * v[d] - rate * g[d] / np.sqrt(s[d] + epsilon)
            w[d] += v[d]

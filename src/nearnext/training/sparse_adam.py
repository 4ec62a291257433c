"""Adam on the rows of a table that a step reads; the others keep value and moments.

Reference: Kingma, Ba, Adam, 2015; that rows which are not read stay is the difference to it.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from nearnext.types import Int64Array, ScoreArray

__all__ = ["BETAS", "SparseAdam"]

BETAS, EPSILON = (0.9, 0.98), 1e-8


class SparseAdam:
    """The moments of a table's rows, and steps on some of them.

    Args:
        table: values of the rows, on the CPU, changed in place: [rows, D].

    Attributes:
        mean: of each row's gradients: [rows, D].
        square: of each row's squared gradients: [rows, D].

    >>> table = torch.ones(2, 1)
    >>> SparseAdam(table).step(torch.tensor([1]), torch.tensor([[5.0]]), rate=0.1, n_steps=1)
    >>> table.flatten().tolist()
    [1.0, 0.89999...]
    """

    def __init__(self, table: Tensor) -> None:
        self._table = table.numpy()
        self.mean, self.square = torch.zeros_like(table), torch.zeros_like(table)

    def step(self, rows: Tensor, gradient: Tensor, rate: float, n_steps: int) -> None:
        """Move some rows, each listed once: [n], [n, D]; ``n_steps`` counts this step, from 1."""
        arrays = (self._table, self.mean.numpy(), self.square.numpy())
        _step(*arrays, rows.numpy(), gradient.contiguous().numpy(), rate, n_steps)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step(
    table: ScoreArray,
    mean: ScoreArray,
    square: ScoreArray,
    rows: Int64Array,
    gradient: ScoreArray,
    rate: float,
    n_steps: int,
) -> None:
    beta1, beta2, epsilon = np.float32(BETAS[0]), np.float32(BETAS[1]), np.float32(EPSILON)
    rest1, rest2 = np.float32(1 - BETAS[0]), np.float32(1 - BETAS[1])
    size = np.float32(rate / (1 - BETAS[0] ** n_steps))
    correction = np.float32(1 / np.sqrt(1 - BETAS[1] ** n_steps))
    for place in range(len(rows)):
        row = rows[place]
        p, m, v, g = table[row], mean[row], square[row], gradient[place]
        for d in range(table.shape[1]):
            m[d] = beta1 * m[d] + rest1 * g[d]
            v[d] = beta2 * v[d] + rest2 * g[d] * g[d]
            p[d] -= size * m[d] / (np.sqrt(v[d]) * correction + epsilon)

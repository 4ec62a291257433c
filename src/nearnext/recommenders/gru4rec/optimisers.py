"""Adagrad and Adam that touch only the rows that have a gradient, in place and in one pass."""

import math
from typing import Literal, Protocol

import numpy as np
from numba import njit

from nearnext.types import Int64Array, ScoreArray

__all__ = ["OPTIMISERS", "Adagrad", "Adam", "Optimiser", "OptimiserName", "make_optimiser"]

OptimiserName = Literal["adagrad", "adam"]
OPTIMISERS: tuple[OptimiserName, ...] = ("adagrad", "adam")
"""Names of the optimisers."""

EPSILON = 1e-6
"""Added to Adagrad's sum of squares before its root, as in the authors' implementation."""


class Optimiser(Protocol):
    """A rule that changes one matrix by gradients of some of its rows."""

    def step(self, gradient: ScoreArray, rows: Int64Array | None = None) -> None:
        """Change the given distinct rows (None: all) by their gradient: [n, width]."""
        ...


class Adagrad:
    """Adagrad with momentum: v ← μ v − η g / √(Σ g² + 1e-6), w ← w + v; the momentum of a row waits while it rests.

    Reference: Duchi et al. 2011; the momentum and the place of 1e-6 are those of the authors of GRU4Rec.

    >>> weights = np.zeros((2, 1), dtype=np.float32)
    >>> Adagrad(weights, learning_rate=0.5).step(np.array([[4.0]], np.float32), np.array([1]))
    >>> weights.round(4).tolist()
    [[0.0], [-0.5]]
    """

    def __init__(self, weights: ScoreArray, learning_rate: float, momentum: float = 0.0) -> None:
        self._weights, self._all = weights, np.arange(len(weights))
        self._squares, self._velocity = np.zeros_like(weights), np.zeros_like(weights)
        self._learning_rate, self._momentum = np.float32(learning_rate), np.float32(momentum)

    def step(self, gradient: ScoreArray, rows: Int64Array | None = None) -> None:
        """Change the given distinct rows (None: all) by their gradient: [n, width]."""
        rows = self._all if rows is None else rows
        _adagrad(
            self._weights,
            self._squares,
            self._velocity,
            rows,
            gradient,
            self._learning_rate,
            self._momentum,
            np.float32(EPSILON),
        )


class Adam:
    """Adam (Kingma & Ba 2015) with β 0.9 and 0.999, whose moments of a row wait while the row rests.

    >>> weights = np.zeros((2, 1), dtype=np.float32)
    >>> Adam(weights, learning_rate=0.5).step(np.array([[4.0]], np.float32), np.array([1]))
    >>> weights.round(4).tolist()
    [[0.0], [-0.5]]
    """

    _BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, weights: ScoreArray, learning_rate: float) -> None:
        self._weights, self._all = weights, np.arange(len(weights))
        self._first, self._second = np.zeros_like(weights), np.zeros_like(weights)
        self._learning_rate, self._steps = learning_rate, 0

    def step(self, gradient: ScoreArray, rows: Int64Array | None = None) -> None:
        """Change the given distinct rows (None: all) by their gradient: [n, width]."""
        self._steps += 1
        correction = math.sqrt(1 - self._BETA2**self._steps)
        _adam(
            self._weights,
            self._first,
            self._second,
            self._all if rows is None else rows,
            gradient,
            np.float32(self._learning_rate * correction / (1 - self._BETA1**self._steps)),
            np.float32(self._BETA1),
            np.float32(self._BETA2),
            np.float32(self._EPSILON * correction),
        )


def make_optimiser(name: OptimiserName, weights: ScoreArray, learning_rate: float, momentum: float) -> Optimiser:
    """An optimiser of one matrix by name; only Adagrad takes a momentum.

    >>> type(make_optimiser("adam", np.zeros((2, 1), np.float32), 0.001, 0.0)).__name__
    'Adam'
    """
    return Adam(weights, learning_rate) if name == "adam" else Adagrad(weights, learning_rate, momentum)


@njit(cache=True)
def _adagrad(
    weights: ScoreArray,
    squares: ScoreArray,
    velocity: ScoreArray,
    rows: Int64Array,
    gradient: ScoreArray,
    learning_rate: np.float32,
    momentum: np.float32,
    epsilon: np.float32,
) -> None:
    for at in range(len(rows)):
        row = rows[at]
        for column in range(weights.shape[1]):
            slope = gradient[at, column]
            square = squares[row, column] + slope * slope
            move = momentum * velocity[row, column] - learning_rate * slope / np.sqrt(square + epsilon)
            squares[row, column] = square
            velocity[row, column] = move
            weights[row, column] += move


@njit(cache=True)
def _adam(
    weights: ScoreArray,
    first: ScoreArray,
    second: ScoreArray,
    rows: Int64Array,
    gradient: ScoreArray,
    rate: np.float32,
    beta1: np.float32,
    beta2: np.float32,
    epsilon: np.float32,
) -> None:
    one = np.float32(1)
    for at in range(len(rows)):
        row = rows[at]
        for column in range(weights.shape[1]):
            slope = gradient[at, column]
            mean = beta1 * first[row, column] + (one - beta1) * slope
            square = beta2 * second[row, column] + (one - beta2) * slope * slope
            first[row, column] = mean
            second[row, column] = square
            weights[row, column] -= rate * mean / (np.sqrt(square) + epsilon)

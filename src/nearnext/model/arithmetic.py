"""Arithmetic for compiled code, in the form that processors do for many values at once.

Sums may be taken in any order, but in the same one at every call: a result depends on nothing but its arguments.
"""

import numpy as np

from nearnext.compiled import compiled
from nearnext.types import ScoreArray

FARTHEST = 9.0
"""Beyond it tanh is ±1 in 32 bits."""


@compiled()
def copy_to(target: ScoreArray, source: ScoreArray) -> None:
    """A vector written over another of its length: [N], [N]. ``target[:] = source`` takes 3 s more to compile."""
    for column in range(len(target)):
        target[column] = source[column]


@compiled(error_model="numpy", fastmath={"contract"})
def tanh(value: np.float32) -> np.float32:
    """The hyperbolic tangent of a 32-bit number, off by 2e-7 at most.

    Lambert's continued fraction gives tanh y = n / d at a quarter y of the value, and tanh 2y = 2 n d / (d² + n²) the
    rest, so that one division is enough.

    >>> [round(float(tanh(np.float32(value))), 6) for value in (-20.0, 0.0, 1.0)]
    [-1.0, 0.0, 0.761594]
    """
    y = min(max(value, np.float32(-FARTHEST)), np.float32(FARTHEST)) * np.float32(0.25)
    squared = y * y
    n = y * (np.float32(945.0) + squared * (np.float32(105.0) + squared))
    d = np.float32(945.0) + squared * (np.float32(420.0) + squared * np.float32(15.0))
    n, d = np.float32(2.0) * n * d, d * d + n * n
    return np.float32(2.0) * n * d / (d * d + n * n)


@compiled(error_model="numpy", fastmath={"contract"})
def gru_step(entered: ScoreArray, remembered: ScoreArray, state: ScoreArray) -> None:
    """The next state of a GRU written over the state [H], from what the weights give for the click and for the state.

    Reset gate, update gate and new state side by side: [3 H], [3 H]. The update gate is the share of the new state.
    """
    width, half = len(state), np.float32(0.5)
    for unit in range(width):
        reset = half + half * tanh(half * (entered[unit] + remembered[unit]))
        update = half + half * tanh(half * (entered[width + unit] + remembered[width + unit]))
        new = tanh(entered[2 * width + unit] + reset * remembered[2 * width + unit])
        state[unit] += update * (new - state[unit])


@compiled(fastmath={"reassoc", "contract"})
def add_product(vector: ScoreArray, matrix: ScoreArray, total: ScoreArray) -> None:
    """A vector times a matrix added to a total: [N], [N, M], [M]. Four rows at a time: fewer passes over the total."""
    whole = len(matrix) // 4 * 4
    for row in range(0, whole, 4):
        a, b, c, d = vector[row], vector[row + 1], vector[row + 2], vector[row + 3]
        for column in range(len(total)):
            total[column] += (a * matrix[row, column] + b * matrix[row + 1, column]) + (
                c * matrix[row + 2, column] + d * matrix[row + 3, column]
            )
    for row in range(whole, len(matrix)):
        for column in range(len(total)):
            total[column] += vector[row] * matrix[row, column]

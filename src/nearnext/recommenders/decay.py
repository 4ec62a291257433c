"""Decays of session-kNN and rules: how the weight of a click falls with its distance from the last one."""

import math
from typing import Literal, get_args

import numpy as np

from nearnext.compiled import compiled
from nearnext.types import FloatArray

Decay = Literal["same", "div", "linear", "quadratic", "log"]
DECAYS: tuple[Decay, ...] = get_args(Decay)
"""Names of the decays of session-rec, in the order of their codes."""

EXPONENTIAL = len(DECAYS)
"""Code of the exponential decay of VSTAN, exp(−(distance from the last click) / λ)."""

_SAME, _DIV, _LINEAR, _QUADRATIC = range(4)


@compiled()
def step_weight(decay: int, step: int) -> float:
    """Weight of something found ``step`` clicks back (1: the last click), as session-rec's ``*_score`` functions."""
    if decay == _SAME:
        return 1.0
    if decay == _DIV:
        return 1.0 / step
    if decay == _LINEAR:
        return 1.0 - 0.1 * step if step <= 100 else 0.0  # noqa: PLR2004 - the published function, negative past 10
    if decay == _QUADRATIC:
        return 1.0 / (step * step)
    return 1.0 / math.log10(step + 1.7)


@compiled()
def position_weight(decay: int, position: int, length: int, scale: float) -> float:
    """Weight of the click at ``position`` (1: the first) of a session of ``length`` clicks.

    ``linear`` is 0 past the tenth position, as in session-rec's code; ``scale`` is λ of the exponential decay.

    >>> position_weight(1, 3, 4, 1.0)
    0.75
    """
    if decay == _SAME:
        return 1.0
    if decay == _DIV:
        return position / length
    if decay == _LINEAR:
        return 1.0 - 0.1 * (length - position) if position <= 10 else 0.0  # noqa: PLR2004 - the published function
    if decay == _QUADRATIC:
        return (position / length) ** 2
    if decay == EXPONENTIAL:
        return math.exp((position - length) / scale)
    return 1.0 / math.log10(length - position + 1.7)


def step_weights(decay: Decay, steps: int) -> FloatArray:
    """Weights of 1..steps clicks back: [steps].

    >>> step_weights("div", 4).tolist()[::3]
    [1.0, 0.25]
    """
    return np.array([step_weight(DECAYS.index(decay), step) for step in range(1, steps + 1)])

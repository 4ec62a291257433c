"""For tests that train: seeds that one variable changes, and weights and figures that are equal up to rounding."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from nearnext.recommenders.named import method_options

SHIFT = int(os.environ.get("NEARNEXT_TEST_SEED", "0"))
"""Another number gives every test that trains other seeds: none may pass by the luck of one."""


def seed(number: int = 0) -> int:
    """The seed with this number: different ones for different numbers, others for another NEARNEXT_TEST_SEED."""
    return number + 1000 * SHIFT


def seeded(method: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Options of a method by name, with a seed of this run where it has one."""
    given = dict(options or {})
    return {"seed": seed(), **given} if "seed" in method_options(method) else given


def assert_same_weights(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Pass where two states have the same names, and values that are equal up to rounding."""
    torch.testing.assert_close(dict(found), dict(expected), rtol=1e-5, atol=1e-5, equal_nan=True)


def assert_same_history(found: Sequence[Mapping[str, float]], expected: Sequence[Mapping[str, float]]) -> None:
    """Pass where two trainings gave the same figures up to rounding, epoch by epoch; seconds do not count."""
    one, other = ([{**epoch, "seconds": 0.0} for epoch in history] for history in (found, expected))
    assert one == [pytest.approx(epoch, rel=1e-5) for epoch in other]

"""Arrays as tensors, and draws that leave torch's generators as they were."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["as_tensor", "own_randomness", "seed_draws"]


def as_tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor on the CPU, sharing its memory where it is contiguous and may be written.

    >>> as_tensor(np.array([1, 2])).dtype
    torch.int64
    """
    usable = np.require(array, requirements=["C", "W"])
    return torch.from_numpy(usable)  # pyright: ignore[reportUnknownMemberType] - torch leaves its argument untyped


def seed_draws(seed: int) -> None:
    """Draws from torch's generators, those of accelerators included, that depend on the seed alone from here on.

    >>> seed_draws(7)
    """
    # torch.manual_seed costs as much as a small step: it queues the seed for accelerators that are not there.
    torch.default_generator.manual_seed(seed % 2**63)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed % 2**63)


@contextmanager
def own_randomness(device: torch.device | None = None) -> Generator[None]:
    """Draws inside leave the generators of the CPU, and of the device, as they were.

    >>> with own_randomness():
    ...     seed_draws(7)
    """
    accelerators: list[Any] = [device] if device is not None and device.type == "cuda" else []
    with cast("Any", torch.random).fork_rng(devices=accelerators):
        yield

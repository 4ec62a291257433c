"""Arrays as tensors and weights as arrays, seeded draws, and how many threads torch computes on."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearnext.types import ScoreArray


def as_tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor on the CPU, sharing its memory where it is contiguous and may be written."""
    usable = np.require(array, requirements=["C", "W"])
    return torch.from_numpy(usable)  # pyright: ignore[reportUnknownMemberType] - torch leaves its argument untyped


def as_array(weight: Tensor) -> ScoreArray:
    """A copy of a weight as a contiguous array, which later steps do not change."""
    return np.array(weight.detach().cpu().numpy(), dtype=np.float32, order="C")


def seed_draws(seed: int) -> None:
    """Draws from torch's generators, those of accelerators included, that depend on the seed alone from here on."""
    # torch.manual_seed costs as much as a small step: it queues the seed for accelerators that are not there.
    torch.default_generator.manual_seed(seed % 2**63)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed % 2**63)


@contextmanager
def own_randomness(device: torch.device | None = None) -> Generator[None]:
    """Draws inside leave the generators of the CPU, and of the device, as they were."""
    accelerators: list[Any] = [device] if device is not None and device.type == "cuda" else []
    with cast("Any", torch.random).fork_rng(devices=accelerators):
        yield


@contextmanager
def one_thread() -> Generator[None]:
    """Torch computing on one thread: faster for small matrices, and the same result on any number of cores.

    It concerns the calling thread alone.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


if hasattr(os, "register_at_fork"):
    # A parallel computation would never end: it waits for threads of the parent process.
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))

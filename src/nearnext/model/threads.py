"""How many threads torch computes on: in a forked process one, because those of its parent are gone there."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Generator[None]:
    """Torch computing on one thread: faster for small matrices, and the same result on any number of cores.

    It concerns the calling thread alone.

    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _after_fork() -> None:
    # A parallel computation would wait for ever for the threads that the parent had.
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""Process arrays in blocks, so that memory-mapped logs of any size need little memory."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

BLOCK = 1 << 20
"""Clicks, or sessions, per block."""


def in_blocks(array: NDArray[T]) -> Iterator[NDArray[T]]:
    """Consecutive parts of an array, as views: [BLOCK] each, the last one shorter.

    >>> [len(block) for block in in_blocks(np.zeros(BLOCK + 2))]
    [1048576, 2]
    """
    return (array[begin : begin + BLOCK] for begin in range(0, len(array), BLOCK))

"""Process arrays in blocks, so that memory-mapped logs of any size need little memory."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import polars as pl
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


def digest(arrays: Iterable[NDArray[Any]], ids: Iterable[pl.Series]) -> str:
    """SHA-256 of arrays and of columns of raw ids, the same on every machine."""
    found = hashlib.sha256()
    for block in (block for array in arrays for block in in_blocks(array)):
        found.update(block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes())
    for column in ids:
        found.update(str(column.dtype).encode())
        for begin in range(0, len(column), BLOCK):
            separator = "\x1f" if begin else ""
            found.update((separator + "\x1f".join(map(str, column[begin : begin + BLOCK].to_list()))).encode())
    return found.hexdigest()

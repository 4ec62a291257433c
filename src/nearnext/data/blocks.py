"""Process arrays in blocks, so that memory-mapped logs of any size need little memory."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.types import Int64Array

T = TypeVar("T", bound=np.generic)

BLOCK = 1 << 20
"""Clicks, or sessions, per block."""

IDS = 1 << 16
"""Ids per block of a digest: as texts they take many times the memory of numbers."""

LARGE = 1 << 28
"""Bytes; a larger array of clicks is in a file without a name, so that the system can take its pages back."""


def empty_array(length: int, dtype: np.dtype[T]) -> NDArray[T]:
    """An array to fill; a large one is mapped from a temporary file if the disk has room: [length].

    >>> len(empty_array(3, np.dtype(np.int32)))
    3
    """
    n_bytes = length * dtype.itemsize
    if n_bytes > LARGE and hasattr(os, "posix_fallocate"):
        try:
            with TemporaryFile() as file:
                os.posix_fallocate(file.fileno(), 0, n_bytes)  # writing to a mapped page without room ends the process
                return np.asarray(np.memmap(file, dtype, "r+", shape=(length,)))
        except OSError:  # no room there, or no folder
            pass
    return np.empty(length, dtype)


def spans(starts: Int64Array, lengths: Int64Array) -> Int64Array:
    """Positions of elements of several spans, one span behind the other, each from its start on: [sum of lengths].

    >>> spans(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    return np.arange(int(lengths.sum())) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


def concatenated(arrays: Sequence[NDArray[T]]) -> NDArray[T]:
    """Arrays of one type, one behind the other, in an `empty_array`."""
    return np.concatenate(arrays, out=empty_array(sum(map(len, arrays)), arrays[0].dtype))


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
        for begin in range(0, len(column), IDS):
            separator = "\x1f" if begin else ""
            found.update((separator + "\x1f".join(map(str, column[begin : begin + IDS].to_list()))).encode())
    return found.hexdigest()

"""Checks of arrays that come from a file: a model from elsewhere is data, whatever its checksums say."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nearnext.errors import DataError

LARGEST = 1e12
"""The largest magnitude of a stored number: products and sums of such still have room in 32-bit floats."""


def require_array(
    name: str, found: Any, dtype: DTypeLike, shape: tuple[int, ...], low: float = -LARGEST, high: float = LARGEST
) -> NDArray[Any]:
    """The array, after a check that it has this type, this shape (−1: any length) and no number out of the range.

    >>> require_array("items", np.array([1, 9], np.int32), np.int32, (2,), 1, 5)
    Traceback (most recent call last):
    nearnext.errors.DataError: expected items in 1..5, found 9
    """
    alike = len(found.shape) == len(shape) and all(n in (-1, has) for has, n in zip(found.shape, shape, strict=True))
    if found.dtype != dtype or not alike:
        expected = f"{np.dtype(dtype)} {list(shape)}".replace("-1", "n")
        raise DataError(f"expected {name} to be {expected}, found {found.dtype} {list(found.shape)}")
    if found.size and not (low <= found.min() and found.max() <= high):
        least, most = found.min(), found.max()
        raise DataError(f"expected {name} in {low:g}..{high:g}, found {most if least >= low else least}")
    return found


def require_offsets(name: str, found: Any, n: int, end: int) -> NDArray[Any]:
    """The offsets of n parts of an array of length ``end``, after a check that they never fall: [n + 1]."""
    require_array(name, found, np.int64, (n + 1,), 0, end)
    if found[0] != 0 or found[-1] != end or np.any(np.diff(found) < 0):
        raise DataError(f"expected {name} to be numbers that rise from 0 to {end}, found others")
    return found


def require_finite(name: str, found: Any) -> NDArray[Any]:
    """The array, of any shape, after a check that no number is infinite, undefined or extreme."""
    return require_array(name, found, found.dtype, found.shape)

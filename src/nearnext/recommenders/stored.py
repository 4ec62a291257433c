"""Checks of arrays that come from a file: a model from elsewhere is data, whatever its checksums say."""

from typing import Any, NoReturn

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
    if found.dtype != dtype or not _fits(found.shape, shape):
        _refuse(name, f"{np.dtype(dtype)} {list(shape)}".replace("-1", "n"), f"{found.dtype} {list(found.shape)}")
    if found.size and not (low <= found.min() and found.max() <= high):
        least, most = found.min(), found.max()
        raise DataError(f"expected {name} in {low:g}..{high:g}, found {most if least >= low else least}")
    return found


def require_offsets(name: str, found: Any, n: int, end: int) -> NDArray[Any]:
    """The offsets of n parts of an array of length ``end``, after a check that they never fall: [n + 1]."""
    require_array(name, found, np.int64, (n + 1,), 0, end)
    if found[0] != 0 or found[-1] != end or np.any(np.diff(found) < 0):
        _refuse(name, f"numbers that rise from 0 to {end}", "others")
    return found


def require_finite(name: str, found: Any) -> NDArray[Any]:
    """The array, of any shape, after a check that no number is infinite, undefined or extreme."""
    return require_array(name, found, found.dtype, found.shape)


def _fits(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(found) == len(expected) and all(want in (-1, has) for has, want in zip(found, expected, strict=True))


def _refuse(name: str, expected: str, found: str) -> NoReturn:
    raise DataError(f"expected {name} to be {expected}, found {found}")

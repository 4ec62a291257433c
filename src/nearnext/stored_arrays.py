"""Arrays that come from a file: mapped into memory, and checked.

Pages are read when they are used, and processes share them. A model from elsewhere is data, whatever its checksums say.
"""

import hashlib
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import safe_open  # pyright: ignore[reportUnknownVariableType] - it has no types

from nearnext.compiled import compiled
from nearnext.errors import ArtifactError, DataError
from nearnext.types import IndexArray, Int64Array

TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
"""Types of numpy by their names in a safetensors file."""

LARGEST = 1e12
"""The largest magnitude of a stored number: products and sums of such still have room in 32-bit floats."""


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits; `ArtifactError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}); fit the model again") from error


def mapped_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file by name, mapped copy-on-write: changes stay in this process.

    They stay valid when another file replaces this one. Writable, since torch would copy read-only arrays and numba
    would compile each function once more for them.

    Raises:
        ArtifactError: an array of another type.
        SafetensorError: a damaged file.
        OSError: no such file.
    """
    opened: Any = safe_open(str(path), framework="numpy")  # which checks that the arrays fill the file
    with opened as file, path.open("rb") as raw:
        found = {name: file.get_slice(name) for name in file.offset_keys()}
        memory = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_COPY)
        arrays, at = dict[str, NDArray[Any]](), 8 + int.from_bytes(memory[:8], "little")
        for name, stored in found.items():
            if (kind := TYPES.get(stored.get_dtype())) is None:
                raise ArtifactError(f"{path} holds {name} as {stored.get_dtype()}, which no model has; fit it again")
            array: NDArray[Any] = np.ndarray(stored.get_shape(), kind, memory, at)
            arrays[name] = array if array.flags.aligned else array.copy()
            at += array.nbytes
        return arrays


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


def require_distinct(name: str, offsets: Int64Array, items: IndexArray) -> None:
    """A check that no part from one offset to the next has an item twice; items are smaller than ``len(offsets)``."""
    if _repeated(offsets, items):
        raise DataError(f"expected {name} with each item once, found some twice")


@compiled()
def _repeated(offsets: Int64Array, items: IndexArray) -> bool:
    last = np.zeros(len(offsets), dtype=np.int64)
    for part in range(len(offsets) - 1):
        for at in range(offsets[part], offsets[part + 1]):
            if last[items[at]] == part + 1:
                return True
            last[items[at]] = part + 1
    return False

"""Item embeddings in 8 bits per dimension: little to read and quick to multiply where one query meets all items.

They only propose. By Cauchy-Schwarz an inner product of rounded vectors errs by at most what was rounded away of either
times the length of the other, so what could be among the nearest is known, and is scored exactly afterwards. Products
are summed in 16 bits, in which a processor computes twice as many at once as in 32: both vectors are scaled so that no
sum of theirs can leave these bits, again by Cauchy-Schwarz.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearnext.compiled import compiled
from nearnext.errors import DataError
from nearnext.stored_arrays import require_array
from nearnext.types import FloatArray, ScoreArray

LEVELS = 127
"""Steps on each side of 0."""

MOST = 2**15 - 1
"""The largest sum."""

BLOCK = 512
"""Items that are multiplied together, one dimension after the other: their sums stay in the processor's first cache."""

Int8Array = NDArray[np.int8]
Int16Array = NDArray[np.int16]


class QuantisedItems:
    """Embeddings rounded to 8 bits per dimension, all by one scale."""

    def __init__(self, vectors: ScoreArray) -> None:
        n_items, dim = vectors.shape
        lengths = np.sqrt(np.einsum("id,id->i", vectors, vectors, dtype=np.float64))
        # Items and queries get about the same share of the bits of a sum.
        wanted, largest = np.sqrt(MOST) / max(float(lengths.max()), 1e-300), float(np.abs(vectors).max(initial=0.0))
        self._scale = float(min(wanted, LEVELS / max(largest, 1e-300)))
        self._steps = np.zeros((-(-n_items // BLOCK), dim, BLOCK), dtype=np.int8)
        lost, longest = 0.0, 0.0
        for block, begin in enumerate(range(0, n_items, BLOCK)):
            exact = vectors[begin : begin + BLOCK].astype(np.float64)
            steps = np.rint(exact * self._scale)
            self._steps[block, :, : len(exact)] = steps.T
            lost = max(lost, float(np.linalg.norm(exact - steps / self._scale, axis=1).max()))
            longest = max(longest, float(np.linalg.norm(steps, axis=1).max()))
        self._lost, self._longest = lost, longest

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, for a file."""
        return {"steps": self._steps, "bounds": np.array([self._scale, self._lost, self._longest])}

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]], n_items: int, dim: int) -> "QuantisedItems":
        """The items whose `arrays` are given, which are shared; `DataError` where they do not fit."""
        items = cls.__new__(cls)
        n_blocks = -(-n_items // BLOCK)
        items._steps = require_array("index.steps", arrays["steps"], np.int8, (n_blocks, dim, BLOCK), -LEVELS, LEVELS)
        bounds = require_array("index.bounds", arrays["bounds"], np.float64, (3,), 0.0)
        items._scale, items._lost, items._longest = bounds.tolist()
        if items._scale == 0:
            raise DataError("expected a scale above 0 in index.bounds, found 0")
        return items

    def products(self, queries: ScoreArray, products: ScoreArray) -> FloatArray:
        """Inner products [B, I] of finite queries [B, D] with the rounded items, written into ``products``.

        Gives the most by which they differ from those with the items, apart from the rounding of a 32-bit float: [B].
        """
        errors = np.empty(len(queries))
        _products(queries, self._steps, self._scale, self._lost, self._longest, products, errors)
        return errors


@compiled()
def _products(
    queries: ScoreArray,
    steps: Int8Array,
    scale: float,
    lost: float,
    longest: float,
    products: ScoreArray,
    errors: FloatArray,
) -> None:
    dim, n_items = queries.shape[1], products.shape[1]
    rounded, sums = np.empty(dim, dtype=np.int16), np.empty(BLOCK, dtype=np.int16)
    for row in range(len(queries)):
        query_scale, errors[row] = _round(queries[row], rounded, scale, lost, longest)
        back = np.float32(1.0 / (scale * query_scale))
        for block in range(len(steps)):
            _add_up(rounded, steps[block], sums)
            begin = block * BLOCK
            for position in range(min(BLOCK, n_items - begin)):
                products[row, begin + position] = np.float32(sums[position]) * back


@compiled()
def _round(query: ScoreArray, rounded: Int16Array, scale: float, lost: float, longest: float) -> tuple[float, float]:
    """The query in whole steps, written into ``rounded``; gives their number per unit and the most it errs by."""
    squares = 0.0
    for position in range(len(query)):
        squares += np.float64(query[position]) ** 2
    length = np.sqrt(squares)
    # Rounding makes a vector longer by half the diagonal of a step at most.
    room = MOST / longest - np.sqrt(len(query)) / 2 if longest > 0 else 1.0
    query_scale = room / length if room > 0 and length > 0 else 1.0
    away = 0.0
    for position in range(len(query)):
        value = np.float64(query[position]) * query_scale if room > 0 else 0.0
        rounded[position] = np.int16(np.rint(value))
        away += (np.float64(query[position]) - np.float64(rounded[position]) / query_scale) ** 2
    return query_scale, lost * length + np.sqrt(away) * longest / scale


@compiled()
def _add_up(query: Int16Array, steps: Int8Array, sums: Int16Array) -> None:
    """Inner products of a query [D] with a block of items [D, BLOCK], four dimensions at a time."""
    for position in range(BLOCK):
        sums[position] = 0
    whole = len(query) // 4 * 4
    for at in range(0, whole, 4):
        one, two, three, four = query[at], query[at + 1], query[at + 2], query[at + 3]
        of_one, of_two, of_three, of_four = steps[at], steps[at + 1], steps[at + 2], steps[at + 3]
        for position in range(BLOCK):
            sums[position] = np.int16(
                sums[position]
                + one * np.int16(of_one[position])
                + two * np.int16(of_two[position])
                + three * np.int16(of_three[position])
                + four * np.int16(of_four[position])
            )
    for at in range(whole, len(query)):
        for position in range(BLOCK):
            sums[position] = np.int16(sums[position] + query[at] * np.int16(steps[at, position]))

"""Scores of items: exact ones in 64 bits with lists by them, and bounds on them from item embeddings in 8 bits.

Embeddings in 8 bits per dimension are little to read and quick to multiply where one query meets all items. They only
propose. By Cauchy-Schwarz an inner product of rounded vectors errs by at most what was rounded away of either
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
from nearnext.topk import CHUNK, insert, near_best
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

COSINE, EUCLIDEAN, SQUARED = range(3)
"""Kinds of scores, in the order of `DISTANCES`."""


@compiled()
def best_among(
    candidates: Int64Array,
    query: ScoreArray,
    vectors: ScoreArray,
    kind: int,
    admissible: BoolArray,
    clicks: IndexArray,
    items: IndexArray,
    scores: ScoreArray,
) -> int:
    """Write the best of ascending item indices; returns how many."""
    rows, n_rows = np.empty(len(candidates), dtype=np.int32), 0
    for item in candidates:
        if admissible[item] and not (clicks == item).any():
            rows[n_rows] = item - 1
            n_rows += 1
    return _rank(rows[:n_rows], query, vectors, kind, 0, items, scores)


@compiled()
def put_best(
    proposed: ScoreArray,
    first: int,
    queries: ScoreArray,
    vectors: ScoreArray,
    kind: int,
    rounding: FloatArray,
    items: IndexArray,
    scores: ScoreArray,
    found: IndexArray,
) -> None:
    """Merge the k best of a block of items, from row ``first`` on, into the lists; −∞ in ``proposed`` excludes."""
    highest = np.empty(-(-proposed.shape[1] // CHUNK), dtype=np.float32)
    near = np.empty(proposed.shape[1], dtype=np.int32)
    for row in range(len(proposed)):
        n_near = near_best(proposed[row], items.shape[1], 2.0 * rounding[row], highest, near)
        near[:n_near] += first
        found[row] = _rank(near[:n_near], queries[row], vectors, kind, found[row], items[row], scores[row])


@compiled()
def _rank(
    near: IndexArray,
    query: ScoreArray,
    vectors: ScoreArray,
    kind: int,
    n_listed: int,
    items: IndexArray,
    scores: ScoreArray,
) -> int:
    """Put the items of the rows ``near`` into a list by exact score; returns how many it then has."""
    last = len(near) - 1
    for begin in range(0, len(near), 4):
        one, two, three, four = (
            near[begin],
            near[min(begin + 1, last)],
            near[min(begin + 2, last)],
            near[min(begin + 3, last)],
        )
        four_scores = _four_scores(query, vectors[one], vectors[two], vectors[three], vectors[four], kind)
        for at in range(min(4, len(near) - begin)):
            n_listed = insert(int(near[begin + at] + 1), four_scores[at], n_listed, items, scores)
    return n_listed


@compiled()
def _four_scores(
    query: ScoreArray, one: ScoreArray, two: ScoreArray, three: ScoreArray, four: ScoreArray, kind: int
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Scores of four items in 64 bits, term by term in the order of the dimensions, rounded once.

    Four sums are independent, so they take as long as one.
    """
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for at in range(len(query)):
        value = np.float64(query[at])
        if kind == COSINE:
            a += value * np.float64(one[at])
            b += value * np.float64(two[at])
            c += value * np.float64(three[at])
            d += value * np.float64(four[at])
        else:
            a += (value - np.float64(one[at])) ** 2
            b += (value - np.float64(two[at])) ** 2
            c += (value - np.float64(three[at])) ** 2
            d += (value - np.float64(four[at])) ** 2
    return _read(a, kind), _read(b, kind), _read(c, kind), _read(d, kind)


@compiled()
def _read(total: float, kind: int) -> np.float32:
    """The score of a sum of products or of squared differences."""
    if kind == COSINE:
        return np.float32(min(max(1.0 + total, 0.0), 2.0))
    return np.float32(-total) if kind == SQUARED else np.float32(-np.sqrt(total))


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
        return _products(queries, self._steps, self._scale, self._lost, self._longest, products)


@compiled()
def _products(
    queries: ScoreArray, steps: Int8Array, scale: float, lost: float, longest: float, products: ScoreArray
) -> FloatArray:
    (n_queries, dim), n_items, errors = queries.shape, products.shape[1], np.empty(len(queries))
    rounded, sums = np.empty(dim, dtype=np.int16), np.empty(BLOCK, dtype=np.int16)
    for row in range(n_queries):
        query_scale, errors[row] = _round(queries[row], rounded, scale, lost, longest)
        back = np.float32(1.0 / (scale * query_scale))
        for block in range(len(steps)):
            _add_up(rounded, steps[block], sums)
            begin = block * BLOCK
            for position in range(min(BLOCK, n_items - begin)):
                products[row, begin + position] = np.float32(sums[position]) * back
    return errors


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

"""Item embeddings in 8 bits per dimension: a quarter of the memory to read where one query is compared with all items.

They only propose. By Cauchy-Schwarz an inner product with a rounded embedding errs by at most the length of the query
times that of what was rounded away, so what could be among the nearest is known, and is scored exactly afterwards.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nearnext.types import FloatArray, ScoreArray

__all__ = ["QuantisedItems"]

LEVELS = 127
"""Steps on each side of 0."""

ROWS = 4096
"""Embeddings that are rounded together."""

Int8Array = NDArray[np.int8]


class QuantisedItems:
    """Embeddings rounded to 8 bits per dimension, each by its own largest value.

    Args:
        vectors: finite embeddings: [I, D].

    >>> items = QuantisedItems(np.array([[0.6, 0.8], [1.0, 0.0]], np.float32))
    >>> query, products = np.array([[0.8, 0.6]], np.float32), np.empty((1, 2), np.float32)
    >>> items.products(query, products)
    >>> bool(np.all(np.abs(products - [[0.96, 0.8]]) <= items.error(np.ones(1))[:, None]))
    True
    """

    def __init__(self, vectors: ScoreArray) -> None:
        self._steps = np.zeros(vectors.shape, dtype=np.int8)
        self._sizes = np.ones(len(vectors), dtype=np.float32)
        lost = 0.0
        for begin in range(0, len(vectors), ROWS):
            rows = slice(begin, begin + ROWS)
            sizes = (np.abs(vectors[rows]).max(axis=1) / LEVELS).astype(np.float32)
            sizes[sizes == 0] = 1.0  # zeros, or so small that the step between two levels is none
            self._steps[rows] = np.clip(np.rint(vectors[rows] / sizes[:, None]), -LEVELS, LEVELS).astype(np.int8)
            self._sizes[rows] = sizes
            rest = vectors[rows].astype(np.float64) - self._steps[rows] * sizes[:, None].astype(np.float64)
            lost = max(lost, float(np.linalg.norm(rest, axis=1).max()))
        self._lost = lost

    def products(self, queries: ScoreArray, products: ScoreArray) -> None:
        """Inner products of queries [B, D] with the rounded items, written into ``products``: [B, I]."""
        _products(queries, self._steps, self._sizes, products)

    def error(self, lengths: FloatArray) -> FloatArray:
        """The most by which products of queries so long [B] differ from those of the items, rounding apart: [B]."""
        return self._lost * lengths


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _products(queries: ScoreArray, steps: Int8Array, sizes: ScoreArray, products: ScoreArray) -> None:
    dim = queries.shape[1]
    for row in range(len(queries)):
        query = queries[row]
        for item in range(len(steps)):
            total = np.float32(0.0)
            for place in range(dim):
                total += query[place] * np.float32(steps[item, place])
            products[row, item] = total * sizes[item]

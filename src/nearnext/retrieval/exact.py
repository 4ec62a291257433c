"""Exact nearest items: every item is compared with every query, in blocks of bounded memory.

Matrix products give approximate scores. All items that could be among the k nearest, given the rounding of 32-bit sums,
are scored again in 64 bits, term by term in one order, so the list of a query does not depend on the batch. A single
query uses products in 8 bits, whose error is bounded. Products use one thread; callers rank in several threads.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.model.distances import DISTANCES, DistanceName
from nearnext.model.tensors import as_tensor, one_thread
from nearnext.options import Count, checked
from nearnext.retrieval.quantised import QuantisedItems
from nearnext.stored_arrays import require_array
from nearnext.topk import CHUNK, exclude_clicks, insert, near_best
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

COSINE, EUCLIDEAN, SQUARED = range(3)
KINDS = dict(zip(DISTANCES, (COSINE, EUCLIDEAN, SQUARED), strict=True))

BLOCK_BYTES = 32 * 2**20
"""Memory of one block of approximate scores."""

BLOCK_ROWS = 256
"""Largest number of queries in a block; with more, the result no longer fits the processor's cache."""

FEW_QUERIES, FEW_SHORT_QUERIES, SHORT = 6, 64, 64
"""Up to so many queries, reading the items takes longer than multiplying: items in 8 bits are read.

Queries of at most ``SHORT`` dimensions are multiplied so quickly that this also holds for the batches of a service.
"""

FEW = 8
"""If fewer than one item in so many may be listed, only those are searched."""


class Neighbours(NamedTuple):
    """The nearest items of B queries, nearest first."""

    items: IndexArray  # distinct item indices, 0 after the end of a list: [B, k]
    scores: ScoreArray  # score of each item, higher is nearer, 0 after the end of a list: [B, k]
    found: IndexArray  # length of each list; below k only where fewer items may be listed: [B]


class Index(Protocol):
    """Item embeddings that can be searched; the list of a query does not depend on other queries."""

    @property
    def n_items(self) -> int:
        """Number of items I, indexed 1..I."""
        ...

    @property
    def dim(self) -> int:
        """Dimension D of the embeddings."""
        ...

    def search(
        self, queries: ScoreArray, k: int, *, admissible: BoolArray | None = None, seen: Prefixes | None = None
    ) -> Neighbours:
        """The k nearest items of each query [B, D]; of equal scores the smaller item index comes first.

        No list is shorter while an item that may be listed is left. ``admissible`` says which item indices may be
        listed, by default all from 1 on [I + 1]; the clicks of the B prefixes ``seen`` may not.
        """
        ...


class ExactIndex:
    """Item embeddings [I, D], of length 1 or 0 for the cosine distance, searched without approximation.

    Scores are 32-bit floats, higher is nearer: 2 − d in [0, 2] for the cosine distance d, −d for the Euclidean ones.

    >>> index = ExactIndex(np.array([[1, 0], [0, 1], [-1, 0]], np.float32))
    >>> nearest = index.search(np.array([[0.8, 0.6]], np.float32), k=2)
    >>> nearest.items.tolist(), [round(float(score), 6) for score in nearest.scores[0]]
    ([[1, 2]], [1.8, 1.6])
    """

    def __init__(self, vectors: ScoreArray, distance: DistanceName = "cosine") -> None:
        if distance not in KINDS:
            raise ConfigError(f"unknown distance '{distance}'; known: {', '.join(KINDS)}")
        if vectors.ndim != 2 or 0 in vectors.shape or not np.isfinite(vectors).all():  # noqa: PLR2004
            raise ConfigError(f"expected finite item embeddings [I, D], found {list(vectors.shape)}; train again")
        self._kind = KINDS[distance]
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._transposed = as_tensor(self._vectors).T
        self._squares = np.einsum("id,id->i", self._vectors, self._vectors, dtype=np.float64)
        self._longest = float(np.sqrt(self._squares.max()))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The embeddings and their 8-bit copy, for a file."""
        return {"vectors": self._vectors, **self._quantised.arrays()}

    @classmethod
    def restored(
        cls, arrays: Mapping[str, NDArray[Any]], n_items: int, dim: int, distance: DistanceName
    ) -> "ExactIndex":
        """The index whose `arrays` are given, which it shares; `DataError` where they do not fit."""
        index = cls(require_array("index.vectors", arrays["vectors"], np.float32, (n_items, dim)), distance)
        index._quantised = QuantisedItems.restored(arrays, n_items, dim)
        return index

    @cached_property
    def _quantised(self) -> QuantisedItems:
        return QuantisedItems(self._vectors)

    @property
    def vectors(self) -> ScoreArray:
        """Embedding of item j + 1 in row j: [I, D]."""
        return self._vectors

    @property
    def distance(self) -> DistanceName:
        """Name of the distance."""
        return DISTANCES[self._kind]

    @property
    def n_items(self) -> int:
        """Number of items I, indexed 1..I."""
        return self._vectors.shape[0]

    @property
    def dim(self) -> int:
        """Dimension D of the embeddings."""
        return self._vectors.shape[1]

    def search(
        self, queries: ScoreArray, k: int, *, admissible: BoolArray | None = None, seen: Prefixes | None = None
    ) -> Neighbours:
        """The k nearest items of each query, see `Index.search`."""
        self.check(queries, k, admissible, seen)
        n_listed = self.n_items if admissible is None else int(np.count_nonzero(admissible[1:]))
        if admissible is not None and n_listed * FEW < self.n_items:
            return self._search_among(np.flatnonzero(admissible[1:]), queries, k, seen)
        found = _no_neighbours(len(queries), k)
        n_rows = min(BLOCK_ROWS, max(1, BLOCK_BYTES // (4 * self.n_items)))
        block = np.empty((min(n_rows, len(queries)), self.n_items), dtype=np.float32)
        shift = self._shift(None if n_listed == self.n_items else admissible)
        for begin in range(0, len(queries), n_rows):
            rows = slice(begin, min(begin + n_rows, len(queries)))
            proposed = block[: rows.stop - begin]
            rounding = self._propose(queries[rows], proposed)
            if shift is not None:
                proposed += shift
            if seen is not None:
                exclude_clicks(seen.items, seen.starts[rows], seen.ends[rows], proposed)
            written = found.items[rows], found.scores[rows], found.found[rows]
            _select(proposed, queries[rows], self._vectors, self._kind, rounding, *written)
        return found

    def _shift(self, admissible: BoolArray | None) -> ScoreArray | None:
        """What turns inner products into the order of the distance, with −∞ for what may not be listed: [I]."""
        # Half the squared length turns the order of inner products into that of Euclidean distances.
        shift = None if self._kind == COSINE else (self._squares / -2).astype(np.float32)
        if admissible is None:
            return shift
        return np.where(admissible[1:], np.float32(0.0) if shift is None else shift, np.float32(-np.inf))

    def _search_among(self, rows: Int64Array, queries: ScoreArray, k: int, seen: Prefixes | None) -> Neighbours:
        """Search a few rows only; the lists are the same, as a score depends on its item alone."""
        if not len(rows) or not len(queries):
            return _no_neighbours(len(queries), k)
        index_among = np.zeros(self.n_items + 1, dtype=np.int32)
        index_among[rows + 1] = np.arange(1, len(rows) + 1)
        if seen is not None:
            first = int(seen.starts.min())  # prefixes may be a few among the clicks of a whole log
            clicks = index_among[seen.items[first : int(seen.ends.max())]]
            seen = Prefixes(clicks, seen.starts - first, seen.ends - first, seen.times)
        found = ExactIndex(self._vectors[rows], self.distance).search(queries, k, seen=seen)
        listed = found.items > 0
        found.items[listed] = rows[found.items[listed] - 1] + 1
        return found

    def best_of(
        self, candidates: Int64Array, query: ScoreArray, admissible: BoolArray, clicks: IndexArray, k: int
    ) -> tuple[IndexArray, ScoreArray]:
        """The nearest of distinct items [C] to one query [D], in the order and with the scores that `search` gives.

        Neither what is not ``admissible`` [I + 1] nor any of ``clicks`` is listed.
        """
        items, scores = np.zeros(k, dtype=np.int32), np.zeros(k, dtype=np.float32)
        n = _best_of(np.sort(candidates), query, self._vectors, self._kind, admissible, clicks, items, scores)
        return items[:n], scores[:n]

    def _propose(self, queries: ScoreArray, products: ScoreArray) -> FloatArray:
        """Inner products with all items, written into ``products`` [B, I], and the most by which each can err: [B]."""
        lengths = np.sqrt(np.einsum("bd,bd->b", queries, queries, dtype=np.float64))
        rounding = self._rounding(lengths)
        if len(queries) <= (FEW_SHORT_QUERIES if self.dim <= SHORT else FEW_QUERIES):
            return 2.0 * rounding + self._quantised.products(queries, products)
        with one_thread():
            torch.mm(as_tensor(queries), self._transposed, out=as_tensor(products))
        return rounding

    def _rounding(self, lengths: FloatArray) -> FloatArray:
        """The most by which a proposal or a 32-bit score can be wrong: [B]; a sum of n terms errs by n ε |x| |y|."""
        return (self.dim + 8) * 2.0**-24 * (lengths + self._longest) ** 2

    def check(self, queries: ScoreArray, k: int, admissible: BoolArray | None, seen: Prefixes | None) -> None:
        """Check the arguments of a search."""
        checked("k", k, Count)
        if queries.ndim != 2 or queries.shape[1] != self.dim:  # noqa: PLR2004
            raise ConfigError(
                f"index has dimension {self.dim}, queries have shape {list(queries.shape)}; "
                "rebuild the index with this encoder"
            )
        if admissible is not None and admissible.shape != (self.n_items + 1,):
            raise ConfigError(f"expected a mask of {self.n_items} items after position 0, found {admissible.shape[0]}")
        if seen is not None and len(seen) != len(queries):
            raise ConfigError(f"expected the clicks of {len(queries)} queries, found {len(seen)} prefixes")


def _no_neighbours(n_queries: int, k: int) -> Neighbours:
    return Neighbours(
        np.zeros((n_queries, k), dtype=np.int32),
        np.zeros((n_queries, k), dtype=np.float32),
        np.zeros(n_queries, dtype=np.int32),
    )


@compiled()
def _best_of(
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
    return _rank(rows[:n_rows], query, vectors, kind, items, scores)


@compiled()
def _select(
    proposed: ScoreArray,
    queries: ScoreArray,
    vectors: ScoreArray,
    kind: int,
    rounding: FloatArray,
    items: IndexArray,
    scores: ScoreArray,
    found: IndexArray,
) -> None:
    """Write the k best items of each row by exact score; items that may not be listed have −∞ in ``proposed``."""
    highest = np.empty(-(-proposed.shape[1] // CHUNK), dtype=np.float32)
    near = np.empty(proposed.shape[1], dtype=np.int32)
    for row in range(len(proposed)):
        n_near = near_best(proposed[row], items.shape[1], 2.0 * rounding[row], highest, near)
        found[row] = _rank(near[:n_near], queries[row], vectors, kind, items[row], scores[row])


@compiled()
def _rank(
    near: IndexArray, query: ScoreArray, vectors: ScoreArray, kind: int, items: IndexArray, scores: ScoreArray
) -> int:
    """Write the best items of the rows ``near`` by exact score; returns how many."""
    n_listed, last = 0, len(near) - 1
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

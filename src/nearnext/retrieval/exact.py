"""Exact nearest items: every item is compared with every query, in blocks of bounded memory.

Matrix products give approximate scores. All items that could be among the k nearest, given the rounding of 32-bit sums,
are scored again in 64 bits, term by term in one order, so the list of a query does not depend on the batch. A single
query uses products in 8 bits, whose error is bounded. Products use one thread; callers rank in several threads.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.model.distances import DISTANCES, DistanceName
from nearnext.model.tensors import as_tensor, one_thread
from nearnext.options import Count, checked, require_known
from nearnext.retrieval.scoring import COSINE, EUCLIDEAN, SQUARED, QuantisedItems, best_among, put_best
from nearnext.stored_arrays import require_array
from nearnext.topk import exclude_clicks, no_lists
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

KINDS = dict(zip(DISTANCES, (COSINE, EUCLIDEAN, SQUARED), strict=True))

BLOCK_BYTES = 32 * 2**20
"""Memory of one block of approximate scores."""

BLOCK_ROWS = 256
"""Largest number of queries in a block: items are read once for all of them."""

FEW_QUERIES, FEW_SHORT_QUERIES, SHORT = 6, 64, 64
"""Most queries for which reading the items takes longer than multiplying, so that 8-bit items are read.

Queries of at most ``SHORT`` dimensions are multiplied so quickly that this also holds for the batches of a service.
"""

FEW = 8
"""If fewer than one item in this many may be listed, only those are searched."""


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
        require_known("distance", distance, KINDS)
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
        found = Neighbours(*no_lists(len(queries), k))
        few = len(queries) <= (FEW_SHORT_QUERIES if self.dim <= SHORT else FEW_QUERIES)
        n_rows = min(len(queries), max(1, BLOCK_BYTES // (4 * self.n_items)) if few else BLOCK_ROWS)
        n_columns = self.n_items if few else min(self.n_items, BLOCK_BYTES // (4 * n_rows))
        block = np.empty(n_rows * n_columns, dtype=np.float32)
        shift = self._shift(None if n_listed == self.n_items else admissible)
        for begin, first in product(range(0, len(queries), n_rows), range(0, self.n_items, n_columns)):
            rows, columns = slice(begin, begin + n_rows), slice(first, first + n_columns)
            shape = len(queries[rows]), len(self._vectors[columns])
            proposed = block[: math.prod(shape)].reshape(shape)
            rounding = self._propose(queries[rows], None if few else columns, proposed)
            if shift is not None:
                proposed += shift[columns]
            if seen is not None:
                exclude_clicks(seen.items, seen.starts[rows], seen.ends[rows], proposed, first)
            written = found.items[rows], found.scores[rows], found.found[rows]
            put_best(proposed, first, queries[rows], self._vectors, self._kind, rounding, *written)
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
            return Neighbours(*no_lists(len(queries), k))
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
        n = best_among(np.sort(candidates), query, self._vectors, self._kind, admissible, clicks, items, scores)
        return items[:n], scores[:n]

    def _propose(self, queries: ScoreArray, columns: slice | None, products: ScoreArray) -> FloatArray:
        """Write inner products with ``columns`` of items, None: all, in 8 bits; returns bounds of their errors: [B]."""
        lengths = np.sqrt(np.einsum("bd,bd->b", queries, queries, dtype=np.float64))
        # The most by which a proposal or a 32-bit score can be wrong: a sum of n terms errs by n ε |x| |y|.
        rounding = (self.dim + 8) * 2.0**-24 * (lengths + self._longest) ** 2
        if columns is None:
            return 2.0 * rounding + self._quantised.products(queries, products)
        with one_thread():
            torch.mm(as_tensor(queries), self._transposed[:, columns], out=as_tensor(products))
        return rounding

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

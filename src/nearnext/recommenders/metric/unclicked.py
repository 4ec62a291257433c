"""Items without clicks in re-ranked lists: each gets the mean probability of the clicked items most like it.

The re-ranker's features come from clicks, so it cannot score these items. For one session, the clicked items with
nearly the same attributes have probabilities; their mean is what an item that differs from them in nothing but its
clicks can expect.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix

from nearnext.data.item_features import ItemFeatures, Sparse, unit_rows
from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.data.vocabulary import Vocabulary
from nearnext.model.encoding import item_vectors
from nearnext.model.network import SessionItemNetwork
from nearnext.recommenders.method import State
from nearnext.recommenders.metric.features import Candidates
from nearnext.recommenders.placement import Placement
from nearnext.recommenders.ranking import Request
from nearnext.retrieval import ExactIndex
from nearnext.stored_arrays import require_array
from nearnext.types import IndexArray, Int64Array, ScoreArray

ALIKE = 50
"""Clicked items, at most, whose probabilities are averaged."""
SELECTIVITY = 4
"""Exponent of the cosine of attributes in the weight of an item: items of another kind hardly count."""
BLOCK_BYTES = 64 * 2**20
"""Memory of the cosines that are computed together."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """The clicked items most like each of C items without clicks, by their attributes."""

    items: IndexArray  # item indices, 0 where there are fewer: [C, M]
    weights: ScoreArray  # of their probabilities; their sum is the factor, or 0 where nothing is alike: [C, M]

    @classmethod
    def of(
        cls,
        placement: Placement | None,
        table: ItemTable | None,
        vocabulary: Vocabulary,
        clicks: Int64Array,
        factor: float = 1.0,
    ) -> "Likeness | None":
        """From attributes and the clicks of each item index [I + 1]; None without attributes."""
        if placement is None or table is None:
            return None
        unclicked = vocabulary.ids.gather(np.flatnonzero(clicks[1:] == 0))
        return ClickedItems.of(placement, table, vocabulary, clicks, factor).most_like(table.of(unclicked))

    def state(self) -> State:
        """Arrays for an artifact."""
        return {"likeness.items": self.items, "likeness.weights": self.weights}

    @classmethod
    def restored(
        cls,
        state: State,
        placement: Placement | None,
        table: ItemTable | None,
        vocabulary: Vocabulary,
        clicks: Int64Array,
    ) -> "Likeness | None":
        """From the arrays of an artifact, or where an older one lacks them as `of` gives it."""
        if "likeness.items" not in state:
            return cls.of(placement, table, vocabulary, clicks)
        shape = (int((clicks[1:] == 0).sum()), min(ALIKE, int((clicks[1:] > 0).sum())))
        items = require_array("likeness.items", state["likeness.items"], np.int32, shape, 0, len(clicks) - 1)
        return cls(items, require_array("likeness.weights", state["likeness.weights"], np.float32, shape, 0, 1))

    def transposed(self, n_items: int) -> Sparse:
        """The weight of each item index for each item without clicks: [I + 1, C]."""
        columns = np.repeat(np.arange(len(self.items)), self.items.shape[1])
        shape = (n_items + 1, len(self.items))
        whole: Sparse = csr_matrix((self.weights.ravel(), (self.items.ravel(), columns)), shape=shape)
        whole.eliminate_zeros()
        return whole


@dataclass(frozen=True, eq=False)
class ClickedItems:
    """The attributes of the items with clicks, which others are compared with."""

    features: ItemFeatures
    indices: IndexArray  # of these items, ascending: [n]
    described: Sparse  # their features, columns of length 1: [F, n]
    factor: float  # of the mean probabilities of items like them, see `cold_factor`

    @classmethod
    def of(
        cls,
        placement: Placement,
        table: ItemTable,
        vocabulary: Vocabulary,
        clicks: Int64Array,
        factor: float = 1.0,
    ) -> Self:
        """From attributes and the clicks of each item index [I + 1]."""
        indices = np.flatnonzero(clicks[1:] > 0).astype(np.int32) + 1
        rows = placement.features.rows(table.of(vocabulary.ids.gather(indices - 1)))
        return cls(placement.features, indices, unit_rows(rows).T.tocsr(), factor)

    def most_like(self, items: ItemTable) -> Likeness:
        """Those most like each of some items."""
        rows, n = unit_rows(self.features.rows(items)), min(ALIKE, len(self.indices))
        alike, weights = np.zeros((len(items), n), np.int32), np.zeros((len(items), n), np.float32)
        for begin, end in self._blocks(rows):
            cosines: Sparse = rows[begin:end] @ self.described  # without the items that share no feature
            for row, first, last in zip(range(begin, end), cosines.indptr, cosines.indptr[1:], strict=False):
                of_items = cosines.data[first:last]
                best = np.argpartition(-of_items, n - 1)[:n] if len(of_items) > n else np.arange(len(of_items))
                weight = np.maximum(of_items[best], 0) ** SELECTIVITY
                found = self.indices[cosines.indices[first:last][best]]
                alike[row, : len(best)] = np.where(weight > 0, found, 0)
                weights[row, : len(best)] = self.factor * weight / max(weight.sum(), 1e-12)
        return Likeness(alike, weights)

    def _blocks(self, rows: Sparse) -> Iterator[tuple[int, int]]:
        """First and last + 1 of rows whose cosines are computed together, by the most items that share a feature."""
        shared = (rows != 0) @ np.diff(self.described.indptr)
        number = np.cumsum(np.minimum(shared, len(self.indices))) // max(BLOCK_BYTES // 16, 1)
        begins = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
        return zip(begins, [*begins[1:], len(number)], strict=False)


class UnclickedItems:
    """The items without clicks of a metric model, inserted into lists without changing the order of other items.

    Items that the session has clicked are not inserted: the list has them already, or excludes them.
    """

    def __init__(self, indices: IndexArray, index: ExactIndex, weights: Sparse) -> None:
        self._indices, self._index = indices, index  # ascending item indices [C], and these items in this order
        self._weights = weights  # of each item index in the mean probability of each of them: [I + 1, C]

    @classmethod
    def of(cls, network: SessionItemNetwork, clicks: Int64Array, likeness: Likeness | None) -> "UnclickedItems | None":
        """Those of a network, by the clicks of each item index [I + 1]; None where every item has some."""
        indices = np.flatnonzero(clicks[1:] == 0).astype(np.int32) + 1
        if likeness is None or not len(indices):
            return None
        index = ExactIndex(item_vectors(network, indices), network.distance)
        return cls(indices, index, likeness.transposed(network.n_items))

    def join(
        self,
        sessions: ScoreArray,  # embeddings of the prefixes: [B, D]
        prefixes: Prefixes,
        request: Request,
        found: Candidates,
        probabilities: ScoreArray,  # of the candidates: [C]
        own: IndexArray,  # lengths of the lists: [B]
        items: IndexArray,  # the lists, 0 from their length on: [B, k]
        scores: ScoreArray,  # falling: [B, k]
    ) -> IndexArray:
        """Insert them into lists, those without a probability at the end, by distance; returns the new lengths: [B]."""
        admissible = request.admissible[self._indices]
        if not admissible.any():
            return own
        shape = (len(prefixes), self._weights.shape[0])
        means: Sparse = csr_matrix((probabilities, found.items, found.offsets), shape=shape) @ self._weights
        means.sort_indices()
        among, lengths, k = self._among(prefixes), own.copy(), items.shape[1]
        for row in np.flatnonzero(sessions.any(axis=1)).tolist():  # one without known clicks has no embedding
            part = slice(means.indptr[row], means.indptr[row + 1])
            at, mean = means.indices[part], means.data[part]
            listed = admissible[at] & (mean > 0)
            listed &= ~np.isin(at + 1, among.items[prefixes.starts[row] : prefixes.ends[row]])
            every = np.append(items[row, : own[row]], self._indices[at[listed]])
            merged = np.append(scores[row, : own[row]], mean[listed])
            order = np.argsort(-merged, kind="stable")[:k]
            lengths[row] = len(order)
            items[row, : len(order)], scores[row, : len(order)] = every[order], merged[order]
        short = np.flatnonzero((lengths < k) & sessions.any(axis=1))
        if len(short):
            self._append(short, sessions[short], among.take(short), np.append(False, admissible), lengths, items)
        return lengths

    def _append(
        self,
        rows: Int64Array,
        sessions: ScoreArray,
        among: Prefixes,
        admissible: Any,
        lengths: IndexArray,
        items: IndexArray,
    ) -> None:
        """Complete short lists by distance, with the score 0 that is there already."""
        n = min(items.shape[1], len(self._indices))
        found = self._index.search(sessions, n, admissible=admissible, seen=among)
        for at, row in enumerate(rows.tolist()):
            near = self._indices[found.items[at, : found.found[at]] - 1]
            more = near[~np.isin(near, items[row, : lengths[row]])][: items.shape[1] - lengths[row]]
            items[row, lengths[row] : lengths[row] + len(more)] = more
            lengths[row] += len(more)

    def _among(self, prefixes: Prefixes) -> Prefixes:
        """The same prefixes in positions of these items from 1 on, 0 for others."""
        at = np.minimum(np.searchsorted(self._indices, prefixes.items), len(self._indices) - 1)
        positions = np.where(self._indices[at] == prefixes.items, at + 1, 0).astype(np.int32)
        return Prefixes(positions, prefixes.starts, prefixes.ends, prefixes.times)

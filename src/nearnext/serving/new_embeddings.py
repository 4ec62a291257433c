"""New items of a metric model: searched like its own items, by the same session embeddings."""

import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.space import EmbeddingSpace
from nearnext.serving.new_items import NONE, NewItem, NewItems, Row, Scored
from nearnext.types import BoolArray, IndexArray, RawId, ScoreArray

if TYPE_CHECKING:  # with torch
    from nearnext.recommenders.metric.features import Candidates
    from nearnext.retrieval import Index, Neighbours

FRESH = 256
"""Points that are searched apart until the index is built again with them."""


class RecordingIndex:
    """An index that keeps the last search of each thread: new items are searched by the same session embeddings."""

    def __init__(self, index: "Index") -> None:
        self._index, self._kept = index, threading.local()
        self.n_items, self.dim = index.n_items, index.dim

    def search(
        self, queries: ScoreArray, k: int, *, admissible: BoolArray | None = None, seen: Prefixes | None = None
    ) -> "Neighbours":
        """The k nearest items of each query, see `Index.search`."""
        found = self._index.search(queries, k, admissible=admissible, seen=seen)
        self._kept.search = queries, found
        return found

    @property
    def last(self) -> "tuple[ScoreArray, Neighbours]":
        """Queries and result of this thread's last search."""
        return self._kept.search


class Point(NamedTuple):
    """An embedding [D] and, where attributes gave it, the clicked items most like it and their weights, as bytes."""

    vector: bytes
    alike: bytes = b""
    weights: bytes = b""


class Latest(NamedTuple):
    """Of an answer of the model: embeddings of the sessions, items by distance, and probabilities of candidates."""

    queries: ScoreArray  # [B, D]
    known: "Neighbours"
    probabilities: Any  # by item index, as a sparse array; None: without a re-ranker: [B, I + 1]


class _Part:
    """Points searched together, by the index that the model's own items have."""

    def __init__(self, points: Mapping[int, Point], space: EmbeddingSpace) -> None:
        from nearnext.retrieval import ExactIndex

        self.slots = np.array([0, *points])  # of each row of the index, from 1 on
        self.rows = {slot: row for row, slot in enumerate(points, start=1)}
        self.admissible = np.arange(len(points) + 1) > 0
        self.scored = np.array([False, *(bool(point.alike) for point in points.values())])
        vectors = [np.frombuffer(point.vector, np.float32) for point in points.values()]
        self._index = ExactIndex(np.stack(vectors), space.distance) if vectors else None
        alike = [np.frombuffer(point.alike, np.int32) for point in points.values()]
        weights = [np.frombuffer(point.weights, np.float32) for point in points.values()]
        ends = np.cumsum([0, 0, *map(len, alike)])
        parts = np.concatenate([*weights, NONE[0]]), np.concatenate([*alike, NONE[1]]), ends
        by_point: Any = sparse.csr_array(parts, (len(points) + 1, space.index.n_items + 1))
        self._weights = by_point.T.tocsr()

    def nearest(self, queries: ScoreArray, n: int, among: list[int] | None, *, scored: bool = False) -> list[Scored]:
        """The nearest points to each query, of those that have probabilities or of the others."""
        admissible = self._among(among) & (self.scored == scored)
        if self._index is None or not admissible.any():
            return [NONE] * len(queries)
        found = self._index.search(queries, min(n, len(self.rows)), admissible=admissible)
        slots = self.slots[found.items]
        return [(found.scores[at, :end], slots[at, :end]) for at, end in enumerate(found.found.tolist())]

    def most_probable(self, probabilities: Any, n: int, among: list[int] | None) -> list[Scored]:
        """The points of the highest mean probabilities, all above 0, of the items like them."""
        if not self.scored.any():
            return [NONE] * probabilities.shape[0]
        means, admissible, found = probabilities @ self._weights, self._among(among), list[Scored]()
        means.sort_indices()
        for begin, end in pairwise(means.indptr.tolist()):
            rows, values = means.indices[begin:end], means.data[begin:end]
            best = np.argsort(-np.where(admissible[rows], values, 0), kind="stable")[:n]
            best = best[(values[best] > 0) & admissible[rows[best]]]
            found.append((values[best], self.slots[rows[best]]))
        return found

    def _among(self, slots: list[int] | None) -> BoolArray:
        """Which rows may be given: [R + 1]."""
        if slots is None:
            return self.admissible
        admissible = np.zeros_like(self.admissible)
        admissible[[self.rows[slot] for slot in slots if slot in self.rows]] = True
        return admissible & self.admissible


class ByEmbedding(NewItems):
    """In the space of a metric model: the mean of the sessions' embeddings, searched as items are.

    A model that weighs more than distances (``ranked``) has no score for an item by its sessions: it stands behind as
    many items of the list as there are known items nearer to the session, or next to the first. An item that attributes
    place has the mean probability of the items most like it, as at a fit. New points join the index in hundreds.
    """

    remedy = "put it with items that it is like or with attributes, or send clicks on it"

    def __init__(self, space: EmbeddingSpace, index: RecordingIndex, *, ranked: bool) -> None:
        super().__init__()
        self._space, self._index, self._ranked = space, index, ranked
        self._points: dict[int, Point] = {}
        self._fresh: dict[int, Point] = {}
        self._built, self._new = _Part({}, space), _Part({}, space)
        self._stale = False
        self._kept = threading.local()

    def scored(self, candidates: "Candidates", probabilities: ScoreArray) -> None:
        """Keep the probabilities of this thread's last candidates."""
        self._kept.last = candidates, probabilities

    def latest(self) -> Latest:
        """What the model's last answer in this thread searched and scored."""
        queries, known = self._index.last
        candidates, values = getattr(self._kept, "last", (None, None))
        if candidates is None:
            return Latest(queries, known, None)
        shape = len(candidates.offsets) - 1, self._space.index.n_items + 1
        return Latest(queries, known, sparse.csr_array((values, candidates.items, candidates.offsets), shape))

    def vector(self, item: RawId) -> ScoreArray | None:
        """The embedding of an item; None where it has none: [D]."""
        new = self._items.get(item)
        return None if new is None or new.point is None else np.frombuffer(new.point.vector, np.float32)

    def _learn(self, read: Sequence[tuple[NewItem, IndexArray]]) -> None:
        vectors, known = self._space.sessions(Prefixes.of([clicks for _, clicks in read]))
        for (new, _), vector, n_known in zip(read, vectors.astype(np.float64), known.tolist(), strict=True):
            if n_known:
                new.total = vector if new.total is None else new.total + vector
                new.summed += 1

    def _point_of(self, new: NewItem) -> Point:
        if not new.summed:
            assert new.placed is not None  # noqa: S101 - else it has no point
            return Point(*(part.tobytes() for part in new.placed))
        by = new.summed
        if self._space.distance == "cosine":
            by = max(float(np.linalg.norm(new.total)), 1e-12)
        return Point((new.total / by).astype(np.float32).tobytes())

    def _put(self, slot: int, point: Point) -> None:
        self._points[slot] = self._fresh[slot] = point
        self._stale = True

    def _remove(self, slot: int, point: Point) -> None:  # noqa: ARG002 - the slot says it
        del self._points[slot]
        if self._fresh.pop(slot, None) is not None:
            self._stale = True
        else:
            self._built.admissible[self._built.rows[slot]] = False

    def _nearest(self, rows: Sequence[Row], n: int, among: list[int] | None, latest: Latest) -> Sequence[Scored]:
        if self._stale:
            if len(self._fresh) > FRESH:
                self._built, self._fresh = _Part(self._points, self._space), {}
            self._new, self._stale = _Part(self._fresh, self._space), False
        queries, known, probabilities = latest
        near = self._by_distance(queries, n, among)
        if self._ranked:
            from nearnext.recommenders.placement import behind  # with torch

            lists = (known.scores[at, : known.found[at]] for at in range(len(rows)))
            placed = [behind(row.own, one[0], listed, n) for row, one, listed in zip(rows, near, lists, strict=True)]
            near = [(scores, slots[: len(scores)]) for scores, (_, slots) in zip(placed, near, strict=True)]
        if probabilities is not None:
            parts = [part.most_probable(probabilities, n, among) for part in (self._built, self._new)]
            near = [_best_first(*each) for each in zip(near, *parts, strict=True)]
        if any(len(row.own) < n for row in rows):
            others = self._by_distance(queries, n, among, scored=True)
            near = [_completed(*each) for each in zip(near, others, strict=True)]
        return [one if query.any() else NONE for query, one in zip(queries, near, strict=True)]  # without known clicks

    def _by_distance(
        self, queries: ScoreArray, n: int, among: list[int] | None, *, scored: bool = False
    ) -> list[Scored]:
        parts = [part.nearest(queries, n, among, scored=scored) for part in (self._built, self._new)]
        return [_best_first(*each) for each in zip(*parts, strict=True)]


def _completed(listed: Scored, others: Scored) -> Scored:
    """A list, followed by other points with the score 0."""
    more = others[1][~np.isin(others[1], listed[1])]
    return np.append(listed[0], np.zeros(len(more), np.float32)), np.append(listed[1], more)


def _best_first(*parts: Scored) -> Scored:
    scores, slots = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(-scores, kind="stable")
    return scores[order], slots[order]

"""New items of a metric model: searched like its own items, by the same session embeddings."""

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.space import EmbeddingSpace
from nearnext.serving.new_items import NONE, NewItem, NewItems, Row, Scored
from nearnext.types import BoolArray, IndexArray, RawId, ScoreArray

if TYPE_CHECKING:  # with torch
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


class _Part:
    """Points searched together, by the index that the model's own items have."""

    def __init__(self, vectors: Mapping[int, ScoreArray], space: EmbeddingSpace) -> None:
        from nearnext.retrieval import ExactIndex

        self.slots = np.array([0, *vectors])  # of each row of the index, from 1 on
        self.rows = {slot: row for row, slot in enumerate(vectors, start=1)}
        self.admissible = np.arange(len(vectors) + 1) > 0
        self._index = ExactIndex(np.stack(list(vectors.values())), space.distance) if vectors else None

    def nearest(self, queries: ScoreArray, n: int, among: list[int] | None) -> list[Scored]:
        """The nearest points to each query."""
        if self._index is None:
            return [NONE] * len(queries)
        admissible = self.admissible
        if among is not None:
            admissible = np.zeros_like(admissible)
            admissible[[self.rows[slot] for slot in among if slot in self.rows]] = True
            admissible &= self.admissible
        found = self._index.search(queries, min(n, len(self.rows)), admissible=admissible)
        slots = self.slots[found.items]
        return [(found.scores[at, :end], slots[at, :end]) for at, end in enumerate(found.found.tolist())]


class ByEmbedding(NewItems):
    """In the space of a metric model: the mean of the sessions' embeddings, searched as items are.

    A model that weighs more than distances (``ranked``) has no score for a new item: it stands behind as many items of
    the list as there are known items nearer to the session, or next to the first. A point is the bytes of an embedding.
    New ones join the index in hundreds.
    """

    def __init__(self, space: EmbeddingSpace, index: RecordingIndex, *, ranked: bool) -> None:
        super().__init__()
        self._space, self._index, self._ranked = space, index, ranked
        self._vectors: dict[int, ScoreArray] = {}
        self._fresh: dict[int, ScoreArray] = {}
        self._built, self._latest = _Part({}, space), _Part({}, space)
        self._stale = False

    def vector(self, item: RawId) -> ScoreArray | None:
        """The embedding of an item; None where it has none: [D]."""
        new = self._items.get(item)
        return None if new is None or new.point is None else np.frombuffer(new.point, np.float32)

    def _learn(self, read: Sequence[tuple[NewItem, IndexArray]]) -> None:
        vectors, known = self._space.sessions(Prefixes.of([clicks for _, clicks in read]))
        for (new, _), vector, n_known in zip(read, vectors.astype(np.float64), known.tolist(), strict=True):
            if n_known:
                new.total = vector if new.total is None else new.total + vector
                new.summed += 1

    def _point_of(self, new: NewItem) -> bytes:
        if not new.summed:
            assert new.placed is not None  # noqa: S101 - else it has no point
            return new.placed.tobytes()
        by = new.summed
        if self._space.distance == "cosine":
            by = max(float(np.linalg.norm(new.total)), 1e-12)
        return (new.total / by).astype(np.float32).tobytes()

    def _put(self, slot: int, point: bytes) -> None:
        self._vectors[slot] = self._fresh[slot] = np.frombuffer(point, np.float32)
        self._stale = True

    def _remove(self, slot: int, point: bytes) -> None:  # noqa: ARG002 - the slot says it
        del self._vectors[slot]
        if self._fresh.pop(slot, None) is not None:
            self._stale = True
        else:
            self._built.admissible[self._built.rows[slot]] = False

    def _nearest(self, rows: Sequence[Row], n: int, among: list[int] | None) -> Sequence[Scored]:
        if self._stale:
            if len(self._fresh) > FRESH:
                self._built, self._fresh = _Part(self._vectors, self._space), {}
            self._latest, self._stale = _Part(self._fresh, self._space), False
        queries, known = self._index.last
        parts = zip(self._built.nearest(queries, n, among), self._latest.nearest(queries, n, among), strict=True)
        near = [_best_first(*part) for part in parts]
        if self._ranked:
            from nearnext.recommenders.placement import behind  # with torch

            lists = (known.scores[at, : known.found[at]] for at in range(len(rows)))
            placed = [behind(row.own, one[0], listed, n) for row, one, listed in zip(rows, near, lists, strict=True)]
            near = [(scores, slots[: len(scores)]) for scores, (_, slots) in zip(placed, near, strict=True)]
        return [one if query.any() else NONE for query, one in zip(queries, near, strict=True)]  # without known clicks


def _best_first(one: Scored, other: Scored) -> Scored:
    scores, slots = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    order = np.argsort(-scores, kind="stable")
    return scores[order], slots[order]

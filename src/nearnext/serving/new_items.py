"""Items that the model was not trained with: each at the mean of the sessions that led to it.

Only the nearest are searched, and items at the same point are searched as one: with 20,000 new items an answer
takes less than twice as long as with none. A change concerns its own item alone; embeddings join the index in hundreds.
"""

import math
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.space import EmbeddingSpace, HasSpace, space_of
from nearnext.serving.catalogue import Entry
from nearnext.topk import best_scored
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, RawId, ScoreArray

if TYPE_CHECKING:  # with torch
    from nearnext.retrieval import Index, Neighbours

RECENT = 5
"""Last clicks of a session that are compared with those before new items, where the model has no space of its own."""

FRESH = 256
"""Points that are searched apart until the index is built again with them."""

Point = tuple[tuple[int, float], ...] | bytes
"""Where items are: the weight of each click, or the bytes of an embedding."""

Scored = tuple[list[float], list[int]]
"""Scores and slots of points, best first."""


class Row(NamedTuple):
    """One answer that new items may join: the session's item indices, scores of the model's own list, refused items."""

    clicks: IndexArray
    own: Sequence[float]
    refused: Collection[RawId] = ()


@dataclass
class _NewItem:
    """One life of an item: the sum of the sessions that led to it, how many were read, and how many have a point."""

    life: tuple[int, int]
    total: Any = None
    read: int = 0
    summed: int = 0
    point: Point | None = None


class NewItems(ABC):
    """The new items of a catalogue; a subclass says what a point is, and which are near."""

    def __init__(self) -> None:
        self._items: dict[RawId, _NewItem] = {}
        self._slots: dict[Point, int] = {}
        self._members: list[dict[RawId, None]] = []  # by slot
        self._free: list[int] = []

    def __len__(self) -> int:
        """Number of items that can be recommended."""
        return sum(map(len, self._members))

    def __bool__(self) -> bool:
        return bool(self._slots)

    def __contains__(self, item: RawId) -> bool:
        return item in self._items

    def follow(self, entries: Mapping[RawId, Entry | None], encode: Callable[[Sequence[RawId]], IndexArray]) -> None:
        """Take in what the catalogue now says of items; None: nothing. ``encode`` gives the indices of known items."""
        read = list[tuple[_NewItem, IndexArray]]()
        for item, entry in entries.items():
            self._leave(item)
            if entry is None or not entry.available:
                self._items.pop(item, None)
                continue
            new = self._items.get(item)
            if new is None or new.life != entry.life:
                new = self._items[item] = _NewItem(entry.life)
            contexts: list[Sequence[RawId]] = [*((one,) for one in entry.like), *entry.touches]
            read += [(new, encode(context)) for context in contexts[new.read :]]
            new.read = len(contexts)
        self._learn(read)
        for item in entries:
            if (new := self._items.get(item)) is not None and new.summed:
                self._join(item, new)

    def near(self, rows: Sequence[Row], n: int, allowed: set[RawId] | None = None) -> list[list[tuple[float, RawId]]]:
        """The n best new items of each row, best first, of equal ones the latest put first.

        Rows are those of the model's last answer in this thread; items that are too far for a full list of it may be
        left out. ``allowed`` are the only items that may be given.
        """
        refused = [{item for item in row.refused if item in self._items} for row in rows]
        members, among = self._members, None
        if allowed is not None:
            chosen = dict[int, dict[RawId, None]]()
            for item in allowed.difference(*refused):
                if (new := self._items.get(item)) is not None and new.point is not None:
                    chosen.setdefault(self._slots[new.point], {})[item] = None
            members, among = chosen, list(chosen)
        found = self._nearest(rows, n, among, [self._filled_by(items) if items else [] for items in refused])
        return [_unfolded(scored, members, without, n) for scored, without in zip(found, refused, strict=True)]

    def _filled_by(self, refused: Collection[RawId]) -> list[int]:
        """Slots all of whose items are refused."""
        points = [point for item in refused if (point := self._items[item].point) is not None]
        counts = Counter(self._slots[point] for point in points)
        return [slot for slot, count in counts.items() if count == len(self._members[slot])]

    def _join(self, item: RawId, new: _NewItem) -> None:
        point = new.point = self._point_of(new)
        slot = self._slots.get(point)
        if slot is None:
            slot = self._slots[point] = self._free.pop() if self._free else len(self._members)
            self._members[slot : slot + 1] = [{}]
            self._put(slot, point)
        self._members[slot][item] = None

    def _leave(self, item: RawId) -> None:
        new = self._items.get(item)
        if new is None or new.point is None:
            return
        slot = self._slots[new.point]
        del self._members[slot][item]
        if not self._members[slot]:
            del self._slots[new.point]
            self._free.append(slot)
            self._remove(slot, new.point)
        new.point = None

    @abstractmethod
    def _learn(self, read: Sequence[tuple[_NewItem, IndexArray]]) -> None:
        """Add sessions to the sums of items."""

    @abstractmethod
    def _point_of(self, new: _NewItem) -> Point: ...

    @abstractmethod
    def _put(self, slot: int, point: Point) -> None:
        """Add a point to the search."""

    @abstractmethod
    def _remove(self, slot: int, point: Point) -> None:
        """Remove a point from the search."""

    @abstractmethod
    def _nearest(
        self, rows: Sequence[Row], n: int, among: list[int] | None, without: Sequence[list[int]]
    ) -> Sequence[Scored]:
        """The n points nearest to each row, of those in some slots and without those in others."""


def _unfolded(
    scored: Scored,
    members: Sequence[dict[RawId, None]] | Mapping[int, dict[RawId, None]],
    refused: Collection[RawId],
    n: int,
) -> list[tuple[float, RawId]]:
    listed: list[tuple[float, RawId]] = []
    for score, slot in zip(*scored, strict=True):
        for item in reversed(members[slot]):
            if item not in refused:
                listed.append((score, item))
                if len(listed) == n:
                    return listed
    return listed


class ByClicks(NewItems):
    """For models without a space: a session is the unit vector of its last known clicks; scores are cosines × best.

    So a new item that everybody reached from this very session stands next to the best known item.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weights: dict[int, dict[int, float]] = {}  # of each click, by slot
        self._arrays: dict[int, tuple[Int64Array, FloatArray]] = {}

    def _learn(self, read: Sequence[tuple[_NewItem, IndexArray]]) -> None:
        for new, clicks in read:
            recent = _recent(clicks)
            new.total, new.summed = new.total or {}, new.summed + bool(recent)
            for item in recent:
                new.total[item] = new.total.get(item, 0.0) + 1.0 / math.sqrt(len(recent))

    def _point_of(self, new: _NewItem) -> Point:
        length = math.sqrt(sum(weight * weight for weight in new.total.values()))
        return tuple((item, new.total[item] / length) for item in sorted(new.total))

    def _put(self, slot: int, point: Point) -> None:
        for item, weight in point if isinstance(point, tuple) else ():
            self._weights.setdefault(item, {})[slot] = weight
            self._arrays.pop(item, None)

    def _remove(self, slot: int, point: Point) -> None:
        for item, _ in point if isinstance(point, tuple) else ():
            del self._weights[item][slot]
            self._arrays.pop(item, None)

    def _nearest(
        self, rows: Sequence[Row], n: int, among: list[int] | None, without: Sequence[list[int]]
    ) -> Sequence[Scored]:
        return [self._near_one(row, n, among, slots) for row, slots in zip(rows, without, strict=True)]

    def _near_one(self, row: Row, n: int, among: list[int] | None, without: list[int]) -> Scored:
        recent = _recent(row.clicks)
        clicked = [self._slots_of(item) for item in recent if item in self._weights]
        if not clicked:
            return [], []
        slots, weights = (np.concatenate(part) for part in zip(*clicked, strict=True))
        cosines = np.bincount(slots, weights) / math.sqrt(len(recent))
        if without:
            cosines[[slot for slot in without if slot < len(cosines)]] = 0.0
        slots = np.flatnonzero(cosines) if among is None else np.intersect1d(slots, among)
        nearest, values = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.float32)
        found = best_scored(slots.astype(np.int32), len(slots), cosines, nearest, values)
        best = row.own[0] if row.own else 0.0
        return (best * np.minimum(values[:found], 1.0)).tolist(), nearest[:found].tolist()

    def _slots_of(self, item: int) -> tuple[Int64Array, FloatArray]:
        if item not in self._arrays:
            weights = self._weights[item]
            slots = np.fromiter(weights, np.int64, len(weights))
            self._arrays[item] = slots, np.fromiter(weights.values(), np.float64, len(weights))
        return self._arrays[item]


def _recent(clicks: IndexArray) -> list[int]:
    """The last distinct known clicks, the last first."""
    return list(dict.fromkeys(clicks[clicks > 0][::-1].tolist()))[:RECENT]


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

    def nearest(
        self, queries: ScoreArray, n: int, among: list[int] | None, without: list[int]
    ) -> "list[tuple[ScoreArray, Int64Array]]":
        """Scores and slots of the nearest points to each query."""
        if self._index is None:
            return [(np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(queries)
        admissible = self.admissible
        if among is not None:
            admissible = np.zeros_like(admissible)
            admissible[[self.rows[slot] for slot in among if slot in self.rows]] = True
            admissible &= self.admissible
        if without:
            admissible = admissible.copy()
            admissible[[self.rows[slot] for slot in without if slot in self.rows]] = False
        found = self._index.search(queries, min(n, len(self.rows)), admissible=admissible)
        slots = self.slots[found.items]
        return [(found.scores[at, :end], slots[at, :end]) for at, end in enumerate(found.found.tolist())]


class ByEmbedding(NewItems):
    """In the space of a metric model: the mean of the sessions' embeddings, searched as items are.

    A model that weighs more than distances (``ranked``) has no score for a new item: it stands behind as many items of
    the list as there are known items nearer to the session, or next to the first.
    """

    def __init__(self, space: EmbeddingSpace, index: RecordingIndex, *, ranked: bool) -> None:
        super().__init__()
        self._space, self._index, self._ranked = space, index, ranked
        self._vectors: dict[int, ScoreArray] = {}
        self._fresh: dict[int, ScoreArray] = {}
        self._built, self._latest = _Part({}, space), _Part({}, space)
        self._stale = False

    def _learn(self, read: Sequence[tuple[_NewItem, IndexArray]]) -> None:
        if not read:
            return
        vectors, known = self._space.sessions(Prefixes.of([clicks for _, clicks in read]))
        for (new, _), vector, n_known in zip(read, vectors.astype(np.float64), known.tolist(), strict=True):
            if n_known:
                new.total = vector if new.total is None else new.total + vector
                new.summed += 1

    def _point_of(self, new: _NewItem) -> Point:
        by = new.summed
        if self._space.distance == "cosine":
            by = max(float(np.linalg.norm(new.total)), 1e-12)
        return (new.total / by).astype(np.float32).tobytes()

    def _put(self, slot: int, point: Point) -> None:
        assert isinstance(point, bytes)  # noqa: S101 - `_point_of` makes them
        self._vectors[slot] = self._fresh[slot] = np.frombuffer(point, np.float32)
        self._stale = True

    def _remove(self, slot: int, point: Point) -> None:  # noqa: ARG002 - the slot says it
        del self._vectors[slot]
        if self._fresh.pop(slot, None) is not None:
            self._stale = True
        else:
            self._built.admissible[self._built.rows[slot]] = False

    def _nearest(
        self, rows: Sequence[Row], n: int, among: list[int] | None, without: Sequence[list[int]]
    ) -> Sequence[Scored]:
        if self._stale:
            self._settle()
        queries, known = self._index.last
        if any(without):
            each = zip(np.split(queries, len(queries)), without, strict=True)
            near = [one for query, slots in each for one in self._near(query, n, among, slots)]
        else:
            near = self._near(queries, n, among, [])
        found = list[Scored]()
        for at, (row, (scores, slots)) in enumerate(zip(rows, near, strict=True)):
            if not queries[at].any():  # without known clicks
                found.append(([], []))
            elif self._ranked:
                found.append(_behind(row.own, scores, slots, known.scores[at, : known.found[at]], n))
            else:
                found.append((scores.tolist(), slots.tolist()))
        return found

    def _near(
        self, queries: ScoreArray, n: int, among: list[int] | None, without: list[int]
    ) -> "Sequence[tuple[ScoreArray, Int64Array]]":
        near = self._built.nearest(queries, n, among, without)
        if not self._fresh:
            return near
        latest = self._latest.nearest(queries, n, among, without)
        return [_nearer_of(*pair) for pair in zip(near, latest, strict=True)]

    def _settle(self) -> None:
        if len(self._fresh) > FRESH:
            self._built = _Part(self._vectors, self._space)
            self._fresh = {}
        self._latest = _Part(self._fresh, self._space)
        self._stale = False


def _nearer_of(
    one: tuple[ScoreArray, Int64Array], other: tuple[ScoreArray, Int64Array]
) -> tuple[ScoreArray, Int64Array]:
    scores, slots = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    order = np.argsort(-scores, kind="stable")
    return scores[order], slots[order]


def _behind(own: Sequence[float], scores: ScoreArray, slots: Int64Array, known: ScoreArray, n: int) -> Scored:
    """Points with the scores of the items that they stand behind; ``known`` are scores of the nearest items."""
    if not own:
        return [0.0] * len(slots), slots.tolist()
    ahead = np.maximum(np.searchsorted(-known, -scores, side="right"), 1)
    if len(own) >= n:  # what is behind the whole list cannot join it
        ahead = ahead[: np.searchsorted(ahead, len(own))]
    return [own[min(at, len(own)) - 1] for at in ahead.tolist()], slots[: len(ahead)].tolist()


def new_items_for(recommender: Recommender) -> NewItems:
    """A model's new items, none so far; the index of a model that has a space is made a recording one."""
    space = space_of(recommender)
    if space is None or not isinstance(recommender, HasSpace):
        return ByClicks()
    from nearnext.recommenders.metric.recommender import Metric

    index = space.index if isinstance(space.index, RecordingIndex) else RecordingIndex(space.index)
    recommender.search_by(index)
    return ByEmbedding(space, index, ranked=isinstance(recommender, Metric))

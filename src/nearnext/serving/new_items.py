"""Points of items that the model was not trained with: at the mean of the sessions that led to them.

New items at the same point share a `Point`, and only the nearest points are looked for: an answer takes less
than three times as long with 20,000 new items. A change concerns its own item alone; embeddings join in hundreds.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.space import EmbeddingSpace, space_of
from nearnext.types import FloatArray, IndexArray, Int64Array, ScoreArray

if TYPE_CHECKING:
    pass

RECENT = 5
"""Last clicks of a session that are compared with those before new items, where the model has no space of its own."""

FRESH = 256
"""Points that are searched apart until the index is built again with them."""

Point = tuple[tuple[int, float], ...] | bytes
"""Where an item is: the weight of each click, or the bytes of an embedding."""

Weights = dict[int, float]
Scored = list[tuple[float, Point]]


@dataclass
class Mean:
    """The sum of the sessions that led to an item, and how many of them have a point."""

    total: Weights | FloatArray | None = None
    summed: int = 0


class Points(Protocol):
    """The points of new items, and the nearest of them to a session."""

    def add(self, mean: Mean, clicks: IndexArray) -> None:
        """Take a session into a mean."""
        ...

    def put(self, mean: Mean) -> Point | None:
        """The point of a mean, which is looked for from now on; None: it has none."""
        ...

    def remove(self, point: Point) -> None:
        """Look for a point no more."""
        ...

    def nearest(self, clicks: IndexArray, own: Sequence[float], n: int, among: Collection[Point] | None) -> Scored:
        """The n nearest points and their scores for a session, best first; ``own`` are scores of the model's list."""
        ...


class _ClickPoints:
    """For models without a space: a session is the unit vector of its last known clicks; scores are cosines × best.

    So a new item that everybody reached from this very session stands next to the best known item.
    """

    def __init__(self) -> None:
        self._slots: dict[Point, int] = {}
        self._points: list[Point] = []
        self._free: list[int] = []
        self._postings: dict[int, dict[int, float]] = {}
        self._arrays: dict[int, tuple[Int64Array, FloatArray]] = {}
        self._cosines = np.zeros(0)

    def add(self, mean: Mean, clicks: IndexArray) -> None:
        total = mean.total if isinstance(mean.total, dict) else {}
        recent = _recent(clicks)
        for item in recent:
            total[item] = total.get(item, 0.0) + 1.0 / math.sqrt(len(recent))
        mean.total, mean.summed = total, mean.summed + bool(recent)

    def put(self, mean: Mean) -> Point | None:
        total = mean.total if isinstance(mean.total, dict) else {}
        length = math.sqrt(sum(weight * weight for weight in total.values()))
        if not length:
            return None
        point = tuple((item, total[item] / length) for item in sorted(total))
        if point in self._slots:
            return point
        slot = self._free.pop() if self._free else len(self._points)
        self._points[slot : slot + 1] = [point]
        self._slots[point] = slot
        for item, weight in point:
            self._postings.setdefault(item, {})[slot] = weight
            self._arrays.pop(item, None)
        if slot >= len(self._cosines):
            self._cosines = np.zeros(2 * slot + 64)
        return point

    def remove(self, point: Point) -> None:
        slot = self._slots.pop(point)
        self._free.append(slot)
        for item, _ in point if isinstance(point, tuple) else ():
            del self._postings[item][slot]
            self._arrays.pop(item, None)

    def nearest(self, clicks: IndexArray, own: Sequence[float], n: int, among: Collection[Point] | None) -> Scored:
        best = own[0] if own else 0.0
        recent, cosines = _recent(clicks), self._cosines
        touched = [self._of(item) for item in recent]
        for slots, weights in touched:
            cosines[slots] += weights / math.sqrt(len(recent))
        found = np.unique(np.concatenate([slots for slots, _ in touched]))
        if not len(found):
            return []
        values = cosines[found]
        cosines[found] = 0.0
        if among is not None:
            wanted = np.isin(found, [self._slots[point] for point in among])
            found, values = found[wanted], values[wanted]
        if len(found) > n:
            bound = np.partition(values, -n)[-n]
            first = np.flatnonzero(values == bound)[: n - np.count_nonzero(values > bound)]
            kept = np.concatenate([np.flatnonzero(values > bound), first])
            found, values = found[kept], values[kept]
        order = np.lexsort((found, -values))
        return [(float(np.float32(best * min(float(values[at]), 1.0))), self._points[found[at]]) for at in order]

    def _of(self, item: int) -> tuple[Int64Array, FloatArray]:
        if item not in self._arrays:
            posting = self._postings.get(item, {})
            slots = np.fromiter(posting, np.int64, len(posting))
            self._arrays[item] = slots, np.fromiter(posting.values(), np.float64, len(posting))
        return self._arrays[item]


class _Part:
    """Points searched together, by the index that the model's own items have."""

    def __init__(self, vectors: dict[Point, ScoreArray], space: EmbeddingSpace) -> None:
        from nearnext.retrieval import ExactIndex

        self.points = list(vectors)
        self.rows = {point: row for row, point in enumerate(self.points, start=1)}
        self.admissible = np.arange(len(self.points) + 1) > 0
        self._index: ExactIndex | None = (
            ExactIndex(np.stack(list(vectors.values())), space.distance) if vectors else None
        )

    def nearest(self, vectors: ScoreArray, n: int, among: Collection[Point] | None) -> Scored:
        if self._index is None:
            return []
        admissible = self.admissible
        if among is not None:
            wanted = np.zeros_like(admissible)
            wanted[[self.rows[point] for point in among if point in self.rows]] = True
            admissible = admissible & wanted
        found = self._index.search(vectors, min(n, len(self.points)), admissible=admissible)
        listed = range(int(found.found[0]))
        return [(float(found.scores[0, at]), self.points[found.items[0, at] - 1]) for at in listed]


class _EmbeddingPoints:
    """In the space of a metric model: the mean of the sessions' embeddings, searched as items are."""

    def __init__(self, space: EmbeddingSpace) -> None:
        self._space = space
        self._vectors: dict[Point, ScoreArray] = {}
        self._fresh: dict[Point, ScoreArray] = {}
        self._built, self._latest = _Part({}, space), _Part({}, space)
        self._stale = False

    def add(self, mean: Mean, clicks: IndexArray) -> None:
        vectors, known = self._space.sessions(Prefixes.of([clicks]))
        if known[0]:
            mean.total = vectors[0].astype(np.float64) + (0.0 if mean.total is None else np.asarray(mean.total))
            mean.summed += 1

    def put(self, mean: Mean) -> Point | None:
        if not mean.summed:
            return None
        total = np.asarray(mean.total, dtype=np.float64)
        cosine = self._space.distance == "cosine"
        vector = (total / (max(float(np.linalg.norm(total)), 1e-12) if cosine else mean.summed)).astype(np.float32)
        point = vector.tobytes()
        if point not in self._vectors:
            self._vectors[point] = self._fresh[point] = vector
            self._stale = True
        return point

    def remove(self, point: Point) -> None:
        del self._vectors[point]
        if self._fresh.pop(point, None) is not None:
            self._stale = True
        else:
            self._built.admissible[self._built.rows[point]] = False

    def nearest(self, clicks: IndexArray, own: Sequence[float], n: int, among: Collection[Point] | None) -> Scored:  # noqa: ARG002 - distances need no comparison
        vectors, known = self._space.sessions(Prefixes.of([clicks]))
        return self._near(vectors, n, among) if known[0] else []

    def _near(self, vectors: ScoreArray, n: int, among: Collection[Point] | None) -> Scored:
        if self._stale:
            self._settle()
        found = self._built.nearest(vectors, n, among) + self._latest.nearest(vectors, n, among)
        return sorted(found, key=lambda scored: -scored[0])[:n]

    def _settle(self) -> None:
        if len(self._fresh) > FRESH:
            self._built = _Part(self._vectors, self._space)
            self._fresh = {}
        self._latest = _Part(self._fresh, self._space)
        self._stale = False


class _RankedPoints(_EmbeddingPoints):
    """For models that have a space, but weigh more than distances: nobody knows what else speaks for a new item.

    So it stands behind as many items of the list as there are known items nearer to the session, or next to the first.
    """

    def nearest(self, clicks: IndexArray, own: Sequence[float], n: int, among: Collection[Point] | None) -> Scored:
        vectors, known = self._space.sessions(Prefixes.of([clicks]))
        if not known[0]:
            return []
        near = self._near(vectors, n, among)
        if not own:
            return [(0.0, point) for _, point in near]
        found = self._space.index.search(vectors, len(own), admissible=self._space.located)
        nearer = [int((found.scores[0, : found.found[0]] >= score).sum()) for score, _ in near]
        return [(own[max(ahead, 1) - 1], point) for ahead, (_, point) in zip(nearer, near, strict=True)]


def points_for(recommender: Recommender) -> Points:
    """The points of a model's new items.

    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.rules import Markov
    >>> points, mean = points_for(Markov().fit(Sessions.of([["a", "b"]]))), Mean()
    >>> points.add(mean, np.array([1], np.int32))
    >>> points.nearest(np.array([1], np.int32), [3.0], 1, None) == [], points.put(mean)
    (True, ((1, 1.0),))
    >>> points.nearest(np.array([1], np.int32), [3.0], 1, None)
    [(3.0, ((1, 1.0),))]
    """
    space = space_of(recommender)
    if space is None:
        return _ClickPoints()
    from nearnext.recommenders.metric.recommender import Metric

    return _RankedPoints(space) if isinstance(recommender, Metric) else _EmbeddingPoints(space)


def _recent(clicks: IndexArray) -> list[int]:
    """The last distinct known clicks, the last first."""
    return list(dict.fromkeys(clicks[clicks > 0][::-1].tolist()))[:RECENT]

"""New items of a model without a space: each at the mean of the clicks that led to it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nearnext.serving.new_items import NONE, NewItem, NewItems, Row, Scored
from nearnext.topk import best_scored
from nearnext.types import FloatArray, IndexArray, Int64Array

RECENT = 5
"""Last clicks of a session that are compared with those before new items."""


class ByClicks(NewItems):
    """A session is the unit vector of its last known clicks; scores are cosines × best.

    So a new item reached only by sessions with these same clicks is ranked next to the best known item. A point is the
    weight of each click.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weights: dict[int, dict[int, float]] = {}  # of each click, by slot
        self._arrays: dict[int, tuple[Int64Array, FloatArray]] = {}

    def _learn(self, read: Sequence[tuple[NewItem, IndexArray]]) -> None:
        for new, clicks in read:
            recent = _recent(clicks)
            new.total, new.summed = new.total or {}, new.summed + bool(recent)
            for item in recent:
                new.total[item] = new.total.get(item, 0.0) + 1.0 / math.sqrt(len(recent))

    def _point_of(self, new: NewItem) -> tuple[tuple[int, float], ...]:
        length = math.sqrt(sum(weight * weight for weight in new.total.values()))
        return tuple((item, new.total[item] / length) for item in sorted(new.total))

    def _put(self, slot: int, point: tuple[tuple[int, float], ...]) -> None:
        for item, weight in point:
            self._weights.setdefault(item, {})[slot] = weight
            self._arrays.pop(item, None)

    def _remove(self, slot: int, point: tuple[tuple[int, float], ...]) -> None:
        for item, _ in point:
            del self._weights[item][slot]
            self._arrays.pop(item, None)

    def _nearest(
        self,
        rows: Sequence[Row],
        n: int,
        among: list[int] | None,
        latest: Any,  # noqa: ARG002 - it searches by clicks
    ) -> Sequence[Scored]:
        return [self._near_one(row, n, among) for row in rows]

    def _near_one(self, row: Row, n: int, among: list[int] | None) -> Scored:
        recent = _recent(row.clicks)
        clicked = [self._slots_of(item) for item in recent if item in self._weights]
        if not clicked:
            return NONE
        slots, weights = (np.concatenate(part) for part in zip(*clicked, strict=True))
        cosines = np.bincount(slots, weights) / math.sqrt(len(recent))
        slots = np.flatnonzero(cosines) if among is None else np.intersect1d(slots, among)
        nearest, values = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.float32)
        found = best_scored(slots.astype(np.int32), len(slots), cosines, nearest, values)
        best = np.float32(row.own[0] if row.own else 0.0)
        return best * np.minimum(values[:found], np.float32(1.0)), nearest[:found].astype(np.int64)

    def _slots_of(self, item: int) -> tuple[Int64Array, FloatArray]:
        if item not in self._arrays:
            weights = self._weights[item]
            slots = np.fromiter(weights, np.int64, len(weights))
            self._arrays[item] = slots, np.fromiter(weights.values(), np.float64, len(weights))
        return self._arrays[item]


def _recent(clicks: IndexArray) -> list[int]:
    """The last distinct known clicks, the last first."""
    return list(dict.fromkeys(clicks[clicks > 0][::-1].tolist()))[:RECENT]

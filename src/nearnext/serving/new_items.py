"""Items that the model was not trained with: each at the mean of the sessions that led to it.

Only the nearest are searched, and items at the same point are searched as one: with 20,000 new items an answer
takes less than twice as long as with none. A change concerns its own item alone.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nearnext.serving.catalogue import Entry
from nearnext.types import IndexArray, Int64Array, RawId, ScoreArray

Scored = tuple[ScoreArray, Int64Array]
"""Scores and slots of points, best first."""

NONE: Scored = np.zeros(0, np.float32), np.zeros(0, np.int64)


class Row(NamedTuple):
    """One answer that new items may join: the session's item indices, scores of the model's own list, refused items."""

    clicks: IndexArray
    own: Sequence[float]
    refused: Collection[RawId] = ()


@dataclass
class JoinedList:
    """Items and scores of one answer, how many leading items are scored, and item indices, 0 for new items."""

    items: list[RawId]
    scores: list[float]
    own: int
    indices: list[int]

    def join(self, near: Iterable[tuple[float, RawId]], k: int) -> None:
        """Take in further items by their scores, after equal ones."""
        place = 0
        for score, item in near:
            while place < self.own and self.scores[place] >= score:
                place += 1
            if place >= k:
                break
            self.items.insert(place, item)
            self.scores.insert(place, score)
            self.indices.insert(place, 0)
            self.own += 1
        del self.items[k:], self.scores[k:], self.indices[k:]
        self.own = min(self.own, k)


class Placed(NamedTuple):
    """Where attributes place an item, and the clicked items most like it, as in `Likeness`: [D], [M], [M]."""

    vector: ScoreArray
    alike: IndexArray
    weights: ScoreArray


@dataclass
class NewItem:
    """One life of an item: the sum of the sessions that led to it, how many were read, and how many have a point.

    ``placed`` is where its attributes place it, as long as there is no session.
    """

    life: tuple[int, int]
    total: Any = None
    read: int = 0
    summed: int = 0
    point: Any = None
    placed: Placed | None = None


class NewItems(ABC):
    """The new items of a catalogue; a subclass says what a point is, and which are near."""

    remedy = "put it with items that it is like, or send clicks on it"
    """What to do for an item that is in no list yet."""

    def __init__(self) -> None:
        self._items: dict[RawId, NewItem] = {}
        self._slots: dict[Hashable, int] = {}  # of each point
        self._members: dict[int, dict[RawId, None]] = {}  # of each slot, the latest last
        self._free: list[int] = []

    def __len__(self) -> int:
        """Number of items that can be recommended."""
        return sum(map(len, self._members.values()))

    def __bool__(self) -> bool:
        return bool(self._slots)

    def __contains__(self, item: RawId) -> bool:
        return item in self._items

    @property
    def ids(self) -> list[RawId]:
        """All new items, the latest last."""
        return list(self._items)

    def led_to(self, item: RawId) -> bool:
        """Whether sessions or similar items led to a new item."""
        return self._items[item].summed > 0

    def origin(self, item: RawId) -> str:
        """What the position of a new item comes from, in words."""
        new = self._items[item]
        if new.summed:
            return f"placed by {new.summed:,} sessions that led to it or items that it is like"
        if new.placed is not None:
            return "placed by its attributes"
        return f"nothing places it: {self.remedy}"

    def vector(self, item: RawId) -> ScoreArray | None:  # noqa: ARG002 - a subclass may have one
        """The embedding of an item; None where it has none: [D]."""
        return None

    def follow(
        self,
        entries: Mapping[RawId, Entry | None],
        encode: Callable[[Sequence[RawId]], IndexArray],
        placed: Mapping[RawId, Placed],
    ) -> None:
        """Take in what the catalogue now says of items; None: nothing.

        ``encode`` gives the indices of known items; ``placed`` is where attributes place items.
        """
        read = list[tuple[NewItem, IndexArray]]()
        for item, entry in entries.items():
            self._leave(item)
            if entry is None or not entry.available:
                self._items.pop(item, None)
                continue
            new = self._items.get(item)
            if new is None or new.life != entry.life:
                new = self._items[item] = NewItem(entry.life)
            contexts: list[Sequence[RawId]] = [*((one,) for one in entry.like), *entry.touches]
            read += [(new, encode(context)) for context in contexts[new.read :]]
            new.read = len(contexts)
            new.placed = placed.get(item, new.placed)
        if read:
            self._learn(read)
        for item in entries:
            if (new := self._items.get(item)) is not None and (new.summed or new.placed is not None):
                self._join(item, new)

    def latest(self) -> Any:
        """What `near` needs of the model's last answer in this thread."""
        return None

    def near(
        self, rows: Sequence[Row], n: int, allowed: set[RawId] | None, latest: Any
    ) -> list[list[tuple[float, RawId]]]:
        """The n best new items of each row, best first, of equal ones the latest put first.

        Rows are those of an answer of the model, of which ``latest`` is kept; items that are too far for a full list
        may be left out. ``allowed`` are the only items that may be given; None: all.
        """
        refused = [{item for item in row.refused if item in self._items} for row in rows]
        members, among, n_searched = self._members, None, n
        if allowed is not None:
            points = [new.point for item in allowed if (new := self._items.get(item)) is not None]
            slots = {self._slots[point] for point in points if point is not None}
            if len(rows) == 1:
                allowed = allowed - refused[0]
            else:
                n_searched = n + max(map(len, refused))
            kept = {slot: {item: None for item in self._members[slot] if item in allowed} for slot in slots}
            members = {slot: items for slot, items in kept.items() if items}
            among = list(members)
        elif filled := max((self._filled_by(items) for items in refused if items), key=len, default=None):
            n_searched = n + len(filled)
            if len(rows) == 1:
                n_searched, among = n, list(self._members.keys() - filled)
        found = self._nearest(rows, n_searched, among, latest)
        return [_unfolded(scored, members, without, n) for scored, without in zip(found, refused, strict=True)]

    def _filled_by(self, refused: Collection[RawId]) -> set[int]:
        """Slots all of whose items are refused."""
        points = [point for item in refused if (point := self._items[item].point) is not None]
        counts = Counter(self._slots[point] for point in points)
        return {slot for slot, count in counts.items() if count == len(self._members[slot])}

    def _join(self, item: RawId, new: NewItem) -> None:
        point = new.point = self._point_of(new)
        slot = self._slots.get(point)
        if slot is None:
            slot = self._slots[point] = self._free.pop() if self._free else len(self._members)
            self._members[slot] = {}
            self._put(slot, point)
        self._members[slot][item] = None

    def _leave(self, item: RawId) -> None:
        new = self._items.get(item)
        if new is None or new.point is None:
            return
        slot = self._slots[new.point]
        del self._members[slot][item]
        if not self._members[slot]:
            del self._members[slot], self._slots[new.point]
            self._free.append(slot)
            self._remove(slot, new.point)
        new.point = None

    @abstractmethod
    def _learn(self, read: Sequence[tuple[NewItem, IndexArray]]) -> None:
        """Add sessions to the sums of items."""

    @abstractmethod
    def _point_of(self, new: NewItem) -> Any: ...

    @abstractmethod
    def _put(self, slot: int, point: Any) -> None:
        """Add a point to the search."""

    @abstractmethod
    def _remove(self, slot: int, point: Any) -> None:
        """Remove a point from the search."""

    @abstractmethod
    def _nearest(self, rows: Sequence[Row], n: int, among: list[int] | None, latest: Any) -> Sequence[Scored]:
        """The n points nearest to each row, of all slots or of some."""


def _unfolded(
    scored: Scored, members: Mapping[int, dict[RawId, None]], refused: Collection[RawId], n: int
) -> list[tuple[float, RawId]]:
    listed: list[tuple[float, RawId]] = []
    for score, slot in zip(scored[0].tolist(), scored[1].tolist(), strict=True):
        for item in reversed(members[slot]):
            if item not in refused:
                listed.append((score, item))
                if len(listed) == n:
                    return listed
    return listed

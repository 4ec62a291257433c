"""What one model may recommend now: its own items less those that are gone, and new items."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nearnext.recommenders.base import Recommender
from nearnext.serving.catalogue import Catalogue, Entry
from nearnext.serving.new_items import Mean, Point, points_for
from nearnext.types import BoolArray, IndexArray, RawId


@dataclass
class _NewItem:
    """An item that the model was not trained with: of which life, where it is, and by how many sessions."""

    life: tuple[int, int]
    mean: Mean = field(default_factory=Mean)
    point: Point | None = None
    taken: int = 0


class AvailableItems:
    """The items that one model may recommend, kept up with the catalogue.

    Attributes:
        admissible: which of the model's items may be recommended: [I + 1].
        hidden: items that may not, the model's and new ones.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.named import make_recommender
    >>> from nearnext.serving.catalogue import Change
    >>> model = make_recommender("markov-1").fit(Sessions.of([["a", "b"]] * 3 + [["a", "c"]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     catalogue = Catalogue(Path(folder, "changes"))
    ...     catalogue.write(Change("put", "new", clicks=["a"]))
    ...     catalogue.write(Change("delete", "b"))
    ...     catalogue.refresh()
    ...     available = AvailableItems(model, catalogue)
    ['new', 'b']
    >>> available.admissible.tolist()
    [False, True, False, True]
    >>> available.nearest_new(model.vocabulary.encode(["a"]), own=[0.5], n=1)
    [(0.5, 'new')]
    """

    def __init__(self, recommender: Recommender, catalogue: Catalogue) -> None:
        self._vocabulary = recommender.vocabulary
        self._catalogue = catalogue
        self.admissible: BoolArray = np.ones(len(self._vocabulary) + 1, dtype=np.bool_)
        self.admissible[0] = False
        self.hidden: set[RawId] = set()
        self._new: dict[RawId, _NewItem] = {}
        self._points = points_for(recommender)
        self._at: dict[Point, dict[RawId, None]] = {}
        self._n_placed = 0
        self.update(catalogue.entries)

    def __len__(self) -> int:
        """Number of new items that can be recommended."""
        return self._n_placed

    def knows(self, item: RawId) -> bool:
        """Whether the model was trained with the item."""
        return self._vocabulary.as_stored(item) in self._vocabulary.index

    def is_new(self, item: RawId) -> bool:
        """Whether the item joined the catalogue since the model was trained."""
        return item in self._new

    def update(self, items: Iterable[RawId]) -> None:
        """Follow the catalogue in what it now says of these items."""
        for item in dict.fromkeys(items):
            entry = self._catalogue.entries.get(item, Entry())
            (self.hidden.discard if entry.available else self.hidden.add)(item)
            index = self._vocabulary.index.get(self._vocabulary.as_stored(item), 0)
            if index:
                self.admissible[index] = entry.available
            else:
                self._follow(item, entry)

    def nearest_new(
        self,
        clicks: IndexArray,
        own: Sequence[float],
        n: int,
        *,
        allowed: Collection[RawId] | None = None,
        refused: Collection[RawId] = (),
    ) -> list[tuple[float, RawId]]:
        """The n best new items with their scores for a session, best first; of equal ones the latest put comes first.

        Args:
            clicks: item indices of the session, oldest first, 0 where unknown.
            own: scores of the model's own list, falling.
            n: most items.
            allowed: the only ones that may be given.
            refused: those that may not.
        """
        if not len(self) or not clicks.any():
            return []
        among: dict[Point, dict[RawId, None]] | None = None
        if allowed is not None:
            among = {}
            for item in allowed:
                if (new := self._new.get(item)) is not None and new.point is not None:
                    among.setdefault(new.point, {})[item] = None
        listed: list[tuple[float, RawId]] = []
        refused = {item for item in refused if item in self._new}
        for score, point in self._points.nearest(clicks, own, n + len(refused), among):
            for item in reversed((self._at if among is None else among)[point]):
                if item not in refused:
                    listed.append((score, item))
                    if len(listed) == n:
                        return listed
        return listed

    def _follow(self, item: RawId, entry: Entry) -> None:
        new = self._new.get(item)
        if new is not None and new.point is not None:
            self._leave(item, new.point)
        if not entry.available or item not in self._catalogue.entries:
            self._new.pop(item, None)
            return
        if new is None or new.life != entry.life:
            new = self._new[item] = _NewItem(entry.life)
        contexts: list[Sequence[RawId]] = [*((one,) for one in entry.like), *entry.touches]
        for context in contexts[new.taken :]:
            self._points.add(new.mean, self._vocabulary.encode(context))
        new.taken = len(contexts)
        new.point = self._points.put(new.mean)
        if new.point is not None:
            self._at.setdefault(new.point, {})[item] = None
            self._n_placed += 1

    def _leave(self, item: RawId, point: Point) -> None:
        self._n_placed -= 1
        del self._at[point][item]
        if not self._at[point]:
            del self._at[point]
            self._points.remove(point)

"""The items that a model may recommend, in step with the catalogue."""

from collections.abc import Iterable

import numpy as np

from nearnext.data.item_values import Attributes
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.space import HasSpace, space_of
from nearnext.serving.catalogue import Catalogue, Entry
from nearnext.serving.live_items import LiveItems
from nearnext.serving.new_embeddings import ByEmbedding, RecordingIndex
from nearnext.serving.new_items import ByClicks, NewItems
from nearnext.types import BoolArray, RawId


class AvailableItems:
    """The items that one model may recommend, in step with the catalogue."""

    def __init__(self, recommender: Recommender, catalogue: Catalogue) -> None:
        self._vocabulary = recommender.vocabulary
        self._catalogue = catalogue
        self.admissible: BoolArray = np.ones(len(self._vocabulary) + 1, dtype=np.bool_)
        self.admissible[0] = False
        self.hidden: set[RawId] = set()
        self.new = _new_items_of(recommender)
        self.live = LiveItems(recommender)
        self._lives: dict[RawId, object] = {}
        space = space_of(recommender)
        self._place = None if space is None else space.place
        self.update(list(catalogue.entries))  # another thread may change them meanwhile

    def knows(self, item: RawId) -> bool:
        """Whether the model was trained with the item."""
        return bool(self._vocabulary.encode([item])[0])

    def update(self, items: Iterable[RawId]) -> None:
        """Apply the catalogue's changes to these items."""
        new = dict[RawId, Entry | None]()
        changes = dict[RawId, Attributes]()
        changed = list(items)
        indices, stored = self._vocabulary.encode(changed).tolist(), self._vocabulary.as_stored(changed)
        for item, index, known in zip(changed, indices, stored, strict=True):
            entry = self._catalogue.entries.get(item)
            available = entry is None or entry.available
            (self.hidden.discard if available else self.hidden.add)(item)
            if index:
                self.admissible[index] = available
            else:
                new[item] = entry
            life = None if entry is None else entry.life
            if self._lives.get(item) != life:  # otherwise only a session was added
                self._lives[item] = life
                changes[known if index else item] = {} if entry is None else entry.attributes
        self.live.follow(changes)
        placed = [item for item, entry in new.items() if entry is not None and entry.available and changes.get(item)]
        vectors = self._place(self.live.of(placed)) if placed and self._place else ()
        self.new.follow(new, self._vocabulary.encode, dict(zip(placed, vectors, strict=False)))
        self.live.number(self.new.ids)


def _new_items_of(recommender: Recommender) -> NewItems:
    """A model's new items, none so far; the index of a model that has a space is made a recording one."""
    space = space_of(recommender)
    if space is None or not isinstance(recommender, HasSpace):
        return ByClicks()
    from nearnext.recommenders.metric.recommender import Metric

    index = space.index if isinstance(space.index, RecordingIndex) else RecordingIndex(space.index)
    recommender.search_by(index)
    return ByEmbedding(space, index, ranked=isinstance(recommender, Metric))

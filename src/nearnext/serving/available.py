"""The items that a model may recommend, in step with the catalogue."""

from collections.abc import Iterable

import numpy as np

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
        self.update(list(catalogue.entries))  # another thread may change them meanwhile

    def knows(self, item: RawId) -> bool:
        """Whether the model was trained with the item."""
        return self._vocabulary.as_stored(item) in self._vocabulary.index

    def update(self, items: Iterable[RawId]) -> None:
        """Apply the catalogue's changes to these items."""
        new = dict[RawId, Entry | None]()
        for item in items:
            entry = self._catalogue.entries.get(item)
            available = entry is None or entry.available
            (self.hidden.discard if available else self.hidden.add)(item)
            if index := self._vocabulary.index.get(self._vocabulary.as_stored(item)):
                self.admissible[index] = available
            else:
                new[item] = entry
        self.new.follow(new, self._vocabulary.encode)
        self.live.follow(self.new.ids)


def _new_items_of(recommender: Recommender) -> NewItems:
    """A model's new items, none so far; the index of a model that has a space is made a recording one."""
    space = space_of(recommender)
    if space is None or not isinstance(recommender, HasSpace):
        return ByClicks()
    from nearnext.recommenders.metric.recommender import Metric

    index = space.index if isinstance(space.index, RecordingIndex) else RecordingIndex(space.index)
    recommender.search_by(index)
    return ByEmbedding(space, index, ranked=isinstance(recommender, Metric))

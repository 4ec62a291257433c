"""What one model may recommend now: its own items less those that are gone, and new items."""

from collections.abc import Iterable

import numpy as np

from nearnext.recommenders.base import Recommender
from nearnext.serving.catalogue import Catalogue, Entry
from nearnext.serving.new_items import new_items_for
from nearnext.types import BoolArray, RawId


class AvailableItems:
    """The items that one model may recommend, kept up with the catalogue."""

    def __init__(self, recommender: Recommender, catalogue: Catalogue) -> None:
        self._vocabulary = recommender.vocabulary
        self._catalogue = catalogue
        self.admissible: BoolArray = np.ones(len(self._vocabulary) + 1, dtype=np.bool_)
        self.admissible[0] = False
        self.hidden: set[RawId] = set()
        self.new = new_items_for(recommender)
        self.update(catalogue.entries)

    def knows(self, item: RawId) -> bool:
        """Whether the model was trained with the item."""
        return self._vocabulary.as_stored(item) in self._vocabulary.index

    def update(self, items: Iterable[RawId]) -> None:
        """Follow the catalogue in what it now says of these items."""
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

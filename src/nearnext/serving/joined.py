"""A list of next items that new items are put into."""

from collections.abc import Iterable
from dataclasses import dataclass

from nearnext.types import RawId


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

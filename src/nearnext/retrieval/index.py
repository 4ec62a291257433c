"""The protocol of an index: the nearest items of each session embedding."""

from typing import NamedTuple, Protocol

from nearnext.data.prefixes import Prefixes
from nearnext.types import BoolArray, IndexArray, ScoreArray


class Neighbours(NamedTuple):
    """The nearest items of B queries, nearest first.

    Attributes:
        items: distinct item indices, 0 after the end of a list: [B, k].
        scores: score of each item, higher is nearer, 0 after the end of a list: [B, k].
        found: length of each list; below k only where fewer items may be listed: [B].
    """

    items: IndexArray
    scores: ScoreArray
    found: IndexArray


class Index(Protocol):
    """Item embeddings that can be searched; the list of a query does not depend on other queries."""

    @property
    def n_items(self) -> int:
        """Number of items I, indexed 1..I."""
        ...

    @property
    def dim(self) -> int:
        """Dimension D of the embeddings."""
        ...

    def search(
        self, queries: ScoreArray, k: int, *, admissible: BoolArray | None = None, seen: Prefixes | None = None
    ) -> Neighbours:
        """The k nearest items of each query [B, D]; of equal scores the smaller item index comes first.

        No list is shorter while an item that may be listed is left. ``admissible`` says which item indices may be
        listed, by default all from 1 on [I + 1]; the clicks of the B prefixes ``seen`` may not.
        """
        ...

"""The metric space of a recommender that has one: where items and sessions lie in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearnext.data.prefixes import Prefixes
from nearnext.types import BoolArray, IndexArray, ScoreArray

if TYPE_CHECKING:  # torch takes over a second to import: methods without a space do without it
    from nearnext.model.distances import DistanceName
    from nearnext.retrieval import Index

__all__ = ["EmbeddingSpace"]


@dataclass(frozen=True, eq=False)
class EmbeddingSpace:
    """Embeddings of items and of sessions, whose distance is what the recommender ranks by.

    Attributes:
        distance: ``cosine``, ``euclidean`` or ``squared_euclidean``.
        index: the items, to be searched by embeddings of either kind.
        located: which item indices have an embedding that was learned: [I + 1].
        items: embeddings of item indices, [n] → [n, D].
        sessions: embeddings of prefixes, and how many of their clicks are known, [B] → [B, D], [B].

    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.registry import make_recommender
    >>> import numpy as np
    >>> quick = {"dim": 4, "epochs": 1, "device": "cpu"}
    >>> model = make_recommender("sml-maxpool-ncas", quick).fit(Sessions.of([["a", "b", "c"]] * 40))
    >>> space = model.space()
    >>> space.distance, space.items(np.array([2, 1], np.int32)).shape
    ('cosine', (2, 4))
    """

    distance: "DistanceName"
    index: "Index"
    located: BoolArray
    items: Callable[[IndexArray], ScoreArray]
    sessions: Callable[[Prefixes], tuple[ScoreArray, IndexArray]]

"""The metric space of recommenders that have one: embeddings of items and sessions, and the index of the items."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import polars as pl

from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.types import BoolArray, IndexArray, RawId, ScoreArray

if TYPE_CHECKING:  # torch takes over a second to import: methods without a space do without it
    from nearnext.model.distances import DistanceName
    from nearnext.recommenders.base import Recommender
    from nearnext.retrieval import Index


@dataclass(frozen=True, eq=False)
class EmbeddingSpace:
    """Embeddings of items and of sessions, whose distance is what the recommender ranks by."""

    distance: "DistanceName"  # ``cosine``, ``euclidean`` or ``squared_euclidean``
    index: "Index"  # the items, to be searched by embeddings of either kind
    located: BoolArray  # which item indices have an embedding that was learned: [I + 1]
    items: Callable[[IndexArray], ScoreArray]  # embeddings of item indices, [n] → [n, D]
    place: "Callable[[ItemTable], ScoreArray] | None"  # embeddings of items by their attributes, [n, D]; None: no rule
    # embeddings of prefixes, and how many of their clicks are known, [B] → [B, D], [B]
    sessions: Callable[[Prefixes], tuple[ScoreArray, IndexArray]]


@runtime_checkable
class HasSpace(Protocol):
    """A recommender that ranks by distances in a metric space."""

    def space(self) -> EmbeddingSpace | None:
        """Its embeddings; None before the fit and where nothing could be learned."""
        ...

    def search_by(self, index: "Index") -> None:
        """Replace the index by another one of the same embeddings."""
        ...

    def item_vectors(self) -> pl.DataFrame:
        """Items with a learned embedding: ``item_id``, ``vector`` and ``clicks``."""
        ...

    def session_vectors(self, sessions: Iterable[Iterable[RawId]]) -> ScoreArray:
        """Embeddings of sessions of raw ids: [B, D]."""
        ...


def embedded(recommender: "Recommender") -> HasSpace:
    """The recommender, as one that has vectors; `ConfigError` where it has none."""
    if not isinstance(recommender, HasSpace):
        raise ConfigError(f"{recommender.name} has no vectors; fit a method with a metric space, e.g. metric")
    return recommender


def space_of(recommender: object) -> EmbeddingSpace | None:
    """The metric space of a recommender; None for methods without one."""
    return recommender.space() if isinstance(recommender, HasSpace) else None

"""The metric space of recommenders that have one: embeddings of items and sessions, and the index of the items."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import polars as pl

from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import raw_sessions
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


def required_space(recommender: "Recommender") -> EmbeddingSpace:
    """Return the metric space of a fitted recommender.

    Raises:
        ConfigError: not fitted yet, or it has none.
    """
    if not recommender.fitted:
        raise ConfigError(f"{recommender.name} is not fitted; call fit(sessions) first")
    if (space := space_of(recommender)) is None:
        raise ConfigError(f"{recommender.name} has no vectors; fit a method with a metric space, e.g. metric")
    return space


def item_frame(recommender: "Recommender") -> pl.DataFrame:
    """Raw id, embedding and training clicks of every item with a learned embedding, the most clicked first."""
    space = required_space(recommender)
    indices = np.flatnonzero(space.located).astype(np.int32)
    vectors = space.items(indices).astype(np.float32, copy=False)
    return pl.DataFrame(
        {
            "item_id": recommender.vocabulary.ids.gather(indices - 1),
            "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])),
            "clicks": recommender.popularity[indices],
        }
    )


def session_array(recommender: "Recommender", sessions: Iterable[Iterable[RawId]]) -> ScoreArray:
    """Embeddings of sessions of raw ids: [B, D]."""
    space = required_space(recommender)
    encoded = [recommender.vocabulary.encode(session) for session in raw_sessions(sessions)]
    return space.sessions(Prefixes.of(encoded))[0]


def space_of(recommender: object) -> EmbeddingSpace | None:
    """The metric space of a recommender; None for methods without one."""
    return recommender.space() if isinstance(recommender, HasSpace) else None

"""The metric space of recommenders that have one, and the items similar to an item, in it or by shared sessions."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import polars as pl

from nearnext.data.blocks import spans
from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import raw_ids
from nearnext.errors import ConfigError
from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender, no_vectors
from nearnext.recommenders.neighbours import SessionNeighbours
from nearnext.recommenders.ranking import Recommendation, shortage_of
from nearnext.recommenders.session_index import SessionIndex
from nearnext.types import BoolArray, IndexArray, Int64Array, RawId, ScoreArray

if TYPE_CHECKING:  # torch takes over a second to import: methods without a space do without it
    from nearnext.model.distances import DistanceName
    from nearnext.retrieval import Index


@dataclass(frozen=True, eq=False)
class EmbeddingSpace:
    """Embeddings of items and of sessions, whose distance is what the recommender ranks by."""

    distance: "DistanceName"  # ``cosine``, ``euclidean`` or ``squared_euclidean``
    index: "Index"  # the items, to be searched by embeddings of either kind
    located: BoolArray  # which item indices have an embedding that was learned: [I + 1]
    informed: BoolArray  # which of them lists by distance, and session embeddings, are made of: [I + 1]
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
        raise no_vectors(recommender.name)
    return recommender


def learned_space(recommender: "Recommender") -> EmbeddingSpace:
    """The metric space of a fitted recommender; `ConfigError` where it has none or learned nothing."""
    if (space := embedded(recommender).space()) is None:
        raise ConfigError(f"{recommender.name} has no vectors: {getattr(recommender, 'note', '') or 'not fitted'}")
    return space


def space_of(recommender: object) -> EmbeddingSpace | None:
    """The metric space of a recommender; None for methods without one."""
    return recommender.space() if isinstance(recommender, HasSpace) else None


def table_note(recommender: object) -> str:
    """What an item table says of items without clicks; "" where it was not measured, or all items have clicks."""
    return getattr(recommender, "table_note", "")


def unlisted_note(recommender: object) -> str:
    """Why items without clicks only fill lists that are too short; "" if they are ranked with the others."""
    return "" if getattr(recommender, "unclicked_factor", 1.0) else getattr(recommender, "unclicked_note", "")


Similar = list[tuple[RawId, float]]


def similar_items(
    recommender: Recommender, item: RawId, k: int = 10, *, admissible: BoolArray | None = None
) -> Similar:
    """The items most like an item, with scores, best first; of equal scores the more popular item comes first.

    In a metric space the score is that of the distance of the two embeddings: 2 − d for the cosine distance d, −d for
    the Euclidean ones. Elsewhere it is the cosine of the sets of training sessions that clicked the items, in (0, 1];
    items that share no session are not listed. ``admissible`` says which item indices may be listed: [I + 1].

    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.neighbours import SKNN
    >>> similar_items(SKNN().fit(Sessions.of([["a", "b"], ["a", "b", "c"]])), "a", k=1)
    [('b', 1.0)]
    """
    index = index_of_item(recommender, item)
    k = min(checked("k", k, Count), len(recommender.vocabulary))
    space, sessions = space_of(recommender), session_index_of(recommender)
    if space is not None and space.located[index]:
        return _near_in_space(recommender, space, index, k, admissible)
    if sessions is None:
        raise ConfigError(
            f"{recommender.name} has neither an embedding of {item!r} nor training sessions to compare items by; "
            "have it remember (--remember) them"
        )
    return _clicked_together(recommender, sessions, index, k, admissible)


def similar_lists(recommender: Recommender, items: Iterable[RawId], k: int = 10) -> list[Recommendation]:
    """The items most similar to each given one; an empty list with a reason for an item that training never saw."""
    k = checked("k", k, Count)
    found: list[Recommendation] = []
    for item in raw_ids("items", items):
        if recommender.fitted and not recommender.vocabulary.encode([item])[0]:
            found.append(Recommendation([], [], 0, [item], f"0 of {k}: training never saw {item!r}"))
            continue
        similar = similar_items(recommender, item, k)
        shortage = shortage_of(len(similar), k, "is similar to it")
        listed, scores = [one for one, _ in similar], [score for _, score in similar]
        found.append(Recommendation(listed, scores, len(similar), [], shortage, [], ["similar"] * len(similar)))
    return found


def index_of_item(recommender: Recommender, item: RawId) -> int:
    """The item index of a raw id."""
    if not recommender.fitted:
        raise ConfigError(f"{recommender.name} is not fitted; call fit(sessions) first")
    index = int(recommender.vocabulary.encode([item])[0])
    if index == 0:
        raise ConfigError(
            f"unknown item {item!r}: it does not occur in what {recommender.name} was fitted on; choose another"
        )
    return index


def session_index_of(recommender: Recommender) -> SessionIndex | None:
    """The training sessions of each item: those that the method ranks by, else those that it remembers."""
    if isinstance(recommender, SessionNeighbours):
        return recommender.index
    return None if recommender.memory is None else recommender.memory.index


def items_of_sessions(index: SessionIndex, numbers: IndexArray) -> tuple[IndexArray, Int64Array]:
    """Distinct items of several sessions one after another, and how many each session has: [P], [n]."""
    starts = index.session_offsets[numbers]
    lengths = index.session_offsets[numbers + 1] - starts
    return index.session_items[spans(starts, lengths)], lengths


def _near_in_space(
    recommender: Recommender, space: EmbeddingSpace, index: int, k: int, admissible: BoolArray | None
) -> Similar:
    listed = space.located.copy() if admissible is None else space.located & admissible
    listed[index] = False
    near = space.index.search(space.items(np.array([index], dtype=np.int32)), k, admissible=listed)
    n_found = int(near.found[0])
    scores = [float(score) for score in near.scores[0, :n_found]]
    return list(zip(recommender.vocabulary.decode(near.items[0, :n_found]), scores, strict=True))


def _clicked_together(
    recommender: Recommender, sessions: SessionIndex, index: int, k: int, admissible: BoolArray | None
) -> Similar:
    numbers = sessions.item_sessions[sessions.item_offsets[index] : sessions.item_offsets[index + 1]]
    together = np.bincount(items_of_sessions(sessions, numbers)[0], minlength=len(recommender.vocabulary) + 1)
    together[[0, index]] = 0
    if admissible is not None:
        together[~admissible] = 0
    others = np.flatnonzero(together).astype(np.int32)
    n_sessions = np.diff(sessions.item_offsets)
    cosine = (together[others] / np.sqrt(float(n_sessions[index]) * n_sessions[others])).astype(np.float32)
    best = np.lexsort((others, -cosine))[:k]
    return list(zip(recommender.vocabulary.decode(others[best]), map(float, cosine[best]), strict=True))

"""A map of the item space in two dimensions, and where sessions are on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar, NamedTuple, cast
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.explanation import session_index_of
from nearnext.explanation.similar import items_of_sessions
from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.session_index import SessionIndex
from nearnext.recommenders.space import EmbeddingSpace, space_of
from nearnext.serving.playground.layout import mixed_place, neighbour_layout, neighbours_kept
from nearnext.types import FloatArray, IndexArray, RawId

ITEMS = 2000
"""Items on a map, the most popular ones."""

DIMENSIONS = 32
"""Dimensions of item vectors that are made of shared sessions."""

DIGITS = 4

eigsh: Any = cast("Any", linalg).eigsh  # scipy declares no types


@dataclass(frozen=True, eq=False)
class LearnedVectors:
    """Item and session embeddings that the model has learned."""

    name: ClassVar[str] = "embeddings"

    space: EmbeddingSpace

    @property
    def mappable(self) -> IndexArray:
        """Item indices that have a vector, the most popular first."""
        return np.flatnonzero(self.space.located).astype(np.int32)

    def of_items(self, indices: IndexArray) -> FloatArray:
        """Vectors of items: [n] → [n, D]."""
        return self.space.items(indices).astype(np.float64)

    def of_session(self, clicks: IndexArray) -> FloatArray | None:
        """The vector of a session, None where it has no known click: [T] → [D]."""
        vectors, known = self.space.sessions(Prefixes.of([clicks]))
        return vectors[0].astype(np.float64) if known[0] else None


class SharedSessions:
    """Item vectors for methods without embeddings, from the sessions that items share with the popular ones.

    The cosines between the sets of sessions of the popular items are a positive semi-definite matrix; its leading
    eigenvectors give each item a place, and place an item outside the matrix by its own cosines (Nyström). A session
    is at the mean of its items.
    """

    name: ClassVar[str] = "sessions"

    def __init__(self, index: SessionIndex, n_landmarks: int) -> None:
        self._index = index
        self._counts = np.diff(index.item_offsets).astype(np.float64)
        self._landmarks = np.flatnonzero(self._counts[1:])[:n_landmarks].astype(np.int32) + 1
        cosines = self._cosines()
        n = len(self._landmarks)
        values: FloatArray
        vectors: FloatArray
        if n > DIMENSIONS + 1:
            values, vectors = eigsh(cosines, k=DIMENSIONS, v0=np.ones(n))
        else:
            values, vectors = np.linalg.eigh(cosines.toarray())
        kept = values > values.max() * 1e-9
        self._basis: FloatArray = vectors[:, kept] / np.sqrt(values[kept])

    @property
    def mappable(self) -> IndexArray:
        """Item indices that have a vector, the most popular first."""
        return np.flatnonzero(self._counts[1:]).astype(np.int32) + 1

    def of_items(self, indices: IndexArray) -> FloatArray:
        """Vectors of items, of length 1 or 0: [n] → [n, D]."""
        vectors = np.stack([self._row(int(index)) for index in indices]) @ self._basis
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1.0)

    def of_session(self, clicks: IndexArray) -> FloatArray | None:
        """The mean vector of a session's items, None where none has one: [T] → [D]."""
        vectors = self.of_items(clicks[clicks > 0]) if clicks.any() else np.zeros((0, self._basis.shape[1]))
        placed = vectors[np.any(vectors != 0, axis=1)]
        return placed.mean(axis=0) if len(placed) else None

    def _cosines(self) -> Any:
        index = self._index
        column = np.full(len(self._counts), -1, dtype=np.int64)
        column[self._landmarks] = np.arange(len(self._landmarks))
        owner = np.repeat(np.arange(len(index.ends)), np.diff(index.session_offsets))
        columns = column[index.session_items]
        listed = columns >= 0
        weights = 1.0 / np.sqrt(self._counts[self._landmarks])[columns[listed]]
        clicked: Any = sparse.csr_array(
            (weights, (owner[listed], columns[listed])), shape=(len(index.ends), len(self._landmarks))
        )
        return clicked.T @ clicked

    def _row(self, item: int) -> FloatArray:
        """Cosines of one item with the landmarks."""
        index = self._index
        numbers = index.item_sessions[index.item_offsets[item] : index.item_offsets[item + 1]]
        together = np.bincount(items_of_sessions(index, numbers)[0], minlength=len(self._counts))[self._landmarks]
        return together / np.sqrt(np.maximum(self._counts[item] * self._counts[self._landmarks], 1.0))


class _Layout(NamedTuple):
    source: LearnedVectors | SharedSessions
    indices: IndexArray
    vectors: FloatArray
    points: FloatArray
    kept: float


_LAYOUTS: "WeakKeyDictionary[Recommender, dict[int, _Layout]]" = WeakKeyDictionary()
_LAYING_OUT = Lock()


def item_map(recommender: Recommender, limit: int = ITEMS) -> dict[str, Any]:
    """The most popular items in the plane, near where they are near to the model, ready for JSON.

    Near means the distance of item embeddings in a metric model; for other methods the sessions that items share. The
    map of a fitted recommender is made once, which takes seconds for 2,000 items.

    Args:
        recommender: fitted.
        limit: how many items at most, at least 1.

    Returns:
        ``ids`` (raw), ``x``, ``y`` (at most 1 from the origin) and ``clicks`` (in training) of each item, the most
        popular first; ``source`` of the distances, ``embeddings`` or ``sessions``; ``kept``: the share of an item's ten
        nearest that are among its ten nearest on the map, in [0, 1].

    Raises:
        ConfigError: a limit below 1, or a method with neither embeddings nor training sessions.

    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.neighbours import SKNN
    >>> sknn = SKNN().fit(Sessions.of([["a", "b"], ["a", "b"], ["c", "d"]]))
    >>> shown = item_map(sknn)
    >>> shown["ids"], shown["x"][0] == shown["x"][1], shown["x"][0] == shown["x"][2]
    (['a', 'b', 'c', 'd'], True, False)
    """
    limit = checked("limit", limit, Count)
    layout = _layout(recommender, limit)
    return {
        "ids": recommender.vocabulary.decode(layout.indices),
        "x": np.round(layout.points[:, 0], DIGITS).tolist(),
        "y": np.round(layout.points[:, 1], DIGITS).tolist(),
        "clicks": recommender.popularity[layout.indices].tolist(),
        "source": layout.source.name,
        "kept": round(layout.kept, DIGITS),
    }


def session_point(recommender: Recommender, items: Sequence[RawId], limit: int = ITEMS) -> tuple[float, float] | None:
    """Where a session is on the map: between the items nearest to it; None without a known click.

    Raises:
        ConfigError: there is no map, see `item_map`.

    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.neighbours import SKNN
    >>> sknn = SKNN().fit(Sessions.of([["a", "b"], ["a", "b"], ["c", "d"]]))
    >>> x, _ = session_point(sknn, ["a"])
    >>> abs(x - item_map(sknn)["x"][0]) < abs(x - item_map(sknn)["x"][2]), session_point(sknn, ["nope"])
    (True, None)
    """
    layout = _layout(recommender, limit)
    vector = layout.source.of_session(recommender.vocabulary.encode(items))
    if vector is None:
        return None
    x, y = np.round(mixed_place(vector, layout.vectors, layout.points), DIGITS).tolist()
    return x, y


def _layout(recommender: Recommender, limit: int) -> _Layout:
    with _LAYING_OUT:
        made = _LAYOUTS.setdefault(recommender, {})
        if limit not in made:
            source = _source(recommender, limit)
            indices = source.mappable[:limit]
            vectors = source.of_items(indices)
            points = neighbour_layout(vectors)
            made[limit] = _Layout(source, indices, vectors, points, neighbours_kept(vectors, points))
        return made[limit]


def _source(recommender: Recommender, limit: int) -> LearnedVectors | SharedSessions:
    space, index = space_of(recommender), session_index_of(recommender)
    if space is not None:
        return LearnedVectors(space)
    if index is not None:
        return SharedSessions(index, limit)
    raise ConfigError(
        f"{recommender.name} has no map: it keeps neither embeddings nor training sessions; fit it with --remember"
    )

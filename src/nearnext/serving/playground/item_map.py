"""A map of the item space in two dimensions, and where sessions are on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.explanation import session_index_of
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.session_index import SessionIndex
from nearnext.recommenders.space import EmbeddingSpace, space_of
from nearnext.types import FloatArray, IndexArray, RawId

ITEMS = 2000
"""Items on a map, the most popular ones."""

DIMENSIONS = 32
"""Dimensions of item vectors that are made of shared sessions."""

NEAREST = 10
"""Nearest items that say where a session is, and by which a map is judged."""

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
    eigenvectors give each item a vector, and one to other items by their own cosines (Nyström). A session is at the
    mean of its items.
    """

    name: ClassVar[str] = "sessions"

    def __init__(self, index: SessionIndex, n_landmarks: int) -> None:
        counts = np.diff(index.item_offsets)
        self.mappable: IndexArray = (np.flatnonzero(counts[1:]) + 1).astype(np.int32)
        weights = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts)
        shape = (len(counts), len(index.ends))
        self._clicked: Any = sparse.csr_array((weights, index.item_sessions, index.item_offsets), shape=shape)
        self._landmarks: Any = self._clicked[self.mappable[:n_landmarks]].T.tocsr()
        cosines, n = self._landmarks.T @ self._landmarks, self._landmarks.shape[1]
        values: FloatArray
        vectors: FloatArray
        if n > DIMENSIONS + 1:
            values, vectors = eigsh(cosines, k=DIMENSIONS, v0=np.ones(n))
        else:
            values, vectors = np.linalg.eigh(cosines.toarray())
        kept = values > values.max() * 1e-9
        self._basis: FloatArray = vectors[:, kept] / np.sqrt(values[kept])

    def of_items(self, indices: IndexArray) -> FloatArray:
        """Vectors of items, of length 1 or 0: [n] → [n, D]."""
        vectors: FloatArray = (self._clicked[indices] @ self._landmarks) @ self._basis
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1.0)

    def of_session(self, clicks: IndexArray) -> FloatArray | None:
        """The mean vector of a session's items, None where none has one: [T] → [D]."""
        vectors = self.of_items(clicks[clicks > 0])
        placed = vectors[np.any(vectors != 0, axis=1)]
        return placed.mean(axis=0) if len(placed) else None


class ItemMap:
    """The most popular items in the plane of the two principal axes of their vectors.

    The vectors are the item embeddings of a metric model; for other methods they say which sessions items share.
    """

    def __init__(self, recommender: Recommender, limit: int = ITEMS) -> None:
        self._recommender = recommender
        self._source = _source(recommender, limit)
        self._indices = self._source.mappable[:limit]
        self._vectors = self._source.of_items(self._indices)
        self._points = principal_plane(self._vectors)

    def as_dict(self) -> dict[str, Any]:
        """The map, ready for JSON.

        ``ids`` (raw), ``x``, ``y`` (at most 1 from the origin) and ``clicks`` (in training) of each item, the most
        popular first; ``source`` of the distances, ``embeddings`` or ``sessions``; ``kept``: the share of an item's ten
        nearest that are among its ten nearest on the map, in [0, 1].
        """
        return {
            "ids": self._recommender.vocabulary.decode(self._indices),
            "x": np.round(self._points[:, 0], DIGITS).tolist(),
            "y": np.round(self._points[:, 1], DIGITS).tolist(),
            "clicks": self._recommender.popularity[self._indices].tolist(),
            "source": self._source.name,
            "kept": round(neighbours_kept(self._vectors, self._points), DIGITS),
        }

    def place(self, items: Sequence[RawId]) -> tuple[float, float] | None:
        """Where a session is: between the items nearest to it, the nearest weighing most; None without a known click.

        Weights fall with the squared distance over that of the farthest of the nearest.
        """
        vector = self._source.of_session(self._recommender.vocabulary.encode(items))
        if vector is None:
            return None
        squared = np.square(self._vectors - vector).sum(axis=1)
        nearest = np.argsort(squared, kind="stable")[:NEAREST]
        weights = np.exp(-4.0 * squared[nearest] / max(float(squared[nearest].max()), 1e-12))
        place: FloatArray = weights @ self._points[nearest] / weights.sum()
        return round(float(place[0]), DIGITS), round(float(place[1]), DIGITS)


def _source(recommender: Recommender, limit: int) -> LearnedVectors | SharedSessions:
    space, index = space_of(recommender), session_index_of(recommender)
    if space is not None:
        return LearnedVectors(space)
    if index is not None:
        return SharedSessions(index, limit)
    raise ConfigError(
        f"{recommender.name} has no map: it keeps neither embeddings nor training sessions; have it "
        "remember (--remember) them"
    )


def principal_plane(vectors: FloatArray) -> FloatArray:
    """Coordinates along the two principal axes, the farthest at distance 1: [n, D] → [n, 2].

    Each axis is turned so that its largest coordinate is positive.
    """
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1]
    points = np.zeros((len(vectors), 2))
    found = centred @ axes
    turned = found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])] < 0
    points[:, : found.shape[1]] = np.where(turned, -found, found)
    return points / max(float(np.linalg.norm(points, axis=1).max()), 1e-12)


def neighbours_kept(vectors: FloatArray, points: FloatArray) -> float:
    """Mean share of each vector's nearest ones that are among its nearest points, in [0, 1]; 1 for one vector."""
    n_nearest = min(NEAREST, len(vectors) - 1)
    if n_nearest < 1:
        return 1.0
    near = [np.argpartition(_squared(each), n_nearest - 1, axis=1)[:, :n_nearest] for each in (vectors, points)]
    found = np.zeros((len(vectors), len(vectors)), dtype=np.bool_)
    np.put_along_axis(found, near[0], True, axis=1)
    return float(np.take_along_axis(found, near[1], axis=1).mean())


def _squared(vectors: FloatArray) -> FloatArray:
    """Squared distances of all pairs, ∞ of each to itself: [n, n]."""
    squares = np.square(vectors).sum(axis=1)
    squared = np.maximum(squares[:, None] + squares - 2.0 * vectors @ vectors.T, 0.0)
    np.fill_diagonal(squared, np.inf)
    return squared

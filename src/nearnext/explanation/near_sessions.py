"""Training sessions like a session, and how many of them clicked an item."""

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.neighbours import SKNN, SessionNeighbours
from nearnext.recommenders.session_index import SessionIndex, SessionMemory
from nearnext.recommenders.space import EmbeddingSpace, items_of_sessions, session_index_of, space_of
from nearnext.types import FloatArray, IndexArray, RawId, ScoreArray

if TYPE_CHECKING:
    from nearnext.model.distances import DistanceName

POOL = 100
"""Nearest sessions that are searched for the item, where the method itself does not say how many it uses."""

CHUNK = 4096
"""Sessions embedded between two moves of the progress bar."""

SHOWN_CLICKS = 20
"""Last clicks of a training session that are listed."""


@dataclass(frozen=True)
class NearSession:
    """A training session like the one at hand.

    Attributes:
        id: raw id; None: older than the sessions whose ids the model remembers.
        items: raw ids of its last clicks, oldest first, at most 20; of a session older than those that the model
            remembers, its distinct items in the order of their last click.
        overlap: distinct items that both sessions clicked.
        distance: of the two session embeddings, or where there are none the cosine distance of the two sets of items,
            in [0, 1].
        similarity: what a session-kNN method weighs it by, higher is nearer; None for other methods.
        contains: whether it clicked the item.
    """

    id: RawId | None
    items: list[RawId]
    overlap: int
    distance: float
    similarity: float | None
    contains: bool


@dataclass(frozen=True)
class Evidence:
    """What the nearest training sessions say for an item.

    Attributes:
        nearest: how many nearest sessions were looked at: the neighbours of a session-kNN method, else 100 at most.
        containing: how many of these clicked the item.
        sessions: the nearest of those that did, or where none did the nearest at all.
    """

    nearest: int
    containing: int
    sessions: list[NearSession]


class _Found(NamedTuple):
    """Near sessions by number, nearest first, with their distances and similarities where these exist."""

    numbers: IndexArray
    distances: FloatArray | None = None
    similarities: FloatArray | None = None


_EMBEDDED: "WeakKeyDictionary[SessionMemory, tuple[ScoreArray, IndexArray]]" = WeakKeyDictionary()
_EMBEDDING = Lock()


def embed_memory(recommender: Recommender) -> tuple[ScoreArray, IndexArray] | None:
    """Embeddings of the remembered sessions and how many of their clicks are known: [S, D], [S]; computed once.

    None for a method without a metric space or without memory. The first call for a model takes seconds where the
    memory is long; a service makes it before it needs the result.
    """
    space, memory = space_of(recommender), recommender.memory
    if space is None or memory is None:
        return None
    with _EMBEDDING:
        if memory not in _EMBEDDED:
            _EMBEDDED[memory] = _embed(space, memory)
        return _EMBEDDED[memory]


def _embed(space: EmbeddingSpace, memory: SessionMemory) -> tuple[ScoreArray, IndexArray]:
    sessions = memory.sessions
    whole = Prefixes(sessions.items, sessions.offsets[:-1], sessions.offsets[1:], sessions.ends)
    chunks: list[tuple[ScoreArray, IndexArray]] = []
    with track("embedding training sessions", len(whole), "sessions") as advance:
        for begin in range(0, len(whole), CHUNK):
            part = whole.slice(begin, begin + CHUNK)
            chunks.append(space.sessions(part))
            advance(len(part))
    vectors, known = zip(*chunks, strict=True)
    return np.concatenate(vectors), np.concatenate(known)


def near_sessions(recommender: Recommender, clicks: IndexArray, item: int, n: int = 5) -> Evidence:
    """The training sessions nearest to a session that clicked an item, and how many of the nearest did.

    Nearest by the distance of session embeddings where the model has a metric space and remembers sessions; by its own
    similarity for a session-kNN method; else by the cosine distance of the sets of items, among remembered sessions. Of
    equal ones the more recent comes first.
    """
    index = session_index_of(recommender)
    if index is None:
        raise ConfigError(f"{recommender.name} keeps no training sessions; have it remember (--remember) them")
    if not clicks.any():
        raise ConfigError("nothing is near to a session without known clicks; give one that training saw")
    found = _nearest(recommender, index, clicks)
    items, lengths = items_of_sessions(index, found.numbers)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    containing = np.bincount(owners[items == item], minlength=len(lengths)) > 0
    listed = np.flatnonzero(containing if containing.any() else np.ones_like(containing))[:n]
    known = np.unique(clicks[clicks > 0])
    overlap, set_distance = _shared(index, found.numbers[listed], known)
    return Evidence(
        nearest=len(found.numbers),
        containing=int(containing.sum()),
        sessions=[
            NearSession(
                id=None if recommender.memory is None else recommender.memory.session_id(int(found.numbers[at])),
                items=_clicks(recommender, index, int(found.numbers[at])),
                overlap=int(overlap[row]),
                distance=float(set_distance[row] if found.distances is None else found.distances[at]),
                similarity=None if found.similarities is None else float(found.similarities[at]),
                contains=bool(containing[at]),
            )
            for row, at in enumerate(listed)
        ],
    )


def _nearest(recommender: Recommender, index: SessionIndex, clicks: IndexArray) -> _Found:
    space = space_of(recommender)
    if space is not None and (embedded := embed_memory(recommender)) is not None:
        query, known = space.sessions(Prefixes.of([clicks]))
        if known[0]:
            return _near_in_space(space.distance, query[0], *embedded)
    if isinstance(recommender, SessionNeighbours):
        numbers, similarities = recommender.neighbours(clicks)
        return _Found(numbers, similarities=similarities)
    by_items = SKNN(k=POOL, sample_size=0)
    by_items.index = index
    return _Found(by_items.neighbours(clicks)[0])


def _near_in_space(distance: "DistanceName", query: ScoreArray, vectors: ScoreArray, known: IndexArray) -> _Found:
    if distance == "cosine":
        apart = 1.0 - vectors @ query
    else:
        squared = np.square(vectors - query).sum(axis=1)
        apart = squared if distance == "squared_euclidean" else np.sqrt(squared)
    numbers = np.arange(len(vectors) - 1, -1, -1, dtype=np.int32)  # the memory's last session is number 0
    nearest = np.lexsort((numbers, np.where(known > 0, apart, np.inf)))[:POOL]
    nearest = nearest[known[nearest] > 0]
    return _Found(numbers[nearest], np.maximum(apart[nearest].astype(np.float64), 0.0))


def _shared(index: SessionIndex, numbers: IndexArray, known: IndexArray) -> tuple[IndexArray, FloatArray]:
    """Distinct items that sessions share with the known clicks, and the cosine distance of the sets: [n], [n]."""
    items, lengths = items_of_sessions(index, numbers)
    ends = np.cumsum(lengths)
    running = np.concatenate([[0], np.cumsum(np.isin(items, known))])
    overlap = running[ends] - running[ends - lengths]
    return overlap.astype(np.int32), 1.0 - overlap / np.sqrt(len(known) * lengths)


def _clicks(recommender: Recommender, index: SessionIndex, number: int) -> list[RawId]:
    memory = recommender.memory
    if memory is not None and number < memory.sessions.n_sessions:
        return memory.sessions.raw(memory.sessions.n_sessions - 1 - number)[-SHOWN_CLICKS:]
    part = slice(index.session_offsets[number], index.session_offsets[number + 1])
    items = index.session_items[part][np.argsort(index.last_positions[part])]
    return recommender.vocabulary.decode(items[-SHOWN_CLICKS:])

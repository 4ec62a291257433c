"""What one model may recommend now: its own items less those that are gone, and new items in their place."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.space import EmbeddingSpace, space_of
from nearnext.serving.catalogue import Catalogue, Entry
from nearnext.types import BoolArray, FloatArray, IndexArray, RawId, ScoreArray

if TYPE_CHECKING:
    from nearnext.retrieval import ExactIndex

__all__ = ["Assortment", "Newcomer"]

RECENT = 5
"""Last clicks of a session that are compared with those before new items, where the model has no space of its own."""


@dataclass
class Newcomer:
    """An item that the model was not trained with.

    Attributes:
        life: of the catalogue's entry.
        taken: how many of the entry's sessions were looked at.
        summed: how many of them lie somewhere, and are in the sum.
        total: sum of the sessions' embeddings, by dimension.
    """

    life: tuple[int, int]
    taken: int = 0
    summed: int = 0
    total: dict[int, float] | FloatArray | None = None


Scored = list[tuple[float, RawId]]


class Places(Protocol):
    """Where sessions lie, and therefore new items: at the mean of the sessions that touched them."""

    def add(self, newcomer: Newcomer, clicks: IndexArray) -> None:
        """Take a session into the newcomer's mean."""
        ...

    def settle(self, newcomers: dict[RawId, Newcomer]) -> None:
        """Take over the newcomers as they are now."""
        ...

    def nearest(self, clicks: IndexArray, own: Sequence[float]) -> Scored:
        """Newcomers with their scores for a session, best first; ``own`` are those of the model's list, falling."""
        ...


class Assortment:
    """The items that one model may recommend, kept up with the catalogue.

    Attributes:
        admissible: which of the model's items may be recommended: [I + 1].
        hidden: items that may not, the model's and new ones.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.named import make_recommender
    >>> from nearnext.serving.catalogue import Change
    >>> model = make_recommender("markov-1").fit(Sessions.of([["a", "b"]] * 3 + [["a", "c"]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     catalogue = Catalogue(Path(folder, "changes"))
    ...     catalogue.write(Change("put", "new", clicks=["a"]))
    ...     catalogue.write(Change("delete", "b"))
    ...     catalogue.refresh()
    ...     assortment = Assortment(model, catalogue)
    ['new', 'b']
    >>> assortment.admissible.tolist()
    [False, True, False, True]
    >>> assortment.nearest_newcomers(model.vocabulary.encode(["a"]), own=[0.5])
    [(0.5, 'new')]
    """

    def __init__(self, recommender: Recommender, catalogue: Catalogue) -> None:
        self._vocabulary = recommender.vocabulary
        self._catalogue = catalogue
        self.admissible: BoolArray = np.ones(len(self._vocabulary) + 1, dtype=np.bool_)
        self.admissible[0] = False
        self.hidden: set[RawId] = set()
        self._newcomers: dict[RawId, Newcomer] = {}
        self._n_placed = 0
        self._places = _places(recommender)
        self.update(catalogue.entries)

    def __len__(self) -> int:
        return self._n_placed

    def knows(self, item: RawId) -> bool:
        """Whether the model was trained with the item."""
        return self._vocabulary.as_stored(item) in self._vocabulary.index

    def is_newcomer(self, item: RawId) -> bool:
        """Whether the item joined the catalogue since the model was trained."""
        return item in self._newcomers

    def update(self, items: Iterable[RawId]) -> None:
        """Follow the catalogue in what it now says of these items."""
        moved = False
        for item in dict.fromkeys(items):
            entry = self._catalogue.entries.get(item, Entry())
            (self.hidden.discard if entry.available else self.hidden.add)(item)
            index = self._vocabulary.index.get(self._vocabulary.as_stored(item), 0)
            if index:
                self.admissible[index] = entry.available
            else:
                moved |= self._follow(item, entry)
        if moved:
            self._n_placed = sum(newcomer.summed > 0 for newcomer in self._newcomers.values())
            self._places.settle(self._newcomers)

    def nearest_newcomers(self, clicks: IndexArray, own: Sequence[float]) -> Scored:
        """New items with their scores for a session of item indices, best first.

        Args:
            clicks: item indices of the session, oldest first, 0 where unknown.
            own: scores of the model's own list, falling.
        """
        known = clicks[clicks > 0]
        return self._places.nearest(clicks, own) if len(known) and len(self) else []

    def _follow(self, item: RawId, entry: Entry) -> bool:
        if not entry.available or item not in self._catalogue.entries:
            return self._newcomers.pop(item, None) is not None
        newcomer = self._newcomers.get(item)
        if newcomer is None or newcomer.life != entry.life:
            newcomer = self._newcomers[item] = Newcomer(entry.life)
        contexts: list[Sequence[RawId]] = [*((one,) for one in entry.like), *entry.touches]
        for context in contexts[newcomer.taken :]:
            self._places.add(newcomer, self._vocabulary.encode(context))
            newcomer.taken += 1
        return True


class _ClickPlaces:
    """For models without a space: a session is the unit vector of its last known clicks; scores are cosines × best.

    So a new item that everybody reached from this very session stands beside the best known item.
    """

    def __init__(self) -> None:
        self._weights: dict[int, list[tuple[RawId, float]]] = {}

    def add(self, newcomer: Newcomer, clicks: IndexArray) -> None:
        total = newcomer.total if isinstance(newcomer.total, dict) else {}
        recent = _recent(clicks)
        for item in recent:
            total[item] = total.get(item, 0.0) + 1.0 / math.sqrt(len(recent))
        newcomer.total = total
        newcomer.summed += bool(recent)

    def settle(self, newcomers: dict[RawId, Newcomer]) -> None:
        self._weights = {}
        for raw, newcomer in newcomers.items():
            total = newcomer.total if isinstance(newcomer.total, dict) else {}
            length = math.sqrt(sum(weight * weight for weight in total.values()))
            for item, weight in total.items():
                self._weights.setdefault(item, []).append((raw, weight / length))

    def nearest(self, clicks: IndexArray, own: Sequence[float]) -> Scored:
        best = own[0] if own else 0.0
        recent = _recent(clicks)
        scores: dict[RawId, float] = {}
        for item in recent:
            for raw, weight in self._weights.get(item, ()):
                scores[raw] = scores.get(raw, 0.0) + weight / math.sqrt(len(recent))
        scored = [(best * min(cosine, 1.0), raw) for raw, cosine in scores.items()]
        return sorted(((float(np.float32(score)), raw) for score, raw in scored), key=_order)


@dataclass
class _EmbeddingPlaces:
    """In the space of a metric model: the mean of the sessions' embeddings, searched as items are."""

    space: "EmbeddingSpace"
    names: list[RawId] = field(default_factory=list[RawId])
    index: "ExactIndex | None" = None

    def add(self, newcomer: Newcomer, clicks: IndexArray) -> None:
        vectors, known = self.space.sessions(Prefixes.of([clicks]))
        if known[0]:
            newcomer.total = vectors[0].astype(np.float64) + (0.0 if newcomer.total is None else newcomer.total)
            newcomer.summed += 1

    def settle(self, newcomers: dict[RawId, Newcomer]) -> None:
        from nearnext.retrieval import ExactIndex

        self.names = [raw for raw, newcomer in newcomers.items() if newcomer.summed]
        vectors = [self._mean(newcomers[raw]) for raw in self.names]
        self.index = ExactIndex(np.stack(vectors).astype(np.float32), self.space.distance) if vectors else None

    def nearest(self, clicks: IndexArray, own: Sequence[float]) -> Scored:  # noqa: ARG002 - distances need no comparison
        vectors, known = self.space.sessions(Prefixes.of([clicks]))
        return self._near(vectors) if known[0] else []

    def _near(self, vectors: ScoreArray) -> Scored:
        if self.index is None:
            return []
        found = self.index.search(vectors, len(self.names))
        return [
            (float(score), self.names[item - 1]) for score, item in zip(found.scores[0], found.items[0], strict=True)
        ]

    def _mean(self, newcomer: Newcomer) -> FloatArray:
        total = np.asarray(newcomer.total, dtype=np.float64)
        if self.space.distance != "cosine":
            return total / newcomer.summed
        return total / max(float(np.linalg.norm(total)), 1e-12)


class _RankedPlaces(_EmbeddingPlaces):
    """For models that have a space, but weigh more than distances: nobody knows what else speaks for a new item.

    So it stands behind as many items of the list as there are known items nearer to the session, or beside the first.
    """

    def nearest(self, clicks: IndexArray, own: Sequence[float]) -> Scored:
        vectors, known = self.space.sessions(Prefixes.of([clicks]))
        if not known[0]:
            return []
        newcomers = self._near(vectors)
        if not own:
            return [(0.0, raw) for _, raw in newcomers]
        found = self.space.index.search(vectors, len(own), admissible=self.space.located)
        nearer = [int((found.scores[0, : found.found[0]] >= score).sum()) for score, _ in newcomers]
        return [(own[max(ahead, 1) - 1], raw) for ahead, (_, raw) in zip(nearer, newcomers, strict=True)]


def _places(recommender: Recommender) -> Places:
    space = space_of(recommender)
    if space is None:
        return _ClickPlaces()
    from nearnext.recommenders.metric.recommender import Metric

    return _RankedPlaces(space) if isinstance(recommender, Metric) else _EmbeddingPlaces(space)


def _recent(clicks: IndexArray) -> list[int]:
    """The last distinct known clicks, the last first."""
    return list(dict.fromkeys(clicks[clicks > 0][::-1].tolist()))[:RECENT]


def _order(scored: tuple[float, RawId]) -> tuple[float, str]:
    return -scored[0], str(scored[1])

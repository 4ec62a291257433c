"""One model with what it may recommend: lists of next items, the same that `recommend` gives, and similar items."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.explanation import session_index_of, similar_items
from nearnext.recommenders.ranking import RankChunk, Recommendation, Request
from nearnext.recommenders.space import EmbeddingSpace, space_of
from nearnext.serving.available import AvailableItems
from nearnext.serving.catalogue import Catalogue
from nearnext.serving.loading import LoadedModel
from nearnext.serving.messages import SimilarAnswer
from nearnext.serving.new_items import Row
from nearnext.serving.playground import ItemMap
from nearnext.types import BoolArray, IndexArray, RawId

BATCH = 64
"""Queries answered in one pass; what is left waits for the next, after the network had its turn."""


class Query(NamedTuple):
    """One session and what its list must respect, as in `Recommender.recommend`."""

    items: Sequence[RawId]
    k: int = 20
    exclude: Sequence[RawId] = ()
    allow: Sequence[RawId] | None = None
    exclude_seen: bool = False
    time: float | None = None


class ServedModel:
    """A model, for one thread; a request keeps to the one that it began with."""

    def __init__(self, loaded: LoadedModel, catalogue: Catalogue) -> None:
        self.recommender, self.manifest, self.version = loaded
        self.available = AvailableItems(self.recommender, catalogue)
        self.page: bytes | None = None
        self.map: asyncio.Task[ItemMap] | None = None
        self._vocabulary = self.recommender.vocabulary
        self._ids: list[RawId] = ["", *self._vocabulary.ids.to_list()]
        self._space = space_of(self.recommender)
        self._rank: RankChunk = self.recommender.ranker()
        self._end_of_training = self.recommender.asked_at(None)
        self._waiting: list[tuple[Query, asyncio.Future[Recommendation]]] = []

    def ask(self, query: Query) -> asyncio.Future[Recommendation]:
        """The answer to one query, together with those of the same turn of the event loop; none waits for others.

        While a batch is answered, the next requests gather in the sockets, so that batches grow with the load.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Recommendation] = loop.create_future()
        self._waiting.append((query, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._answer_waiting, loop)
        return answer

    def _answer_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        taken, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if self._waiting:
            loop.call_soon(self._answer_waiting, loop)
        try:
            found: Sequence[Recommendation | Exception] = self.answer([query for query, _ in taken])
        except Exception as error:
            found = [error] * len(taken)
        for (_, answer), one in zip(taken, found, strict=True):
            if answer.done():
                continue
            if isinstance(one, Exception):
                answer.set_exception(one)
            else:
                answer.set_result(one)

    def answer(self, queries: Sequence[Query]) -> list[Recommendation]:
        """The list of each query; it depends on nothing but the query, the model and the catalogue."""
        if len(queries) == 1:
            return self._ranked(queries, self._mask(queries[0]))
        answers: list[Recommendation | None] = [None] * len(queries)
        plain = [row for row, query in enumerate(queries) if not _restricted(query)]
        plain.sort(key=lambda row: _alike(queries[row]))
        for _, group in groupby(plain, key=lambda row: _alike(queries[row])):
            rows = list(group)
            found = self._ranked([queries[row] for row in rows], self.available.admissible)
            for row, one in zip(rows, found, strict=True):
                answers[row] = one
        for row, query in enumerate(queries):
            if _restricted(query):
                answers[row] = self._ranked([query], self._mask(query))[0]
        return [one for one in answers if one is not None]

    def _mask(self, query: Query) -> BoolArray:
        mask = self.available.admissible
        if not _restricted(query):
            return mask
        if query.allow is not None:
            allowed = np.zeros_like(mask)
            allowed[self._vocabulary.encode(query.allow)] = True
            mask = mask & allowed
        else:
            mask = mask.copy()
        mask[self._vocabulary.encode(query.exclude)] = False
        mask[0] = False
        return mask

    def _ranked(self, queries: Sequence[Query], mask: BoolArray) -> list[Recommendation]:
        k, exclude_seen = queries[0].k, queries[0].exclude_seen
        clicks = [self._vocabulary.encode(query.items) for query in queries]
        end, asked_at = self._end_of_training, self.recommender.asked_at
        prefixes = Prefixes.of(clicks, [end if one.time is None else asked_at(one.time) for one in queries])
        items = np.zeros((len(queries), k), dtype=np.int32)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        own: list[int] = self._rank(prefixes, Request(k, mask, exclude_seen), items, scores).tolist()
        lists = [
            _List([self._ids[index] for index in indices if index], listed, n)
            for indices, listed, n in zip(items.tolist(), scores.tolist(), own, strict=True)
        ]
        if self.available.new:
            self._join(queries, clicks, lists)
        return [self._presented(*each) for each in zip(queries, clicks, lists, strict=True)]

    def _presented(self, query: Query, clicks: IndexArray, found: "_List") -> Recommendation:
        n = len(found.items)
        del found.scores[n:]
        unknown: list[RawId] = []
        if not clicks.all():
            unknown = [raw for raw, index in zip(query.items, clicks.tolist(), strict=True) if not index]
        shortage = None if n == query.k else f"{n} of {query.k}: no further item may be recommended"
        unmatched = self._unmatched(query) if _restricted(query) else []
        return Recommendation(found.items, found.scores, found.own, unknown, shortage, unmatched)

    def _unmatched(self, query: Query) -> list[RawId]:
        """What was excluded or allowed and names no item, of the model or of the catalogue."""
        named = [*(query.allow or ()), *query.exclude]
        found = self._vocabulary.encode(named).tolist()
        lacking = [raw for raw, index in zip(named, found, strict=True) if not index]
        return [raw for raw in lacking if self._vocabulary.as_stored(raw) not in self.available.new]

    def _join(self, queries: Sequence[Query], clicks: Sequence[IndexArray], lists: "Sequence[_List]") -> None:
        """Put new items among the model's own."""
        rows = [
            Row(known, found.scores[: found.own], self._refused(query))
            for query, known, found in zip(queries, clicks, lists, strict=True)
        ]
        k, allow = queries[0].k, queries[0].allow
        near = self.available.new.near(rows, k, None if allow is None else set(self._stored(allow)))
        for found, new in zip(lists, near, strict=True):
            found.join(new, k)

    def _refused(self, query: Query) -> Sequence[RawId]:
        if not query.exclude and not query.exclude_seen:
            return ()
        return self._stored([*query.exclude, *(query.items if query.exclude_seen else ())])

    def _stored(self, items: Iterable[RawId]) -> list[RawId]:
        return [self._vocabulary.as_stored(item) for item in items]

    def stored(self, item: RawId) -> RawId:
        """An item's id in the model's own type."""
        return self._vocabulary.as_stored(item)

    def similar(self, item: RawId, k: int) -> SimilarAnswer | None:
        """The items most similar to one, without itself; None for an item that the model was not trained with.

        In a metric space they are the nearest ones; otherwise those clicked in the same training sessions; where the
        model keeps none, what it recommends after this item alone.
        """
        index = self._vocabulary.encode([item])
        if not index[0]:
            return None
        if self._space is not None and self._space.located[index[0]]:
            return self._near(self._space, index, k)
        if session_index_of(self.recommender) is not None:
            return self._clicked_together(item, k)
        listed = self.answer([Query([item], k, exclude_seen=True)])[0]
        return SimilarAnswer(listed.items, listed.scores, "recommendations", listed.shortage, self.version)

    def _near(self, space: EmbeddingSpace, index: IndexArray, k: int) -> SimilarAnswer:
        admissible = self.available.admissible & space.located
        found = space.index.search(space.items(index), k, admissible=admissible, seen=Prefixes.of([index]))
        n_found = int(found.found[0])
        shortage = None if n_found == k else f"{n_found} of {k}: no further item may be recommended"
        items = self._vocabulary.decode(found.items[0, :n_found])
        return SimilarAnswer(items, found.scores[0, :n_found].tolist(), "embeddings", shortage, self.version)

    def _clicked_together(self, item: RawId, k: int) -> SimilarAnswer:
        hidden = self.available.hidden
        found = [one for one in similar_items(self.recommender, item, k + len(hidden)) if one[0] not in hidden][:k]
        shortage = None if len(found) == k else f"{len(found)} of {k}: no further item shares a session with it"
        return SimilarAnswer(
            [one for one, _ in found], [score for _, score in found], "sessions", shortage, self.version
        )


@dataclass
class _List:
    """Items and scores of one answer, and how many leading items are scored."""

    items: list[RawId]
    scores: list[float]
    own: int

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
            self.own += 1
        del self.items[k:], self.scores[k:]
        self.own = min(self.own, k)


def _restricted(query: Query) -> bool:
    """Whether the query restricts the available items."""
    return bool(query.exclude) or query.allow is not None


def _alike(query: Query) -> tuple[int, bool]:
    """What queries that are ranked together have in common."""
    return query.k, query.exclude_seen

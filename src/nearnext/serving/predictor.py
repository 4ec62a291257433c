"""Lists of next items for single sessions, as a service asks for them: the same lists that `recommend` gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.ranking import RankChunk, Recommendation, Request
from nearnext.serving.available import AvailableItems
from nearnext.serving.new_items import Row
from nearnext.types import BoolArray, IndexArray, RawId


class Query(NamedTuple):
    """One session and what its list must respect, as in `Recommender.recommend`."""

    items: Sequence[RawId]
    k: int = 20
    exclude: Sequence[RawId] = ()
    allow: Sequence[RawId] | None = None
    exclude_seen: bool = False
    time: float | None = None


class Predictor:
    """A recommender that answers queries one by one or many at a time, for one thread.

    Args:
        recommender: fitted.
        available: what it may recommend.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.named import make_recommender
    >>> from nearnext.serving.catalogue import Catalogue
    >>> model = make_recommender("markov-1").fit(Sessions.of([["a", "b"]] * 3 + [["a", "c"]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     predictor = Predictor(model, AvailableItems(model, Catalogue(Path(folder, "changes"))))
    >>> predictor.answer([Query(["a"], k=2)])[0].items
    ['b', 'c']
    """

    def __init__(self, recommender: Recommender, available: AvailableItems) -> None:
        self._recommender = recommender
        self._available = available
        self._vocabulary = recommender.vocabulary
        self._ids: list[RawId] = ["", *recommender.vocabulary.ids.to_list()]
        self._rank: RankChunk = recommender.ranker()
        self._end_of_training = recommender.asked_at(None)

    def answer(self, queries: Sequence[Query]) -> list[Recommendation]:
        """The list of each query; it depends on nothing but the query, the model and the catalogue."""
        if len(queries) == 1:
            return self._ranked(queries, self._mask(queries[0]))
        answers: list[Recommendation | None] = [None] * len(queries)
        plain = [row for row, query in enumerate(queries) if not _restricted(query)]
        plain.sort(key=lambda row: _alike(queries[row]))
        for _, group in groupby(plain, key=lambda row: _alike(queries[row])):
            rows = list(group)
            found = self._ranked([queries[row] for row in rows], self._available.admissible)
            for row, one in zip(rows, found, strict=True):
                answers[row] = one
        for row, query in enumerate(queries):
            if _restricted(query):
                answers[row] = self._ranked([query], self._mask(query))[0]
        return [one for one in answers if one is not None]

    def _mask(self, query: Query) -> BoolArray:
        mask = self._available.admissible
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
        end, asked_at = self._end_of_training, self._recommender.asked_at
        prefixes = Prefixes.of(clicks, [end if one.time is None else asked_at(one.time) for one in queries])
        items = np.zeros((len(queries), k), dtype=np.int32)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        own: list[int] = self._rank(prefixes, Request(k, mask, exclude_seen), items, scores).tolist()
        lists = [
            _List([self._ids[index] for index in indices if index], listed, n)
            for indices, listed, n in zip(items.tolist(), scores.tolist(), own, strict=True)
        ]
        if self._available.new:
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
        return [raw for raw in lacking if self._vocabulary.as_stored(raw) not in self._available.new]

    def _join(self, queries: Sequence[Query], clicks: Sequence[IndexArray], lists: "Sequence[_List]") -> None:
        """Put new items among the model's own."""
        rows = [
            Row(known, found.scores[: found.own], self._refused(query))
            for query, known, found in zip(queries, clicks, lists, strict=True)
        ]
        k, allow = queries[0].k, queries[0].allow
        near = self._available.new.near(rows, k, None if allow is None else set(self._stored(allow)))
        for found, new in zip(lists, near, strict=True):
            found.join(new, k)

    def _refused(self, query: Query) -> Sequence[RawId]:
        if not query.exclude and not query.exclude_seen:
            return ()
        return self._stored([*query.exclude, *(query.items if query.exclude_seen else ())])

    def _stored(self, items: Iterable[RawId]) -> list[RawId]:
        return [self._vocabulary.as_stored(item) for item in items]


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
    """Whether it may be answered with less than all available items."""
    return bool(query.exclude) or query.allow is not None


def _alike(query: Query) -> tuple[int, bool]:
    """What queries that are ranked together have in common."""
    return query.k, query.exclude_seen

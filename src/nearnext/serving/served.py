"""One model with what it may recommend: lists of next items, the same that `recommend` gives, and similar items."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.explanation import DEPTH, Explanation, session_index_of, similar_items
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.ranking import RankChunk, Recommendation, Request, Source, shortage_of, unknown_ids
from nearnext.recommenders.ruled import AppliedRules, Listed
from nearnext.recommenders.space import space_of
from nearnext.serving.answers import SimilarAnswer
from nearnext.serving.available import AvailableItems
from nearnext.serving.catalogue import Catalogue
from nearnext.serving.loading import LoadedModel
from nearnext.serving.new_items import JoinedList, Row
from nearnext.serving.playground.item_map import ItemMap
from nearnext.serving.stores import Counting
from nearnext.topk import no_lists
from nearnext.types import BoolArray, IndexArray, RawId

BATCH = 64
"""Queries answered in one pass; others wait for the next one, after the event loop has read the network."""


class Query(NamedTuple):
    """One session and what its list must respect, as in `Recommender.recommend`."""

    items: Sequence[RawId]
    k: int = 20
    exclude: Sequence[RawId] = ()
    allow: Sequence[RawId] | None = None
    exclude_seen: bool = False
    time: float | None = None
    rules: ItemRules | None = None

    @property
    def restricted(self) -> bool:
        """Whether the query limits the items."""
        return bool(self.exclude) or self.allow is not None


class ServedModel:
    """A model, for one thread; a request keeps to the one that it began with."""

    def __init__(self, loaded: LoadedModel, catalogue: Catalogue) -> None:
        self.recommender, self.manifest, self.version = loaded
        reading = self.manifest.get("reading", {})
        rare = self.recommender.left_categories
        self.counting = Counting.of(reading.get("events"), reading.get("collapse_repeats"), rare)
        self.available = AvailableItems(self.recommender, catalogue)
        self.page: bytes | None = None
        self.map: asyncio.Task[ItemMap] | None = None
        self._vocabulary = self.recommender.vocabulary
        self._space = space_of(self.recommender)
        self._unclicked = not self.recommender.popularity[1:].all()
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
        together = dict[object, list[int]]()
        for row, query in enumerate(queries):
            alike = (query.k, query.exclude_seen, query.rules, query.time if query.rules else None, self._left(query))
            limits = (id(query.exclude), id(query.allow)) if query.restricted else ()  # of one request
            together.setdefault((alike, limits), []).append(row)
        answers = dict[int, Recommendation]()
        for rows in together.values():
            chosen = [queries[row] for row in rows]
            answers |= zip(rows, self._ranked(chosen, self._mask(chosen[0])), strict=True)
        return [answers[row] for row in range(len(queries))]

    def _mask(self, query: Query) -> BoolArray:
        mask = self.available.admissible
        if not query.restricted:
            return mask
        allowed = np.full_like(mask, query.allow is None)
        allowed[self._vocabulary.encode(query.allow or ())] = True
        allowed[self._vocabulary.encode(query.exclude)] = False
        allowed[0] = False
        return mask & allowed

    def _ranked(self, queries: Sequence[Query], mask: BoolArray) -> list[Recommendation]:
        query, clicks = queries[0], [self._vocabulary.encode(query.items) for query in queries]
        allow = None if query.allow is None else set(self.stored(query.allow))
        if query.rules is None:
            lists = self._lists(queries, clicks, query.k, mask, allow)
        else:
            lists = self._by_rules(queries, clicks, mask, allow, self.applied(query.rules, query.time))
        return [self._presented(*each) for each in zip(queries, clicks, lists, strict=True)]

    def _lists(
        self, queries: Sequence[Query], clicks: Sequence[IndexArray], k: int, mask: BoolArray, new: set[RawId] | None
    ) -> list[JoinedList]:
        """Lists of k among the items of a mask and, if they are given, some of the new items."""
        lists = self._known_lists(self._rank, queries, clicks, k, mask)
        if self.available.new:
            self._join(queries, clicks, k, new, lists, self.available.new.latest())
        for one in lists:
            del one.scores[len(one.items) :]
        return lists

    def _known_lists(
        self, rank: RankChunk, queries: Sequence[Query], clicks: Sequence[IndexArray], k: int, mask: BoolArray
    ) -> list[JoinedList]:
        """Lists of the model's own items; ``rank`` is of this thread."""
        end, asked_at = self._end_of_training, self.recommender.asked_at
        prefixes = Prefixes.of(clicks, [end if one.time is None else asked_at(one.time) for one in queries])
        items, scores, _ = no_lists(len(queries), k)
        own: list[int] = rank(prefixes, Request(k, mask, queries[0].exclude_seen), items, scores).tolist()
        listed = items > 0
        ids, ends = self._vocabulary.decode(items[listed]), listed.sum(axis=1).cumsum().tolist()
        rows = zip([0, *ends], ends, items.tolist(), scores.tolist(), own, strict=False)
        return [JoinedList(ids[begin:end], one, n, indices[: end - begin]) for begin, end, indices, one, n in rows]

    def _left(self, query: Query) -> tuple[int, ...]:
        """Categories that the list of a query leaves out, by its last click."""
        if query.rules is None or query.rules.after is None or not query.items:
            return ()
        return self.applied(query.rules, query.time).left_after(self.available.live.number_of(query.items[-1]))

    def applied(self, rules: ItemRules, time: float | None) -> AppliedRules:
        """Rules over the items of the vocabulary and the new ones."""
        return self.available.live.apply(rules, None if time is None else self.recommender.asked_at(time))

    def _by_rules(
        self,
        queries: Sequence[Query],
        clicks: Sequence[IndexArray],
        mask: BoolArray,
        allow: set[RawId] | None,
        rules: AppliedRules,
    ) -> list[JoinedList]:
        """Lists by rules, over the items of the vocabulary followed by the new ones."""
        k, n_known, new = queries[0].k, len(mask), self.available.live.new
        admissible = np.fromiter((allow is None or item in allow for item in new), np.bool_, len(new))
        ruled = rules.without(self._left(queries[0])).narrowed(np.concatenate([mask, admissible]))
        numbers: dict[RawId, int] = {item: n_known + at for at, item in enumerate(new)}

        def lists(rows: slice, n: int, among: BoolArray) -> list[JoinedList]:
            allowed = {item for item, number in numbers.items() if among[number]}
            return self._lists(queries[rows], clicks[rows], n, among[:n_known], allowed)

        def numbered(one: JoinedList) -> Listed:
            items = [index or numbers[item] for index, item in zip(one.indices, one.items, strict=True)]
            return np.array(items, np.int32), np.array(one.scores, np.float32), one.own

        every = slice(0, len(queries))
        if not rules.reorders:
            return lists(every, k, ruled)
        found = list[JoinedList]()
        for row, first in enumerate(lists(every, rules.horizon(k, ruled), ruled)):

            def rank(n: int, among: BoolArray, row: int = row) -> Listed:
                return numbered(lists(slice(row, row + 1), n, among)[0])

            items, scores, own = rules.ruled_list(k, ruled, rank, numbered(first))
            ids = [new[at - n_known] if at >= n_known else self._vocabulary.decode([at])[0] for at in items]
            found.append(JoinedList(ids, scores, own, [at if at < n_known else 0 for at in items]))
        return found

    def _presented(self, query: Query, clicks: IndexArray, found: JoinedList) -> Recommendation:
        unknown = [] if clicks.all() else unknown_ids(query.items, clicks)
        shortage = shortage_of(len(found.items), query.k)
        unmatched = self._unmatched(query) if query.restricted else []
        return Recommendation(found.items, found.scores, found.own, unknown, shortage, unmatched, self._sources(found))

    def _sources(self, found: JoinedList) -> list[Source]:
        """What each item of a list comes from."""
        added: list[Source] = ["popular"] * (len(found.items) - found.own)
        if self._unclicked or self.available.new:
            return [*map(self._source, found.items[: found.own], found.indices), *added]
        ranked: list[Source] = ["model"] * found.own
        return ranked + added

    def _source(self, item: RawId, index: int) -> Source:
        if index:
            return "model" if self.recommender.popularity[index] else "cold"
        return "similar" if self.available.new.led_to(item) else "cold"

    def _unmatched(self, query: Query) -> list[RawId]:
        """What was excluded or allowed and names no item, of the model or of the catalogue."""
        named = [*(query.allow or ()), *query.exclude]
        lacking, new = unknown_ids(named, self._vocabulary.encode(named)), self.available.new
        return [raw for raw, stored in zip(lacking, self.stored(lacking), strict=True) if stored not in new]

    def _join(
        self,
        queries: Sequence[Query],
        clicks: Sequence[IndexArray],
        k: int,
        allowed: set[RawId] | None,
        lists: Sequence[JoinedList],
        latest: Any,
    ) -> None:
        """Put new items among the model's own."""
        rows = [
            Row(known, found.scores[: found.own], self._refused(query))
            for query, known, found in zip(queries, clicks, lists, strict=True)
        ]
        near = self.available.new.near(rows, k, allowed, latest)
        for found, new in zip(lists, near, strict=True):
            found.join(new, k)

    def _refused(self, query: Query) -> Sequence[RawId]:
        if not query.exclude and not query.exclude_seen:
            return ()
        return self.stored([*query.exclude, *(query.items if query.exclude_seen else ())])

    def stored(self, items: Iterable[RawId]) -> list[RawId]:
        """Ids in the model's own type."""
        return self._vocabulary.as_stored(items)

    def similar(self, item: RawId, k: int) -> SimilarAnswer | None:
        """The items most similar to one, without itself; None for an item that the model was not trained with.

        In a metric space they are the nearest ones; otherwise those clicked in the same training sessions; where the
        model keeps none, what it recommends after this item alone.
        """
        index = int(self._vocabulary.encode([item])[0])
        if not index:
            return self._like_new(item, k)
        located = self._space is not None and self._space.located[index]
        if not located and session_index_of(self.recommender) is None:
            listed = self.answer([Query([item], k, exclude_seen=True)])[0]
            return SimilarAnswer(listed.items, listed.scores, "recommendations", listed.shortage, self.version)
        found = similar_items(self.recommender, item, k, admissible=self.available.admissible)
        lacking = "may be recommended" if located else "shares a session with it"
        shortage = shortage_of(len(found), k, lacking)
        items, scores = [one for one, _ in found], [score for _, score in found]
        return SimilarAnswer(items, scores, "embeddings" if located else "sessions", shortage, self.version)

    async def explain_new(self, items: Sequence[RawId], item: RawId) -> Explanation:
        """The rank of a new item for a session, what its position comes from, and the items nearest to it."""
        query, clicks, mask = Query(items, DEPTH), [self._vocabulary.encode(items)], self.available.admissible.copy()
        origin = self.available.new.origin(item)
        reason = "" if self.available.new.led_to(item) else self.available.unlisted

        def ranked() -> tuple[JoinedList, Any, SimilarAnswer | None]:
            found = self._known_lists(self.recommender.ranker(), [query], clicks, DEPTH, mask)[0]
            return found, self.available.new.latest(), self._like_new(item, 5)

        known, latest, alike = await asyncio.to_thread(ranked)
        self._join([query], clicks, DEPTH, None, [known], latest)
        listed = self._presented(query, clicks[0], known)
        at = listed.items.index(item) if item in listed.items else None
        left_out = {
            "rank": "; ".join(filter(None, (f"not among the first {DEPTH:,}", reason))),
            "score": f"{self.recommender.name} itself does not score it for this session",
            "clicks": f"it joined after training, {origin}",
            "similar": "it has no embedding",
            "evidence": "no training session clicked it",
        }
        found = Explanation(
            method=self.recommender.name,
            item=item,
            rank=None if at is None else at + 1,
            score=None if at is None or at >= listed.own else listed.scores[at],
            popularity=0,
            popularity_rank=len(self._vocabulary) + 1,
            clicks=[],
            similar=[] if alike is None else list(zip(alike.items, alike.scores, strict=True)),
            evidence=None,
            unknown=listed.unknown,
            left_out=left_out,
        )
        for part in ("rank", "score", "similar"):
            if getattr(found, part) not in (None, []):
                del left_out[part]
        return found

    def _like_new(self, item: RawId, k: int) -> SimilarAnswer | None:
        """The items nearest to a new one, where that has an embedding."""
        vector = self.available.new.vector(self.stored([item])[0])
        if vector is None or self._space is None:
            return None
        listed = self._space.located & self.available.admissible
        found = self._space.index.search(vector[np.newaxis], k, admissible=listed)
        n = int(found.found[0])
        items = self._vocabulary.decode(found.items[0, :n])
        return SimilarAnswer(items, found.scores[0, :n].tolist(), "embeddings", shortage_of(n, k), self.version)

"""What each endpoint does with a request that has been read."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

from nearnext.errors import NearnextError
from nearnext.recommenders.ranking import Recommendation
from nearnext.serving.answering import Question
from nearnext.serving.background import in_daemon
from nearnext.serving.catalogue import Change
from nearnext.serving.messages import (
    CatalogueChange,
    CatalogueEntry,
    EventsAnswer,
    EventsRequest,
    ExplainRequest,
    FoundItem,
    Health,
    ItemsAnswer,
    MapPoint,
    MapRequest,
    ModelAnswer,
    RecommendationAnswer,
    RecommendRequest,
    SessionAnswer,
    SimilarAnswer,
)
from nearnext.serving.model import ServedModel
from nearnext.serving.openapi import description
from nearnext.serving.problems import Refusal
from nearnext.serving.requests import Answer, Request, ids, moment, parsed, parsed_query, switch, whole_number
from nearnext.serving.service import Service
from nearnext.serving.stores import StoreDown
from nearnext.types import RawId

__all__ = ["Endpoint", "Endpoints"]

Endpoint = Callable[[Request], Awaitable[Answer]]

STORE_DOWN = "the session store does not answer"
NO_CONSENT = 'no consent: send "consent": true to have clicks stored'
MOST_FOUND = 1000
"""Items of the longest answer to a search."""

LIST_PARAMETERS = ("k", "exclude", "allow", "exclude_seen", "time")

encode = msgspec.json.Encoder().encode


class Endpoints:
    """The endpoints of one worker.

    Args:
        service: what they work on.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._recommend = msgspec.json.Decoder(RecommendRequest)
        self._events = msgspec.json.Decoder(EventsRequest)
        self._explain = msgspec.json.Decoder(ExplainRequest)
        self._map_request = msgspec.json.Decoder(MapRequest)
        self._entry = msgspec.json.Decoder(CatalogueEntry)
        self._description = encode(description(service.settings.max_k))

    async def recommend(self, request: Request) -> Answer:
        """Next items for a session that the request holds."""
        wanted = parsed(self._recommend, request.body)
        model = self._service.current()
        question = Question(
            wanted.items, self._checked(wanted.k), wanted.exclude, wanted.allow, wanted.exclude_seen, wanted.time
        )
        return Answer(encode(await self._answer(model, question)))

    async def take_events(self, request: Request) -> Answer:
        """Clicks taken into a session, and next items where they are asked for."""
        wanted = parsed(self._events, request.body)
        session = request.parameters[0]
        if wanted.k is not None:
            self._checked(wanted.k)
        service = self._service
        model = service.current()
        clicked = [model.stored(item) for item in wanted.items]
        clicks, reason, logged = clicked, None if wanted.consent else NO_CONSENT, None
        if wanted.consent:
            try:
                clicks = await service.store.append(session, clicked)
                self._touch(model, clicks, len(clicked))
            except StoreDown:
                reason = STORE_DOWN
                service.measures.stateless.inc()
            logged = self._log_clicks(session, clicked, wanted.time)
        service.measures.clicks.inc(len(clicked))
        listed = None
        if wanted.k is not None:
            model = service.current()
            question = Question(clicks, wanted.k, wanted.exclude, wanted.allow, wanted.exclude_seen, wanted.time)
            listed = await self._answer(model, question)
            if wanted.consent:
                self._log_shown(session, listed)
        stored = reason is None
        return Answer(encode(EventsAnswer(len(clicks), stored, reason, logged, listed)))

    async def session_recommendations(self, request: Request) -> Answer:
        """Next items for a stored session."""
        query = parsed_query(request.query, LIST_PARAMETERS)
        k = self._checked(whole_number(query, "k", 20))
        exclude, allow = ids(query, "exclude") or [], ids(query, "allow")
        exclude_seen, time = switch(query, "exclude_seen"), moment(query, "time")
        session = request.parameters[0]
        clicks: list[RawId] = []
        reason = None
        try:
            clicks = await self._service.store.clicks(session)
        except StoreDown:
            reason = STORE_DOWN
            self._service.measures.stateless.inc()
        question = Question(clicks, k, exclude, allow, exclude_seen, time)
        listed = await self._answer(self._service.current(), question)
        if clicks:
            self._log_shown(session, listed)
        fields = msgspec.structs.asdict(listed)
        return Answer(encode(SessionAnswer(**fields, length=len(clicks), reason=reason)))

    async def forget_session(self, request: Request) -> Answer:
        """A session forgotten, whether it was known or not."""
        try:
            await self._service.store.forget(request.parameters[0])
        except StoreDown:
            raise Refusal(503, f"{STORE_DOWN}, the session may still be there; try again") from None
        return Answer(b"", 204)

    async def similar(self, request: Request) -> Answer:
        """Items similar to one."""
        query = parsed_query(request.query, ("k",))
        k = self._checked(whole_number(query, "k", 20))
        model = self._service.current()
        found = model.similar(request.parameters[0], k)
        if found is None:
            raise Refusal(404, "the model was not trained with this item")
        return Answer(encode(SimilarAnswer(found.items, found.scores, found.basis, found.shortage, model.version)))

    async def put_item(self, request: Request) -> Answer:
        """An item of the catalogue, new or changed."""
        entry = parsed(self._entry, request.body)
        model = self._service.current()
        item = model.stored(request.parameters[0])
        like = [model.stored(one) for one in entry.like]
        await self._change(Change("put", item, entry.available, like))
        return Answer(encode(CatalogueChange(item, entry.available, model.assortment.knows(item))))

    async def delete_item(self, request: Request) -> Answer:
        """An item taken out of the catalogue; it is never recommended until it is put there again."""
        await self._change(Change("delete", self._service.current().stored(request.parameters[0])))
        return Answer(b"", 204)

    async def model(self, _request: Request) -> Answer:
        """The model that answers."""
        return Answer(encode(self.model_answer()))

    async def explain(self, request: Request) -> Answer:
        """Why an item is recommended to a session."""
        wanted = parsed(self._explain, request.body)
        explanation = _part("nearnext.explanation", "explanations are")
        model = self._service.current()
        if not model.assortment.knows(wanted.item):
            raise Refusal(404, "the model was not trained with this item")
        try:
            found: Any = await asyncio.to_thread(explanation.explain, model.recommender, wanted.items, wanted.item)
        except NearnextError as error:
            raise Refusal(422, str(error)) from None
        return Answer(encode(found.as_dict()))

    async def item_map(self, _request: Request) -> Answer:
        """Where the items lie, in two dimensions."""
        return Answer(await _mapped(self._service.current()))

    async def map_point(self, request: Request) -> Answer:
        """Where a session lies on the map."""
        wanted = parsed(self._map_request, request.body)
        playground = _part("nearnext.serving.playground", "the map is")
        model = self._service.current()
        await _mapped(model)
        point = await asyncio.to_thread(playground.session_point, model.recommender, wanted.items)
        return Answer(encode(MapPoint(*(point or (None, None)))))

    async def found_items(self, request: Request) -> Answer:
        """Items by part of their ids."""
        query = parsed_query(request.query, ("query", "limit"))
        texts = ids(query, "query") if query.get("query") != [""] else None
        if texts is not None and len(texts) > 1:
            raise Refusal(422, f"expected query once, found it {len(texts)} times")
        limit = whole_number(query, "limit", 20)
        if not 1 <= limit <= MOST_FOUND:
            raise Refusal(422, f"limit must be in 1..{MOST_FOUND}, found {limit}")
        playground = _part("nearnext.serving.playground", "the search is")
        recommender = self._service.current().recommender
        wanted = str(texts[0]) if texts else ""
        found = await asyncio.to_thread(playground.find_items, recommender, wanted, limit)
        return Answer(encode(ItemsAnswer([FoundItem(**item) for item in found])))

    async def page(self, _request: Request) -> Answer:
        """The playground."""
        playground = _part("nearnext.serving.playground", "the playground is")
        model = self._service.current()
        if model.page is None:
            model.page = bytes(playground.page(msgspec.to_builtins(self.model_answer())))
        return Answer(model.page, content_type=b"text/html; charset=utf-8")

    async def openapi(self, _request: Request) -> Answer:
        """The description of all this."""
        return Answer(self._description)

    async def health(self, _request: Request) -> Answer:
        """Whether the process works."""
        return Answer(encode(Health("ok", self._service.store.state)))

    async def ready(self, _request: Request) -> Answer:
        """Whether requests should be sent here."""
        service = self._service
        if service.ready:
            return Answer(encode(Health("ok", service.store.state)))
        return Answer(encode(Health("stopping" if service.stopping else "starting", service.store.state)), 503)

    async def metrics(self, _request: Request) -> Answer:
        """Figures for Prometheus."""
        return Answer(self._service.measure(), content_type=b"text/plain; version=0.0.4; charset=utf-8")

    def model_answer(self) -> ModelAnswer:
        """What is told of the model that answers."""
        model = self._service.current()
        recommender = model.recommender
        data: Any = model.manifest.get("data", msgspec.UNSET)
        return ModelAnswer(
            version=model.version,
            method=recommender.name,
            items=len(recommender.vocabulary),
            new_items=len(model.assortment),
            hidden_items=len(model.assortment.hidden),
            params=recommender.params(),
            refused=self._service.refused,
            data=data,
        )

    def _checked(self, k: int) -> int:
        if not 1 <= k <= self._service.settings.max_k:
            raise Refusal(422, f"k must be in 1..{self._service.settings.max_k}, found {k}")
        return k

    async def _answer(self, model: ServedModel, question: Question) -> RecommendationAnswer:
        found: Recommendation = await self._service.batches.ask(model, question)
        self._service.measures.recommendations.inc()
        return RecommendationAnswer(**vars(found), model=model.version)

    async def _change(self, change: Change) -> None:
        try:
            await asyncio.to_thread(self._service.catalogue.write, change)
        except NearnextError as error:
            raise Refusal(503, str(error)) from None
        self._service.current()

    def _touch(self, model: ServedModel, clicks: Sequence[RawId], n_new: int) -> None:
        """Tell the catalogue which sessions led to new items."""
        for place in range(max(len(clicks) - n_new, 1), len(clicks)):
            if model.assortment.is_newcomer(clicks[place]):
                before = [item for item in clicks[:place] if model.assortment.knows(item)]
                try:
                    self._service.catalogue.touch(clicks[place], before)
                except NearnextError:
                    return  # the mean lacks one session; nobody was promised it

    def _log_clicks(self, session: str, clicked: Sequence[RawId], time: float | None) -> bool | None:
        event_log = self._service.event_log
        if event_log is None:
            return None
        logged = event_log.clicked(session, clicked, time)
        if not logged:
            self._service.measures.events_lost.inc(len(clicked))
        return logged

    def _log_shown(self, session: str, listed: RecommendationAnswer) -> None:
        event_log = self._service.event_log
        if event_log is not None and not event_log.shown(session, listed.items, listed.model):
            self._service.measures.events_lost.inc()


async def _mapped(model: ServedModel) -> bytes:
    """The map of a model, computed once, however many ask while it is: they occupy one thread, so others go on.

    Raises:
        Refusal: it has no map.
    """
    playground = _part("nearnext.serving.playground", "the map is")
    if model.map is None:
        model.map = asyncio.create_task(in_daemon(lambda: encode(playground.item_map(model.recommender))))
    try:
        return await asyncio.shield(model.map)
    except NearnextError as error:
        raise Refusal(404, str(error)) from None


def _part(module: str, what: str) -> ModuleType:
    """A part of the service that an installation may lack.

    Raises:
        Refusal: it does.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise Refusal(404, f"{what} not part of this installation") from None

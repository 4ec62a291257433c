"""The endpoints: what each operation does with a request that has been read, found by its name."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from nearnext.data.event_weights import event_key
from nearnext.errors import ConfigError, NearnextError
from nearnext.explanation import explain
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.ranking import Recommendation
from nearnext.serving import answers, requests
from nearnext.serving.catalogue import Change
from nearnext.serving.openapi import described_page, description
from nearnext.serving.operations import Answer, encode, operation, operations
from nearnext.serving.playground import POLICY, find_items, page
from nearnext.serving.playground.item_map import ItemMap
from nearnext.serving.problems import HTTPError
from nearnext.serving.served import Query, ServedModel
from nearnext.serving.service import Service, in_daemon
from nearnext.serving.stores import Event, StoreDown, typed
from nearnext.types import RawId

NO_CONSENT = 'no consent: send "consent": true to have clicks stored'
HTML = b"text/html; charset=utf-8"


class Endpoints:
    """The operations of one worker, the most frequent first: the order in which paths are tried."""

    def __init__(self, service: Service) -> None:
        self._service = service
        document = description(operations(Endpoints), service.settings.max_k)
        self._description, self._docs = encode(document), described_page(document)

    @operation("POST", "/v1/sessions/{session}/events")
    async def take_events(self, session: str, asked: requests.EventsRequest) -> answers.EventsAnswer:
        """Store clicks of a session; with k, recommend its next items in the same call."""
        service = self._service
        if asked.k is not None:
            self._check_k(asked.k)
        model = service.current()
        clicked = model.stored(asked.items)
        events = new = typed(clicked, asked.event)
        reason, logged = None if asked.consent else NO_CONSENT, None
        if asked.consent:
            try:
                events = await service.store.append(session, clicked, asked.event)
            except StoreDown as error:
                reason = str(error)
                service.metrics.stateless.inc()
            if service.event_log:
                logged = service.event_log.clicked(session, clicked, asked.time, asked.event)
        clicks = model.counting.clicks(events)
        if asked.consent and reason is None:
            await self._touch(model, clicks, len(model.counting.clicks(new)))
        service.metrics.clicks.inc(len(clicked))
        listed = None
        if asked.k is not None:
            listed = await self._list(clicks, asked, asked.k, model.counting.last_type(events))
            if asked.consent:
                self._log_shown(session, listed)
        return answers.EventsAnswer(len(clicks), reason is None, reason, logged, listed)

    @operation("POST", "/v1/recommend")
    async def recommend(self, asked: requests.RecommendRequest) -> answers.RecommendationAnswer | answers.ListsAnswer:
        """Recommend the next items of a session that is given whole, or of several; nothing is stored."""
        self._check_k(asked.k)
        if asked.sessions is None:
            return await self._list(asked.items or (), asked, asked.k)
        return answers.ListsAnswer(await self._lists(asked.sessions, asked, asked.k))

    @operation("GET", "/v1/sessions/{session}/recommendations")
    async def session_recommendations(self, session: str, asked: requests.ListParameters) -> answers.SessionAnswer:
        """Recommend the next items of a stored session; of an unknown one, the popular items."""
        self._check_k(asked.k)
        events: Sequence[Event] = ()
        reason = None
        try:
            events = await self._service.store.events(session)
        except StoreDown as error:
            reason = str(error)
            self._service.metrics.stateless.inc()
        counting = self._service.current().counting
        clicks = counting.clicks(events)
        listed = await self._list(clicks, asked, asked.k, counting.last_type(events))
        if clicks:
            self._log_shown(session, listed)
        return answers.SessionAnswer(**msgspec.structs.asdict(listed), length=len(clicks), reason=reason)

    @operation("DELETE", "/v1/sessions/{session}")
    async def forget_session(self, session: str) -> None:
        """Forget a session, whether it was known or not."""
        try:
            await self._service.store.forget(session)
        except StoreDown as error:
            raise HTTPError(503, f"{error}, the session may still exist; try again") from None

    @operation("GET", "/v1/items/{item}/similar")
    async def similar(self, item: str, asked: requests.SimilarParameters) -> answers.SimilarAnswer:
        """Items similar to one that the model was trained with."""
        self._check_k(asked.k)
        model = self._service.current()
        found = model.similar(item, asked.k)
        if found is None:
            raise HTTPError(404, "the model was not trained with this item")
        if asked.show:
            found.shown = _shown(model, found.items, asked.show)
        return found

    @operation("PUT", "/v1/items/{item}")
    async def put_item(self, item: str, entry: requests.CatalogueEntry) -> answers.CatalogueChange:
        """Add an item to the catalogue, or change it; it counts at once and outlasts a restart."""
        model = self._service.current()
        stored, *like = model.stored([item, *entry.like])
        if entry.attributes:
            try:
                model.available.live.require(entry.attributes)
            except ConfigError as error:
                raise HTTPError(422, str(error)) from None
        await self._change(Change("put", stored, entry.available, like, entry.attributes))
        unknown = [one for one in like if not model.available.knows(one)]
        known = model.available.knows(stored)
        note = UNSET if known or not entry.attributes or unknown != like else model.available.unlisted or UNSET
        return answers.CatalogueChange(stored, entry.available, known, unknown, note)

    @operation("DELETE", "/v1/items/{item}")
    async def delete_item(self, item: str) -> None:
        """Take an item out of the catalogue; it is never recommended until it is put there again."""
        await self._change(Change("delete", self._service.current().stored([item])[0]))

    @operation("POST", "/v1/explain")
    async def explain(self, asked: requests.ExplainRequest) -> dict[str, Any]:
        """Why an item is recommended to a session."""
        model = self._service.current()
        item = model.stored([asked.item])[0]
        if item in model.available.new:
            found = await model.explain_new(asked.items, item)
        elif not model.available.knows(item):
            raise HTTPError(404, "neither the model nor the catalogue has this item, or it is out of stock")
        else:
            try:
                found = await asyncio.to_thread(explain, model.recommender, asked.items, item)
            except NearnextError as error:
                raise HTTPError(422, str(error)) from None
        answer = found.as_dict()
        entries: list[dict[str, Any]] = [answer, *answer["clicks"], *answer["similar"]]
        if asked.show:
            for one, attributes in zip(
                entries, _shown(model, [one["item"] for one in entries], asked.show), strict=True
            ):
                one["shown"] = attributes
        return answer

    @operation("GET", "/v1/model")
    async def model(self) -> answers.ModelAnswer:
        """The model that answers."""
        model = self._service.current()
        recommender = model.recommender
        data: Any = model.manifest.get("data", msgspec.UNSET)
        return answers.ModelAnswer(
            version=model.version,
            method=recommender.name,
            items=len(recommender.vocabulary),
            new_items=len(model.available.new),
            hidden_items=len(model.available.hidden),
            attributes=model.available.live.names,
            params=recommender.params(),
            refused=self._service.watcher.refused,
            items_without_clicks=model.available.table_note,
            data=data,
        )

    @operation("GET", "/v1/map")
    async def item_map(self) -> Answer:
        """Where the items are, in two dimensions."""
        item_map = await _map_of(self._service.current())
        return Answer(await in_daemon(lambda: encode(item_map.as_dict())))

    @operation("POST", "/v1/map/session")
    async def map_point(self, asked: requests.MapRequest) -> answers.MapPoint:
        """Where a session is on the map."""
        item_map = await _map_of(self._service.current())
        point = await in_daemon(lambda: item_map.place(asked.items))
        return answers.MapPoint(*(point or (None, None)))

    @operation("GET", "/v1/items")
    async def found_items(self, asked: requests.SearchParameters) -> answers.ItemsAnswer:
        """Items by part of their ids or titles; the most popular ones where nothing is asked for."""
        model = self._service.current()
        live = model.available.live
        found = await asyncio.to_thread(find_items, model.recommender, asked.query, asked.limit, live)
        return answers.ItemsAnswer([answers.FoundItem(**item) for item in found])

    @operation("GET", "/healthz", public=True)
    async def health(self) -> answers.Health:
        """Whether the process works."""
        return answers.Health("ok", self._service.store.state)

    @operation("GET", "/readyz", public=True)
    async def ready(self) -> answers.Health | Answer:
        """Whether requests should be sent here."""
        service = self._service
        if service.ready:
            return answers.Health("ok", service.store.state)
        return Answer(
            encode(answers.Health("stopping" if service.stopping else "starting", service.store.state)), status=503
        )

    @operation("GET", "/metrics", content="text/plain")
    async def metrics(self) -> Answer:
        """Metrics for Prometheus."""
        return Answer(self._service.measure(), b"text/plain; version=0.0.4; charset=utf-8")

    @operation("GET", "/openapi.json", public=True)
    async def openapi(self) -> Answer:
        """This description, for programs."""
        return Answer(self._description)

    @operation("GET", "/docs", public=True, content="text/html")
    async def docs(self) -> Answer:
        """This description, for people."""
        return Answer(self._docs, HTML)

    @operation("GET", "/", public=True, content="text/html")
    async def playground(self) -> Answer:
        """A page to try the service."""
        model = self._service.current()
        if model.page is None:
            model.page = page(model.recommender.name)
        return Answer(model.page, HTML, headers=((b"content-security-policy", POLICY),))

    def _check_k(self, k: int) -> None:
        if not 1 <= k <= self._service.settings.max_k:
            raise HTTPError(422, f"k must be in 1..{self._service.settings.max_k}, found {k}")

    async def _list(
        self, clicks: Sequence[RawId], asked: requests.Restrictions, k: int, event: str | None = None
    ) -> answers.RecommendationAnswer:
        return (await self._lists([clicks], asked, k, event))[0]

    async def _lists(
        self, sessions: Sequence[Sequence[RawId]], asked: requests.Restrictions, k: int, event: str | None = None
    ) -> list[answers.RecommendationAnswer]:
        """The lists of sessions whose last events are of a type; all are asked for before the first is waited for."""
        model = self._service.current()
        rules = self._rules(model, asked, event)
        limits = (k, asked.exclude, asked.allow, asked.exclude_seen, asked.time, rules)
        found: list[Recommendation] = [
            await answer for answer in [model.ask(Query(clicks, *limits)) for clicks in sessions]
        ]
        self._service.metrics.recommendations.inc(len(found))
        return [
            answers.RecommendationAnswer(
                **vars(one), model=model.version, shown=_shown(model, one.items, asked.show) if asked.show else UNSET
            )
            for one in found
        ]

    def _rules(self, model: ServedModel, asked: requests.Restrictions, event: str | None) -> ItemRules | None:
        """The rules of a request and of the service."""
        default = self._service.rules
        if default is not None and default.after is not None and event_key(default.after) != event:
            default = default.without_after()
        if asked.where is None and not asked.boost and not asked.at_most and asked.after is None:
            return default
        try:
            if isinstance(asked, requests.ListParameters):
                rules = ItemRules.parse(asked.where, asked.boost, asked.at_most, asked.after)
            else:
                rules = ItemRules.of(asked.where, asked.boost, asked.at_most, asked.after)
            rules = rules if default is None else default.besides(rules)
            if rules is not None:
                model.applied(rules, asked.time)
        except ConfigError as error:
            raise HTTPError(422, str(error)) from None
        return rules

    async def _change(self, change: Change) -> None:
        try:
            await asyncio.to_thread(self._service.catalogue.write, change)
        except NearnextError as error:
            raise HTTPError(503, str(error)) from None
        self._service.current()

    async def _touch(self, model: ServedModel, clicks: Sequence[RawId], n_new: int) -> None:
        """Tell the catalogue which sessions led to new items."""
        for at in range(max(len(clicks) - n_new, 1), len(clicks)):
            if clicks[at] in model.available.new:
                before = [item for item in clicks[:at] if model.available.knows(item)]
                try:
                    await asyncio.to_thread(self._service.catalogue.touch, clicks[at], before)
                except NearnextError:
                    return  # the mean lacks one session, which is not an error

    def _log_shown(self, session: str, listed: answers.RecommendationAnswer) -> None:
        if self._service.event_log:
            self._service.event_log.shown(session, listed.items, listed.model)


def _shown(model: ServedModel, items: Sequence[RawId], names: Sequence[str]) -> list[dict[str, Any]]:
    """The attributes of items that a request asks for."""
    try:
        return model.available.live.shown(items, names)
    except ConfigError as error:
        raise HTTPError(422, str(error)) from None


async def _map_of(model: ServedModel) -> ItemMap:
    """The map of a model, computed once in one thread; concurrent requests wait for the same task."""
    if model.map is None:
        model.map = asyncio.create_task(in_daemon(lambda: ItemMap(model.recommender)))
    try:
        return await asyncio.shield(model.map)
    except NearnextError as error:
        raise HTTPError(404, str(error)) from None

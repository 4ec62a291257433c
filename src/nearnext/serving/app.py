"""The ASGI application: finds the endpoint of a request, and lets nothing but an answer out."""

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from itertools import count
from typing import Any, NamedTuple

from nearnext.serving.endpoints import Endpoint, Endpoints
from nearnext.serving.openapi import OPERATIONS
from nearnext.serving.problems import PROBLEM, Refusal
from nearnext.serving.requests import Answer, Receive, Request, Scope, decoded_segment, read_body
from nearnext.serving.service import Service, orphaned
from nearnext.serving.settings import ServiceSettings

__all__ = ["Application"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

PARENT_WATCH = 0.5
"""Seconds between two looks whether the process that started this one still lives."""

NOWHERE = "(unknown)"
"""The route of requests for paths that do not exist: logs and figures never hold paths, which hold ids."""

log = logging.getLogger(__name__)


class _Route(NamedTuple):
    path: str
    parts: tuple[bytes | None, ...]
    endpoints: dict[str, Endpoint]
    open: bool


class Application:
    """One worker's ASGI application.

    Args:
        settings: what the service was told.
        service: where this very process has made it already.
        parent: process without which this one stops, or None.
        ready: called once requests are answered.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        service: Service | None = None,
        parent: int | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self._ready = ready
        self._made = service
        self._parent = parent
        self._routes: list[_Route] = []
        self._methods: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        log.info("requests are answered by model %s", self._service.model.version)
        self._ready()
        await receive()
        await self._service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self) -> None:
        self._service = self._made or Service(self.settings)
        self._endpoints = Endpoints(self._service)
        routes: dict[str, _Route] = {}
        for operation in OPERATIONS:
            path = operation.path
            parts = tuple(None if part.startswith("{") else part.encode() for part in path.split("/")[1:])
            route = routes.setdefault(path, _Route(path, parts, {}, operation.open))
            route.endpoints[operation.method] = getattr(self._endpoints, operation.endpoint)
            if operation.method == "GET":
                route.endpoints["HEAD"] = route.endpoints["GET"]
        self._routes = list(routes.values())
        self._methods = {path: ", ".join(sorted(route.endpoints)) for path, route in routes.items()}
        self._prefix, self._numbers = secrets.token_hex(6), count(1)
        self._service.start()
        if self._parent is not None:
            self._life_line = asyncio.get_running_loop().create_task(self._outlived_by(self._parent))

    async def _outlived_by(self, parent: int) -> None:
        """Stop once the parent is gone: nobody else would restart or end this process."""
        while not orphaned(parent):
            await asyncio.sleep(PARENT_WATCH)
        log.error("the process that started this worker is gone; the worker stops")
        os._exit(1)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        request_id = self._request_id(headers.get(b"x-request-id"))
        route, segments = self._route(scope["raw_path"])
        try:
            answer = await self._answer(scope, receive, headers, route, segments)
        except Refusal as refusal:
            answer = _problem(refusal, request_id)
        except Exception:
            log.exception("an endpoint failed", extra={"request_id": request_id})
            answer = _problem(Refusal(500, "this is our fault; the log says more under the request's id"), request_id)
        sent: list[tuple[bytes, bytes]] = [
            (b"x-request-id", request_id.encode()),
            *answer.headers,
            *self._service.access.shared_with(headers.get(b"origin")),
        ]
        if answer.status != 204:  # noqa: PLR2004 - has no body
            sent += [(b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": answer.body})
        seconds = time.perf_counter() - begin
        path = route.path if route else NOWHERE
        method = scope["method"] if route and scope["method"] in route.endpoints else "OTHER"
        self._service.measures.answered(path, method, answer.status, seconds)
        if self.settings.access_log:
            self._service.access_log.note(request_id, scope["method"], path, answer.status, seconds)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        headers: Mapping[bytes, bytes],
        route: _Route | None,
        segments: list[bytes],
    ) -> Answer:
        method = scope["method"]
        if route is None:
            raise Refusal(404, "there is nothing at this path; /openapi.json lists what there is")
        endpoint = route.endpoints.get(method)
        if endpoint is None:
            methods = self._methods[route.path]
            if method == "OPTIONS":
                return Answer(b"", 204, headers=self._service.access.preflight(headers.get(b"origin"), methods))
            raise Refusal(405, f"this path knows {methods}", ((b"allow", methods.encode()),))
        if not route.open and not self._service.access.allows(headers):
            raise Refusal(401, "a key is needed: Authorization: Bearer KEY", ((b"www-authenticate", b"Bearer"),))
        limit = self.settings.max_body
        if b"expect" in headers and int(headers.get(b"content-length", b"0")) > limit:
            raise Refusal(413, f"the body is longer than {limit} bytes", ((b"connection", b"close"),))
        parameters = [decoded_segment(given) for given, part in zip(segments, route.parts, strict=True) if part is None]
        body = await read_body(receive, limit)
        return await endpoint(Request(parameters, scope["query_string"], body))

    def _route(self, raw_path: bytes) -> tuple[_Route | None, list[bytes]]:
        """Ids are told apart before they are decoded: an encoded slash is part of an id."""
        segments = raw_path.split(b"/")[1:]
        for route in self._routes:
            parts = route.parts
            if len(parts) == len(segments) and all(
                part is None or part == given for part, given in zip(parts, segments, strict=True)
            ):
                return route, segments
        return None, segments

    def _request_id(self, given: bytes | None) -> str:
        if given is not None and REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._prefix}-{next(self._numbers)}"


def _problem(refusal: Refusal, request_id: str) -> Answer:
    return Answer(refusal.body(request_id), refusal.status, PROBLEM, refusal.headers)

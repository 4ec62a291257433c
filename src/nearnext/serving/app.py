"""The ASGI application: a framework that routes, and what is done for every request whatever its path."""

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from nearnext.serving.background import settle_memory
from nearnext.serving.endpoints import Endpoints
from nearnext.serving.messages import PROBLEM, HTTPError, problem
from nearnext.serving.operations import Operation, Resource, as_answer, operations, send_answer
from nearnext.serving.service import Service

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

PARENT_WATCH = 0.5
"""Seconds between two looks whether the process that started this one still lives."""

NOWHERE = "(unknown)"
"""The route of requests for paths that do not exist: logs and metrics never hold paths, which hold ids."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"))

PROBES = frozenset(("/healthz", "/readyz"))
"""Paths that are asked by address: the name of the host says nothing."""

VARY = (b"vary", b"Origin")
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))

log = logging.getLogger(__name__)


def application(service: Service, ready: Callable[[], None] = lambda: None, parent: int | None = None) -> Starlette:
    """The application of one worker."""
    endpoints = Endpoints(service)
    paths: dict[str, list[Operation]] = {}
    for one in operations(Endpoints):
        paths.setdefault(one.path, []).append(one)
    routes = [Route(path, Resource(path, known, endpoints, service)) for path, known in paths.items()]
    links = {one.path for one in operations(Endpoints) if one.public}
    middleware = [Middleware(Exchange, service=service, links=links)]
    if origins := service.settings.origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=("authorization", "content-type", "x-api-key", "x-request-id"),
            expose_headers=("x-request-id",),
        )
        middleware.append(cors)

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncGenerator[None]:
        await service.start()
        settle_memory()
        watch = asyncio.create_task(_outlived_by(parent)) if parent is not None else None
        log.info("requests are answered by model %s", service.model.version)
        ready()
        yield
        if watch:
            watch.cancel()
        await service.stop()

    made = Starlette(
        routes=routes, middleware=middleware, exception_handlers={HTTPException: _no_such_path}, lifespan=life
    )
    made.router.redirect_slashes = False
    return made


async def _outlived_by(parent: int) -> None:
    """Stop once the parent is gone: nothing else would restart or end this process."""
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_WATCH)
    log.error("the process that started this worker is gone; the worker stops")
    os._exit(1)


async def _no_such_path(request: Request, _error: Exception) -> Response:
    error = HTTPError(404, "there is nothing at this path; /docs lists what there is")
    return Response(problem(error, request.scope["request_id"]), 404, media_type=PROBLEM.decode())


class Exchange:
    """Around each request: its id, origin and host, the headers that all answers have, log and metrics."""

    def __init__(self, app: ASGIApp, service: Service, links: set[str]) -> None:
        self._app, self._service, self._links = app, service, links
        self._cors = bool(service.settings.origins)
        self._bits = Random(secrets.randbits(256)).getrandbits  # noqa: S311 - ids are no secrets, and cost no system call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        headers = scope["header"] = dict[bytes, bytes](scope["headers"])
        given = headers.get(b"x-request-id")
        request_id = given.decode() if given and REQUEST_ID.fullmatch(given) else f"{self._bits(64):016x}"
        scope["request_id"] = request_id
        scope["path"] = scope["raw_path"].decode()  # ids are separated before they are decoded: they may hold a slash
        common = ((b"x-request-id", request_id.encode()), *HEADERS)
        status = 500

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = [*message["headers"], *common]
                message["headers"] = sent if self._cors and any(name == b"vary" for name, _ in sent) else [*sent, VARY]
            await send(message)

        try:
            if scope["path"] not in PROBES:
                self._service.access.check(headers, navigation=scope["path"] in self._links)
            await self._app(scope, receive, answer)
        except HTTPError as error:
            await send_answer(as_answer(error, scope), answer)
        finally:
            scope["state"]["connection"].answered()
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._service.note(request_id, method, scope.get("route", NOWHERE), status, time.perf_counter() - begin)

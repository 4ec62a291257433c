"""A process that answers requests until a signal ends it, and its ASGI application: routing, CORS, start and end."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import ceil
from multiprocessing.process import BaseProcess
from typing import Any

import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from nearnext.serving.connection import Connection
from nearnext.serving.endpoints import Endpoints
from nearnext.serving.logs import log_config
from nearnext.serving.operations import Operation, Resource, operations, refuse
from nearnext.serving.problems import HTTPError
from nearnext.serving.service import Service, settle_memory
from nearnext.serving.settings import BACKLOG, NEVER_STARTED

PARENT_WATCH = 0.5
"""Seconds between two looks whether the process that started this one still lives."""

PROBES = frozenset(("/healthz", "/readyz"))
"""Paths of health checks, which use addresses: their Host header is not checked."""

log = logging.getLogger(__name__)


def application(
    service: Service, ready: Callable[[], None] = lambda: None, parent: BaseProcess | None = None
) -> ASGIApp:
    """The application of one worker; it calls ``ready`` once it serves, and stops when its parent process ends."""

    @asynccontextmanager
    async def life(_app: object) -> AsyncGenerator[None]:
        await service.start()
        settle_memory()
        watch = asyncio.create_task(_outlived_by(parent)) if parent is not None else None
        log.info("requests are answered by model %s", service.model.version)
        ready()
        yield
        if watch:
            watch.cancel()
        await service.stop()

    known, paths = operations(Endpoints), dict[str, list[Operation]]()
    for one in known:
        paths.setdefault(one.path, []).append(one)
    endpoints, links = Endpoints(service), {one.path for one in known if one.public}
    routes = [Route(path, Resource(path, methods, endpoints, service)) for path, methods in paths.items()]
    routed: ASGIApp = Router(routes, redirect_slashes=False, default=_no_such_path, lifespan=life)
    if origins := service.settings.origins:
        routed = CORSMiddleware(
            routed,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=("authorization", "content-type", "x-api-key", "x-request-id"),
            expose_headers=("x-request-id",),
        )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PROBES:
            try:
                service.access.check(scope["header"], navigation=scope["path"] in links)
            except HTTPError as error:
                await refuse(error, scope, send)
                return
        await routed(scope, receive, send)

    return guarded


async def _outlived_by(parent: BaseProcess) -> None:
    """Stop once the parent has ended: no other process would restart or stop this one."""
    while parent.is_alive():
        await asyncio.sleep(PARENT_WATCH)
    log.error("the process that started this worker is gone; the worker stops")
    os._exit(1)


async def _no_such_path(scope: Scope, _receive: Receive, send: Send) -> None:
    await refuse(HTTPError(404, "unknown path; /docs lists the known ones"), scope, send)


def run(
    service: Service, listening: socket.socket, ready: Callable[[], None], parent: BaseProcess | None = None
) -> None:
    """Serve with one process until a signal ends it; see `application`."""
    settings = service.settings
    signal.signal(signal.SIGTERM, _end)
    http: Any = partial(Connection, service)
    config = uvicorn.Config(
        application(service, ready, parent),
        http=http,
        loop="uvloop",
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        timeout_graceful_shutdown=ceil(settings.shutdown_timeout),
        log_config=log_config(),
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    if not server.started:
        sys.exit(NEVER_STARTED)


def _end(_signal: int, _frame: object) -> None:
    """Exit with status 0: uvicorn raises the signal again after its shutdown."""
    sys.exit(0)

"""A process that answers requests until a signal ends it."""

import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from math import ceil
from multiprocessing.process import BaseProcess
from typing import Any

import uvicorn

from nearnext.serving.app import application
from nearnext.serving.connection import Connection
from nearnext.serving.logs import log_config
from nearnext.serving.service import Service
from nearnext.serving.workers import NEVER_STARTED


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
    """End as one should: the server raises the signal that ended it once more when all is done."""
    sys.exit(0)

"""The server: one socket, one or more worker processes, an orderly end.

What answers requests is imported where it is used: the process that only starts others does without it.
"""

import logging
import logging.config
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import connection, parent_process

from nearnext.errors import ConfigError, NearnextError
from nearnext.progress import show_progress
from nearnext.serving.logs import log_config
from nearnext.serving.metrics import MULTIPROCESS
from nearnext.serving.settings import ServiceSettings
from nearnext.serving.workers import NEVER_STARTED, run_workers

BACKLOG = 4096

log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        listening = socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # create_server repeats the address there
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}; choose another with --host and --port") from error
    listening.set_inheritable(True)
    return listening


def serve(settings: ServiceSettings, announce: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in progress are answered before it ends."""
    logging.config.dictConfig(log_config())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can be followed: it would end the process
    show_progress(enabled=False)  # progress goes to stderr, and blocks if nothing reads it
    log.info("loading %s; the first start compiles kernels, up to half a minute", settings.artifact)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # as many connections as the system allows
    if settings.workers == 1:
        from nearnext.serving.service import Service
        from nearnext.serving.worker import run

        service = Service(settings)
        with listen(settings.host, settings.port) as listening:
            run(service, listening, lambda: announce(_url(listening)))
    else:
        with listen(settings.host, settings.port) as listening, tempfile.TemporaryDirectory() as metrics:
            os.environ[MULTIPROCESS] = metrics
            run_workers(_work, settings, listening, lambda: announce(_url(listening)))


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _work(settings: ServiceSettings, listening: socket.socket, started: connection.Connection) -> None:
    """The life of one of several workers."""
    from nearnext.serving.service import Service
    from nearnext.serving.worker import run

    logging.config.dictConfig(log_config())

    def ready() -> None:
        started.send("")
        started.close()

    try:
        run(Service(settings), listening, ready, parent_process())
    except NearnextError as error:
        if started.closed:  # it answered for a while
            log.error("%s", error)
            sys.exit(1)
        started.send(str(error))
        sys.exit(NEVER_STARTED)
    except KeyboardInterrupt:
        sys.exit(0)  # Ctrl-C reaches all processes; the first one says so

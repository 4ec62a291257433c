"""The server: one socket, one or more worker processes, restarted when they die, and a graceful stop.

What answers requests is imported where it is used: the process that only starts others does without it. Workers are
forked from a process that has only imported their modules: they share these, and start sooner.
"""

import logging
import logging.config
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from nearnext.errors import ConfigError, NearnextError
from nearnext.progress import show_progress
from nearnext.serving.logs import log_config
from nearnext.serving.metrics import MULTIPROCESS
from nearnext.serving.settings import BACKLOG, NEVER_STARTED, ServiceSettings

PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker that died is restarted, doubled each time that it fails to start."""

GRACE = 5.0
"""Seconds that a worker has at the end, beyond those of its requests, before it is killed."""

LOOK = 0.05
"""Seconds between two checks of signals and workers."""

log = logging.getLogger(__name__)

Work = Callable[[ServiceSettings, socket.socket, Connection], None]


@dataclass
class _Worker:
    """A process, the pipe in which it reports its start, and when it is replaced."""

    process: ForkServerProcess
    said: Connection
    pause: float
    due: float | None = None
    _started: str | None = None

    def started(self) -> str | None:
        """An empty text once it answers, or why it cannot start; None before that, or if it died without a reason."""
        if self._started is None and self.said.poll():
            with suppress(EOFError):
                self._started = self.said.recv()
        return self._started

    @property
    def answers(self) -> bool:
        """Whether it said that it answers, and lives."""
        return self.started() == "" and self.process.is_alive()


class _Workers:
    def __init__(self, work: Work, settings: ServiceSettings, listening: socket.socket) -> None:
        self._work, self._settings, self._listening = work, settings, listening
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["nearnext.serving.preloaded"])
        self._running = [self._started(PAUSE) for _ in range(settings.workers)]

    @property
    def answer(self) -> bool:
        """Whether all of them answer."""
        return all(worker.answers for worker in self._running)

    def replace_dead(self, *, first: bool) -> None:
        """Restart workers that died, after a pause; an error if one of the first fails to start."""
        for place, worker in enumerate(self._running):
            process = worker.process
            if process.is_alive():
                continue
            if first and (reason := worker.started()):
                raise NearnextError(reason)
            if first and process.exitcode == NEVER_STARTED:
                raise ConfigError("a worker could not start; the log above says why")
            if worker.due is None:
                log.error("worker %s died (status %s); another takes its place", process.pid, process.exitcode)
                if reason := worker.started():
                    log.error("it cannot start: %s", reason)
                worker.pause = PAUSE if reason == "" else worker.pause
                worker.due = time.monotonic() + worker.pause
            elif worker.due <= time.monotonic():
                self._running[place] = self._started(min(2 * worker.pause, LONGEST_PAUSE))

    def reopen(self) -> None:
        """Pass SIGHUP on to workers that answer; others read all files when they start."""
        for worker in self._running:
            if worker.process.pid is not None and worker.answers:
                os.kill(worker.process.pid, signal.SIGHUP)

    def end(self) -> None:
        """Stop all workers; those that take too long are killed."""
        processes = [worker.process for worker in self._running]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + self._settings.shutdown_timeout + GRACE
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                log.error("worker %s does not end; it is killed", process.pid)
                process.kill()
                process.join()

    def _started(self, pause: float) -> _Worker:
        said, sender = self._context.Pipe(duplex=False)
        arguments = (self._settings, self._listening, sender)
        process = self._context.Process(target=self._work, args=arguments, name="nearnext worker")
        process.start()
        sender.close()
        return _Worker(process, said, pause)


def run_workers(work: Work, settings: ServiceSettings, listening: socket.socket, announce: Callable[[], None]) -> None:
    """Keep worker processes running until SIGTERM or SIGINT; each stops when this process is gone.

    SIGHUP is passed on to them. ``announce`` is called when all of them answer.
    """
    asked, announced = list[int](), False
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in handled}
    workers = _Workers(work, settings, listening)
    try:
        while not set(asked) - {signal.SIGHUP}:
            while signal.SIGHUP in asked:
                asked.remove(signal.SIGHUP)
                workers.reopen()
            if not announced and workers.answer:
                announce()
                announced = True
            workers.replace_dead(first=not announced)
            time.sleep(LOOK)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        workers.end()


@contextmanager
def bound_socket(host: str, port: int) -> Generator[socket.socket]:
    """A socket with its address; it takes connections after `listen`, and refuses them before."""
    with ExitStack() as stack:
        with _cannot_listen(f"{host}:{port}"):
            family, kind, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = stack.enter_context(socket.socket(family, kind))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and socket.has_dualstack_ipv6():
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            bound.bind(address)
        bound.set_inheritable(True)
        yield bound


def listen(bound: socket.socket) -> None:
    """Take connections."""
    with _cannot_listen(_url(bound)):  # another process may have begun since
        bound.listen(BACKLOG)


@contextmanager
def _cannot_listen(where: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {error.strerror}; choose another --host or --port") from error


def serve(settings: ServiceSettings, announce: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in progress are answered before it ends."""
    logging.config.dictConfig(log_config())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can be followed: it would end the process
    show_progress(enabled=False)  # progress goes to stderr, and blocks if nothing reads it
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # as many connections as the system allows
    with bound_socket(settings.host, settings.port) as bound:
        log.info("loading %s; the first start compiles kernels, up to half a minute", settings.artifact)
        if settings.workers == 1:
            from nearnext.serving.service import Service
            from nearnext.serving.worker import run

            service = Service(settings)
            listen(bound)
            run(service, bound, lambda: announce(_url(bound)))
        else:
            listen(bound)
            with tempfile.TemporaryDirectory() as metrics:
                os.environ[MULTIPROCESS] = metrics
                run_workers(_work, settings, bound, lambda: announce(_url(bound)))


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

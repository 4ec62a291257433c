"""Several processes behind one socket: started, started again when they die, and ended together."""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from nearnext.errors import ConfigError
from nearnext.serving.settings import ServiceSettings

NEVER_STARTED = 3
"""Exit status of a worker that could not start."""

PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker that died is started again, twice as long after each time that it did not come to answer."""

GRACE = 5.0
"""Seconds that a worker has at the end, beyond those of its requests, before it is killed."""

log = logging.getLogger(__name__)

Work = Callable[[ServiceSettings, socket.socket, int, Connection], None]


@dataclass
class _Worker:
    """A process, what it says once it answers, and when another one takes its place."""

    process: SpawnProcess
    starting: Connection | None
    pause: float
    due: float | None = None

    def look(self) -> bool:
        """Whether it has come to answer, or ended before."""
        if self.starting is not None and self.starting.poll():
            with suppress(EOFError):
                self.starting.recv()
                self.pause = PAUSE
            self.starting.close()
            self.starting = None
        return self.starting is None


class _Workers:
    def __init__(self, work: Work, settings: ServiceSettings, listening: socket.socket) -> None:
        self._work, self._settings, self._listening = work, settings, listening
        self._spawn = multiprocessing.get_context("spawn")
        self._running = [self._started(PAUSE) for _ in range(settings.workers)]

    def wait(self, signals: int) -> bool:
        """Wait until a signal comes (then True), a worker answers or dies, or a dead one is to be replaced."""
        objects: list[int | Connection] = [signals]
        objects += [worker.starting for worker in self._running if worker.starting is not None]
        objects += [worker.process.sentinel for worker in self._running if worker.due is None]
        due = [worker.due for worker in self._running if worker.due is not None]
        return signals in wait(objects, max(0.0, min(due) - time.monotonic()) if due else None)

    def answer(self) -> bool:
        """Whether all of them answer."""
        return sum(worker.look() and worker.process.is_alive() for worker in self._running) == len(self._running)

    def replace_dead(self, *, first: bool) -> None:
        """Replace those that died, after a pause; one of the first ones must not fail to start."""
        for place, worker in enumerate(self._running):
            process = worker.process
            if process.is_alive():
                continue
            if first and process.exitcode == NEVER_STARTED:
                raise ConfigError("a worker could not start; the log above says why")
            if worker.due is None:
                log.error("worker %s died (status %s); another takes its place", process.pid, process.exitcode)
                worker.due = time.monotonic() + worker.pause
            elif worker.due <= time.monotonic():
                self._running[place] = self._started(min(2 * worker.pause, LONGEST_PAUSE))

    def reopen(self) -> None:
        """Pass SIGHUP on."""
        for worker in self._running:
            if worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, signal.SIGHUP)

    def end(self) -> None:
        """End all of them, killed where they take too long."""
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
        receiver, sender = self._spawn.Pipe(duplex=False)
        arguments = (self._settings, self._listening, os.getpid(), sender)
        process = self._spawn.Process(target=self._work, args=arguments, name="nearnext worker")
        process.start()
        sender.close()
        return _Worker(process, receiver, pause)


def run_workers(work: Work, settings: ServiceSettings, listening: socket.socket, announce: Callable[[], None]) -> None:
    """Keep worker processes running until SIGTERM or SIGINT; each stops when this process is gone.

    SIGHUP is passed on to them.
    """
    signals, signalled = os.pipe()

    def note(number: int, _frame: object) -> None:
        os.write(signalled, bytes([number]))

    handlers = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    workers = _Workers(work, settings, listening)
    announced = False
    try:
        while True:
            if workers.wait(signals):
                if os.read(signals, 1)[0] != signal.SIGHUP:
                    return
                workers.reopen()
            if workers.answer() and not announced:
                announce()
                announced = True
            workers.replace_dead(first=not announced)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        workers.end()
        os.close(signals)
        os.close(signalled)

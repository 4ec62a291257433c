"""Several processes behind one socket: started, started again when they die, and ended together."""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from nearnext.errors import ConfigError
from nearnext.serving.settings import ServiceSettings

__all__ = ["NEVER_STARTED", "run_workers"]

NEVER_STARTED = 3
"""Exit status of a worker that could not start: another one could not either."""

PAUSE = 0.5
"""Seconds before a worker that died is started again."""

GRACE = 5.0
"""Seconds that a worker has at the end, beyond those of its requests, before it is killed."""

log = logging.getLogger(__name__)

Work = Callable[[ServiceSettings, socket.socket, int, Connection], None]


def run_workers(work: Work, settings: ServiceSettings, listening: socket.socket, announce: Callable[[], None]) -> None:
    """Keep worker processes running until SIGTERM or SIGINT; each stops when this process is gone.

    Args:
        work: what a worker does, with the settings, the socket, this process's id, and a connection to which it sends
            something once it answers.
        settings: what to serve; how many workers, and how long they have at the end.
        listening: where all of them take connections.
        announce: called once all of them answer.

    Raises:
        ConfigError: a worker could not start.
    """
    told, tell = os.pipe()

    def end(_signal: int, _frame: object) -> None:
        os.write(tell, b".")

    handlers = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    spawn = multiprocessing.get_context("spawn")

    starting: dict[int, Connection | None] = {}

    def start(place: int) -> SpawnProcess:
        starting[place], sender = spawn.Pipe(duplex=False)
        arguments = (settings, listening, os.getpid(), sender)
        process = spawn.Process(target=work, args=arguments, name="nearnext worker")
        process.start()
        sender.close()
        return process

    workers = [start(place) for place in range(settings.workers)]
    announced = False
    try:
        while told not in wait([told, *filter(None, starting.values()), *(worker.sentinel for worker in workers)]):
            _hear(starting)
            if not (starting or announced):
                announce()
                announced = True
            for place, worker in enumerate(workers):
                if worker.is_alive():
                    continue
                if worker.exitcode == NEVER_STARTED:
                    raise ConfigError("a worker could not start; the log above says why")
                log.error("worker %s died (status %s); another takes its place", worker.pid, worker.exitcode)
                time.sleep(PAUSE)
                workers[place] = start(place)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _end(workers, settings.shutdown_timeout + GRACE)
        os.close(told)
        os.close(tell)


def _hear(starting: dict[int, Connection | None]) -> None:
    """Leave out the workers that answer by now; one that died is awaited until another has taken its place."""
    for place, receiver in list(starting.items()):
        if receiver is None or not receiver.poll():
            continue
        try:
            receiver.recv()
            del starting[place]
        except EOFError:
            starting[place] = None
        receiver.close()


def _end(workers: list[SpawnProcess], seconds: float) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            log.error("worker %s does not end; it is killed", worker.pid)
            worker.kill()
            worker.join()

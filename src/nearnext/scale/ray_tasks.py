"""An executor of Ray tasks: the functions that `Processes` maps, on a Ray cluster."""

import os
import shutil
import signal
import socket
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from nearnext.errors import ConfigError, NearnextError
from nearnext.extras import missing
from nearnext.processes import called, in_order

A = TypeVar("A")
R = TypeVar("R")

STORE_BYTES = 1 << 30
"""Memory, at most, in which a cluster made for one command keeps arguments and results."""

WAIT = 5.0
"""Seconds to wait for the head of a cluster to answer."""

HTTP2, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), b"\4"
"""How a client of gRPC begins, and the type of the frame with which the head of a cluster answers."""

RETRIES = 3
"""How often a task is run again whose worker died."""


class DiedError(NearnextError):
    """The worker of a task died, or the machine that had its result."""


@dataclass(frozen=True)
class RayTasks:
    """An executor of tasks on the cluster that this process is connected to, each on one processor.

    A task whose worker dies is run again, up to `RETRIES` times, each with a ``RuntimeWarning``. Functions, arguments
    and results are pickled; modules that they refer to, and files that they name, must be there on every machine.
    """

    ray: Any  # the module
    workers: int
    remote = True

    def map(self, function: Callable[[A], R], arguments: Iterable[A], *, ahead: int = 1) -> Iterator[R]:
        """See `Executor`.

        Raises:
            NearnextError: a task failed outside of its function: workers die on it, or lack a module that it needs.
        """
        task = self.ray.remote(num_cpus=1, max_retries=0)(_call)  # Ray would run it again without a word
        shared = [self.ray.put(function)]  # in a list, a reference arrives as it is

        def submit(argument: A) -> tuple[A, Any]:
            return argument, task.remote(shared, argument)

        def result(submitted: tuple[A, Any]) -> R:
            argument, reference = submitted
            for tries in range(1, RETRIES + 1):
                try:
                    return self.result(reference)
                except DiedError:
                    again = f"a worker died; its part is run again, {tries} of {RETRIES} times at most"
                    warnings.warn(again, RuntimeWarning, stacklevel=2)
                    _, reference = submit(argument)
            return self.result(reference)

        yield from in_order(submit, result, arguments, self.workers + ahead)

    def result(self, reference: Any) -> Any:
        """The result of a task; raises the task's own error, or what `map` raises."""
        failures = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except failures.RayTaskError as error:
            if not isinstance(error.cause, failures.RayError):
                raise error.cause from error
            failed = error.cause
        except failures.RayError as error:
            failed = error
        reason = str(failed).splitlines()[0].removeprefix("System error: ")
        lost = failures.NodeDiedError, failures.ObjectLostError
        if died := isinstance(failed, (failures.OutOfMemoryError, failures.WorkerCrashedError, *lost)):
            reason = "workers died on one part again and again, perhaps for lack of memory; use fewer, or more memory"
        raise (DiedError if died else NearnextError)(f"the Ray cluster cannot go on: {reason}") from failed


@contextmanager
def ray_tasks(address: str | None = None, workers: int | None = None) -> Generator[RayTasks]:
    """Connect to a Ray cluster while the executor is used.

    Args:
        address: of the cluster's head, as ``10.0.0.5:6379``; None: a cluster of this machine that ends with the block.
        workers: tasks at the same time; by default one for each processor of the cluster.

    Raises:
        ConfigError: nothing answers at the address, or another program.
        MissingPackageError: Ray is not installed.
    """
    require_cluster(address)
    # Ray prints the death of a worker to standard output, where results go.
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}.items():
        os.environ.setdefault(name, value)
    ray: Any = import_module("ray")
    own = {"num_cpus": workers, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    options = {**({} if address else own), "log_to_driver": False, "logging_level": "ERROR"}
    # In the main thread, Ray would take SIGTERM, and Ctrl-C would stop it halfway: what it has started by then would
    # stay, or this process crash at its end. Ray's processes end with the thread that starts them.
    with ThreadPoolExecutor(1) as starter:
        starter.submit(int).result()  # Ctrl-C while its only thread starts would leave room for another one
        try:
            session = Path(_started(starter, ray, address, options)["session_dir"])
            yield RayTasks(ray, workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
        finally:
            starter.submit(ray.shutdown).result()  # after the start, also if that was interrupted
        if not address:
            shutil.rmtree(session, ignore_errors=True)  # logs, which stay after an error or Ctrl-C


def _started(starter: ThreadPoolExecutor, ray: Any, address: str | None, options: dict[str, Any]) -> dict[str, str]:
    """Start a cluster, or connect to one, in a thread; returns its facts."""
    try:
        facts: dict[str, str] = starter.submit(ray.init, address or "local", **options).result().address_info
    except (ConnectionError, RuntimeError, ValueError) as error:
        place = f"at {address}" if address else "on this machine"
        raise ConfigError(f"no Ray cluster could be used {place}: {str(error).splitlines()[0]}") from error
    with suppress(ValueError, TypeError):  # another thread than the main one, or a handler that is not Python's
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # Ray's library prints its stack before
    return facts


def require_cluster(address: str | None) -> None:
    """A check that Ray is installed, and that what answers at the address, if one is given, may be a cluster's head.

    Raises:
        ConfigError: nothing answers, or a program without gRPC.
        MissingPackageError: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise missing("the engine ray", ["ray"], "ray")
    if address is None:
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not host or "/" in host:
        raise ConfigError(f"expected HOST:PORT of a Ray cluster's head, e.g. 10.0.0.5:6379; found {address}")
    try:
        with socket.create_connection((host, int(port)), timeout=WAIT) as head:
            head.sendall(HTTP2)
            answer = head.recv(9)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"nothing answers at {address} ({error}); start the cluster's head with: ray start --head --port {port}"
        ) from error
    if answer[3:4] != SETTINGS:  # Ray would try again without end
        raise ConfigError(
            f"expected the head of a Ray cluster at {address}, found another program; name the port that "
            "'ray start --head' prints, 6379 by default"
        )


def _call(shared: list[Any], argument: Any) -> Any:
    return called(_fetched(shared[0]), argument)


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Any:
    """The function, once for each worker process and call of `map`."""
    import ray

    return ray.get(reference)

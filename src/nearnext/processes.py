"""Independent parts in processes and threads, with results in the order of the arguments; and processes of torchrun."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol, TypeVar

from nearnext.atomic import c_function
from nearnext.errors import ConfigError, NearnextError
from nearnext.own_parts import keep_place

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of options in malloc.h: free bytes that are kept, and the size from which an array has memory of its own."""


def trim_memory() -> None:
    """Give what this process has freed back to the system, where the C library can."""
    if trim := c_function("malloc_trim"):  # of glibc
        trim(0)


def reuse_memory() -> None:
    """Let this process keep up to 64 MiB that it frees, where the C library can.

    Arrays of 1 MiB are otherwise given back to the system at the end of a step of training, and cleared for the next.
    """
    if set_option := c_function("mallopt"):  # of glibc; to the values that it takes once 32 MiB have been freed
        set_option(M_MMAP_THRESHOLD, 2**25)
        set_option(M_TRIM_THRESHOLD, 2**26)


def usable_cores() -> int:
    """Number of cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Executor(Protocol):
    """Maps a function over arguments, on this machine or on others.

    Results are the same, in the same order, whatever the executor and its number of workers.
    """

    @property
    def workers(self) -> int:
        """Arguments that are worked on at the same time."""
        ...

    @property
    def remote(self) -> bool:
        """Whether workers may be on machines that do not see the temporary files of this one."""
        ...

    def map(self, function: Callable[[A], R], arguments: Iterable[A], *, ahead: int = 1) -> Iterator[R]:
        """The function of each argument, in order.

        The next argument is taken when fewer than ``workers`` + ``ahead`` results are awaited, so that memory stays
        bounded. With ``ahead`` 0, argument n is taken after result n - ``workers``, and may depend on it.
        """
        ...


@dataclass(frozen=True)
class Processes:
    """An executor of spawned processes on this machine; with one worker, this process itself.

    More than one: function, arguments and results are pickled. Workers end with this process, however that ends, and
    with the first error; they ignore Ctrl-C, which is for this process to handle.

    >>> list(Processes().map(len, ["ab", "c"]))
    [2, 1]
    """

    workers: int = 1
    remote = False

    def map(self, function: Callable[[A], R], arguments: Iterable[A], *, ahead: int = 1) -> Iterator[R]:
        """See `Executor`; one worker takes nothing in advance.

        Raises:
            NearnextError: a process died.
        """
        if self.workers == 1:
            yield from map(function, arguments)
            return
        with _spawned(self.workers, self.workers) as submit:
            yield from in_order(partial(submit, function), Future[R].result, arguments, self.workers + ahead)

    @contextmanager
    def kept(self) -> "Generator[Executor]":
        """An executor of as many processes, this one among them, that are kept from one `map` of the block to the next.

        Raises:
            NearnextError: a process died.
        """
        if self.workers == 1:
            yield self
            return
        with _spawned(self.workers - 1, self.workers) as submit:
            yield _Team(self.workers, submit)


@contextmanager
def _spawned(n: int, workers: int) -> Generator[Callable[[Callable[[Any], Any], Any], Future[Any]]]:
    """Start n processes; yields a function that submits a call to them. ``workers``: how many an error speaks of."""
    try:
        with ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn"), initializer=_begin) as pool:

            def submit(function: Callable[[A], R], argument: A) -> Future[R]:
                before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # new workers inherit it
                try:
                    return pool.submit(partial(called, function), argument)
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)

            try:
                yield submit
            except BaseException:
                # Else the pool would wait for their work; a public way is in Python 3.14 and later.
                for process in list((pool._processes or {}).values()):  # pyright: ignore
                    process.terminate()
                raise
    except BrokenProcessPool as error:
        raise NearnextError(
            f"one of {workers} worker processes died, perhaps for lack of memory; use fewer of them, or 1"
        ) from error


AWAITED = 4
"""Results for each worker of a team, at most, that are awaited at the same time."""


class _Team(NamedTuple):
    """This process and other workers; it makes a call itself once two for each of the others are unfinished."""

    workers: int
    submit: Callable[[Callable[[Any], Any], Any], Future[Any]]
    remote = False

    def map(self, function: Callable[[A], R], arguments: Iterable[A], *, ahead: int = AWAITED) -> Iterator[R]:
        """See `Executor`; ``ahead`` is for each worker."""
        waiting = deque[Future[R]]()
        for argument in arguments:
            if sum(not one.done() for one in waiting) < 2 * (self.workers - 1):
                waiting.append(self.submit(function, argument))
            else:
                waiting.append(_made(function, argument))
            while waiting and (waiting[0].done() or len(waiting) >= self.workers * ahead):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _made(function: Callable[[A], R], argument: A) -> Future[R]:
    """Call the function in this process; a finished future with its result or error."""
    future = Future[R]()
    try:
        future.set_result(function(argument))
    except Exception as error:
        future.set_exception(error)
    return future


ONE_PROCESS = Processes()
"""Everything in this process."""


def in_order(submit: Callable[[A], T], result: Callable[[T], R], arguments: Iterable[A], most: int) -> Iterator[R]:
    """Results of submitted tasks in the order of their arguments; ``most`` are awaited at the same time."""
    waiting = deque[T]()
    for argument in arguments:
        waiting.append(submit(argument))
        if len(waiting) == most:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


def called(function: Callable[[A], R], argument: A) -> R:
    """The function of an argument, in a worker; an error says where an own part raised it."""
    try:
        return function(argument)
    except Exception as error:
        keep_place(error)
        raise


def _begin() -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars starts its threads
    end_with_parent()


def end_with_parent() -> None:
    """End this worker once its parent has: a worker of a process that was killed would wait for work without end."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - only workers call it
    threading.Thread(target=_end_after, args=[parent], daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def in_threads(work: Callable[[Iterable[int]], None], begins: Sequence[int], threads: int | None = None) -> None:
    """Call ``work`` in n threads, by default one for each core; each takes the next number when it is free.

    After an error in any thread, or Ctrl-C, the remaining numbers are skipped; the error is raised.

    >>> squares = {}
    >>> in_threads(lambda some: squares.update({each: each**2 for each in some}), range(3))
    >>> sorted(squares.items())
    [(0, 0), (1, 1), (2, 4)]
    """
    workers = max(1, min(threads or usable_cores(), len(begins)))
    if workers == 1:
        work(begins)
        return
    left = deque(begins)

    def taken() -> Iterator[int]:
        while True:
            try:
                yield left.popleft()
            except IndexError:
                return

    with ThreadPoolExecutor(workers) as pool:
        try:
            futures = [pool.submit(work, taken()) for _ in range(workers)]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            left.clear()
    for done in futures:
        done.result()


ADDRESS, PORT = "MASTER_ADDR", "MASTER_PORT"
"""Variables that say where the processes meet."""


class Launched(NamedTuple):
    """A process among those that were started together."""

    rank: int  # its number, from 0
    size: int  # how many there are, at least 2


def launched() -> Launched | None:
    """This process among those that were started with it, by its environment; None: it is alone.

    Raises:
        ConfigError: the environment says how many there are, but not which one this is, or where they meet.
    """
    found = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", ADDRESS, PORT)}
    if found["WORLD_SIZE"] in ("", "1"):
        return None
    rank, size, port = (int(text) if text.isdecimal() else -1 for name, text in found.items() if name != ADDRESS)
    if not (0 <= rank < size and port > 0 and found[ADDRESS]):
        given = ", ".join(f"{name}={text or '(none)'}" for name, text in found.items())
        raise ConfigError(
            f"expected the number of this process, how many there are, and where they meet, found {given}; start them "
            "with torchrun, or unset WORLD_SIZE to train with one process"
        )
    return Launched(rank, size)

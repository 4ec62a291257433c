"""Work on several processes: results come in the order of the arguments, so that they do not depend on the number."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from nearnext.errors import NearnextError

A = TypeVar("A")
R = TypeVar("R")


def in_processes(function: Callable[[A], R], arguments: Iterable[A], workers: int) -> Iterator[R]:
    """The function of each argument, in order; of a few arguments at a time, so that memory stays bounded.

    With one worker it is computed here. More are spawned: function, arguments and results are pickled.
    """
    if workers == 1:
        yield from map(function, arguments)
        return
    waiting = deque[Future[R]]()
    spawned = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=spawned, initializer=_on_one_thread) as pool:
            for argument in arguments:
                waiting.append(pool.submit(function, argument))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise NearnextError(
            f"one of {workers} worker processes died, perhaps for lack of memory; use fewer of them, or 1"
        ) from error


def _on_one_thread() -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars starts its threads

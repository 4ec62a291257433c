"""Work in several threads: compiled code and torch compute without Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait


def in_threads(work: Callable[[Iterable[int]], None], begins: Sequence[int], threads: int | None = None) -> None:
    """Call ``work`` in n threads, by default one for each core; each takes the next number when it is free.

    After an error in any thread, or Ctrl-C, the remaining numbers are skipped; the error is raised.

    >>> squares = {}
    >>> in_threads(lambda some: squares.update({each: each**2 for each in some}), range(3))
    >>> sorted(squares.items())
    [(0, 0), (1, 1), (2, 4)]
    """
    workers = max(1, min(threads or os.cpu_count() or 1, len(begins)))
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

"""Work in several threads: compiled code and torch compute without Python's lock."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


def in_threads(work: Callable[[Sequence[int]], None], begins: Sequence[int], threads: int | None = None) -> None:
    """Call ``work`` with every n-th of the numbers in each of n threads, by default one for each core.

    >>> squares = {}
    >>> in_threads(lambda some: squares.update({each: each**2 for each in some}), range(3))
    >>> sorted(squares.items())
    [(0, 0), (1, 1), (2, 4)]
    """
    workers = max(1, min(threads or os.cpu_count() or 1, len(begins)))
    if workers == 1:
        work(begins)
        return
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, begins[worker::workers]) for worker in range(workers)]:
            done.result()

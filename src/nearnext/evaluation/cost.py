"""What a step costs: seconds by the clock, and the most memory the process held meanwhile."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

__all__ = ["Cost", "measured"]

INTERVAL = 0.02
"""Seconds between two looks at the memory."""


@dataclass
class Cost:
    """Filled in when the measured step ends.

    Attributes:
        seconds: wall-clock time.
        peak_rss_mb: largest resident memory of this process that was seen, in MB of 10⁶ bytes.
    """

    seconds: float = 0.0
    peak_rss_mb: float = 0.0


@contextmanager
def measured() -> Generator[Cost]:
    """Measures the enclosed step, memory every 20 ms."""
    cost = Cost()
    process = psutil.Process()
    ended = threading.Event()

    def watch() -> None:
        while True:
            cost.peak_rss_mb = max(cost.peak_rss_mb, process.memory_info().rss / 1e6)
            if ended.wait(INTERVAL):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    begin = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - begin
        ended.set()
        watcher.join()

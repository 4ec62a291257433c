"""An executor in this process that takes arguments as one of several workers does."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from nearnext.processes import in_order


@dataclass(frozen=True)
class SideBySide:
    """Several results are awaited at the same time; each is made when its turn comes."""

    workers: int
    remote = False

    def map(self, function: Callable[[Any], Any], arguments: Iterable[Any], *, ahead: int = 1) -> Iterator[Any]:
        """See `nearnext.processes.Executor`."""
        return in_order(partial(partial, function), partial.__call__, arguments, self.workers + ahead)

"""What survives a fork: the threads of polars do not, so that a forked process must not wait for them.

A process made by fork has one thread, and the memory of all. There polars would wait without end
for threads that are gone; `require_polars` raises instead. Without a thread of polars before the fork (that is, before
a log was read or a model loaded) there is nothing to lose, and the new process starts its own.
"""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from nearnext.errors import NearnextError

TASKS = Path("/proc/self/task")
"""The threads of this process, on Linux; elsewhere polars counts as started once it is imported."""

WORKER = re.compile(r"polars-\d+")
"""Names of the threads on which polars computes."""


@dataclass
class _Fork:
    """What is known of the fork that made this process, if one did."""

    threads: bool = False
    lost: bool = False

    def before(self) -> None:
        self.threads = "polars" in sys.modules and (
            not TASKS.is_dir() or any(WORKER.match(_name(task)) for task in TASKS.iterdir())
        )

    def in_child(self) -> None:
        self.lost = self.lost or self.threads


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # it has ended meanwhile
        return ""


_fork = _Fork()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_fork.before, after_in_child=_fork.in_child)


def polars_is_lost() -> bool:
    """Whether this process was forked from one in which polars had started its threads."""
    return _fork.lost


def require_polars(what: str) -> None:
    """A check that polars can be used in this process."""
    if polars_is_lost():
        raise NearnextError(
            f"{what} is not possible in a forked process whose parent has read a log or loaded a model: the threads of "
            "polars do not survive a fork; do it before the fork, or start processes by 'spawn' or 'forkserver', "
            "e.g. multiprocessing.get_context('spawn')"
        )

"""What goes wrong inside a worker: it is imported by the processes that tests start."""

import errno
import multiprocessing
import os
import resource
import signal
from typing import Any

from nearnext.experiments.result import Run
from nearnext.experiments.running import Fit, run_fit


def die(*_: object, **__: object) -> None:
    """A part whose process is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_a_worker(*_: object, **__: object) -> None:
    """A part whose process is killed, unless it is the first one."""
    if multiprocessing.parent_process() is not None:
        die()


def full(*_: object, **__: object) -> None:
    """A part that finds a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die_at_sr(fit: Fit, **arguments: Any) -> Run:
    """A comparison whose worker is killed while it measures one method."""
    if fit.name == "sr":
        die()
    return run_fit(fit, **arguments)


def full_at_sr(fit: Fit, **arguments: Any) -> Run:
    """A comparison in which one worker may write no more than a block."""
    if fit.name == "sr":
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return run_fit(fit, **arguments)

"""Training by this process and tasks of a Ray cluster, which share each step; a worker that dies is replaced."""

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from nearnext.errors import ConfigError, NearnextError
from nearnext.own_parts import find_own_parts
from nearnext.progress import show_progress
from nearnext.recommenders.trained import TrainedRecommender
from nearnext.scale.ray_tasks import RETRIES, RayTasks
from nearnext.training.group import ALONE, Group, GroupError, in_group, take_part
from nearnext.training.run import holds_checkpoint
from nearnext.training.workers import MEETING, ended_first, met

T = TypeVar("T")

WAIT = 30.0
"""Seconds that the cluster may take to say why a worker died."""


def fit_together(cluster: RayTasks, recommender: TrainedRecommender, fit: Callable[[], T]) -> T:
    """Call ``fit``, which fits the recommender, and return its result; cluster tasks share its trainings.

    If a worker dies, ``fit`` is called again, at most `RETRIES` times: it resumes from the last checkpoint of this fit
    if the recommender has a directory, else it starts over. Each time is a ``RuntimeWarning``.

    Args:
        cluster: its machines must reach this one, and ``cluster.workers`` processes share each step, this one among
            them.
        recommender: to be fitted; ``resume`` is set when the fit resumes.
        fit: fits it; it may be called several times.

    Returns:
        What ``fit`` returns.

    Raises:
        ConfigError: the cluster has too few free processors.
        NearnextError: workers still die after the last try, or one fails for another reason.
    """
    directory = Path(recommender.directory) if recommender.directory else None
    of_another_fit = directory is not None and holds_checkpoint(directory) and not recommender.resume
    tries = 0
    while True:
        try:
            with _workers(cluster) as group, in_group(group):
                return fit()
        except GroupError:
            if tries == RETRIES:
                raise
        tries += 1
        recommender.resume = directory is not None and holds_checkpoint(directory) and not of_another_fit
        how = "goes on from its last checkpoint" if recommender.resume else "starts over"
        warnings.warn(f"a worker died; the fit {how}, {tries} of {RETRIES} times at most", RuntimeWarning, stacklevel=2)


@contextmanager
def _workers(cluster: RayTasks) -> Generator[Group]:
    """A group of this process and tasks of the cluster, which end with the block."""
    n = cluster.workers
    if n == 1:
        yield ALONE
        return
    host = cluster.ray.util.get_node_ip_address()
    store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
    task = cluster.ray.remote(num_cpus=1, max_retries=0)(_take_part)
    tasks = [task.remote(host, store.port, rank, n) for rank in range(1, n)]
    try:
        _wait(cluster, store, tasks)
        with met(store, 0, n) as group, ended_first(partial(_cancel, cluster, tasks)):
            yield group
            with suppress(GroupError):  # where one ended, the others made what it had to
                group.from_first(None)  # there are no more trainings
    except GroupError:
        _raise_reason(cluster, tasks)
        raise


def _cancel(cluster: RayTasks, tasks: Sequence[Any]) -> None:
    for task in tasks:
        cluster.ray.cancel(task, force=True)


def _take_part(host: str, port: int, rank: int, n: int) -> None:
    """Join the group as a worker, and share its trainings until it ends."""
    find_own_parts()
    show_progress(False)
    store = TCPStore(host, port, is_master=False, timeout=MEETING)
    store.set(str(rank), "here")
    with met(store, rank, n) as group:
        take_part(group)


def _wait(cluster: RayTasks, store: TCPStore, tasks: Sequence[Any]) -> None:
    """Wait until all workers have started."""
    until = time.monotonic() + MEETING.total_seconds()
    while not store.check([str(rank) for rank in range(1, len(tasks) + 1)]):
        ended, _ = cluster.ray.wait(tasks, timeout=0.1)
        if ended:
            raise GroupError("a worker of the training ended before it began")
        if time.monotonic() > until:
            raise ConfigError(
                f"expected {len(tasks)} free processors of the Ray cluster within {MEETING}, "
                "found fewer; use fewer workers, or wait for other work to end"
            )


def _raise_reason(cluster: RayTasks, tasks: Sequence[Any]) -> None:
    """Raise the reason why a worker ended; `GroupError` if it died, so that the fit is tried again."""
    ended, _ = cluster.ray.wait(tasks, num_returns=len(tasks), timeout=WAIT)
    for task in ended:
        try:
            cluster.result(task)
        except GroupError:  # because another one ended
            continue
        except NearnextError as error:
            raise GroupError(str(error)) from error
        except Exception as error:
            raise NearnextError(f"a worker of the training failed: {type(error).__name__}: {error}") from error

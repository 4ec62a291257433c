"""The options --engine and --address: where the parts of a command run."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from nearnext.cli.app import takes
from nearnext.errors import ConfigError
from nearnext.extras import training_extra
from nearnext.options import require_known
from nearnext.processes import launched

if TYPE_CHECKING:
    from nearnext.processes import Executor
    from nearnext.recommenders.base import Recommender

T = TypeVar("T")

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """What runs the parts of a command: processes of this machine, or a Ray cluster."""

    name: str
    address: str | None
    workers: int | None

    @contextmanager
    def executor(self, default: int | None = None) -> "Generator[Executor]":
        """The executor; ``default`` local workers unless told, None: one for each processor."""
        if self.name == "local":
            from nearnext.processes import Processes

            yield Processes(self.workers or default or os.cpu_count() or 1)
            return
        from nearnext.scale.ray_tasks import ray_tasks

        with ray_tasks(self.address, self.workers) as executor:
            yield executor

    def fitted(self, recommender: "Recommender", fit: Callable[[], T]) -> T:
        """Run a fit and return its result; a cluster shares its trainings, local workers are an option of methods."""
        if self.name == "local":
            return fit()
        from nearnext.recommenders.trained import TrainedRecommender
        from nearnext.scale.ray_tasks import ray_tasks

        assert isinstance(recommender, TrainedRecommender)  # noqa: S101 - others have no option workers
        with training_extra(f"fitting {recommender.name}"):
            from nearnext.scale.ray_training import fit_together
        with ray_tasks(self.address, self.workers) as cluster:
            return fit_together(cluster, recommender, fit)


def _engine_options(
    engine: Annotated[str, typer.Option(help="What runs independent parts: local, or ray, a Ray cluster.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="With --engine ray: HOST:PORT of the cluster's head; default: a cluster for this command."),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Parts that are worked on at the same time, or processes that share a training; 0: one for each "
            "processor for prepare and Ray, else 1.",
        ),
    ] = 0,
) -> Engine:
    require_known("engine", engine, ENGINES)
    if address is not None and engine != "ray":
        raise ConfigError(f"--address {address} is of a Ray cluster; add --engine ray, or leave it out")
    if engine == "ray":
        if launched() is not None:
            raise ConfigError("expected processes of torchrun or of a Ray cluster, found both; leave --engine ray out")
        from nearnext.scale.ray_tasks import require_cluster

        require_cluster(address)  # before a long log is read
    return Engine(engine, address, workers or None)


runs_parts = takes("engine", _engine_options)
"""Give a command with an ``engine`` parameter the options of executors instead of it."""

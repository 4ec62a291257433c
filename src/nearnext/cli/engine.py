"""What runs the parts of a command: --engine, --address and --workers."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from nearnext.cli.app import takes
from nearnext.errors import ConfigError
from nearnext.extras import training_extra
from nearnext.options import require_known
from nearnext.processes import Executor, launched

if TYPE_CHECKING:
    from nearnext.recommenders.base import Recommender

T = TypeVar("T")

ENGINES = ("local", "ray", "auto")

PAYS, PREPARE_PAYS = 300_000, 30_000_000
"""Clicks of a log from which a Ray cluster pays, for fit and for prepare: see docs/scale.md."""

CLICK = 30
"""Bytes of a click in a file of text, about."""


@dataclass(frozen=True)
class Engine:
    """What runs the parts of a command: processes of this machine, or a Ray cluster."""

    name: Annotated[
        str,
        typer.Option(
            "--engine",
            help="What runs independent parts: local; ray, a Ray cluster; or auto, ray where --address names a cluster "
            "and the log is so long that it pays, else local.",
        ),
    ] = "local"
    address: Annotated[
        str | None,
        typer.Option(
            help="With --engine ray or auto: HOST:PORT of the cluster's head; default: a cluster for this command."
        ),
    ] = None
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Parts that are worked on at the same time, or processes that train; 0: one for each processor for "
            "prepare and Ray, for fit as many as make it faster on this machine, with the same model, else 1.",
        ),
    ] = 0

    def __post_init__(self) -> None:
        require_known("engine", self.name, ENGINES)
        if self.address is not None and self.name == "local":
            raise ConfigError(f"--address {self.address} is of a Ray cluster; add --engine ray, or leave it out")
        if self.name == "ray":
            if launched() is not None:
                raise ConfigError(
                    "expected processes of torchrun or of a Ray cluster, found both; leave --engine ray out"
                )
            from nearnext.scale.ray_tasks import require_cluster

            require_cluster(self.address)  # before a long log is read

    def for_log(self, source: str, pays: int = PAYS) -> "Engine":
        """Instead of auto: ray if there is a cluster and the log has about ``pays`` clicks, else local."""
        if self.name != "auto":
            return self
        if self.address is not None and _n_clicks(source) >= pays:
            return replace(self, name="ray")
        return replace(self, name="local", address=None)

    @contextmanager
    def executor(self, default: int | None = None) -> Generator[Executor]:
        """The executor; ``default`` local workers unless given, None: one for each processor."""
        if self.name == "local":
            from nearnext.processes import Processes, usable_cores

            yield Processes(self.workers or default or usable_cores())
            return
        from nearnext.scale.ray_tasks import ray_tasks

        with ray_tasks(self.address, self.workers or None) as executor:
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
        with ray_tasks(self.address, self.workers or None) as cluster:
            return fit_together(cluster, recommender, fit)


def _n_clicks(source: str) -> int:
    """About how many clicks a file has, or all files of a folder, or those that a glob names."""
    path = Path(source)
    named = [path] if path.exists() else [Path(name) for name in glob(source, recursive=True)]  # noqa: PTH207
    files = (file for path in named for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    return sum(_rows(file) for file in files)


def _rows(file: Path) -> int:
    if file.suffix == ".parquet":
        import polars as pl

        with suppress(pl.exceptions.PolarsError, OSError):  # who reads the log says what is wrong
            return pl.scan_parquet(file, glob=False).select(pl.len()).collect().item()
    return file.stat().st_size // CLICK


runs_parts = takes("engine", Engine)
"""Give a command with an ``engine`` parameter the options of executors instead of it."""

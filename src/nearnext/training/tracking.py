"""Experiment trackers: options, metrics of each epoch and final metrics of a fit, in TensorBoard, MLflow or W&B."""

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from nearnext.errors import ConfigError, NearnextError
from nearnext.extras import needed

TrackerName = Literal["tensorboard", "mlflow", "wandb"]


class Tracker(Protocol):
    """A run of an experiment tracker; creating the object starts the run."""

    @property
    def id(self) -> str:
        """Id by which a later process continues the run."""
        ...

    def write(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Write metrics of an epoch; names contain only letters, digits and ``_ / . -``."""
        ...

    def end(self, *, failed: bool) -> None:
        """End the run."""
        ...


class _TensorBoard:
    id = ""

    def __init__(self, facts: Mapping[str, Any], directory: Path | None, _known: str | None) -> None:
        needed("tensorboard", "tensorboard", "track=tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(None if directory is None else str(directory / "tensorboard"))
        self._writer.add_text("options", "\n".join(f"- {name}: {value}" for name, value in facts.items()))

    def write(self, metrics: Mapping[str, float], epoch: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, epoch)

    def end(self, *, failed: bool) -> None:  # noqa: ARG002 - its runs have no state
        self._writer.close()


class _MLflow:
    def __init__(self, facts: Mapping[str, Any], _directory: Path | None, known: str | None) -> None:
        self._mlflow = needed("mlflow", "mlflow", "track=mlflow")
        self.id: str = self._mlflow.start_run(known, run_name=facts["method"], nested=True).info.run_id
        try:
            self._mlflow.log_params(facts)
        except Exception:
            self.end(failed=True)  # else later runs of this process would be nested in it
            raise

    def write(self, metrics: Mapping[str, float], epoch: int) -> None:
        self._mlflow.log_metrics(metrics, step=epoch, run_id=self.id)

    def end(self, *, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")


class _WandB:
    def __init__(self, facts: Mapping[str, Any], _directory: Path | None, known: str | None) -> None:
        wandb = needed("wandb", "wandb", "track=wandb")
        self._run = wandb.init(config=dict(facts), id=known, resume="allow" if known else None, reinit="create_new")
        self.id: str = self._run.id

    def write(self, metrics: Mapping[str, float], epoch: int) -> None:
        self._run.log(dict(metrics), step=epoch)

    def end(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


_TRACKERS: Mapping[TrackerName, Callable[[Mapping[str, Any], Path | None, str | None], Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _WandB,
}


class Tracked:
    """What a fit writes to its tracker; a tracker that fails ends the tracking, not the fit."""

    def __init__(self, name: TrackerName, tracker: Tracker, identity: Path | None) -> None:
        self._name, self._tracker, self._identity = name, tracker, identity
        self.lost = ""  # why the tracker lacks metrics of the fit

    def write(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Write metrics by name; ``HitRate@20`` is called ``HitRate_20``, as trackers limit names."""
        if self.lost:
            return
        try:
            self._tracker.write({re.sub(r"[^\w/.-]", "_", name): value for name, value in metrics.items()}, epoch)
            if self._identity is not None:  # now, as the fit makes its directory after the run has started
                self._identity.write_text(self._tracker.id, encoding="utf-8")
                self._identity = None
        except Exception as error:  # of a library, a server or a disk, after hours of training
            self.lost = f"{self._name} lacks metrics from epoch {epoch} on: {_reason(error)}"

    def end(self, *, failed: bool) -> None:
        """End the run."""
        try:
            self._tracker.end(failed=failed)
        except Exception as error:  # the fit is worth more
            self.lost = self.lost or f"{self._name} may lack metrics, its run did not end: {_reason(error)}"


@contextmanager
def tracked(
    name: TrackerName, facts: Mapping[str, Any], directory: Path | None, *, resume: bool = False
) -> Generator[Tracked]:
    """A run of a tracker for one fit; ``facts`` are its method, options and data.

    The directory of the fit keeps the id of the run, so that a fit that resumes continues the same run.

    Raises:
        MissingPackageError: the package of the tracker is not installed.
        ConfigError: its run cannot start.
    """
    identity = None if directory is None else directory / f"{name}.id"
    known = identity.read_text("utf-8") if identity is not None and resume and identity.is_file() else None
    try:
        tracker = _TRACKERS[name](facts, directory, known or None)
    except NearnextError:
        raise
    except Exception as error:
        raise ConfigError(f"{name} cannot start a run: {_reason(error)}; set it up, or leave track out") from error
    run, failed = Tracked(name, tracker, identity), True
    try:
        yield run
        failed = False
    finally:
        run.end(failed=failed)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__

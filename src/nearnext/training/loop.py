"""The training loop: epochs of batches, validation, schedule, checkpoints; the best weights are what remains."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.model.network import SessionItemNetwork
from nearnext.model.tensors import own_randomness, seed_draws
from nearnext.model.threads import one_thread
from nearnext.progress import Advance, track
from nearnext.sampling import Batch, NeighbourPositives, Sampler
from nearnext.training.checkpoint import Checkpoint, RunDirectory
from nearnext.training.config import TrainingConfig
from nearnext.training.devices import Devices
from nearnext.training.interrupt import TrainingInterrupted, deferred_interrupt
from nearnext.training.log import WriteRecord, open_log
from nearnext.training.minibatch import BatchReader
from nearnext.training.objective import Objective
from nearnext.training.schedule import Schedule
from nearnext.training.trainer import Trainer
from nearnext.training.validation import K, Validation

__all__ = ["Epoch", "Examples", "train"]

Epoch = dict[str, float]
"""Figures of one epoch by name: epoch, loss, learning_rate, seconds, and the validation metrics."""

SEED_STEP = 1_000_000_007
"""Distance between the draws of two seeds, in steps."""

CHECK_EVERY = 50
"""Steps between two looks at the loss: each look waits for an accelerator."""


@dataclass(frozen=True, eq=False)
class Examples:
    """What is learned from, and how it is drawn.

    Attributes:
        sessions: known items only.
        sampler: what makes batches of them.
        neighbours: candidates for short lists of positives, where the sampler needs them.
        validation: what epochs are compared by; None: nothing is held out, and the last epoch counts as the best.
        seed: of the draws, at least 0.
    """

    sessions: Sessions
    sampler: Sampler
    neighbours: NeighbourPositives | None = None
    validation: Validation | None = None
    seed: int = 0

    def epoch(self, number: int, batch_size: int, start_batch: int) -> Iterator[Batch]:
        """The batches of an epoch, counted from 0, from ``start_batch`` on."""
        return self.sampler.epoch(
            self.sessions, number, self.seed, batch_size, start_batch=start_batch, neighbours=self.neighbours
        )


@dataclass(frozen=True)
class _Progress:
    """Where training stands between two steps; ``loss`` sums over ``n_batches`` batches of the epoch begun."""

    schedule: Schedule
    n_batches: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list[Epoch])


def train(
    network: SessionItemNetwork,
    objective: Objective,
    examples: Examples,
    config: TrainingConfig,
    *,
    run: RunDirectory | None = None,
    resume: bool = False,
    watch: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Train the network in place; it ends with the weights of the epoch that was best on validation.

    Args:
        network: its weights are changed.
        objective: the loss.
        examples: what is learned from.
        config: how.
        run: where checkpoints and logs go; None: nowhere.
        resume: go on from the checkpoint in ``run``, to the same weights as if training had not stopped.
        watch: called with the figures of each epoch; what it raises ends the training.

    Returns:
        The figures of each epoch.

    Raises:
        ConfigError: the loss is no longer a number, there is no such device, or the checkpoint is of other options.
        DataError: the sessions give no example.
        ArtifactError: the run's directory is in use, or cannot be read or written.
        TrainingInterrupted: Ctrl-C, where there is a directory for the checkpoint.

    Paper: §5.2.

    >>> from nearnext.model.encoders import MaxPool
    >>> from nearnext.model.items import ItemTower
    >>> from nearnext.model.losses import Triplet
    >>> from nearnext.sampling import PositiveNegative
    >>> network = SessionItemNetwork(3, ItemTower(dim=4), MaxPool(dim=4))
    >>> examples = Examples(Sessions.of([["a", "b", "c"]] * 9), PositiveNegative(n_positives=8))
    >>> history = train(network, Objective(Triplet()), examples, TrainingConfig(epochs=3, device="cpu"))
    >>> [figures["epoch"] for figures in history]
    [1, 2, 3]
    """
    devices = Devices.find(config.device, config.precision)
    with _locked(run if devices.main else None, resume), one_thread(), own_randomness(devices.device):
        loop = _Loop(network.to(devices.device), objective, examples, config, devices, run)
        with open_log(run.path if run and devices.main else None) as log, deferred_interrupt(run is not None) as stop:
            return loop.run(loop.resumed() if resume and run else None, log, stop, watch)


@contextmanager
def _locked(run: RunDirectory | None, resume: bool) -> Generator[None]:
    if run is None:
        yield
    else:
        with run.locked(resume=resume):
            yield


class _Loop:
    """One run: what does not change while it goes on, the trainer, and the best weights so far."""

    def __init__(
        self,
        network: SessionItemNetwork,
        objective: Objective,
        examples: Examples,
        config: TrainingConfig,
        devices: Devices,
        run: RunDirectory | None,
    ) -> None:
        self._network, self._examples, self._config, self._devices, self._run = network, examples, config, devices, run
        self._trainer = Trainer(network, objective, devices, clip=config.clip)
        self._read = BatchReader(network.n_items, devices.device)
        self._n_batches = examples.sampler.n_batches(examples.sessions, config.batch_size)
        self._best: dict[str, Tensor] = {}

    def run(
        self,
        progress: _Progress | None,
        log: WriteRecord,
        stop: Callable[[], bool],
        watch: Callable[[Epoch], None] | None = None,
    ) -> list[Epoch]:
        """All epochs that are left; then the network has the best weights."""
        progress = progress or _Progress(Schedule.of(self._config))
        with track("training", self._config.epochs, "epochs") as advance:
            advance(progress.schedule.epoch)
            while not progress.schedule.finished:
                progress = self._epoch(progress, stop)
                log(progress.history[-1])
                advance(1)
                advance.describe(_summary(progress.history[-1]))
                self._save(progress)
                if watch is not None:
                    watch(progress.history[-1])
                if stop() and not progress.schedule.finished:
                    self._interrupt(progress)
        self._network.load_state_dict(self._best)
        self._network.eval()
        return progress.history

    def _epoch(self, progress: _Progress, stop: Callable[[], bool]) -> _Progress:
        schedule, config = progress.schedule, self._config
        begin = time.perf_counter() - progress.seconds
        self._network.train()
        total = torch.tensor(progress.loss, dtype=torch.float64, device=self._devices.device)
        batches = self._examples.epoch(schedule.epoch, config.batch_size, progress.n_batches)
        n_done = progress.n_batches
        with track(f"epoch {schedule.epoch + 1}", self._n_batches * config.batch_size, "sessions") as advance:
            advance(n_done * config.batch_size)
            for batch in batches:
                # Seeded step by step, a run that resumes anywhere draws what it would have drawn.
                seed_draws(self._examples.seed * SEED_STEP + schedule.epoch * self._n_batches + n_done)
                total += self._trainer.step(self._read(batch), schedule.learning_rate)
                n_done += 1
                advance(config.batch_size)
                if n_done % CHECK_EVERY == 0:
                    self._look(total, n_done, schedule, advance)
                if self._devices.n_processes == 1 and stop() and n_done < self._n_batches:
                    seconds = time.perf_counter() - begin
                    self._interrupt(replace(progress, n_batches=n_done, loss=float(total), seconds=seconds))
        self._look(total, n_done, schedule, Advance())
        self._trainer.settle(schedule.learning_rate)
        return self._validated(progress, float(total) / n_done, begin)

    def _look(self, total: Tensor, n_done: int, schedule: Schedule, advance: Advance) -> None:
        loss = float(total) / n_done
        if not torch.isfinite(total):
            raise ConfigError(
                f"expected a finite loss, found {loss} in epoch {schedule.epoch + 1} at or before step {n_done}; lower "
                f"learning_rate ({self._config.learning_rate:g}) or set clip ({self._config.clip:g})"
            )
        advance.describe(f"epoch {schedule.epoch + 1}, loss {loss:.4f}")

    def _validated(self, progress: _Progress, loss: float, begin: float) -> _Progress:
        held_out = self._examples.validation
        # The processes agree on each figure, so that they agree on what comes next.
        metrics = {} if held_out is None else self._devices.mean_figures(held_out.measure(self._network))
        before = progress.schedule
        after = before.step(metrics.get(f"{self._config.validation_metric}@{K}"), self._config)
        if after.best_epoch == after.epoch:
            self._best = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        figures: Epoch = {
            "epoch": after.epoch,
            "loss": loss,
            **metrics,
            "learning_rate": before.learning_rate,
            "seconds": time.perf_counter() - begin,
        }
        return _Progress(after, history=[*progress.history, figures])

    def _interrupt(self, progress: _Progress) -> None:
        self._save(progress)
        where = self._run.path if self._run else ""
        raise TrainingInterrupted(
            f"stopped in epoch {progress.schedule.epoch + 1}; the checkpoint is in {where}: "
            "run the same command again, with resume where it has that option, to go on"
        )

    def _save(self, progress: _Progress) -> None:
        if self._run is None or not self._devices.main:
            return
        best = {f"best.{name}": tensor for name, tensor in self._best.items()}
        self._run.save(Checkpoint({**self._trainer.state(), **best}, asdict(progress)))

    def resumed(self) -> _Progress:
        """Where the checkpoint stands, after weights and moments were taken from it."""
        assert self._run is not None  # noqa: S101 - only called with one
        checkpoint = self._run.load()
        self._trainer.restore(checkpoint.tensors)
        self._best = {
            name.removeprefix("best."): tensor.to(self._devices.device)
            for name, tensor in checkpoint.tensors.items()
            if name.startswith("best.")
        }
        found = dict(checkpoint.progress)
        return _Progress(Schedule(**found.pop("schedule")), **found)


def _summary(figures: Epoch) -> str:
    shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if "@" in name or name == "loss")
    return f"training: {shown}"

"""The training loop of every recipe: epochs, validation, schedule, checkpoints; the best weights are what remains."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from nearnext.errors import ConfigError, NearnextError
from nearnext.model.tensors import one_thread, own_randomness, seed_draws
from nearnext.processes import reuse_memory
from nearnext.progress import Advance, track
from nearnext.training.config import Standing
from nearnext.training.group import ALONE, Group, present_group, sent_work
from nearnext.training.learner import Learner, part_of
from nearnext.training.recipe import Recipe, TrainingBatch
from nearnext.training.run import (
    Checkpoint,
    RunDirectory,
    TrainingInterrupted,
    WriteRecord,
    deferred_interrupt,
    epoch_log,
)
from nearnext.training.tables import without_tables

Epoch = dict[str, float]
"""Figures of one epoch by name: epoch, loss, the validation metrics, the best epoch so far, learning_rate, seconds."""

SEED_STEP, EPOCH_STEP, RANK_STEP = 1_000_000_007, 1_000_003, 500_009
"""Distance between the draws of two seeds, of two epochs, and of two processes, in steps."""

CHECK_EVERY = 50
"""Steps between two looks at the loss: each look waits for an accelerator."""

SAVE_EVERY = 300.0
"""Seconds after which a checkpoint is written within an epoch: what a killed run loses at most."""

LARGEST = 1e18
"""Of a weight: squares of larger ones overflow, and normalised vectors become zero while the loss stays a number."""

B = TypeVar("B", bound=TrainingBatch)


@dataclass(frozen=True)
class _Progress:
    """Where training is between two steps; ``loss`` sums over ``n_examples`` in ``n_batches`` of the epoch begun."""

    standing: Standing = field(default_factory=Standing)
    n_batches: int = 0
    n_examples: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list[Epoch])


def train(
    recipe: Recipe[B],
    *,
    run: RunDirectory | None = None,
    resume: bool = False,
    watch: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Train the recipe's network in place; it ends with the weights of the epoch that was best on validation.

    Checkpoints and logs go to ``run``; ``resume`` goes on from the checkpoint there, to the same weights as if
    training had not stopped. ``watch`` is called with the metrics of each epoch; an exception in it ends the training.
    Returns the metrics of each epoch.

    Paper: §5.2.
    """
    group = ALONE if recipe.alone else present_group()
    if group.size > 1 and recipe.devices.device.type != "cpu":
        raise ConfigError(f"expected the CPU for {group.size} processes, found {recipe.devices.device}; set device=cpu")
    reuse_memory()
    locked = run.locked(resume=resume) if run else nullcontext()
    with locked, one_thread(), own_randomness(recipe.devices.device), _on_device(recipe):
        state, progress = _resumed(run) if resume and run else (dict[str, Tensor](), _Progress())
        with _called_in(recipe, group, state, progress):
            loop = _Loop(recipe, run, group)
            loop.restore(state, progress)
            del state  # it is as large as all weights and moments
            with deferred_interrupt(run is not None) as stop:
                return loop.run(progress, epoch_log(run.path if run else None), stop, watch)


@contextmanager
def _on_device(recipe: Recipe[Any]) -> Generator[None]:
    """Inside, the network is on the recipe's device; then its weights are where they were in memory."""
    if recipe.devices.device.type == "cpu":
        yield
        return
    parameters = [*recipe.network.parameters(), *recipe.learned.values()]
    homes = [parameter.data for parameter in parameters]
    recipe.network.to(recipe.devices.device)
    for learned in recipe.learned.values():
        learned.data = learned.data.to(recipe.devices.device)
    try:
        yield
    finally:
        recipe.network.cpu()
        for parameter, home in zip(parameters, homes, strict=True):
            parameter.data = home.copy_(parameter.data)


def _resumed(run: RunDirectory) -> tuple[Mapping[str, Tensor], _Progress]:
    """Weights, moments and progress of the last checkpoint."""
    checkpoint = run.load()
    found = dict(checkpoint.progress)
    return checkpoint.tensors, _Progress(Standing(**found.pop("standing")), **found)


@contextmanager
def _called_in(recipe: Recipe[Any], group: Group, state: Mapping[str, Tensor], progress: _Progress) -> Generator[None]:
    """Inside, the other processes, if there are any, train too; they have been sent all, but for tables in parts."""
    if group.size == 1:
        yield
        return
    tables = dict(recipe.network.named_parameters()) if group.by_owner else {}
    omitted = ("best.", *(f"{part}.{name}" for part in ("weight", "rows") for name in recipe.tables if tables))
    sent = {name: tensor for name, tensor in state.items() if not name.startswith(omitted)}
    part = partial(_share, replace(recipe, validate=None), sent, progress, group.sharded, group.memory is not None)
    with ExitStack() as stack:
        with without_tables(tables[name] for name in recipe.tables if tables):
            stack.enter_context(sent_work(group, part))
        yield


def _share(
    recipe: Recipe[Any], state: dict[str, Tensor], progress: _Progress, sharded: bool, in_memory: bool, group: Group
) -> None:
    """Share a training that the first process of the group has begun."""
    group = replace(group, sharded=sharded, memory=group.memory if in_memory else None)
    reuse_memory()
    # What one process finds wrong all do, and the first one says so. Where it started this one, this one then ends: the
    # first would wait for it if it found nothing. Others wait for its next training.
    with one_thread(), own_randomness(), nullcontext() if in_memory else suppress(NearnextError):
        loop = _Loop(recipe, None, group)
        loop.restore(state, progress)
        state.clear()  # it is as large as all weights and moments
        loop.run(progress, lambda _: None, lambda: False, None)


class _Loop(Generic[B]):
    """One run: what does not change during it, the learner, and the best weights so far."""

    def __init__(self, recipe: Recipe[B], run: RunDirectory | None, group: Group) -> None:
        self._recipe, self._run, self._group = recipe, run, group
        self._learner = Learner(recipe, group)
        self._n_batches = recipe.batches.n_batches
        self._best: dict[str, Tensor] = {}
        self._saved = time.perf_counter()

    def restore(self, state: Mapping[str, Tensor], progress: _Progress) -> None:
        """Take over the weights and moments of a training that is resumed."""
        if progress != _Progress():
            self._learner.restore(state)
            best = part_of(state, "best.")
            self._best = {name: tensor.to(self._recipe.devices.device) for name, tensor in best.items()}

    def run(
        self, progress: _Progress, log: WriteRecord, stop: Callable[[], bool], watch: Callable[[Epoch], None] | None
    ) -> list[Epoch]:
        """All epochs that are left; then the network has the best weights."""
        with track(self._recipe.title, self._recipe.schedule.epochs, "epochs") as advance:
            advance(progress.standing.epoch)
            while not progress.standing.finished:
                progress = self._epoch(progress, stop)
                log(progress.history[-1])
                advance(1)
                advance.describe(f"{self._recipe.title}: {_summary(progress.history[-1])}")
                self._save(progress)
                if watch is not None:
                    watch(progress.history[-1])
                if stop() and not progress.standing.finished:
                    self._interrupt(progress)
        if self._best:
            self._recipe.network.load_state_dict(self._best)
        self._recipe.network.eval()
        return progress.history

    def _epoch(self, progress: _Progress, stop: Callable[[], bool]) -> _Progress:
        recipe, standing = self._recipe, progress.standing
        begin = time.perf_counter() - progress.seconds
        recipe.network.train()
        total = torch.tensor(progress.loss, dtype=torch.float64, device=recipe.devices.device)
        done, share = progress, 1.0
        with track(f"epoch {standing.epoch + 1}", self._n_batches, "batches") as advance:
            advance(progress.n_batches)
            for batch in recipe.batches.epoch(standing.epoch, progress.n_batches):
                # Seeded step by step, a run that resumes anywhere draws what it would have drawn.
                drawn = recipe.seed * SEED_STEP + standing.epoch * EPOCH_STEP + self._group.rank * RANK_STEP
                seed_draws(drawn + done.n_batches)
                share = recipe.schedule.share(standing, done.n_batches, self._n_batches)
                figures = self._learner.step(batch, share)
                total += figures.loss * figures.examples
                done = replace(done, n_batches=done.n_batches + 1, n_examples=done.n_examples + figures.examples)
                advance(1)
                if done.n_batches % CHECK_EVERY == 0:
                    self._look(total, done, advance)
                if done.n_batches < self._n_batches:
                    self._between_steps(done, total, begin, stop)
        self._look(total, done, Advance())
        self._learner.settle(share)
        self._require_bounded(standing)
        return self._validated(done, float(total) / done.n_examples, share, begin)

    def _between_steps(self, done: _Progress, total: Tensor, begin: float, stop: Callable[[], bool]) -> None:
        due = stop() or (self._run is not None and time.perf_counter() - self._saved > SAVE_EVERY)
        if self._group.decided(due):
            stopped = replace(done, loss=float(total), seconds=time.perf_counter() - begin)
            self._save(stopped)
            if stop():
                self._interrupt(stopped)

    def _look(self, total: Tensor, done: _Progress, advance: Advance) -> None:
        loss, epoch = float(total) / max(done.n_examples, 1), done.standing.epoch + 1
        if not torch.isfinite(total):
            raise ConfigError(
                f"expected a finite loss, found {loss} in epoch {epoch} at or before step {done.n_batches}; "
                f"{self._recipe.remedy}"
            )
        advance.describe(f"epoch {epoch}, loss {loss:.4f}")

    def _require_bounded(self, standing: Standing) -> None:
        # Sharded tables are whole in the first process only.
        if large := self._group.from_first(self._too_large()):
            raise ConfigError(
                f"expected weights below {LARGEST:g}, found larger ones in {large} after epoch {standing.epoch + 1}; "
                f"{self._recipe.remedy}"
            )

    def _too_large(self) -> str:
        """The name of a weight without bounds; "": there is none."""
        for name, weight in self._learner.weights().items():
            lowest, highest = weight.aminmax() if weight.numel() else (weight.new_zeros(()), weight.new_zeros(()))
            if not -LARGEST < float(lowest) <= float(highest) < LARGEST:
                return name
        return ""

    def _validated(self, done: _Progress, loss: float, share: float, begin: float) -> _Progress:
        recipe = self._recipe
        # The processes have the same figures, so that they agree on what comes next.
        metrics = self._group.from_first({} if recipe.validate is None else recipe.validate())
        after = recipe.schedule.after(done.standing, metrics)
        if self._group.first and after.best_epoch == after.epoch:
            # The network itself has the best weights at the end, or as long as every epoch is better than before.
            last = after.finished or recipe.validate is None
            self._best = {} if last else {name: one.clone() for name, one in recipe.network.state_dict().items()}
        rule = next(iter(recipe.tables.values()), recipe.layers)
        figures: Epoch = {
            "epoch": after.epoch,
            "loss": loss,
            **metrics,
            "best_epoch": after.best_epoch,
            "learning_rate": rule.rate * share,
            "seconds": time.perf_counter() - begin,
        }
        return _Progress(after, history=[*done.history, figures])

    def _interrupt(self, progress: _Progress) -> None:
        where = self._run.path if self._run else ""
        raise TrainingInterrupted(
            f"stopped in epoch {progress.standing.epoch + 1}; the checkpoint is in {where}: "
            "run the same command again, with resume where it has that option, to go on"
        )

    def _save(self, progress: _Progress) -> None:
        self._saved = time.perf_counter()
        if not self._group.decided(self._run is not None):
            return
        state = self._learner.state()
        if self._run is not None:
            best = {f"best.{name}": tensor for name, tensor in self._best.items()}
            self._run.save(Checkpoint({**state, **best}, asdict(progress)))
        self._group.decided(True)  # until then the others have changed nothing of what is saved


def _summary(figures: Epoch) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if "@" in name or name == "loss")

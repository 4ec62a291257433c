"""How a model is trained: the paper's options, and learning rate and early stopping as a plan that is a value."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Annotated, Literal

from nearnext.options import Count, Fraction, Natural, NonNegative, Part, Positive, Search, options


@dataclass(frozen=True)
class Standing:
    """Where training is between two epochs."""

    epoch: int = 0  # epochs done
    lowered: int = 0  # how often an epoch improved too little, and lowered the learning rate where validation decides
    best: float | None = None  # highest validation figure so far, None before the first
    best_epoch: int = 0  # number of that epoch, from 1; 0 before the first
    finished: bool = False  # whether training is over


@options
class Schedule:
    """How long training goes on, and at which share of its peak learning rate.

    Within the steps of all epochs the share rises to 1 and falls along a cosine; between epochs it is lowered where
    validation stops improving. Either part can be left out, and is by default. Paper: §5.2.

    >>> plan = Schedule(epochs=9, improvement=0.005, lowerings=1)
    >>> better = plan.after(Standing(), {"HitRate@20": 0.5})
    >>> better.best_epoch, plan.after(better, {"HitRate@20": 0.501}).finished
    (1, True)
    """

    _: KW_ONLY
    epochs: Count  # most passes
    warmup: Fraction = 0.0  # part of all steps in which the share rises
    final: NonNegative = 1.0  # share at the last step; 1: it stays
    compared: tuple[str, ...] = ("HitRate@20",)  # epochs are compared by the sum of these; none: the last is best
    improvement: NonNegative | None = None  # relative improvement of that sum below which the share is lowered
    lr_factor: Part = 0.5  # what the share is multiplied by then
    lower_every: Natural = 0  # epochs after which the share is lowered whatever validation says; 0: validation decides
    lowerings: Count = 3  # training stops when an epoch improves by less for this time

    def share(self, standing: Standing, step: int, n_steps: int) -> float:
        """Share of the peak learning rate at a step of the epoch begun, counted from 0; an epoch has ``n_steps``.

        >>> plan = Schedule(epochs=2, warmup=0.05, final=0.0)
        >>> plan.share(Standing(), 0, 50), plan.share(Standing(epoch=1), 49, 50) < 0.01
        (0.2, True)
        """
        lowered = self.lr_factor ** (standing.epoch // self.lower_every if self.lower_every else standing.lowered)
        total, done = self.epochs * n_steps, standing.epoch * n_steps + step
        rising = max(1, int(self.warmup * total))
        if done < rising:
            return lowered * (done + 1) / rising
        along = (done - rising) / max(1, total - rising)
        return lowered * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * along)))

    def after(self, standing: Standing, figures: Mapping[str, float]) -> Standing:
        """Where training is after an epoch with these figures; without validation figures every epoch is the best."""
        done = replace(standing, epoch=standing.epoch + 1)
        done = replace(done, finished=done.epoch >= self.epochs)
        if not self.compared or not all(name in figures for name in self.compared):
            return replace(done, best_epoch=done.epoch)
        figure, best = sum(figures[name] for name in self.compared), standing.best
        if best is None or figure > best:
            done = replace(done, best=figure, best_epoch=done.epoch)
        if self.improvement is None or best is None or (figure > best and figure - best >= self.improvement * best):
            return done
        lowered = standing.lowered + 1
        return replace(done, lowered=lowered, finished=done.finished or lowered >= self.lowerings)


ValidationMetric = Literal["HitRate", "MRR"]
"""What is compared between epochs, at 20 items, on the next item of each validation prefix."""

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]


@options
class TrainingConfig:
    """How a model is trained; the defaults are the paper's.

    The paper does not name the figure whose improvement it watches, nor the factor. Here the figure is HitRate@20 on
    the next item: of the figures that the paper reports it is the nearest to REC@20, by which its tables are sorted.

    Attributes:
        epochs: most passes over the training sessions.
        batch_size: sessions (or prefixes, as the sampler has it) in a step, over all devices together.
        learning_rate: of Adam.
        lr_factor: what the learning rate is multiplied with when it is lowered, in (0, 1).
        lower_every: epochs after which the learning rate is lowered whatever validation says; 0: validation decides.
        improvement: relative improvement of the validation metric below which the learning rate is lowered.
        lowerings: training stops when an epoch improves by less for this time.
        validation_fraction: last part of the training sessions, by start time, that is held out; 0: none.
        validation_metric: ``HitRate`` or ``MRR``.
        clip: largest norm of the gradient of the embeddings, and of that of the layers, 0: no limit.
        device: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
        precision: ``fp32``, or ``bf16`` for the layers of the network; distances and losses stay in 32 bits.

    Paper: §5.2.
    """

    _: KW_ONLY
    epochs: Count = 150
    batch_size: Annotated[Count, Search(32, 512, log=True, why="smaller: more updates, slower")] = 32
    learning_rate: Annotated[
        Positive, Search(0.0005, 0.02, log=True, why="of Adam; what fits depends on the batch")
    ] = 0.001
    lr_factor: Part = 0.5
    lower_every: Natural = 0
    improvement: NonNegative = 0.005
    lowerings: Count = 3
    validation_fraction: Fraction = 0.05
    validation_metric: ValidationMetric = "HitRate"
    clip: NonNegative = 0.0
    device: DeviceName = "auto"
    precision: Precision = "fp32"

    def schedule(self) -> Schedule:
        """How long training goes on, and when the learning rate is lowered."""
        return Schedule(
            epochs=self.epochs,
            compared=(f"{self.validation_metric}@20",),
            improvement=self.improvement,
            lr_factor=self.lr_factor,
            lower_every=self.lower_every,
            lowerings=self.lowerings,
        )

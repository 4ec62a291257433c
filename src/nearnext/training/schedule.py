"""Learning rate and early stopping: a plan as a value, and where training is in it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nearnext.options import Count, Fraction, Natural, NonNegative, Part, options

__all__ = ["Schedule", "Standing"]


@dataclass(frozen=True)
class Standing:
    """Where training is between two epochs.

    Attributes:
        epoch: epochs done.
        lowered: how often an epoch improved too little, and lowered the learning rate where validation decides.
        best: highest validation figure so far, None before the first.
        best_epoch: number of that epoch, from 1; 0 before the first.
        finished: whether training is over.
    """

    epoch: int = 0
    lowered: int = 0
    best: float | None = None
    best_epoch: int = 0
    finished: bool = False


@options(kw_only=True)
class Schedule:
    """How long training goes on, and at which share of its peak learning rate.

    Within the steps of all epochs the share rises to 1 and falls along a cosine; between epochs it is lowered where
    validation stops improving. Either part can be left out, and is by default.

    Attributes:
        epochs: most passes, at least 1.
        warmup: part of all steps in which the share rises, in [0, 1).
        final: share at the last step, in [0, 1]; 1: it stays.
        compared: names of the validation figures whose sum epochs are compared by, each in [0, 1].
        improvement: relative improvement of that sum below which the share is lowered; None: it never is.
        lr_factor: what the share is multiplied by then, in (0, 1).
        lower_every: epochs after which the share is lowered whatever validation says; 0: validation decides.
        lowerings: training stops when an epoch improves by less for this time.

    Raises:
        ConfigError: a number out of range.

    Paper: §5.2.

    >>> plan = Schedule(epochs=9, improvement=0.005, lowerings=1)
    >>> better = plan.after(Standing(), {"HitRate@20": 0.5})
    >>> better.best_epoch, plan.after(better, {"HitRate@20": 0.501}).finished
    (1, True)
    """

    epochs: Count
    warmup: Fraction = 0.0
    final: NonNegative = 1.0
    compared: tuple[str, ...] = ("HitRate@20",)
    improvement: NonNegative | None = None
    lr_factor: Part = 0.5
    lower_every: Natural = 0
    lowerings: Count = 3

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
        if not all(name in figures for name in self.compared):
            return replace(done, best_epoch=done.epoch)
        figure, best = sum(figures[name] for name in self.compared), standing.best
        if best is None or figure > best:
            done = replace(done, best=figure, best_epoch=done.epoch)
        if self.improvement is None or best is None or (figure > best and figure - best >= self.improvement * best):
            return done
        lowered = standing.lowered + 1
        return replace(done, lowered=lowered, finished=done.finished or lowered >= self.lowerings)

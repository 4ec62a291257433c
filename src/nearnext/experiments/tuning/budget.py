"""What may be spent on tuning a method, and what it is spent for."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nearnext.experiments.tuning.metric import DEFAULT_METRIC, TunedMetric
from nearnext.options import Count, Natural, Part, Positive, options

if TYPE_CHECKING:
    from nearnext.experiments.tuning.trial import Trial

__all__ = ["MINUTE", "Tuning"]

MINUTE = 60.0
"""Seconds."""


@options
class Tuning:
    """How a method is tuned, and how much may be spent on it.

    Attributes:
        trials: option sets that are tried at most, the one to begin with among them.
        minutes: of fitting and evaluating, over all runs of the study. No trial begins that would end later, going by
            the mean of those before, and one that trains in epochs is given up when they are spent; the first one
            always comes to its end.
        metric: what is maximised, such as ``MRR@20``; of several names the geometric mean.
        fraction: the last part of the training log, by start time, that trials are measured on.
        seed: of the search, at least 0.
        study: a file, or a folder with a file for each study, where trials are kept and taken from; None: nowhere.

    Raises:
        ConfigError: a number out of range, or an unknown metric.

    >>> Tuning(trials=0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: trials must be a whole number of at least 1, found 0
    """

    trials: Count = 30
    minutes: Positive = 30.0
    metric: str = DEFAULT_METRIC
    fraction: Part = 0.1
    seed: Natural = 7
    study: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", str(TunedMetric.parse(self.metric)))

    def allows(self, trials: "Sequence[Trial]") -> bool:
        """Whether another trial may begin after these."""
        if not trials:
            return True
        spent = sum(trial.seconds for trial in trials)
        return len(trials) < self.trials and spent + spent / len(trials) <= self.minutes * MINUTE

    def within(self, trials: "Sequence[Trial]") -> "list[Trial]":
        """The trials that this budget pays for: those from the first on, where a study holds more."""
        paid: list[Trial] = []
        for trial in trials:
            if not self.allows(paid):
                break
            paid.append(trial)
        return paid

    def left(self, trials: "Sequence[Trial]") -> float:
        """Seconds after which the trial that begins now is given up between two epochs; the first one never is."""
        return self.minutes * MINUTE - sum(trial.seconds for trial in trials) if trials else math.inf

    def expected(self, trials: "Sequence[Trial]") -> tuple[int, float]:
        """How many trials there will be in all, and the seconds left, from the mean of those that were."""
        spent = sum(trial.seconds for trial in trials)
        mean = max(spent / max(len(trials), 1), 1e-9)
        more = max(min(self.trials - len(trials), int((self.minutes * MINUTE - spent) / mean)), 0)
        return len(trials) + more, more * mean

    def describe(self) -> str:
        """The budget in words."""
        return (
            f"every method gets at most {self.trials} trials and {self.minutes:g} minutes to maximise {self.metric} on "
            f"the last {100 * self.fraction:.4g}% of the training sessions by start time"
        )

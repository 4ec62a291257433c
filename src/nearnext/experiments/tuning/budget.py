"""The search for better options: what it may try, how it chooses, on which metric and with which budget."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nearnext.errors import ConfigError
from nearnext.options import Count, Natural, Part, Positive, options
from nearnext.registry import DEFAULT_METRICS, METRICS, is_better_when_higher

DEFAULT_METRIC = "HitRate+MRR@20"
"""A gain of 1% in one of the two weighs as much as a gain of 1% in the other."""


@dataclass(frozen=True)
class TunedMetric:
    """The geometric mean of metrics at one list length: one that doubles weighs as much as another that doubles.

    >>> metric = TunedMetric.parse("hitrate+mrr@20")
    >>> str(metric), round(metric.of({"HitRate@20": 0.9, "MRR@20": 0.4}), 12)
    ('HitRate+MRR@20', 0.6)
    """

    names: tuple[str, ...]
    k: int

    @classmethod
    def parse(cls, text: str) -> "TunedMetric":
        """A metric from ``NAME@K`` or ``NAME+NAME@K``."""
        written, at, length = text.partition("@")
        if not at or not length.strip().isdecimal() or int(length) < 1:
            raise ConfigError(
                f"metric '{text}': expected a name and a list length of at least 1, e.g. {DEFAULT_METRIC}"
            )
        known = {name.lower(): name for name in (*DEFAULT_METRICS, *METRICS) if is_better_when_higher(name)}
        asked = [name.strip().lower() for name in written.split("+")]
        if unknown := [name for name in asked if name not in known]:
            raise ConfigError(f"metric '{text}': '{unknown[0]}' cannot be tuned; known: {', '.join(known.values())}")
        if len(set(asked)) < len(asked):
            raise ConfigError(f"metric '{text}': expected each name once")
        return cls(tuple(known[name] for name in asked), int(length))

    def of(self, values: Mapping[str, float]) -> float:
        """The metric's value from those of an evaluation by name."""
        return _geometric_mean([values[f"{name}@{self.k}"] for name in self.names])

    def of_epoch(self, figures: Mapping[str, float]) -> float | None:
        """What an epoch is compared with other trials' by: this metric, or else all that the epoch has measured."""
        own = [f"{name}@{self.k}" for name in self.names]
        measured = own if all(name in figures for name in own) else [name for name in figures if "@" in name]
        return _geometric_mean([figures[name] for name in measured]) if measured else None

    def __str__(self) -> str:
        return f"{'+'.join(self.names)}@{self.k}"


def _geometric_mean(values: list[float]) -> float:
    # Of a single value that value, bit for bit.
    return values[0] if len(values) == 1 else math.prod(values) ** (1 / len(values))


State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """The outcome of one set of options; number 0 is the one that the search begins with.

    ``figure`` is the tuned metric on the validation period, ``figures`` every metric there, ``epochs`` the value after
    each epoch, by which trials are pruned; a pruned one was not promising, or at the end of the budget.
    """

    number: int
    options: Mapping[str, Any]
    state: State
    figure: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict[str, float])
    epochs: tuple[float, ...] = ()
    seconds: float = 0.0
    reason: str = ""


MINUTE = 60.0
"""Seconds."""


@options
class Tuning:
    """How a method is tuned, and how much may be spent on it.

    Attributes:
        trials: option sets that are tried at most, the one to begin with among them.
        minutes: of fitting and evaluating, the sum of all trials in all runs of the study, parallel ones included.
            No trial begins that would end later, going by the mean of those before, and one that trains in epochs is
            given up when they are spent; the first one is always completed.
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

    def allows(self, trials: Sequence[Trial], running: int = 0) -> bool:
        """Whether another trial may begin after these, while others are running."""
        begun, spent = len(trials) + running, sum(trial.seconds for trial in trials)
        mean = spent / max(len(trials), 1)
        return not begun or (begun < self.trials and spent + (running + 1) * mean <= self.minutes * MINUTE)

    def within(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials that this budget pays for: those from the first on, where a study holds more."""
        paid: list[Trial] = []
        for trial in trials:
            if not self.allows(paid):
                break
            paid.append(trial)
        return paid

    def left(self, trials: Sequence[Trial], running: int = 0) -> float:
        """Seconds after which the trial that begins now is given up between two epochs; the first one never is."""
        left = self.minutes * MINUTE - sum(trial.seconds for trial in trials)
        return left / (running + 1) if trials or running else math.inf

    def expected(self, trials: Sequence[Trial]) -> tuple[int, float]:
        """The total number of trials, and the seconds left, from the mean of those that were."""
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

"""One trial: a method with one set of options, learned before the validation period and measured in it."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nearnext.data.splits import Split
from nearnext.errors import NearnextError
from nearnext.evaluation.protocol import evaluate
from nearnext.experiments.tuning.metric import TunedMetric
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.trained import TrainedRecommender

__all__ = ["Bench", "Trial"]

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """What became of one set of options.

    Attributes:
        number: from 0, the option set that the search begins with.
        options: those that are searched, with the values tried.
        state: ``complete``; ``pruned``: given up after an epoch that promised too little, or spent the budget;
            ``failed``.
        figure: the tuned metric on the validation period, None where the trial is not complete.
        figures: every metric there, by name.
        epochs: what it was compared with others by, after each epoch, for methods that measure their epochs.
        seconds: fit and evaluation.
        reason: why it is not complete.
    """

    number: int
    options: Mapping[str, Any]
    state: State
    figure: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict[str, float])
    epochs: tuple[float, ...] = ()
    seconds: float = 0.0
    reason: str = ""


class _GivenUpError(Exception):
    """A fit ends here, for the reason given."""


@dataclass(frozen=True, eq=False)
class Bench:
    """Where trials are measured: always the same sessions, lists and metric.

    Attributes:
        split: what is learned from, and the validation period after it.
        metric: what is tuned.
        max_prefix: clicks of a prefix that a method sees, the last ones; None: all.
        threads: worker threads of the evaluation, by default one per core.
    """

    split: Split
    metric: TunedMetric
    max_prefix: int | None = None
    threads: int | None = None

    def trial(
        self,
        number: int,
        options: Mapping[str, Any],
        make: Callable[[Mapping[str, Any]], Recommender],
        hopeless: Callable[[int, float], bool],
        seconds: float = math.inf,
    ) -> Trial:
        """A trial from beginning to end; what goes wrong in it is its outcome, and no error.

        Args:
            number: of the trial, from 0.
            options: those that are searched.
            make: an unfitted recommender with them.
            hopeless: whether to give up after an epoch, from its number (0 the first) and its figure.
            seconds: after which no further epoch begins.
        """
        begin = time.perf_counter()
        epochs: list[float] = []
        last_epoch = math.inf

        def watch(figures: Mapping[str, float]) -> None:
            figure = self.metric.of_epoch(figures)
            if figure is not None:
                epochs.append(figure)
                if hopeless(len(epochs) - 1, figure):
                    raise _GivenUpError(f"after epoch {len(epochs)} below the median of the trials before")
            if time.perf_counter() - begin > seconds and figures["epoch"] < last_epoch:
                raise _GivenUpError(f"after epoch {figures['epoch']:.0f} the budget was spent")

        def ended(state: State, **outcome: Any) -> Trial:
            spent = time.perf_counter() - begin
            return Trial(number, dict(options), state, epochs=tuple(epochs), seconds=spent, **outcome)

        try:
            recommender = make(options)
            last_epoch = recommender.params().get("epochs") or math.inf
            values = self._measure(recommender, watch)
        except _GivenUpError as error:
            return ended("pruned", reason=str(error))
        except ArithmeticError as error:
            return ended("failed", reason=f"these options do not compute: {error}")
        except (NearnextError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):  # how torch says that there is none left
                raise
            return ended("failed", reason=" ".join(str(error).split()) or "not enough memory")
        return ended("complete", figure=self.metric.of(values), figures=values)

    def _measure(self, recommender: Recommender, watch: Callable[[Mapping[str, float]], None]) -> dict[str, float]:
        if isinstance(recommender, TrainedRecommender):
            recommender.watch = watch
        recommender.fit(self.split.train)
        found = evaluate(
            recommender,
            self.split.test,
            self.metric.k,
            max_prefix=self.max_prefix,
            threads=self.threads,
            leaks=self.split.leaks,
        )
        return found.values()

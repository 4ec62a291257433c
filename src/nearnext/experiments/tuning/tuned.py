"""A search before it begins and after it has ended: what is tuned from where, and what was found."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nearnext.errors import ConfigError
from nearnext.experiments.result import Result
from nearnext.experiments.tuning.budget import Tuning
from nearnext.experiments.tuning.search import require_optuna
from nearnext.experiments.tuning.space import Space, space_of
from nearnext.experiments.tuning.trial import Trial
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.registry import canonical_name, make_recommender

__all__ = ["Search", "Tuned"]


@dataclass(frozen=True, eq=False)
class Search:
    """A method, where its search begins, and what is searched.

    Attributes:
        method: its name.
        given: options given by the caller.
        space: what is searched.
        start: all options of the method, as the search begins.
    """

    method: str
    given: Mapping[str, Any]
    space: Space
    start: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, method: str, options: Mapping[str, Any] | None = None, held: Collection[str] = ()) -> "Search":
        """The search of a method.

        Raises:
            ConfigError: an unknown method or option, or optuna is not installed.
        """
        name = canonical_name(method)
        space = space_of(name).without(list(held))
        start = make_recommender(name, options).params()
        require_optuna()
        # Values may have come as text: what is kept is what the method has made of them.
        return cls(name, {option: start.get(option, value) for option, value in (options or {}).items()}, space, start)

    def make(self, options: Mapping[str, Any]) -> Recommender:
        """An unfitted recommender with options of the space."""
        return make_recommender(self.method, {**self.given, **options})


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a search has found.

    Attributes:
        method: its name.
        tuning: the budget.
        space: what was searched.
        given: options given by the caller, in every trial.
        trials: in order; the first is the option set that the search began with.
        searched_through: nothing was left to try.
        study: the file of the study, where there is one.
        earlier: how many of the trials were made by earlier runs.
    """

    method: str
    tuning: Tuning
    space: Space
    given: Mapping[str, Any]
    trials: Sequence[Trial]
    searched_through: bool = False
    study: Path | None = None
    earlier: int = 0

    @property
    def best(self) -> Trial:
        """The trial with the highest figure, the earliest of equal ones.

        Raises:
            ConfigError: none is complete.
        """
        complete = [trial for trial in self.trials if trial.figure is not None]
        if not complete:
            reasons = [trial.reason for trial in self.trials]
            raise ConfigError(
                f"none of {len(reasons)} trials of {self.method} came to its end; the first: {reasons[0]}"
            )
        return max(complete, key=lambda trial: (trial.figure or 0.0, -trial.number))

    @property
    def options(self) -> dict[str, Any]:
        """The best options, those given and those found."""
        return {**self.given, **self.best.options}

    def facts(self) -> Result:
        """What was found, as plain data."""
        states = Counter(trial.state for trial in self.trials)
        return {
            "method": self.method,
            "metric": self.tuning.metric,
            "budget": {"trials": self.tuning.trials, "minutes": self.tuning.minutes},
            "used": {
                "trials": len(self.trials),
                **{state: states[state] for state in ("complete", "pruned", "failed")},
                "seconds": sum(trial.seconds for trial in self.trials),
                "earlier_trials": self.earlier,
            },
            "seed": self.tuning.seed,
            "note": self._note(),
            "start_figure": self.trials[0].figure,
            "best_figure": self.best.figure,
            "best_trial": self.best.number,
            "best_figures": dict(self.best.figures),
            "options": self.options,
            "given": dict(self.given),
            "space": self.space.facts(),
            "study": str(self.study) if self.study is not None else None,
            "trials": [asdict(trial) for trial in self.trials],
        }

    def _note(self) -> str:
        if self.space.note:
            return f"nothing to tune: {self.space.note}"
        return "every option set of the space was tried" if self.searched_through else ""

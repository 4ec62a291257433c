"""Which options to try next: the tree-structured Parzen estimator of optuna, and median pruning of trials.

Every proposal is made from the trials so far and a seed that depends on their number, in a study that is made for it:
a search that was interrupted goes on exactly as if it had not been.

References: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011; Golovin et al., Google Vizier, KDD
2017, §3.2.2 (median stopping).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nearnext.experiments.tuning.budget import Trial
from nearnext.extras import needed
from nearnext.options import Search, as_plain
from nearnext.recommenders.named import method_options

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Space:
    """All that a search of one method may try."""

    searched: Mapping[str, Search]
    note: str = ""

    def without(self, held: Sequence[str]) -> "Space":
        """The space in which these options are held as they are."""
        left = {option: search for option, search in self.searched.items() if option not in held}
        note = self.note or ("" if left else "all of its options that are searched are held as they are")
        return Space(left, note)

    def facts(self) -> list[dict[str, Any]]:
        """The space as plain data."""
        return [
            {
                "option": option,
                "values": str(search),
                "reason": search.why,
                **({"where": {name: list(values) for name, values in search.where.items()}} if search.where else {}),
            }
            for option, search in self.searched.items()
        ]


def space_of(method: str) -> Space:
    """The search space of a method."""
    options = method_options(method)
    searched = {name: option.search for name, option in options.items() if option.search is not None}
    note = "none of its options has a search range" if options else "it has no options"
    return Space(searched, "" if searched else note)


ATTEMPTS = 50
"""Proposals in a row that were all tried before: then the space counts as searched through."""

RANDOM_TRIALS = 4
"""Trials before the search begins to follow what it has seen: the first one is good already."""

PRUNED_FROM_TRIAL, PRUNED_FROM_EPOCH = 2, 1
"""Complete trials, and epochs of its own (from 0), before a trial may be given up."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Options to be tried next."""

    options: Mapping[str, Any]
    trial: "optuna.Trial"

    def hopeless(self, epoch: int, figure: float) -> bool:
        """Whether its best epoch so far is below the median of other trials at this one (0: the first)."""
        self.trial.report(figure, epoch)
        return self.trial.should_prune()


def require_optuna() -> None:
    """A check that optuna is installed."""
    needed("optuna", "tune", "tuning")


def propose(space: Space, start: Mapping[str, Any], trials: Sequence[Trial], seed: int) -> Proposal | None:
    """The options to try after these trials; first of all those that the search begins with."""
    require_optuna()
    import optuna

    study = _study(space, trials)
    if not trials:
        return Proposal(_as_it_is(space, start), study.ask())
    if not space.searched:
        return None
    tried = {_key(trial.options) for trial in trials}
    for attempt in range(ATTEMPTS):
        drawn = int(np.random.SeedSequence([seed, len(trials), attempt]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=RANDOM_TRIALS)
        asked = study.ask()
        options = _drawn(space, start, asked)
        if _key(options) not in tried:
            return Proposal(options, asked)
    return None


def _key(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _as_it_is(space: Space, start: Mapping[str, Any]) -> dict[str, Any]:
    """The options as they are; one that is None follows from the log, and is left to do so."""
    return {
        option: as_plain(start[option])
        for option, search in space.searched.items()
        if search.applies(start) and start[option] is not None
    }


def _drawn(space: Space, start: Mapping[str, Any], asked: "optuna.Trial") -> dict[str, Any]:
    options: dict[str, Any] = {}
    for option, search in space.searched.items():
        if search.applies({**start, **options}):
            options[option] = _suggested(asked, option, search)
    return options


def _suggested(asked: "optuna.Trial", option: str, search: Search) -> Any:
    if search.choices:
        return as_plain(search.choices[asked.suggest_categorical(option, range(len(search.choices)))])
    if search.whole:
        return asked.suggest_int(option, int(search.low), int(search.high), log=search.log)
    return search.rounded(asked.suggest_float(option, search.low, search.high, log=search.log))


def _study(space: Space, trials: Sequence[Trial]) -> "optuna.Study":
    """A study in memory that has seen these trials; failed ones say nothing about where the good options are."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNED_FROM_TRIAL, n_warmup_steps=PRUNED_FROM_EPOCH)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    states = {"complete": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED}
    for trial in trials:
        if trial.state not in states or (trial.figure is None and not trial.epochs):
            continue
        # An option may have begun outside its range: the search learns nothing from it.
        known = {
            option: search
            for option, search in space.searched.items()
            if option in trial.options and search.holds(trial.options[option])
        }
        study.add_trial(
            optuna.trial.create_trial(
                state=states[trial.state],
                value=trial.figure,
                params={option: _coded(search, trial.options[option]) for option, search in known.items()},
                distributions={option: _distribution(search) for option, search in known.items()},
                intermediate_values=dict(enumerate(trial.epochs)),
            )
        )
    return study


def _distribution(search: Search) -> "optuna.distributions.BaseDistribution":
    from optuna import distributions

    if search.choices:
        return distributions.CategoricalDistribution(range(len(search.choices)))
    if search.whole:
        return distributions.IntDistribution(int(search.low), int(search.high), log=search.log)
    return distributions.FloatDistribution(search.low, search.high, log=search.log)


def _coded(search: Search, value: Any) -> Any:
    return [as_plain(choice) for choice in search.choices].index(as_plain(value)) if search.choices else value

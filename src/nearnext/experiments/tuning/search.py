"""The search space of a method, and the next trial: optuna's tree-structured Parzen estimator, with median pruning.

Every proposal is made from earlier trials and a seed that depends on its number, in a study that is made for it: a
search that was interrupted goes on exactly as if it had not been. With W trials side by side, proposal n is made from
the first n - W + 1 trials, whichever of the others have ended: it depends on W, and not on what ends when.

References: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011; Golovin et al., Google Vizier, KDD
2017, §3.2.2 (median stopping).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nearnext.experiments.tuning.budget import Trial
from nearnext.extras import needed
from nearnext.options import Search, as_plain
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import canonical_name, make_recommender, method_options

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 50
"""Consecutive duplicate proposals after which the space counts as exhausted."""

RANDOM_TRIALS = 4
"""Random trials before TPE starts; few, since the first trial is already good."""

PRUNED_FROM_TRIAL, PRUNED_FROM_EPOCH = 2, 1
"""Complete trials, and epochs of its own (from 0), before a trial may be given up."""


@dataclass(frozen=True, eq=False)
class Space:
    """The search space of one method, around its options at the ``start``.

    An option that is ``searched`` only where another has some value follows it; those ``given`` all trials have, unless
    they are searched; ``note`` says why nothing is searched.
    """

    method: str
    searched: Mapping[str, Search]
    start: Mapping[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    note: str = ""

    @classmethod
    def of(cls, method: str, options: Mapping[str, Any] | None = None, held: Collection[str] = ()) -> "Space":
        """The space of a method, from these options on; those held keep their value."""
        needed("optuna", "tune", "tuning")
        name = canonical_name(method)
        known = method_options(name)
        ranges = {option: each.search for option, each in known.items() if each.search is not None}
        searched = {option: search for option, search in ranges.items() if option not in held}
        note = "all of its options that are searched are held as they are" if ranges else "it has no options"
        note = note if ranges or not known else "none of its options has a search range"
        start = make_recommender(name, options).params()
        # Values may have come as text: what is kept is what the method has made of them.
        given = {option: start.get(option, value) for option, value in (options or {}).items()}
        return cls(name, searched, start, given, "" if searched else note)

    def make(self, options: Mapping[str, Any]) -> Recommender:
        """An unfitted recommender with options of the space."""
        return make_recommender(self.method, {**self.given, **options})

    def facts(self) -> list[dict[str, Any]]:
        """What is searched, as plain data."""
        return [
            {
                "option": option,
                "values": str(search),
                "reason": search.why,
                **({"where": {name: list(values) for name, values in search.where.items()}} if search.where else {}),
            }
            for option, search in self.searched.items()
        ]


def propose(
    space: Space, trials: Sequence[Trial], seed: int, running: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any] | None:
    """The options to try after these trials, first of all those that the search begins with; None: no others are left.

    ``running`` are the options of the trials between, whose outcome is not used.
    """
    import optuna

    number = len(trials) + len(running)
    if not number:
        started = {option: space.start[option] for option, each in space.searched.items() if each.applies(space.start)}
        # One that is None follows from the log, and is left to do so.
        return {option: as_plain(value) for option, value in started.items() if value is not None}
    if not space.searched:
        return None
    study = _study(space, trials)
    tried = {_key(options) for options in (*(trial.options for trial in trials), *running)}
    for attempt in range(ATTEMPTS):
        drawn = int(np.random.SeedSequence([seed, number, attempt]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=RANDOM_TRIALS)
        asked = study.ask()
        options: dict[str, Any] = {}
        for option, search in space.searched.items():
            if search.applies({**space.start, **options}):
                options[option] = _suggested(asked, option, search)
        if _key(options) not in tried:
            return options
    return None


def new_trial(space: Space, trials: Sequence[Trial]) -> "optuna.Trial":
    """A trial of optuna after these: it says whether it should be given up, once its epochs are reported to it."""
    return _study(space, trials).ask()


def _key(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


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

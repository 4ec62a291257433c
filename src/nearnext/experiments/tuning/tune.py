"""Tuning: the options of a method that do best on a validation period, within a budget of trials and minutes."""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nearnext.artifact import versions
from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions, require_sessions
from nearnext.data.splits import Split, UnknownRule, split_last
from nearnext.errors import ConfigError, DataError
from nearnext.experiments.result import Result, describe_part, made_by, warning_lines
from nearnext.experiments.tuning.budget import MINUTE, Trial, TunedMetric, Tuning
from nearnext.experiments.tuning.search import Space, propose, require_optuna, space_of
from nearnext.experiments.tuning.study import Bench, Study, open_study
from nearnext.options import require_type
from nearnext.progress import Advance, track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import canonical_name, make_recommender


@dataclass(frozen=True, eq=False)
class Search:
    """A method, the options given, the space that is searched, and all options as the search begins."""

    method: str
    given: Mapping[str, Any]
    space: Space
    start: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, method: str, options: Mapping[str, Any] | None = None, held: Collection[str] = ()) -> "Search":
        """The search of a method."""
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
    """What a search has found; its first trial is the option set that it began with."""

    search: Search
    tuning: Tuning
    trials: Sequence[Trial]
    searched_through: bool = False  # nothing was left to try
    study: Path | None = None
    earlier: int = 0  # trials made by earlier runs

    @property
    def best(self) -> Trial:
        """The trial with the highest figure, the earliest of equal ones."""
        complete = [trial for trial in self.trials if trial.figure is not None]
        if not complete:
            reasons = [trial.reason for trial in self.trials]
            raise ConfigError(
                f"none of {len(reasons)} trials of {self.search.method} came to its end; the first: {reasons[0]}"
            )
        return max(complete, key=lambda trial: (trial.figure or 0.0, -trial.number))

    @property
    def options(self) -> dict[str, Any]:
        """The best options, those given and those found."""
        return {**self.search.given, **self.best.options}

    def facts(self) -> Result:
        """What was found, as plain data."""
        states = Counter(trial.state for trial in self.trials)
        note = f"nothing to tune: {self.search.space.note}" if self.search.space.note else ""
        if self.searched_through and not note:
            note = "every option set of the space was tried"
        return {
            "method": self.search.method,
            "metric": self.tuning.metric,
            "budget": {"trials": self.tuning.trials, "minutes": self.tuning.minutes},
            "used": {
                "trials": len(self.trials),
                **{state: states[state] for state in ("complete", "pruned", "failed")},
                "seconds": sum(trial.seconds for trial in self.trials),
                "earlier_trials": self.earlier,
            },
            "seed": self.tuning.seed,
            "note": note,
            "start_figure": self.trials[0].figure,
            "best_figure": self.best.figure,
            "best_trial": self.best.number,
            "best_figures": dict(self.best.figures),
            "options": self.options,
            "given": dict(self.search.given),
            "space": self.search.space.facts(),
            "study": str(self.study) if self.study is not None else None,
            "trials": [asdict(trial) for trial in self.trials],
        }


class TuningInterrupted(KeyboardInterrupt):
    """Tuning stopped by Ctrl-C; the message says what was found so far, and how to go on."""


def validation_split(
    log: Sessions, tuning: Tuning, *, chosen: Filter | None = None, unknown: UnknownRule = "miss"
) -> Split:
    """The training log cut in two by time: what trials learn from, and the period that they are measured on."""
    try:
        return split_last(log, tuning.fraction, chosen=chosen, unknown=unknown)
    except DataError as error:
        raise DataError(f"the training log is too short to hold out a validation period: {error}") from error


def tune(
    log: Sessions,
    method: str,
    tuning: Tuning | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    held: Collection[str] = (),
    chosen: Filter | None = None,
    unknown: UnknownRule = "miss",
    threads: int | None = None,
    reading: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> Result:
    """The best options of a method for a training log; the result is plain data, ready for JSON.

    Args:
        log: training sessions; their end is held out to choose by, and no test log is seen.
        method: its name.
        tuning: budget and metric.
        options: where the search begins; by default the method's own defaults.
        held: names of those that keep their value.
        chosen: filter of what is learned from.
        unknown: what happens to validation items that are not learned.
        threads: worker threads of the evaluation, by default one per core.
        reading: reports of how the log was read, to be kept in the result.
        command: how to repeat this.

    Raises:
        ConfigError: an unknown method, option or metric, no search space, no complete trial, or a study of something
            else.
        DataError: the log is too short to hold out a validation period.
        ArtifactError: the study is damaged or in use.
        TuningInterrupted: Ctrl-C; trials that had ended are kept.

    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> result = tune(log, "sr", Tuning(trials=3, metric="MRR@5"))
    >>> len(result["trials"]), result["best_figure"] >= result["start_figure"]
    (3, True)
    """
    require_sessions("log", log)
    settled = Tuning() if tuning is None else tuning
    require_type("tuning", settled, Tuning, "make it with Tuning(trials=20, minutes=10)")
    begin = time.perf_counter()
    search = Search.of(method, options, held)
    split = validation_split(log, settled, chosen=chosen, unknown=unknown)
    tuned = tune_method(search, split, settled, chosen=chosen or Filter(), threads=threads)
    found = tuned.facts()
    return {
        "warnings": warning_lines(reading, split.leaks),
        "leaks": split.leaks.facts(),
        "protocol": {
            "tuning": settled.describe().replace("every method", search.method),
            "search": "tree-structured Parzen estimator of optuna, median pruning of methods that measure their epochs",
            "filter": asdict(chosen or Filter()),
            "unknown": unknown,
            "seed": settled.seed,
            **made_by(command, begin),
            "versions": _versions(),
        },
        "data": {
            "train": describe_part(split.train),
            "validation": describe_part(split.test),
            "fingerprint": log.fingerprint(),
            "reading": [dict(report) for report in reading],
        },
        **found,
    }


def tune_method(
    search: Search, split: Split, tuning: Tuning, *, chosen: Filter | None = None, threads: int | None = None
) -> Tuned:
    """The search of one method on one validation period; see `tune`."""
    metric = TunedMetric.parse(tuning.metric)
    longest = chosen.max_length if chosen is not None else None
    bench = Bench(split, metric, max_prefix=longest, threads=threads)
    with open_study(tuning.study, _identity(search, split, tuning, longest)) as study:
        earlier = len(study.trials)
        try:
            searched_through = _spend(study, search, bench, tuning)
        except KeyboardInterrupt as stopped:
            raise TuningInterrupted(_farewell(study, search, tuning)) from stopped
        trials = tuning.within(study.trials)
        return Tuned(search, tuning, trials, searched_through, study.path, min(earlier, len(trials)))


def _spend(study: Study, search: Search, bench: Bench, tuning: Tuning) -> bool:
    """Trials until the budget is spent, or nothing is left to try, which is the answer."""
    with track(f"tuning {search.method}", tuning.trials, "trials") as advance:
        advance(len(tuning.within(study.trials)))
        while tuning.allows(study.trials):
            _show(advance, study, search, tuning)
            proposal = propose(search.space, search.start, study.trials, tuning.seed)
            if proposal is None:
                return True
            seconds = tuning.left(study.trials)
            study.add(bench.trial(len(study.trials), proposal.options, search.make, proposal.hopeless, seconds))
            advance(1)
    return False


def _show(advance: Advance, study: Study, search: Search, tuning: Tuning) -> None:
    if not study.trials:
        return
    total, left = tuning.expected(study.trials)
    mean = sum(trial.seconds for trial in study.trials) / len(study.trials)
    figures = [trial.figure for trial in study.trials if trial.figure is not None]
    best = f"best {max(figures):.4f}, " if figures else ""
    advance.expect(total)
    advance.describe(f"tuning {search.method}: {best}{mean:.1f} s a trial, about {left / MINUTE:.1f} min left")


def _farewell(study: Study, search: Search, tuning: Tuning) -> str:
    figures = [trial.figure for trial in study.trials if trial.figure is not None]
    best = f", best {tuning.metric} {max(figures):.4f}" if figures else ""
    kept = f"they are in {study.path}: run the same command to go on" if study.path else "nothing was kept"
    return f"stopped tuning {search.method} after {len(study.trials)} of {tuning.trials} trials{best}; {kept}"


def _identity(search: Search, split: Split, tuning: Tuning, max_prefix: int | None) -> dict[str, Any]:
    return {
        "data": [split.train.fingerprint(), split.test.fingerprint(), max_prefix],
        "method": search.method,
        "start": dict(search.start),
        "space": search.space.facts(),
        "metric": tuning.metric,
        "seed": tuning.seed,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {**versions(), "optuna": version("optuna")}

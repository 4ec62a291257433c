"""The comparison: every method on the same cases, timed, with intervals, significance and the leak audit."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearnext.data.leaks import Leaks, warn_of
from nearnext.data.sessionise import as_sessions
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.evaluation.examples import ExampleCases
from nearnext.evaluation.metrics import DEFAULT_CUTOFFS, cutoffs, further_names
from nearnext.evaluation.protocol import FALLBACK_RULE, TIE_RULE
from nearnext.evaluation.runs import RunFolder
from nearnext.evaluation.significance import average_windows, bootstrap
from nearnext.experiments.plan import PlannedSplit, SplitPlan
from nearnext.experiments.result import (
    ComparisonResult,
    Result,
    data_result,
    made_by,
    method_result,
    significance_result,
    warning_lines,
)
from nearnext.experiments.running import SeedRuns, run_all
from nearnext.experiments.seeds import mean_result, seed_numbers, seeds_of
from nearnext.experiments.store import RunStore
from nearnext.experiments.tuning.budget import Tuning
from nearnext.experiments.tuning.search import Space
from nearnext.experiments.tuning.tune import tune_method, validation_split
from nearnext.forks import require_polars
from nearnext.options import Count, Natural, options, require_type
from nearnext.processes import ONE_PROCESS, Executor
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import BASELINES, canonical_name, make_recommender
from nearnext.types import FloatArray

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame


@options
class Comparison:
    """What is compared, and how.

    Attributes:
        methods: names of methods, labels, or recommenders made in Python, in the order of the report.
        options: options of a method that differ from its defaults, by method name or label.
        labels: the method that a label stands for: one method can be compared with itself under other options.
        plan: how the log is split, filtered, and what happens to unknown items.
        ks: list lengths.
        seed: of the bootstrap and of the audit's choice of cases.
        replicates: resamplings of the bootstrap.
        threads: worker threads, by default one per core.
        tuning: the budget with which every method is tuned first, on the end of the training part; of several windows
            on that of the first one. None: methods run with the options given.
        held: names of options, by method name or label, that tuning leaves as they are.
        seeds: stochastic methods are fitted once per seed, and their metrics are means with a standard deviation;
            empty: once, with their own seed.
        metrics: metrics besides the default ones, such as NDCG; see `nearnext.evaluation.further_metrics`.
        made: the recommender objects among ``methods`` by label: the name, numbered if it is taken.

    Raises:
        ConfigError: unknown or repeated method, options of a method that is not compared, a list length below 1,
            an unknown metric, tuning of a method without a search space, or a seed given twice.

    >>> Comparison(methods=("POP", "vsknn"), options={"vsknn": {"k": 500}}).methods
    ('pop', 'vsknn')
    >>> wide = Comparison(("vsknn", "wide"), labels={"wide": "vsknn"}, options={"wide": {"k": 500}})
    >>> wide.make("wide").params()["k"]
    500
    """

    methods: Sequence[str | Recommender] = BASELINES
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    plan: SplitPlan = field(default_factory=SplitPlan)
    ks: tuple[int, ...] = DEFAULT_CUTOFFS
    seed: Natural = 7
    replicates: Count = 2000
    threads: Count | None = None
    tuning: Tuning | None = None
    held: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    seeds: tuple[int, ...] = ()
    metrics: Sequence[str] = ()
    made: Mapping[str, Recommender] = field(default_factory=dict[str, Recommender])

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", {label: canonical_name(method) for label, method in self.labels.items()})
        names, made = self._named()
        object.__setattr__(self, "made", made)
        if len(set(names)) != len(names) or not names:
            raise ConfigError(f"expected each method once, found {', '.join(names) or 'none'}")
        options = {self._name(name): dict(values) for name, values in self.options.items()}
        if extra := sorted(set(options) - set(names)):
            raise ConfigError(f"options are given for {', '.join(extra)}, which is not among the compared methods")
        seeds = seed_numbers(self.seeds)
        settled = {"methods": names, "options": options, "ks": cutoffs(self.ks), "seeds": seeds}
        for field_name, value in {**settled, "metrics": further_names(self.metrics)}.items():
            object.__setattr__(self, field_name, value)
        if seeds and not any(self.seeds_of(name) == seeds for name in names):
            raise ConfigError(f"seeds are given, and {', '.join(names)} draw nothing at random; leave the seeds out")
        for name in names:
            self.make(name, self.seeds_of(name)[0])
            if self.tuning is not None:
                self.space(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names and labels of the methods."""
        return tuple(name for name in self.methods if isinstance(name, str))

    def make(self, name: str, seed: int | None = None) -> Recommender:
        """A fresh recommender of that name or label, with this comparison's options, and with a seed where given."""
        if name in self.made:
            given = {} if seed is None else {"seed": seed}
            return self.made[name].unfitted(**self.options.get(name, {}), **given)
        options = {**self.options.get(name, {}), **({} if seed is None else {"seed": seed})}
        return make_recommender(self.labels.get(name, name), options)

    def seeds_of(self, name: str) -> tuple[int | None, ...]:
        """The seeds that the method of that name or label is fitted with; None stands for its own."""
        return seeds_of(self.make(name), self.options.get(name, {}), self.seeds)

    def space(self, name: str) -> Space:
        """What tuning tries for that name or label, from this comparison's options on."""
        if name in self.made:
            raise ConfigError(f"{name} is a recommender object, which cannot be tuned; give its name and options")
        return Space.of(self.labels.get(name, name), self.options.get(name), self.held.get(name, ()))

    def _name(self, name: str) -> str:
        return name if name in self.labels or name in self.made else canonical_name(name)

    def _named(self) -> tuple[tuple[str, ...], dict[str, Recommender]]:
        """The names of all methods, and the recommenders made in Python by their new names."""
        if isinstance(self.methods, str):
            raise ConfigError(f"methods must be several names or recommenders, found {self.methods!r}; write it in [ ]")
        require_type("methods", self.methods, Sequence, "give for example ['pop', 'vsknn']")
        names, made = list[str](), dict(self.made)
        taken = {self._name(method) for method in self.methods if isinstance(method, str)}
        for method in self.methods:
            if isinstance(method, type):
                raise ConfigError(
                    f"expected recommenders, found the class {method.__name__}; make one: {method.__name__}()"
                )
            if not isinstance(method, Recommender):
                names.append(self._name(method))
                continue
            number, label = 1, method.name
            while label in taken:
                number, label = number + 1, f"{method.name}-{number + 1}"
            taken.add(label)
            names.append(label)
            made[label] = method
        return tuple(names), made


def compare(
    log: "Sessions | IntoDataFrame",
    test: "Sessions | IntoDataFrame | None" = None,
    comparison: Comparison | None = None,
    *,
    reading: Sequence[Mapping[str, Any]] = (),
    command: str = "",
    store: RunStore | None = None,
    lists: str | Path | None = None,
    executor: Executor = ONE_PROCESS,
) -> ComparisonResult:
    """Fit and evaluate every method on the same cases; the result is plain data, ready for JSON.

    ``warnings`` comes first: what has to be read before the figures. A `LeakWarning` says the same of a test log that
    is earlier than the training log or among it.

    Args:
        log: the sessions to split, or to train on where ``test`` is given; a frame of clicks is read and sessionised.
        test: sessions or a frame of a test log of its own.
        comparison: methods and protocol; the defaults compare all baselines on the last 10% of the sessions.
        reading: reports of how the logs were read, to be kept in the result.
        command: how to repeat this.
        store: where finished runs are kept, and taken from instead of fitting a method again.
        lists: folder for the lists of every method as TREC runs, and the next items as ``qrels.txt``; see
            `nearnext.evaluation.runs`.
        executor: where methods are tuned, fitted and measured, several of them side by side; times of fits that share
            processors are longer, other figures the same.

    Raises:
        ConfigError: lists are asked for together with a store, whose runs have none.
        DataError: nothing is left to learn from or to predict.
        ArtifactError: a kept run is damaged.
        NearnextError: this process was forked after a log was read.

    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> result = compare(log, comparison=Comparison(methods=["pop", "markov-1"], ks=(1,)))
    >>> [method["name"] for method in result["methods"]], result["audit"]["passed"]
    (['pop', 'markov-1'], True)
    """
    require_polars("comparing methods")
    log = as_sessions("log", log)
    test = None if test is None else as_sessions("test", test)
    chosen = Comparison() if comparison is None else comparison
    require_type("comparison", chosen, Comparison, "make it with Comparison(methods=['pop', 'vsknn'])")
    if store is not None and lists is not None:
        raise ConfigError("a store does not keep lists; leave out the store or the lists")
    begin = time.perf_counter()
    planned = chosen.plan.splits(log, test)
    leaks = reduce(Leaks.plus, (one.split.leaks for one in planned))
    warn_of(leaks)
    tuned = _tuned(planned[0], chosen, executor)
    chosen = replace(chosen, options={**chosen.options, **{name: found["options"] for name, found in tuned.items()}})
    folder = RunFolder(lists) if lists is not None else None
    examples = ExampleCases.draw(planned[0].split.test, seed=chosen.seed, max_prefix=chosen.plan.chosen.max_length)
    runs, verdict = run_all(planned, leaks, chosen, store, folder, executor, examples)
    replicates = {name: _replicates(runs[name], chosen) for name in chosen.names}
    methods = [
        _method_result(name, runs[name], replicates[name], chosen) | ({"tuning": tuned[name]} if name in tuned else {})
        for name in chosen.names
    ]
    return ComparisonResult(
        {
            "warnings": warning_lines(reading, leaks),
            "leaks": leaks.facts(),
            "protocol": {
                "split": chosen.plan.describe(test is not None),
                "filter": asdict(chosen.plan.chosen),
                "unknown": chosen.plan.unknown,
                "cases": sum(run.evaluation.filled.n_cases for run in next(iter(runs[chosen.names[0]].values()))),
                "case": "every proper prefix of every test session; all items are ranked, none sampled",
                "k": list(chosen.ks),
                "metrics": list(chosen.metrics),
                "max_length": chosen.plan.chosen.max_length,
                "ties": TIE_RULE,
                "fallback": FALLBACK_RULE,
                "tuning": _tuning_text(chosen),
                "intervals": f"95%, {chosen.replicates} bootstrap resamplings of the test sessions",
                "seed": chosen.seed,
                **({"seeds": list(chosen.seeds)} if chosen.seeds else {}),
                "threads": chosen.threads or os.cpu_count(),
                **made_by(command, begin),
            },
            "data": {
                **data_result(planned),
                "fingerprint": log.fingerprint(),
                "test_fingerprint": test.fingerprint() if test is not None else None,
                "reading": [dict(report) for report in reading],
            },
            "audit": {
                "passed": verdict.passed,
                "verdict": verdict.text,
                "checks": [asdict(check) for check in verdict.checks],
            },
            "methods": methods,
            "examples": examples.facts(),
            "significance": significance_result(methods, replicates, chosen.ks[-1]),
        }
    )


def _tuned(first: PlannedSplit, chosen: Comparison, executor: Executor) -> dict[str, Result]:
    """The best options of every method, all found on one validation period that ends before the test part begins."""
    if chosen.tuning is None:
        return {}
    plan = chosen.plan
    split = validation_split(first.training_log(), chosen.tuning, chosen=plan.chosen, unknown=plan.unknown)
    tune_one = partial(
        tune_method,
        split=split,
        tuning=chosen.tuning,
        max_length=plan.chosen.max_length,
        threads=chosen.threads,
    )
    tuned: dict[str, Result] = {}
    with track("tuning", len(chosen.names), "methods") as advance:
        found = executor.map(tune_one, map(chosen.space, chosen.names))
        for name, one in zip(chosen.names, found, strict=True):
            tuned[name] = one
            advance(1)
    return tuned


def _tuning_text(chosen: Comparison) -> str:
    if chosen.tuning is None:
        return "none: every method runs once, with the options shown"
    where = " of the first window" if chosen.plan.kind == "windows" else ""
    return (
        f"{chosen.tuning.describe()}{where}, a period that ends before the test part begins; then it is fitted on the "
        "whole training part with its best options and measured once"
    )


def _method_result(name: str, runs: SeedRuns, replicates: FloatArray, chosen: Comparison) -> Result:
    label = name if name in chosen.labels or name in chosen.made else ""
    rows = {
        seed: method_result(own, replicates if len(runs) == 1 else _replicates({seed: own}, chosen), label)
        for seed, own in runs.items()
    }
    by_seed = {seed: row for seed, row in rows.items() if seed is not None}
    return mean_result(by_seed, replicates) if by_seed else rows[None]


def _replicates(runs: SeedRuns, chosen: Comparison) -> FloatArray:
    """Replicates of the mean over windows and seeds, from the same drawings for every seed."""
    return average_windows(
        [
            bootstrap(
                run.evaluation.filled.session_sums,
                run.evaluation.filled.session_counts,
                replicates=chosen.replicates,
                seed=chosen.seed,
                window=window,
            )
            for by_window in runs.values()
            for window, run in enumerate(by_window)
        ]
    )

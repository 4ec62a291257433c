"""The comparison: every method on the same cases, timed, with intervals, significance and the leak audit."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from narwhals.typing import IntoDataFrame

from nearnext.data.items import ItemTable
from nearnext.data.leaks import Leaks, warn_of
from nearnext.data.sessionise import as_sessions
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.evaluation.cases import ExampleCases
from nearnext.evaluation.protocol import FALLBACK_RULE, TIE_RULE
from nearnext.evaluation.runs import RunFolder
from nearnext.experiments.comparison import Comparison
from nearnext.experiments.plan import PlannedSplit
from nearnext.experiments.result import (
    ComparisonResult,
    Result,
    data_result,
    made_by,
    mean_result,
    method_result,
    significance_result,
    warning_lines,
)
from nearnext.experiments.running import SeedRuns, run_all
from nearnext.experiments.store import RunStore
from nearnext.experiments.tuning.tune import tune_method, validation_split
from nearnext.forks import require_polars
from nearnext.options import require_type
from nearnext.processes import ONE_PROCESS, Executor, usable_cores
from nearnext.progress import track
from nearnext.types import FloatArray, RawId


def compare(
    log: "Sessions | IntoDataFrame",
    test: "Sessions | IntoDataFrame | None" = None,
    comparison: Comparison | None = None,
    *,
    items: ItemTable | None = None,
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
        items: titles, which the report shows in its example sessions; methods do not learn from it.
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
            "protocol": {**_protocol(chosen, test is not None, runs), **made_by(command, begin)},
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
            **({"titles": _titles(items, examples, methods)} if items is not None else {}),
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
        tune_method, split=split, tuning=chosen.tuning, max_length=plan.chosen.max_length, threads=chosen.threads
    )
    tuned: dict[str, Result] = {}
    with track("tuning", len(chosen.names), "methods") as advance:
        found = executor.map(tune_one, map(chosen.space, chosen.names))
        for name, one in zip(chosen.names, found, strict=True):
            tuned[name] = one
            advance(1)
    return tuned


def _protocol(chosen: Comparison, own_test: bool, runs: Mapping[str, SeedRuns]) -> Result:
    by_window = next(iter(runs[chosen.names[0]].values()))
    return {
        **chosen.protocol(own_test, sum(run.evaluation.filled.n_cases for run in by_window)),
        "filter": asdict(chosen.plan.chosen),
        "unknown": chosen.plan.unknown,
        "metrics": list(chosen.metrics),
        "max_length": chosen.plan.chosen.max_length,
        "ties": TIE_RULE,
        "fallback": FALLBACK_RULE,
        "tuning": _tuning_text(chosen),
        **({"seeds": list(chosen.seeds)} if chosen.seeds else {}),
        "threads": chosen.threads or usable_cores(),
    }


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


def _titles(items: ItemTable, examples: ExampleCases, methods: Sequence[Result]) -> dict[str, str]:
    """The known titles of the items of the example cases and of the methods' lists, by the text of the id."""
    listed = [each for method in methods for each in method.get("examples") or ()]
    ids: set[RawId] = {*examples.next, *(item for some in (*examples.clicks, *listed) for item in some)}
    ordered = sorted(ids, key=str)
    return {str(item): title for item, title in zip(ordered, items.titles(ordered), strict=True) if title}


def _replicates(runs: SeedRuns, chosen: Comparison) -> FloatArray:
    """Replicates of the mean over windows and seeds, from the same drawings for every seed."""
    each = [
        run.evaluation.filled.bootstrapped(replicates=chosen.replicates, seed=chosen.seed, window=window)
        for by_window in runs.values()
        for window, run in enumerate(by_window)
    ]
    return np.mean(each, axis=0)

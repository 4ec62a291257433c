"""Estimate time and memory of a comparison: splits are made, fits extrapolated, rankings measured on a few sessions.

**Time** = splitting + for each fit its time, that of its cases, and in the audit two more fits and some lists +
bootstrap. Tuning takes its trials of a fit each, or its budget.

**Memory** of a method is the most that the process holds in its fits and rankings, with the split, the log that the
audit plants sessions in, and the model that it compares a second fit with.
"""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from mmap import mmap
from typing import Any

import numpy as np

from nearnext.data.leaks import Leaks
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.evaluation.audit import RANKED, REFIT_SECONDS, Audit
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import metric_names
from nearnext.evaluation.protocol import evaluate, measured
from nearnext.evaluation.significance import bootstrap
from nearnext.evaluation.sums import MetricAccumulator
from nearnext.experiments.comparison import Comparison
from nearnext.experiments.plan import PlannedSplit
from nearnext.experiments.result import Result, data_result
from nearnext.experiments.running import Fit, fits_of
from nearnext.experiments.sizing import Estimate, estimate, spread_sessions, used_bytes
from nearnext.experiments.store import RunStore
from nearnext.experiments.tuning.budget import MINUTE
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.popularity import Pop
from nearnext.recommenders.ranking import Ranking, lists_at_a_time

SESSIONS = 300
"""Sessions whose cases are ranked to time one."""

REPLICATES = 20
"""Resamplings that are timed."""

FLOAT = 8
"""Bytes of a sum."""


@dataclass(frozen=True)
class _Window:
    """One split: clicks that are learned from, cases, and the most bytes that measuring them takes."""

    events: int
    cases: int
    bytes: int
    sums_bytes: int  # of them those that are kept to the end
    bootstrap_seconds: float

    @classmethod
    def of(cls, planned: PlannedSplit, chosen: Comparison) -> "_Window":
        train, test = planned.split.train, planned.split.test
        n_columns = len(metric_names(chosen.ks)) + len(chosen.metrics) * len(chosen.ks)
        before, k = used_bytes(), min(chosen.ks[-1], train.n_items)
        with measured() as cost:
            cases = Cases.of(test, chosen.plan.chosen.max_length)
            n = min(len(cases), lists_at_a_time(k))
            items = np.tile(np.arange(1, k + 1, dtype=np.int32), (n, 1))
            ranking = Ranking(items, np.zeros((n, k), np.float32), np.full(n, k, np.int32))
            MetricAccumulator(cases, train.item_counts(), chosen.ks, chosen.metrics, train).add(ranking)
        sums = FLOAT * test.n_sessions * n_columns * (2 if chosen.metrics else 1)
        replicates = min(REPLICATES, chosen.replicates)
        begin = time.perf_counter()
        bootstrap(np.zeros((test.n_sessions, n_columns)), test.lengths, replicates=replicates, seed=0)
        seconds = (time.perf_counter() - begin) * chosen.replicates / replicates
        block = max(int(cost.peak_own_mb * 1e6) - before, 0)
        return cls(train.n_events, len(cases), block + 2 * sums, sums, seconds)


@dataclass
class _Row:
    """One method: its estimate, and seconds by what they go to."""

    name: str
    sized: Estimate
    audited_again: bool
    evaluation_bytes: int
    planting_bytes: int
    fits: int = 0
    kept: int = 0  # of the fits, those that were made before
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("tuning", "fit", "ranking", "audit"), 0.0))

    @property
    def peak_bytes(self) -> int:
        """The most memory, bytes."""
        held = self.sized.memory["this process and the log"]
        fit, model = self.sized.peak_bytes - held, self.sized.model_bytes
        again = model + max(fit, self.planting_bytes) if self.audited_again else fit
        return held + max(again, model + self.evaluation_bytes)


def size_comparison(
    log: Sessions,
    test: Sessions | None,
    chosen: Comparison,
    *,
    store: RunStore | None = None,
    workers: int = 1,
) -> Result:
    """What `compare` would take, without doing it: time and memory of each method and of the whole, as plain data.

    Runs that the store has take no time, unless methods are tuned.

    Raises:
        DataError: nothing is left to learn from or to predict.

    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> sized = size_comparison(log, None, Comparison(methods=["pop", "markov-1"]))
    >>> [method["method"] for method in sized["methods"]], sized["fits"]
    (['pop', 'markov-1'], True)
    """
    with measured() as splitting:
        planned = chosen.plan.splits(log, test)
        leaks = reduce(Leaks.plus, (one.split.leaks for one in planned))
        audit = Audit(planned[0].split, planned[0].again, seed=chosen.seed, leaks=leaks)
        train = planned[0].split.train
        most_popular = Pop().fit(train)
    with measured() as planting:
        audit.of(most_popular, 0.0, lambda planted: Pop().fit(planted))  # the planted sessions are kept
    planting_bytes = max(int(planting.peak_own_mb * 1e6) - used_bytes(), 0)
    preparing = splitting.seconds + planting.seconds
    windows = [_Window.of(one, chosen) for one in planned]
    rows = {name: _row(name, train, windows, planting_bytes, chosen) for name in chosen.names}
    fits = list(fits_of(planned, chosen, store))
    seconds = [_add(rows[fit.name], fit, windows, chosen, store) for fit in fits]
    tunings = [_add_tuning(row, windows[0], chosen) for row in rows.values()]
    doubled = 2 if chosen.seeds else 1  # of each seed, and of their mean
    after = doubled * sum(windows[fit.window].bootstrap_seconds for fit in fits)
    sums = sum(windows[fit.window].sums_bytes for fit in fits)
    parts = [log, *(part for one in planned for part in (one.split.train, one.split.test))]
    peak = _peak_bytes(list(rows.values()), workers, sum(map(_mapped_bytes, parts)) if workers > 1 else 0)
    peak = max(peak, int(splitting.peak_own_mb * 1e6)) + sums
    available = max(row.sized.available_bytes for row in rows.values())
    return {
        "methods": [_facts(row, chosen) for row in rows.values()],
        "data": data_result(planned),
        "cases": sum(window.cases for window in windows),
        "workers": workers,
        "splitting_seconds": preparing,
        "bootstrap_seconds": after,
        "seconds": preparing + _elapsed(tunings, workers) + _elapsed(seconds, workers) + after,
        "peak_bytes": peak,
        "available_bytes": available,
        "fits": peak <= available,
    }


def _row(name: str, train: Sessions, windows: Sequence[_Window], planting_bytes: int, chosen: Comparison) -> _Row:
    def ranked(recommender: Recommender, sample: Sessions) -> float:
        return _case_seconds(recommender, sample, chosen)

    sized = estimate(chosen.make(name), train, ranked)
    again = sized.seconds <= REFIT_SECONDS
    return _Row(name, sized, again, max(window.bytes for window in windows), planting_bytes)


def _case_seconds(recommender: Recommender, sample: Sessions, chosen: Comparison) -> float:
    """Seconds of ranking and measuring a case, of sessions that were learned from; 0 where they have no case."""
    test = spread_sessions(sample.select(sample.lengths > 1), SESSIONS)
    longest = chosen.plan.chosen.max_length

    def run(sessions: Sessions) -> tuple[float, int]:
        begin = time.perf_counter()
        try:
            found = evaluate(
                recommender,
                sessions,
                chosen.ks,
                max_prefix=longest,
                threads=chosen.threads,
                metrics=chosen.metrics,
                leaks=Leaks(sessions.n_sessions),
                train=sample,
            )
        except DataError:  # no click to predict among them
            return 0.0, 0
        return time.perf_counter() - begin, found.filled.n_cases

    if test.n_sessions == 0:
        return 0.0
    (few, n_few), (many, n_many) = run(test.select([0])), run(test)
    if few < many and n_few < n_many:  # what every run takes once is not counted for each case
        return (many - few) / (n_many - n_few)
    return many / max(n_many, 1)


def _add(row: _Row, fit: Fit, windows: Sequence[_Window], chosen: Comparison, store: RunStore | None) -> float:
    """Add the seconds of one fit to those of its method; gives them."""
    row.fits += 1
    if store is not None and chosen.tuning is None and store.path(fit.key).is_file():
        row.kept += 1
        return 0.0
    window, case = windows[fit.window], row.sized.use_seconds
    seconds = row.sized.seconds * window.events / windows[0].events
    added = {"fit": seconds, "ranking": case * window.cases}
    if fit.audited:
        added["audit"] = case * RANKED + (2 * seconds if row.audited_again else 0.0)
    for name, more in added.items():
        row.seconds[name] += more
    return sum(added.values())


def _add_tuning(row: _Row, window: _Window, chosen: Comparison) -> float:
    """Add the seconds of a method's search, if there is one; gives them."""
    tuning = chosen.tuning
    if tuning is None:
        return 0.0
    trial = (1 - tuning.fraction) * row.sized.seconds + tuning.fraction * window.events * row.sized.use_seconds
    trials = 1 if chosen.space(row.name).note else tuning.trials
    row.seconds["tuning"] = max(trial, min(trials * trial, tuning.minutes * MINUTE))
    return row.seconds["tuning"]


def _elapsed(seconds: Sequence[float], workers: int) -> float:
    """Seconds until all parts have ended; each is taken, in order, by the worker that is free first."""
    ends = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def _peak_bytes(rows: Sequence[_Row], workers: int, sent: int) -> int:
    """The most memory of all processes: workers hold what this one does, and what is sent to them."""
    peaks = sorted((row.peak_bytes for row in rows), reverse=True)
    if workers == 1:
        return peaks[0]
    held = max(row.sized.memory["this process and the log"] for row in rows)
    return held + sum(peak + sent for peak in peaks[:workers])


def _mapped_bytes(sessions: Sessions) -> int:
    """Bytes of the arrays that are pages of a file here, and a copy in each worker."""
    arrays = (sessions.offsets, *sessions.per_click().values())
    return sum(array.nbytes for array in arrays if _mapped(array))


def _mapped(array: Any) -> bool:
    while array is not None and not isinstance(array, mmap):
        array = getattr(array, "base", None)
    return array is not None


def _facts(row: _Row, chosen: Comparison) -> Result:
    return {
        "method": row.name,
        "params": chosen.make(row.name).params() | dict(row.sized.settled),
        "parameters": row.sized.parameters,
        "epochs": row.sized.epochs,
        "memory": dict(row.sized.memory),
        "evaluation_bytes": row.evaluation_bytes,
        "peak_bytes": row.peak_bytes,
        "fits": row.fits,
        "kept": row.kept,
        "one_fit_seconds": row.sized.seconds,
        "cases_per_second": 1 / max(row.sized.use_seconds, 1e-9),
        **{f"{name}_seconds": seconds for name, seconds in row.seconds.items()},
        "seconds": sum(row.seconds.values()),
        "basis": row.sized.basis,
    }

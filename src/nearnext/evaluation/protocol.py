"""The evaluation protocol: every prefix of every test session is a case, ranked against the whole catalogue."""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import psutil
from narwhals.typing import IntoDataFrame

from nearnext.data.leaks import Leaks, find_leaks, warn_of
from nearnext.data.sessionise import as_sessions
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import DEFAULT_CUTOFFS, cutoffs, further_names
from nearnext.evaluation.significance import interval
from nearnext.evaluation.sums import MetricAccumulator, MetricSums
from nearnext.options import Count, checked, require_type
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.ranking import Ranking, lists_at_a_time
from nearnext.shown import Shown

INTERVAL = 0.02
"""Seconds between two looks at the memory."""


@dataclass
class Cost:
    """Filled in when the measured step ends; memory is the largest that was seen, in MB of 10⁶ bytes."""

    seconds: float = 0.0
    peak_rss_mb: float = 0.0
    peak_own_mb: float = 0.0


def own_bytes(held: Any) -> int:
    """Of psutil's ``memory_info`` what is no page of a file, such as a mapped log, which the system can take back."""
    return int(held.rss - getattr(held, "shared", 0))  # where the system does not tell them apart: all


@contextmanager
def measured() -> Generator[Cost]:
    """Measures the enclosed step, memory every 20 ms."""
    cost = Cost()
    process = psutil.Process()
    ended = threading.Event()

    def watch() -> None:
        while True:
            held = process.memory_info()
            cost.peak_rss_mb = max(cost.peak_rss_mb, held.rss / 1e6)
            cost.peak_own_mb = max(cost.peak_own_mb, own_bytes(held) / 1e6)
            if ended.wait(INTERVAL):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    begin = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - begin
        ended.set()
        watcher.join()


TIE_RULE = "equal scores (as 32-bit floats) are ranked by popularity in training, then by first appearance there"
FALLBACK_RULE = (
    "lists shorter than k are filled with the most popular items of training; metrics without filling are reported too"
)


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Shown):
    """How well one fitted recommender predicts test sessions.

    Attributes:
        name: the method.
        params: its options.
        filled: sums over the lists as a user gets them, filled from popularity.
        unfilled: sums over the method's own entries alone, of all sessions together.
        seconds: ranking time, fit and metrics not included.
        peak_rss_mb: the most memory the process held while ranking.
        leaks: whether the test sessions are later than those that were learned from, and none of them among them.
    """

    name: str
    params: dict[str, Any]
    filled: MetricSums
    unfilled: MetricSums
    seconds: float
    peak_rss_mb: float
    leaks: Leaks | None = None

    @property
    def cases_per_second(self) -> float:
        """Cases ranked per second."""
        return self.filled.n_cases / max(self.seconds, 1e-9)

    def values(self) -> dict[str, float]:
        """Metrics of the filled lists by name, e.g. ``HitRate@20``."""
        return self.filled.values()

    def intervals(self, *, replicates: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95% intervals of the metrics that are means over cases, by bootstrap over sessions."""
        low, high = interval(self.filled.bootstrapped(replicates=replicates, seed=seed))
        return {name: (float(low[at]), float(high[at])) for at, name in enumerate(self.filled.names)}

    def to_frame(self) -> pl.DataFrame:
        """A row for each metric: metric, value, low and high of its 95% interval (null where it has none)."""
        values, intervals = self.values(), self.intervals()
        ends = [intervals.get(name, (None, None)) for name in values]
        lows, highs = [low for low, _ in ends], [high for _, high in ends]
        return pl.DataFrame({"metric": list(values), "value": list(values.values()), "low": lows, "high": highs})

    def title(self) -> str:
        """The method and its number of cases."""
        return f"{self.name}: {self.filled.n_cases:,} cases"

    def __repr__(self) -> str:
        return f"Evaluation({self.title()})"

    def __str__(self) -> str:
        intervals = self.intervals()
        lines = [
            *(self.leaks.lines() if self.leaks is not None else ()),
            f"{self.name}: {self.filled.n_cases:,} cases in {np.count_nonzero(self.filled.session_cases):,} sessions",
        ]
        for name, value in self.values().items():
            around = "  [{:.4f}, {:.4f}]".format(*intervals[name]) if name in intervals else ""
            lines.append(f"  {name:<14}{value:.4f}{around}")
        return "\n".join(lines)


def evaluate(
    recommender: Recommender,
    test: "Sessions | IntoDataFrame",
    k: int | Iterable[int] = DEFAULT_CUTOFFS,
    *,
    max_prefix: int | None = None,
    threads: int | None = None,
    leaks: Leaks | None = None,
    record: Callable[[Ranking], None] | None = None,
    metrics: Iterable[Any] = (),
    train: Sessions | None = None,
) -> Evaluation:
    """Rank all items for every prefix of every test session, and score the lists. Nothing is sampled.

    A `LeakWarning` says, and ``leaks`` of the evaluation hold, what is wrong where test sessions are earlier than the
    training sessions or among them.

    Args:
        recommender: fitted on sessions that end before the test begins.
        test: sessions to predict, or a frame of clicks; items that the recommender does not know count as misses.
        k: list length, or several.
        max_prefix: clicks of a prefix that the recommender sees, the last ones; None: all.
        threads: worker threads, by default one per core.
        leaks: those of the split that both parts come from; by default they are looked for, in ``test``.
        record: called with the lists of the next cases, in their order, such as `RunLists.add`.
        metrics: further metrics by name, e.g. NDCG, or as objects; see `nearnext.evaluation.case_metric`.
        train: the training sessions, for metrics that use co-occurrence; by default those that the recommender
            remembers.

    Raises:
        ConfigError: a list length below 1, an unknown metric, or a recommender that is not fitted.
        DataError: no test session has 2 clicks, or no test item is one of training.

    >>> from nearnext.recommenders.rules import Markov
    >>> markov = Markov().fit(Sessions.of([["a", "b"], ["b", "c"]]))
    >>> result = evaluate(markov, Sessions.of([["a", "b", "a"]]), k=1)
    >>> result.values()["HitRate@1"]
    0.5
    """
    require_type("recommender", recommender, Recommender, "make one with make_recommender('vsknn').fit(sessions)")
    test = as_sessions("test sessions", test)
    if not recommender.fitted:
        raise ConfigError(f"{recommender.name} is not fitted; call fit(sessions) first")
    max_prefix = checked("max_prefix", max_prefix, Count | None)
    ks = cutoffs(k if isinstance(k, Iterable) else [k])
    if leaks is None:
        leaks = find_leaks(recommender.imprint, test)
        warn_of(leaks)
    if test.vocabulary is not recommender.vocabulary:
        test = test.with_vocabulary(recommender.vocabulary)
    if test.n_events and not test.items.any():
        raise DataError(
            f"no test click is on an item that {recommender.name} was fitted on, such as "
            f"{recommender.vocabulary.decode([1])[0]!r}; give a log with the same item ids, and check its item column"
        )
    cases = Cases.of(test, max_prefix)
    further = further_names(metrics)
    if train is None and recommender.memory is not None:
        train = recommender.memory.sessions
    if train is not None and train.vocabulary is not recommender.vocabulary:
        train = train.with_vocabulary(recommender.vocabulary)
    filled = MetricAccumulator(cases, recommender.popularity, ks, further, train)
    unfilled = MetricAccumulator(cases, recommender.popularity, ks, further, train)
    longest = min(ks[-1], len(recommender.vocabulary))
    block = lists_at_a_time(longest)
    recommender.rank(cases.prefixes.slice(0, 1), longest, threads=1)  # compiled code is loaded outside the clock
    seconds, peak = 0.0, 0.0
    with track(f"{recommender.name}: ranking", len(cases), "cases") as advance:
        for begin in range(0, len(cases), block):
            prefixes = cases.prefixes.slice(begin, begin + block)
            with measured() as cost:
                ranking = recommender.rank(prefixes, longest, threads=threads, advance=advance)
            seconds += cost.seconds
            peak = max(peak, cost.peak_rss_mb)
            filled.add(ranking)
            unfilled.add(ranking.unfilled())
            if record is not None:
                record(ranking)
    return Evaluation(
        recommender.name, recommender.params(), filled.sums(), unfilled.sums().pooled(), seconds, peak, leaks
    )

"""Sums of metric values over cases: all that is kept of an evaluation, whatever the number of cases."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.evaluation.case_metric import Lists, Training
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import (
    DEFAULT_CUTOFFS,
    LIST_METRICS,
    case_values,
    coverage,
    cutoffs,
    further_names,
    gini,
    metric_names,
    relative_popularity,
)
from nearnext.evaluation.significance import bootstrap, ratios
from nearnext.recommenders.ranking import Ranking
from nearnext.registry import METRICS
from nearnext.types import FloatArray, Int64Array

PREFIX_BUCKETS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11-15", "16-20", "21+")
"""Prefix lengths, in clicks, that share a row in tables per prefix length."""

_BUCKET_STARTS = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 21])


def prefix_bucket(prefix_lengths: Int64Array) -> Int64Array:
    """Position in ``PREFIX_BUCKETS`` of each prefix length (from 1): [C]."""
    return np.searchsorted(_BUCKET_STARTS, prefix_lengths, side="right") - 1


@dataclass(frozen=True, eq=False)
class MetricSums:
    """Sums over all cases of one evaluation, with M = metrics × K list lengths as columns; the arrays are read-only.

    A metric that excludes some cases, such as HeadHitRate, is divided by the number of the other cases.

    By session: sums [S, M], cases [S], and those that each metric counts [S, M]; the same by bucket of
    ``PREFIX_BUCKETS``: [13, M], [13], [13, M]. ``recommended``: in how many lists each item index is among the first k,
    0 at position 0: [K, I + 1]. ``further``: names of metrics besides the default ones, whose columns follow theirs.
    """

    ks: tuple[int, ...]
    session_sums: FloatArray
    session_cases: Int64Array
    session_counts: Int64Array
    bucket_sums: FloatArray
    bucket_cases: Int64Array
    bucket_counts: Int64Array
    recommended: Int64Array
    further: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in SUMS:
            getattr(self, name).flags.writeable = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, such as ``HitRate@20``: [M]."""
        return (*metric_names(self.ks), *metric_names(self.ks, self.further))

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return int(self.session_cases.sum())

    def pooled(self) -> "MetricSums":
        """The same sums with all sessions as one, which need no memory for each session."""
        by_session = ("session_sums", "session_cases", "session_counts")
        return replace(self, **{name: getattr(self, name).sum(axis=0, keepdims=True) for name in by_session})

    def bootstrapped(self, *, seed: int, replicates: int = 1000, window: int = 0) -> FloatArray:
        """Means over cases of R resamplings of the sessions, see `bootstrap`: [R, M]."""
        counts = self.session_counts if self.further else self.session_cases  # only further metrics leave out cases
        return bootstrap(self.session_sums, counts, replicates=replicates, seed=seed, window=window)

    def means(self) -> FloatArray:
        """Mean over its cases of each column, NaN where it has none: [M]."""
        return ratios(self.session_sums.sum(axis=0), self.session_counts.sum(axis=0))

    def values(self) -> dict[str, float]:
        """Every metric by name: the means over cases, then Coverage and Gini of all lists for each k."""
        of_lists = [metric(counts) for counts in self.recommended for metric in (coverage, gini)]
        names = (*self.names, *metric_names(self.ks, LIST_METRICS))
        return dict(zip(names, [*self.means().tolist(), *of_lists], strict=True))


SUMS = tuple(entry.name for entry in fields(MetricSums) if entry.name not in ("ks", "further"))
"""The arrays of `MetricSums`."""


class MetricAccumulator:
    """Sums over cases [C], added in batches; results do not depend on the batch size. Training clicks: [I + 1].

    Additional metrics are given by name; some need the training sessions for co-occurrence.
    """

    def __init__(
        self,
        cases: Cases,
        train_counts: Int64Array,
        ks: Iterable[int] = DEFAULT_CUTOFFS,
        further: Iterable[str] = (),
        train: Sessions | None = None,
    ) -> None:
        if len(train_counts) != cases.n_items + 1:
            raise DataError(
                f"expected training counts of {cases.n_items} items after position 0, found {len(train_counts)} "
                "numbers; count in the vocabulary of the test sessions"
            )
        self.ks = cutoffs(ks)
        self._cases = cases
        self._done = 0
        self._popularity = relative_popularity(train_counts)
        self._further = {name: METRICS.make(name) for name in further_names(further)}
        self._training = Training(train_counts, train)
        n_columns = len(metric_names(self.ks)) + len(self._further) * len(self.ks)
        # Of default metrics every case counts, so that numbers of cases by session and metric need no memory.
        self._session_sums = np.zeros((2 if self._further else 1, cases.n_sessions, n_columns))
        self._bucket_sums = np.zeros((2, len(PREFIX_BUCKETS), n_columns))
        self._recommended = np.zeros((len(self.ks), cases.n_items + 1), dtype=np.int64)

    def add(self, ranking: Ranking) -> None:
        """Counts the lists of the next B cases."""
        end = self._done + len(ranking)
        batch = self._cases.take(slice(self._done, end))
        values = np.column_stack(
            [case_values(ranking, batch, self._popularity, self.ks), *self._further_values(ranking, batch)]
        )
        counted = ~np.isnan(values)
        for at, each in enumerate((np.where(counted, values, 0.0), counted)):
            if at < len(self._session_sums):
                np.add.at(self._session_sums[at], batch.session, each)
            np.add.at(self._bucket_sums[at], prefix_bucket(batch.prefix_lengths), each)
        for counts, k in zip(self._recommended, self.ks, strict=True):
            items = ranking.items[:, :k]
            np.add.at(counts, items[items > 0], 1)
        self._done = end

    def _further_values(self, ranking: Ranking, cases: Cases) -> Iterator[FloatArray]:
        """Columns of the further metrics, by k, then by metric: [B] each."""
        for k in self.ks if self._further else ():
            lists = Lists.of(ranking, cases, self._training, k)
            for name, metric in self._further.items():
                values = _numbers(name, metric.values(lists))
                if values.shape != (len(cases),) or np.isinf(values).any():
                    raise DataError(
                        f"expected a finite value or NaN for each of {len(cases)} cases from the metric {name}, found "
                        f"an array {list(values.shape)} with {np.count_nonzero(np.isinf(values))} infinite ones"
                    )
                yield values

    def sums(self) -> MetricSums:
        """The sums over all cases, once these were added; arrays are shared, not copied."""
        if self._done != len(self._cases):
            raise DataError(f"expected lists for {len(self._cases)} cases, found {self._done}; add the others first")
        session_sums, *counted = self._session_sums
        session_cases = np.bincount(self._cases.session, minlength=self._cases.n_sessions)
        alike = np.broadcast_to(session_cases[:, None], session_sums.shape)
        return MetricSums(
            ks=self.ks,
            session_sums=session_sums,
            session_cases=session_cases,
            session_counts=counted[0].astype(np.int64) if counted else alike,
            bucket_sums=self._bucket_sums[0].copy(),
            bucket_cases=np.bincount(prefix_bucket(self._cases.prefix_lengths), minlength=len(PREFIX_BUCKETS)),
            bucket_counts=self._bucket_sums[1].astype(np.int64),
            recommended=self._recommended.copy(),
            further=tuple(self._further),
        )


def _numbers(name: str, values: object) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"expected numbers from the metric {name}: {error}; give a number or NaN for each case"
        ) from error

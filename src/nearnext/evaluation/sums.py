"""Sums of metric values over cases: all that is kept of an evaluation, whatever the number of cases."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nearnext.errors import DataError
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import (
    DEFAULT_CUTOFFS,
    LIST_METRICS,
    case_values,
    coverage,
    cutoffs,
    gini,
    metric_names,
    relative_popularity,
)
from nearnext.recommenders.ranking import Ranking
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

    Attributes:
        ks: list lengths, rising: [K].
        session_sums: sum over its cases of each metric, for each session: [S, M].
        session_cases: cases of each session: [S].
        bucket_sums: sum over its cases of each metric, for each of ``PREFIX_BUCKETS``: [13, M].
        bucket_cases: cases of each bucket: [13].
        recommended: in how many lists each item index is among the first k; position 0 is 0: [K, I + 1].
    """

    ks: tuple[int, ...]
    session_sums: FloatArray
    session_cases: Int64Array
    bucket_sums: FloatArray
    bucket_cases: Int64Array
    recommended: Int64Array

    def __post_init__(self) -> None:
        arrays = (self.session_sums, self.session_cases, self.bucket_sums, self.bucket_cases, self.recommended)
        for array in arrays:
            array.flags.writeable = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, such as ``HitRate@20``: [M]."""
        return metric_names(self.ks)

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return int(self.session_cases.sum())

    def means(self) -> FloatArray:
        """Mean over cases of each column: [M]."""
        return self.session_sums.sum(axis=0) / self.n_cases

    def values(self) -> dict[str, float]:
        """Every metric by name: the means over cases, then Coverage and Gini of all lists for each k."""
        of_lists = [metric(counts) for counts in self.recommended for metric in (coverage, gini)]
        names = (*self.names, *metric_names(self.ks, LIST_METRICS))
        return dict(zip(names, [*self.means().tolist(), *of_lists], strict=True))


class MetricAccumulator:
    """Sums that grow batch by batch in the order of the cases; the size of the batches changes no bit of the result.

    Args:
        cases: all cases of an evaluation: [C].
        train_counts: training clicks of each item index: [I + 1].
        ks: list lengths to report.

    >>> from nearnext.data.sessions import Sessions
    >>> accumulator = MetricAccumulator(Cases.of(Sessions.of([["a", "b", "a"]])), np.array([0, 1, 1]), ks=[1])
    >>> for item in (2, 2):
    ...     accumulator.add(Ranking(np.array([[item]], np.int32), np.ones((1, 1), np.float32), np.array([1], np.int32)))
    >>> accumulator.sums().values()["HitRate@1"]
    0.5
    """

    def __init__(self, cases: Cases, train_counts: Int64Array, ks: Iterable[int] = DEFAULT_CUTOFFS) -> None:
        if len(train_counts) != cases.n_items + 1:
            raise DataError(
                f"expected training counts of {cases.n_items} items after position 0, found {len(train_counts)} "
                "numbers; count in the vocabulary of the test sessions"
            )
        self.ks = cutoffs(ks)
        self._cases = cases
        self._done = 0
        self._popularity = relative_popularity(train_counts)
        n_columns = len(metric_names(self.ks))
        self._session_sums = np.zeros((cases.n_sessions, n_columns))
        self._bucket_sums = np.zeros((len(PREFIX_BUCKETS), n_columns))
        self._recommended = np.zeros((len(self.ks), cases.n_items + 1), dtype=np.int64)

    def add(self, ranking: Ranking) -> None:
        """Counts the lists of the next B cases."""
        end = self._done + len(ranking)
        batch = self._cases.slice(self._done, end)
        values = case_values(ranking, batch, self._popularity, self.ks)
        np.add.at(self._session_sums, batch.session, values)
        np.add.at(self._bucket_sums, prefix_bucket(batch.prefix_lengths), values)
        for counts, k in zip(self._recommended, self.ks, strict=True):
            items = ranking.items[:, :k]
            np.add.at(counts, items[items > 0], 1)
        self._done = end

    def sums(self) -> MetricSums:
        """The sums over all cases."""
        if self._done != len(self._cases):
            raise DataError(f"expected lists for {len(self._cases)} cases, found {self._done}; add the others first")
        n_sessions, n_buckets = self._cases.n_sessions, len(PREFIX_BUCKETS)
        return MetricSums(
            ks=self.ks,
            session_sums=self._session_sums.copy(),
            session_cases=np.bincount(self._cases.session, minlength=n_sessions),
            bucket_sums=self._bucket_sums.copy(),
            bucket_cases=np.bincount(prefix_bucket(self._cases.prefix_lengths), minlength=n_buckets),
            recommended=self._recommended.copy(),
        )

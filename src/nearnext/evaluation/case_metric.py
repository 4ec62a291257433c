"""Metrics by case: functions of the lists of a batch of cases and of training statistics; and those of nearnext."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.evaluation.cases import Cases
from nearnext.recommenders.ranking import Ranking
from nearnext.topk import ranks_of
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

ROWS = 1024
"""Lists whose items are compared at once."""

ROUNDING = 1e-4
"""What the sum of a list's scores may exceed 1 by: they are 32-bit floats."""


@dataclass(frozen=True, eq=False)
class Training:
    """Training statistics for metrics; item indices are in order of falling clicks.

    Attributes:
        counts: clicks on each item index: [I + 1].
        sessions: the training sessions, for metrics that use co-occurrence; None: not available.
    """

    counts: Int64Array
    sessions: Sessions | None = None

    @cached_property
    def shares(self) -> FloatArray:
        """Share of all training clicks of each item; items without clicks count one click: [I + 1]."""
        return np.maximum(self.counts, 1) / max(int(self.counts[1:].sum()), 1)

    @cached_property
    def head(self) -> int:
        """Last item index of the head: the fewest most clicked items that make at least half of all clicks."""
        clicks: Int64Array = np.cumsum(self.counts[1:])
        return int(np.count_nonzero(clicks < clicks[-1] / 2)) + 1 if len(clicks) else 0

    def closeness(self, items: IndexArray) -> FloatArray:
        """Sum over all ordered pairs of two items of a list of their cosine, in [0, 1]: [B, n] → [B].

        The cosine is that of the sets of training sessions that clicked them.
        """
        sums = np.zeros(len(items))
        for begin in range(0, len(items), ROWS):
            part = items[begin : begin + ROWS]
            row, column = np.nonzero(part)
            shape = (len(part), len(self.counts))
            listed: Any = sparse.csr_matrix((np.ones(len(row)), (row, part[row, column])), shape=shape)
            pairs: Any = listed.multiply(listed @ self._cosines).sum(axis=1)
            sums[begin : begin + ROWS] = np.asarray(pairs).ravel() - listed @ self._cosines.diagonal()
        return sums

    @cached_property
    def _cosines(self) -> Any:
        if self.sessions is None:
            raise ConfigError(
                "this metric needs the training sessions, found none; give train, or let "
                "the model remember (--remember) them"
            )
        sessions, n_items = self.sessions, len(self.counts)
        clicks = np.ones(sessions.n_events)
        shape = (sessions.n_sessions, n_items)
        clicked: Any = sparse.csr_matrix((clicks, (sessions.session_of_event(), sessions.items)), shape=shape)
        clicked.data[:] = 1.0  # however often in a session
        together = (clicked.T @ clicked).tocsr()
        norms = np.sqrt(np.maximum(together.diagonal(), 1.0))
        together.sort_indices()
        together.data /= np.repeat(norms, np.diff(together.indptr)) * norms[together.indices]
        return together


@dataclass(frozen=True, eq=False)
class Lists:
    """The lists of B cases, cut to the first k items, with their relevance.

    Attributes:
        k: list length.
        items: item indices, best first, 0 after the end of a list: [B, n], n at most k.
        scores: their scores, 0 where an item was filled in from popularity: [B, n].
        relevant: whether each item is among the session's remaining clicks: [B, n].
        rank: rank of the next item, from 1; 0 where it is not in the list: [B].
        cases: the prefixes, and the clicks that follow them.
        training: training statistics.
    """

    k: int
    items: IndexArray
    scores: ScoreArray
    relevant: BoolArray
    rank: Int64Array
    cases: Cases
    training: Training

    @classmethod
    def of(cls, ranking: Ranking, cases: Cases, training: Training, k: int) -> "Lists":
        """The first k items of each list."""
        items = ranking.items[:, :k]
        return cls(
            k, items, ranking.scores[:, :k], cases.remain(items), ranks_of(cases.targets, items), cases, training
        )

    @property
    def hit(self) -> BoolArray:
        """Whether the next item is in the list: [B]."""
        return self.rank > 0

    @property
    def lengths(self) -> Int64Array:
        """Items of each list: [B], at most k."""
        return np.count_nonzero(self.items, axis=1)

    def mean(self, values: FloatArray) -> FloatArray:
        """Mean over the items of each list of a value of each rank, 0 for an empty list: [B, n] → [B]."""
        return (values * (self.items > 0)).sum(axis=1) / np.maximum(self.lengths, 1)


@dataclass(frozen=True)
class CaseMetric(ABC):
    """A metric with one value per case; reports show the mean over the cases that have a value.

    Your own metric is a dataclass decorated with `nearnext.register`. The first paragraph of its docstring is its
    definition in reports; with ``best`` True a higher value is better, and reports mark the best method.

    >>> import nearnext
    >>> @nearnext.register("TopThree")
    ... @dataclass(frozen=True)
    ... class TopThree(CaseMetric):
    ...     '''Share of cases whose next item is among the first three.'''
    ...
    ...     best = True
    ...
    ...     def values(self, lists):
    ...         return lists.hit & (lists.rank <= 3)
    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> markov = nearnext.make_recommender("markov-1").fit(log)
    >>> nearnext.evaluate(markov, log, k=5, metrics=["TopThree"]).values()["TopThree@5"]
    1.0
    >>> nearnext.registry.METRICS.remove("TopThree")
    """

    best: ClassVar[bool] = False

    @abstractmethod
    def values(self, lists: Lists) -> FloatArray | BoolArray:
        """The value of each case, NaN where it does not count: [B]."""


@dataclass(frozen=True)
class NDCG(CaseMetric):
    """Normalised discounted cumulative gain of the next item: 1 / log2(1 + its rank), 0 where it is not in the list.

    With one relevant item the ideal gain is 1. Järvelin and Kekäläinen, *Cumulated gain-based evaluation of IR
    techniques*, ACM TOIS 2002; so in SASRec and later papers.
    """

    best: ClassVar[bool] = True

    def values(self, lists: Lists) -> FloatArray:
        return np.where(lists.hit, 1 / np.log2(np.maximum(lists.rank, 1) + 1), 0.0)


@dataclass(frozen=True)
class HeadHitRate(CaseMetric):
    """HitRate of the cases whose next item is in the head: the fewest most clicked items with half of all clicks."""

    best: ClassVar[bool] = True

    def values(self, lists: Lists) -> FloatArray:
        return np.where(_in_head(lists), lists.hit, np.nan)


@dataclass(frozen=True)
class TailHitRate(CaseMetric):
    """HitRate of the cases whose next item is not in the head, including items that are not in training."""

    best: ClassVar[bool] = True

    def values(self, lists: Lists) -> FloatArray:
        return np.where(_in_head(lists), np.nan, lists.hit)


def _in_head(lists: Lists) -> BoolArray:
    targets = lists.cases.targets
    return (targets > 0) & (targets <= lists.training.head)


@dataclass(frozen=True)
class Novelty(CaseMetric):
    """Mean self-information of a list's items, −log2 of their share of all training clicks, in bits.

    Zhou et al., *Solving the apparent diversity-accuracy dilemma of recommender systems*, PNAS 2010, with clicks
    instead of users. Rare items are novel; 0 for an empty list.
    """

    def values(self, lists: Lists) -> FloatArray:
        return lists.mean(-np.log2(lists.training.shares[lists.items]))


@dataclass(frozen=True)
class Diversity(CaseMetric):
    """Mean distance of all pairs of a list's items: 1 − the cosine of the sets of training sessions that clicked them.

    Intra-list diversity: Smyth and McClave, *Similarity vs. diversity*, ICCBR 2001; Ziegler et al., WWW 2005. The
    distance comes from the log, not from a model, so that methods are comparable. 0 for lists below two items.
    """

    def values(self, lists: Lists) -> FloatArray:
        pairs = lists.lengths * (lists.lengths - 1)
        return (pairs - lists.training.closeness(lists.items)) / np.maximum(pairs, 1)


@dataclass(frozen=True)
class Serendipity(CaseMetric):
    """Share of cases whose next item is in the list but not among the k most clicked items, as popularity would list.

    Ge, Delgado-Battenfeld and Jannach, *Beyond accuracy*, RecSys 2010: useful, and not listed by a primitive method.
    """

    best: ClassVar[bool] = True

    def values(self, lists: Lists) -> BoolArray:
        return lists.hit & (lists.cases.targets > lists.k)


@dataclass(frozen=True)
class Overconfidence(CaseMetric):
    """How much more often the scores of a list promise the next item than it is there: their sum, less 1 for a hit.

    The mean is 0 for scores that are calibrated on average and above 0 for scores that promise too much. Lists count
    whose scores can be probabilities: they sum to more than 0 and at most 1.
    """

    def values(self, lists: Lists) -> FloatArray:
        return _as_probabilities(lists).sum(axis=1) - lists.hit


@dataclass(frozen=True)
class Brier(CaseMetric):
    """Squared error of a list's scores as probabilities: (1 − score)² of the next item plus the squares of the others.

    Brier, *Verification of forecasts expressed in terms of probability*, Monthly Weather Review 1950, over the items of
    the list; lower is better. Lists count whose scores can be probabilities: they sum to more than 0 and at most 1.
    """

    def values(self, lists: Lists) -> FloatArray:
        promised = _as_probabilities(lists)
        is_next = np.zeros(promised.shape, np.bool_)
        hits = np.flatnonzero(lists.hit)
        is_next[hits, lists.rank[hits] - 1] = True
        return np.square(is_next - promised).sum(axis=1)


def _as_probabilities(lists: Lists) -> FloatArray:
    """Scores in 64 bits; NaN for lists whose scores cannot be probabilities: [B, n]."""
    scores: FloatArray = lists.scores.astype(np.float64)
    total = scores.sum(axis=1)
    possible = (scores.min(axis=1, initial=0.0) >= 0) & (total > 0) & (total <= 1 + ROUNDING)
    scores[~possible] = np.nan
    return scores

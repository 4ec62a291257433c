"""Metrics beyond the default ones: NDCG, head against tail, novelty, diversity, serendipity."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nearnext.evaluation.case_metric import CaseMetric, Lists
from nearnext.types import BoolArray, FloatArray


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

"""Metrics of ranked lists: what each one means, its value per case, and the values of all lists together."""

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.cases import Cases
from nearnext.options import Count, checked, require_known, require_type
from nearnext.options.values import shown
from nearnext.recommenders.ranking import Ranking
from nearnext.registry import METRICS
from nearnext.types import FloatArray, Int64Array

CASE_METRICS = ("HitRate", "MRR", "Precision", "Recall", "MAP", "AP", "Popularity")
"""Metrics with a value per case; reported is the mean over cases."""

LIST_METRICS = ("Coverage", "Gini")
"""Metrics of all lists together."""

DEFAULT_CUTOFFS = (5, 10, 20)
"""List lengths k that are reported where none are asked for."""

METRIC_DEFINITIONS: dict[str, str] = {
    "HitRate": (
        "Share of cases whose next item is among the first k; GRU4Rec papers call it Recall@k, others HR@k, and graph "
        "papers (SR-GNN and later) report it × 100 as P@k."
    ),
    "MRR": (
        "Mean of 1 / rank of the next item, 0 where it is not among the first k; graph papers report it × 100 as MRR@k."
    ),
    "Precision": (
        "Distinct items of the session's remaining clicks among the first k, divided by k, also where the list is "
        "shorter; not the P@k of graph papers, which is HitRate × 100."
    ),
    "Recall": (
        "Distinct items of the session's remaining clicks among the first k, divided by the number of remaining clicks "
        "with repeats (as the paper and session-rec count), so that a session with repeats cannot reach 1; not the "
        "Recall@k of GRU4Rec papers, which is HitRate@k."
    ),
    "MAP": (
        "The paper's and session-rec's MAP: each hit among the first k − 1 adds (hits so far / k) / remaining clicks "
        "with repeats: H (H + 1) / 2 / (k × remaining) for H hits at whatever ranks; not comparable with other "
        "papers' MAP, see AP."
    ),
    "AP": (
        "Standard average precision, mean over cases (map_cut in trec_eval, map@k in ranx, MAP@k in most papers): the "
        "precision at the rank of each hit among the first k, summed, divided by the distinct remaining items."
    ),
    "Popularity": (
        "Mean over the items of a list of their training clicks relative to the most clicked item's (as in "
        "session-rec), over the items present where the list is shorter than k, 0 for an empty list; lower is less "
        "mainstream."
    ),
    "Coverage": "Share of the catalogue (items known to training) that is in the first k of at least one list.",
    "Gini": (
        "Inequality of how often each item of the catalogue is in the first k of a list, never recommended ones "
        "included: 0 all equally often, 1 a single item only."
    ),
}
"""One sentence for each metric: its definition, and what other papers call it."""


def further_names(metrics: Iterable[Any]) -> tuple[str, ...]:
    """The registered names of additional metrics: names, matched without case, or metrics as objects.

    >>> further_names(["ndcg", "HitRate", "novelty"])
    ('NDCG', 'Novelty')
    """
    if isinstance(metrics, str):
        raise ConfigError(f"metrics must be several names, found {metrics!r}; write it in [ ]")
    require_type("metrics", metrics, Iterable, "give for example ['NDCG']")
    asked = [each if isinstance(each, str) else _name_of(each) for each in metrics]
    known = {name.lower(): name for name in (*METRIC_DEFINITIONS, *METRICS)}
    asked = [known.get(name.strip().lower(), name) for name in asked]
    for name in asked:
        require_known("metric", name, tuple(known.values()))
    return tuple(dict.fromkeys(name for name in asked if name not in METRIC_DEFINITIONS))


def _name_of(metric: object) -> str:
    """The name of a metric that is given as an object."""
    name = METRICS.name_of(metric)
    if name is None or isinstance(metric, type):
        raise ConfigError(
            f"expected metrics by name or as objects of a class with @nearnext.register, found {shown(metric)}; give "
            "for example 'NDCG'"
        )
    if metric != METRICS.make(name):
        raise ConfigError(f"metric {name} has no options here, found {metric!r}; register one for each set of options")
    return name


def definitions(metrics: Iterable[str] = ()) -> dict[str, str]:
    """What each default metric and each of these means, by name."""
    docs = {name: inspect.getdoc(METRICS[name]) or "" for name in further_names(metrics)}
    return METRIC_DEFINITIONS | {name: " ".join(text.split("\n\n")[0].split()) for name, text in docs.items()}


def cutoffs(ks: Iterable[int]) -> tuple[int, ...]:
    """List lengths to report, rising and distinct."""
    require_type("ks", ks, Iterable, "give for example [5, 10, 20]")
    rising = tuple(sorted({checked("k", k, Count) for k in ks}))
    if not rising:
        raise ConfigError("expected list lengths k of at least 1, found none; give for example 5, 10, 20")
    return rising


def metric_names(ks: Iterable[int], metrics: Iterable[str] = CASE_METRICS) -> tuple[str, ...]:
    """Names such as ``HitRate@20`` in the order of all value arrays: by k, then as in ``metrics``."""
    names = tuple(metrics)
    return tuple(f"{name}@{k}" for k in cutoffs(ks) for name in names)


def relative_popularity(train_counts: Int64Array) -> FloatArray:
    """Training clicks of each item divided by the most clicked item's, 0 at position 0: [I + 1], in [0, 1]."""
    most = int(train_counts[1:].max(initial=0))
    if most < 1:
        raise DataError("expected training clicks on at least one item, found none; give the training part's counts")
    popularity = train_counts / most
    popularity[0] = 0.0
    return popularity


def check_ranking(ranking: Ranking, n_cases: int, n_items: int, longest: int) -> None:
    """Check that lists can be measured: one for each case, of distinct known items, gaps only at the end."""
    items = ranking.items
    if len(items) != n_cases:
        raise DataError(f"expected a list for each of {n_cases} cases, found {len(items)} lists; rank every case once")
    if ranking.k < min(longest, n_items):
        raise DataError(f"expected lists of {min(longest, n_items)} items, found {ranking.k}; ask for k={longest}")
    rising = np.sort(items, axis=1)
    faults = {
        f"has an item index outside 0..{n_items}; rank items of the training vocabulary": (
            (items < 0) | (items > n_items)
        ),
        "has an item after its end; index 0 may only fill the end of a list": (items[:, :-1] == 0)
        & (items[:, 1:] != 0),
        "has a number of own items that is negative or above its length; count the items that the method scored": (
            (ranking.own < 0) | (ranking.own > np.count_nonzero(items, axis=1))
        )[:, np.newaxis],
        "recommends an item twice; a list holds distinct items": (rising[:, :-1] == rising[:, 1:])
        & (rising[:, 1:] != 0),
    }
    for fault, where in faults.items():
        if where.any():
            raise DataError(f"list {int(np.argmax(where.any(axis=1)))} of the ranking {fault}")


def case_values(ranking: Ranking, cases: Cases, popularity: FloatArray, ks: Iterable[int]) -> FloatArray:
    """Value of every case metric for lists [B, k] and popularity [I + 1]: [B, M], columns as in ``metric_names(ks)``.

    See ``METRIC_DEFINITIONS`` for what each value means, ``Cases`` for how unknown items count.
    """
    rising = cutoffs(ks)
    check_ranking(ranking, len(cases), cases.n_items, rising[-1])
    items = ranking.items[:, : rising[-1]]
    width = items.shape[1]
    ranks = np.arange(1, width + 1, dtype=np.float64)
    relevant = cases.remain(items)
    is_next = (items == cases.targets[:, np.newaxis]) & (items > 0)
    # Column n of each of these is a sum over the first n ranks.
    next_hits, reciprocal_ranks = _until(is_next), _until(is_next / ranks)
    hits, listed, clicks = _until(relevant), _until(items > 0), _until(popularity[items])
    precisions = _until(relevant * hits[:, 1:] / ranks)
    values = np.empty((len(items), len(rising), len(CASE_METRICS)))
    for column, k in enumerate(rising):
        n = min(k, width)
        paper_hits = hits[:, min(k - 1, width)]
        values[:, column] = np.stack(
            [
                next_hits[:, n],
                reciprocal_ranks[:, n],
                hits[:, n] / k,
                hits[:, n] / cases.remaining,
                paper_hits * (paper_hits + 1) / 2 / (k * cases.remaining),
                precisions[:, n] / cases.distinct,
                clicks[:, n] / np.maximum(listed[:, n], 1),
            ],
            axis=1,
        )
    return values.reshape(len(items), -1)


def _until(values: np.typing.NDArray[np.generic]) -> FloatArray:
    """Sums over the first 0, 1, ..., k ranks: [B, k + 1] for values [B, k]."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def coverage(recommended: Int64Array) -> float:
    """Share of the catalogue that is recommended at least once, in [0, 1]."""
    return float(np.mean(recommended[1:] > 0)) if len(recommended) > 1 else 0.0


def gini(recommended: Int64Array) -> float:
    """Gini index of how often items are recommended: 0 all equally often, 1 a single item only.

    With counts c₁ ≤ ... ≤ c_I, those of never recommended items included: Σ (2 i − I − 1) cᵢ / ((I − 1) Σ cᵢ); 0 for a
    catalogue of one item or where nothing is recommended. Castells, Hurley and Vargas, *Novelty and Diversity in
    Recommender Systems*, Recommender Systems Handbook, 2015.

    >>> gini(np.array([0, 2, 2, 2])), gini(np.array([0, 0, 6, 0]))
    (0.0, 1.0)
    """
    counts = np.sort(recommended[1:]).astype(np.float64)
    n_items, total = len(counts), float(counts.sum())
    if n_items < 2 or total == 0:  # noqa: PLR2004 - one item cannot be unequal
        return 0.0
    weights = 2.0 * np.arange(1, n_items + 1) - n_items - 1
    return float(weights @ counts / ((n_items - 1) * total))

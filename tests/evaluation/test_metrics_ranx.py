"""Metrics per case against ranx, an independent library, on random rankings."""

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import case_values, metric_names
from nearnext.recommenders.ranking import Ranking
from ranx_support import Judged, by_ranx

pytestmark = pytest.mark.slow

KS = (1, 5, 20)
N_ITEMS = 30


def random_cases(rng: np.random.Generator) -> Cases:
    """Cases of sessions with repeats, and with items that training lacks (numbers above 30)."""
    clicks = [rng.integers(1, N_ITEMS + 8, size=rng.integers(2, 12)).tolist() for _ in range(40)]
    return Cases.of(Sessions.of(clicks).with_vocabulary(Vocabulary.of(range(1, N_ITEMS + 1))))


def random_ranking(rng: np.random.Generator, n_cases: int) -> Ranking:
    """Lists of 1 to 20 items."""
    items = np.stack([rng.permutation(N_ITEMS)[: max(KS)] + 1 for _ in range(n_cases)]).astype(np.int32)
    own = rng.integers(1, max(KS) + 1, size=n_cases).astype(np.int32)
    scores = np.tile(np.arange(max(KS), 0, -1, dtype=np.float32), (n_cases, 1))
    return Ranking(items, scores, own).unfilled()


def names_of(items: list[int], first: int) -> list[str]:
    """Names of clicks; each unknown click is an item of its own."""
    return [str(item) if item else f"unknown-{position}" for position, item in enumerate(items, start=first)]


def remaining_names(cases: Cases) -> list[list[str]]:
    """Names of the clicks after each prefix."""
    ends = cases.prefixes.ends
    return [
        names_of(cases.prefixes.items[end : end + rest].tolist(), end)
        for end, rest in zip(ends.tolist(), cases.remaining.tolist(), strict=True)
    ]


def asked(wanted: list[set[str]], ranking: Ranking, *metrics: str) -> tuple[Judged, Judged, list[str]]:
    """What ranx is asked: the items wanted and listed in each case, and its names of metrics at every k."""
    names = [f"{case:06d}" for case in range(len(ranking))]
    qrels = {name: dict.fromkeys(sorted(items), 1) for name, items in zip(names, wanted, strict=True)}
    lists = [
        {str(item): float(score) for item, score in zip(items, scores, strict=True) if item}
        for items, scores in zip(ranking.items.tolist(), ranking.scores.tolist(), strict=True)
    ]
    return qrels, dict(zip(names, lists, strict=True)), [f"{metric}@{k}" for metric in metrics for k in KS]


def test_metrics_equal_ranx() -> None:
    rng = np.random.default_rng(11)
    cases = random_cases(rng)
    ranking = random_ranking(rng, len(cases))
    values = case_values(ranking, cases, np.ones(N_ITEMS + 1), KS)
    ours = dict(zip(metric_names(KS), values.T, strict=True))
    rests = remaining_names(cases)
    next_item, every = by_ranx(
        [
            asked([{rest[0]} for rest in rests], ranking, "hit_rate", "mrr"),
            asked([set(rest) for rest in rests], ranking, "precision", "map", "recall"),
        ]
    )
    for k in KS:
        np.testing.assert_allclose(ours[f"HitRate@{k}"], next_item[f"hit_rate@{k}"], atol=1e-12)
        np.testing.assert_allclose(ours[f"MRR@{k}"], next_item[f"mrr@{k}"], atol=1e-12)
        np.testing.assert_allclose(ours[f"Precision@{k}"], every[f"precision@{k}"], atol=1e-12)
        np.testing.assert_allclose(ours[f"AP@{k}"], every[f"map@{k}"], atol=1e-12)
        # ranx divides by distinct items, our Recall by clicks.
        recall = every[f"recall@{k}"] * cases.distinct / cases.remaining
        np.testing.assert_allclose(ours[f"Recall@{k}"], recall, atol=1e-12)

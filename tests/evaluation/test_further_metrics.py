"""Further metrics against plain implementations on random rankings, hand-worked values, and own metrics."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import nearnext
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.case_metric import CaseMetric, Lists, Training
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import further_names
from nearnext.evaluation.sums import MetricAccumulator
from nearnext.experiments.compare import Comparison, compare
from nearnext.recommenders.ranking import Ranking
from nearnext.recommenders.rules import Markov
from nearnext.registry import METRICS
from ranx_support import by_ranx

N_ITEMS, KS = 12, (1, 3, 8)


def random_input(seed: int) -> tuple[Sessions, Cases, Ranking]:
    """A training log, cases with repeats and unknown items (13 and above), and lists of up to 8 items."""
    rng = np.random.default_rng(seed)
    train = Sessions.of(
        [[*rng.integers(1, N_ITEMS + 1, size=rng.integers(1, 6)).tolist()] for _ in range(60)] + [[*range(1, 13)]]
    )
    test = [rng.integers(1, N_ITEMS + 4, size=rng.integers(2, 9)).tolist() for _ in range(25)]
    cases = Cases.of(Sessions.of(test).with_vocabulary(train.vocabulary))
    items = np.stack([rng.permutation(N_ITEMS)[:8] + 1 for _ in range(len(cases))]).astype(np.int32)
    own = rng.integers(0, 9, size=len(cases)).astype(np.int32)
    scores = np.sort(rng.dirichlet(np.ones(8), len(cases)) * rng.choice([0.5, 0.9, 1.6], (len(cases), 1)))[:, ::-1]
    return train, cases, Ranking(items, scores.astype(np.float32), own).unfilled()


def plain(train: Sessions, target: int, listed: list[int], scores: list[float], k: int) -> dict[str, float]:
    """The metrics of one list straight from their definitions, by Python's sets and loops."""
    clicks = [int(item) for item in train.items]
    sessions = [
        {int(item) for item in train.items[a:b]} for a, b in zip(train.offsets, train.offsets[1:], strict=False)
    ]
    top = [item for item in listed[:k] if item]
    head: list[int] = []
    while sum(map(clicks.count, head)) < len(clicks) / 2:
        head.append(len(head) + 1)

    def distance(one: int, other: int) -> float:
        of_one, of_other = ({s for s, items in enumerate(sessions) if item in items} for item in (one, other))
        return 1 - len(of_one & of_other) / math.sqrt(len(of_one) * len(of_other))

    pairs = list(combinations(top, 2))
    hit = float(target in top and target > 0)
    promised = scores[:k] if 0 < sum(scores[:k]) <= 1.0001 else [math.nan] * k
    return {
        "NDCG": 1 / math.log2(2 + top.index(target)) if hit else 0.0,
        "HeadHitRate": hit if target in head else math.nan,
        "TailHitRate": math.nan if target in head else hit,
        "Novelty": sum(-math.log2(clicks.count(item) / len(clicks)) for item in top) / len(top) if top else 0.0,
        "Diversity": sum(distance(*pair) for pair in pairs) / len(pairs) if pairs else 0.0,
        "Serendipity": float(hit and target not in range(1, k + 1)),
        "Overconfidence": sum(promised) - hit,
        "Brier": sum(
            (float(item == target and target > 0) - score) ** 2
            for item, score in zip(listed[:k], promised, strict=True)
        ),
    }


@pytest.mark.parametrize("seed", range(4))
def test_values_equal_a_plain_implementation(seed: int):
    train, cases, ranking = random_input(seed)
    accumulator = MetricAccumulator(cases, train.item_counts(), KS, METRICS, train)
    accumulator.add(ranking)
    found = accumulator.sums().values()
    for k in KS:
        rows = [
            plain(train, int(target), items.tolist(), scores.tolist(), k)
            for target, items, scores in zip(cases.targets, ranking.items, ranking.scores, strict=True)
        ]
        for name in METRICS:
            expected = float(np.nanmean([row[name] for row in rows]))
            assert found[f"{name}@{k}"] == pytest.approx(expected, rel=1e-12), name


def test_head_and_tail_make_the_hit_rate_together():
    train, cases, ranking = random_input(9)
    accumulator = MetricAccumulator(cases, train.item_counts(), [3], METRICS)
    lists = Lists.of(ranking, cases, Training(train.item_counts()), 3)
    head = int(np.count_nonzero(~np.isnan(METRICS["HeadHitRate"]().values(lists).astype(float))))
    with pytest.raises(ConfigError, match="needs the training sessions"):
        accumulator.add(ranking)
    accumulator = MetricAccumulator(cases, train.item_counts(), [3], ["headhitrate", "tailhitrate"])
    accumulator.add(ranking)
    values = accumulator.sums().values()
    together = head * values["HeadHitRate@3"] + (len(cases) - head) * values["TailHitRate@3"]
    assert together == pytest.approx(len(cases) * values["HitRate@3"])
    assert 0 < head < len(cases)


def test_the_head_makes_half_of_the_clicks():
    assert Training(np.array([0, 5, 3, 1, 1])).head == 1
    assert Training(np.array([0, 4, 3, 2, 1])).head == 2
    assert Training(np.array([0, 1])).head == 1


@pytest.mark.slow
def test_ndcg_equals_ranx():
    train, cases, ranking = random_input(3)
    names = [f"{case:06d}" for case in range(len(cases))]
    wanted = {name: {str(target): 1} for name, target in zip(names, cases.targets.tolist(), strict=True)}
    lists = {
        name: {str(item): float(8 - rank) for rank, item in enumerate(items) if item or rank == 0}
        for name, items in zip(names, np.where(ranking.items == 0, 99, ranking.items).tolist(), strict=True)
    }
    accumulator = MetricAccumulator(cases, train.item_counts(), [8], ["NDCG"])
    accumulator.add(ranking)
    known = cases.targets > 0
    found = by_ranx([(wanted, lists, ["ndcg@8"])])[0]["ndcg@8"][known].sum() / len(cases)
    assert accumulator.sums().values()["NDCG@8"] == pytest.approx(found)


@pytest.fixture(autouse=True)
def own() -> Iterator[None]:
    yield
    for name in ("OnlyLong", "Wrong"):
        METRICS.remove(name)


LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])


def test_a_metric_of_ones_own_is_compared_with_its_interval():
    @nearnext.register("OnlyLong")
    @dataclass(frozen=True)
    class OnlyLong(CaseMetric):
        """HitRate after three clicks or more."""

        best = True

        def values(self, lists: Lists) -> np.ndarray:
            return np.where(lists.cases.prefix_lengths >= 3, lists.hit, np.nan)

    comparison = Comparison(["pop", "markov-1"], ks=(2, 5), replicates=50, metrics=["onlylong", "HitRate", "Diversity"])
    result = compare(LOG, comparison=comparison)
    assert comparison.metrics == ("OnlyLong", "Diversity")
    assert json.loads(json.dumps(result, allow_nan=False))["protocol"]["metrics"] == ["OnlyLong", "Diversity"]
    for method in result["methods"]:
        rows = [row for row in method["by_prefix_length"] if row["prefix_length"] != "1"]
        long = [row for row in rows if row["prefix_length"] != "2"]
        expected = sum(row["cases"] * row["HitRate@5"] for row in long) / sum(row["cases"] for row in long)
        found = method["metrics"]["OnlyLong@5"]
        assert found["value"] == pytest.approx(expected)
        assert found["low"] <= found["value"] <= found["high"]
        assert method["by_prefix_length"][0]["OnlyLong@5"] is None
    assert {test["metric"] for test in result["significance"]} >= {"OnlyLong@5", "HitRate@5"}
    assert "Diversity@5" not in {test["metric"] for test in result["significance"]}


def test_values_of_another_shape_are_refused():
    @nearnext.register("Wrong")
    @dataclass(frozen=True)
    class Wrong(CaseMetric):
        def values(self, lists: Lists) -> np.ndarray:
            return np.zeros((3, lists.k))

    with pytest.raises(DataError, match="from the metric Wrong, found an array"):
        nearnext.evaluate(Markov().fit(LOG), LOG, metrics=["Wrong"])


def test_values_that_are_no_numbers_are_refused():
    @nearnext.register("Words")
    @dataclass(frozen=True)
    class Words(CaseMetric):
        def values(self, lists: Lists) -> Any:
            return ["a"] * len(lists.rank)

    with pytest.raises(DataError, match=r"expected numbers from the metric Words: .*give a number or NaN"):
        nearnext.evaluate(Markov().fit(LOG), LOG, metrics=["Words"])


def test_unknown_metrics_are_refused_with_those_that_are_known():
    with pytest.raises(ConfigError, match=r"unknown metric 'ndgc'.*NDCG"):
        further_names(["ndgc"])


def test_metrics_are_named_or_given_as_objects():
    @nearnext.register("First")
    @dataclass(frozen=True)
    class First(CaseMetric):
        at: int = 1

        def values(self, lists: Lists) -> Any:
            return lists.rank == self.at

    try:
        assert Comparison(["pop"], metrics=[First(), "ndcg", METRICS.make("NDCG")]).metrics == ("First", "NDCG")
        with pytest.raises(ConfigError, match=r"First has no options here, found .*First\(at=2\)"):
            further_names([First(at=2)])
        with pytest.raises(ConfigError, match=r"objects of a class with @nearnext.register, found a ABCMeta"):
            further_names([First])
    finally:
        METRICS.remove("First")
    with pytest.raises(ConfigError, match=r"by name or as objects .*found 3"):
        further_names([3])


def test_one_name_instead_of_several_is_refused():
    with pytest.raises(ConfigError, match="several names, found 'NDCG'"):
        nearnext.evaluate(nearnext.make_recommender("pop").fit(LOG), LOG, metrics="NDCG")


def test_lists_longer_than_the_catalogue_are_those_of_all_items():
    pop = nearnext.make_recommender("pop").fit(LOG)
    long = nearnext.evaluate(pop, LOG, k=[2, 10**12], metrics=["Diversity", "NDCG"], train=LOG).values()
    every = nearnext.evaluate(pop, LOG, k=[2, LOG.n_items], metrics=["Diversity", "NDCG"], train=LOG).values()
    for name in ("HitRate", "MRR", "Diversity", "NDCG"):
        assert long[f"{name}@{10**12}"] == pytest.approx(every[f"{name}@{LOG.n_items}"])


def test_a_model_that_remembers_its_sessions_measures_diversity():
    markov = Markov().fit(LOG)
    with pytest.raises(ConfigError, match="needs the training sessions"):
        nearnext.evaluate(markov, LOG, metrics=["Diversity"])
    given = nearnext.evaluate(markov, LOG, metrics=["Diversity"], train=LOG).values()
    assert nearnext.evaluate(markov.remember(LOG), LOG, metrics=["Diversity"]).values() == given


def test_tuning_maximises_a_further_metric():
    found = nearnext.tune(LOG, "sr", nearnext.Tuning(trials=2, metric="ndcg@5"))
    assert found["metric"] == "NDCG@5"
    with pytest.raises(ConfigError, match="'novelty' cannot be tuned"):
        nearnext.tune(LOG, "sr", nearnext.Tuning(trials=2, metric="novelty@5"))


def test_vocabularies_of_test_and_training_may_differ():
    train = Sessions.of([["a", "b"], ["a", "c"], ["b", "c"]])
    other = train.with_vocabulary(Vocabulary.of(["c", "x", "a", "b"]))
    markov = Markov().fit(train)
    values = [
        nearnext.evaluate(markov, train, k=2, metrics=["Diversity"], train=each).values() for each in (train, other)
    ]
    assert values[0] == values[1]

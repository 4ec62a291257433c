"""The comparison: same cases for all, the result's shape, significance, windows."""

import json
import math

import pytest

from nearnext.data.events import read_events
from nearnext.data.filters import Filter
from nearnext.data.sessionise import sessionise
from nearnext.data.sessions import Sessions
from nearnext.data.synthetic import SyntheticShop, generate
from nearnext.errors import ConfigError
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.plan import SplitPlan
from nearnext.experiments.result import Result
from nearnext.recommenders.named import BASELINES
from nearnext.recommenders.neighbours import VSKNN

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])
KS = (2, 5)


@pytest.fixture(scope="module")
def result() -> Result:
    return compare(LOG, comparison=Comparison(ks=KS, replicates=200), command="nearnext compare log")


def test_every_baseline_has_every_metric_with_its_interval(result: Result):
    assert [method["name"] for method in result["methods"]] == list(BASELINES)
    for method in result["methods"]:
        for metric in ("HitRate", "MRR", "Precision", "Recall", "MAP", "AP", "Popularity"):
            for k in KS:
                found = method["metrics"][f"{metric}@{k}"]
                assert 0 <= found["low"] <= found["value"] + 1e-12
                assert found["value"] <= found["high"] + 1e-12
        assert method["metrics"]["Coverage@5"]["low"] is None
        assert method["cases_per_second"] > 0
        assert method["peak_rss_mb"] > 1


def test_a_result_says_how_to_repeat_it(result: Result):
    protocol = result["protocol"]
    assert protocol["command"] == "nearnext compare log"
    assert protocol["cases"] == sum(n - 1 for n in LOG.lengths.tolist()[135:])
    assert {"seed", "versions", "duration_seconds", "machine", "ties", "fallback", "tuning"} <= protocol.keys()
    assert result["data"]["fingerprint"] == LOG.fingerprint()


def test_the_audit_is_in_the_result(result: Result):
    assert result["audit"]["passed"] is True
    assert len(result["audit"]["checks"]) == len(BASELINES) + 5


def test_results_are_plain_json(result: Result):
    assert json.loads(json.dumps(result, allow_nan=False))["protocol"] == result["protocol"]


def test_prefix_lengths_hold_all_cases_and_average_to_the_whole(result: Result):
    for method in result["methods"]:
        rows = method["by_prefix_length"]
        cases = sum(row["cases"] for row in rows)
        mean = sum(row["cases"] * row["MRR@5"] for row in rows) / cases
        assert cases == result["protocol"]["cases"]
        assert mean == pytest.approx(method["metrics"]["MRR@5"]["value"])


def test_the_best_method_is_tested_against_every_other(result: Result):
    values = {method["name"]: method["metrics"]["HitRate@5"]["value"] for method in result["methods"]}
    test = next(test for test in result["significance"] if test["metric"] == "HitRate@5")
    assert values[test["best"]] == max(values.values())
    assert {other["name"] for other in test["against"]} == set(values) - {test["best"]}
    for other in test["against"]:
        assert other["difference"] == pytest.approx(values[test["best"]] - values[other["name"]])
        assert 0 < other["p"] <= 1


def test_the_same_seed_gives_the_same_figures(result: Result):
    again = compare(LOG, comparison=Comparison(ks=KS, replicates=200))
    for one, other in zip(result["methods"], again["methods"], strict=True):
        assert one["metrics"] == other["metrics"]


def test_windows_are_averaged():
    plan = SplitPlan.parse("windows:3")
    whole = compare(LOG, comparison=Comparison(["markov-1"], plan=plan, ks=(5,), replicates=50))
    windows = whole["methods"][0]["windows"]
    assert len(windows) == len(whole["data"]["windows"]) == 3
    mean = math.fsum(window["HitRate@5"] for window in windows) / 3
    assert whole["methods"][0]["metrics"]["HitRate@5"]["value"] == pytest.approx(mean)


def test_a_test_log_of_its_own_is_predicted():
    later = Sessions.of([["i1", "i2", "new"]] * 3, starts=[1e9, 1e9, 1e9])
    found = compare(LOG, later, Comparison(["pop"], ks=(5,), replicates=50))
    assert found["protocol"]["cases"] == 6
    assert found["data"]["unknown_test_clicks"] == 3
    assert found["audit"]["passed"]


def test_options_reach_their_method():
    comparison = Comparison(["sknn", "vsknn"], {"VSKNN": {"k": "7"}}, ks=(5,), replicates=20)
    found = compare(LOG, comparison=comparison)
    assert [method["params"]["k"] for method in found["methods"]] == [1000, 7]


def test_frames_of_clicks_are_compared_as_their_sessions():
    frame = LOG.to_frame()
    comparison = Comparison(["pop", "sr"], ks=(5,), replicates=20)
    methods = [compare(log, comparison=comparison)["methods"] for log in (frame, sessionise(read_events(frame)))]
    assert [each["metrics"] for each in methods[0]] == [each["metrics"] for each in methods[1]]
    with pytest.raises(ConfigError, match="expected Sessions as test"):
        compare(frame, [["a", "b"]])  # pyright: ignore[reportArgumentType]


def test_popularity_order_and_markov_structure_are_found_in_a_synthetic_shop():
    log = sessionise(read_events(generate(SyntheticShop(sessions=3000, items=300, categories=5, seed=3))))
    plan = SplitPlan(chosen=Filter())
    found = compare(log, comparison=Comparison(["pop", "markov-1"], plan=plan, ks=(10,), replicates=50))
    pop, markov = (method["metrics"]["HitRate@10"]["value"] for method in found["methods"])
    assert markov > 2 * pop > 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"methods": ["vsknn", "VSKNN"]}, "each method once"),
        ({"methods": []}, "found none"),
        ({"methods": ["nope"]}, "unknown method"),
        ({"methods": ["pop"], "options": {"vsknn": {"k": 1}}}, "not among the compared"),
        ({"methods": ["vsknn"], "options": {"vsknn": {"kk": 1}}}, "no option 'kk'"),
        ({"ks": (0,)}, "0"),
        ({"metrics": "NDCG"}, "several names, found 'NDCG'"),
        ({"methods": [VSKNN]}, "the class VSKNN; make one"),
        ({"methods": ["pop", "sr"], "seeds": (1, 2)}, "pop, sr draw nothing at random"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(options: dict[str, object], reason: str):
    with pytest.raises(ConfigError, match=reason):
        Comparison(**options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("first:3", "expected"),
        ("", "expected"),
        ("last:x", "the number of split 'last:x' must be a finite number above 0 and below 1"),
        ("windows:2.5", "the number of split 'windows:2.5' must be a whole number"),
    ],
)
def test_splits_that_are_no_plan_are_refused(text: str, reason: str):
    with pytest.raises(ConfigError, match=reason):
        SplitPlan.parse(text)

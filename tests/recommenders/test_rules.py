"""MARKOV-1, SR and AR on sessions small enough to count by hand."""

import math

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.recommenders import rule_counts
from nearnext.recommenders import rules as rules_module
from nearnext.recommenders.rules import AssociationRules, Markov, SequentialRules

Method = type[Markov] | type[SequentialRules] | type[AssociationRules]

TRAIN = Sessions.of([["a", "b", "c"], ["a", "b"], ["b", "a", "d"], ["a", "a"]])


def rules(method: Markov | SequentialRules | AssociationRules, after: str) -> dict[str, float]:
    answer = method.recommend([[after]], k=10)[0]
    return dict(zip(map(str, answer.items[: answer.own]), answer.scores[: answer.own], strict=True))


def test_markov_counts_direct_followers():
    assert rules(Markov().fit(TRAIN), "a") == {"b": 2.0, "a": 1.0, "d": 1.0}


def test_markov_keeps_the_strongest_rules_when_pruned():
    assert rules(Markov(pruning=1).fit(TRAIN), "a") == {"b": 2.0}


def test_sequential_rules_weigh_followers_by_distance():
    assert rules(SequentialRules(steps=2, weighting="div").fit(TRAIN), "b") == {"c": 1.0, "a": 1.0, "d": 0.5}


def test_sequential_rules_stop_after_their_steps():
    assert "c" not in rules(SequentialRules(steps=1, weighting="same").fit(TRAIN), "a")


def test_quadratic_sequential_rules():
    assert rules(SequentialRules(steps=2, weighting="quadratic").fit(TRAIN), "a")["c"] == pytest.approx(1 / 4)


def test_log_sequential_rules():
    found = rules(SequentialRules(steps=2, weighting="log").fit(TRAIN), "a")
    assert found["c"] == pytest.approx(1 / math.log10(2 + 1.7))


def test_association_rules_count_pairs_in_any_order():
    assert rules(AssociationRules().fit(TRAIN), "a") == {"b": 3.0, "a": 2.0, "c": 1.0, "d": 1.0}


def test_association_rules_multiply_repeated_clicks():
    twice = Sessions.of([["x", "y", "x", "y", "y"]])
    assert rules(AssociationRules().fit(twice), "x") == {"y": 2.0 * 3.0, "x": 2.0 * 1.0}


def test_only_the_last_click_has_rules():
    assert Markov().fit(TRAIN).recommend([["c", "a"]], k=1)[0].items == ["b"]


def test_an_unknown_last_click_gets_popular_items():
    answer = Markov().fit(TRAIN).recommend([["a", "zzz"]], k=2)[0]
    assert (answer.items, answer.own, answer.unknown) == (["a", "b"], 0, ["zzz"])


@pytest.mark.parametrize(("options", "reason"), [({"steps": 0}, "steps"), ({"weighting": "cubic"}, "known: same")])
def test_options_out_of_range_are_refused(options: dict[str, object], reason: str):
    with pytest.raises(ConfigError, match=reason):
        SequentialRules(**options)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_association_rules_of_a_giant_session_are_those_of_its_last_clicks():
    giant = [f"x{click}" for click in range(9_000)]
    short = [["a", "b"], ["b", "c"]]
    rules = AssociationRules().fit(Sessions.of([*short, giant]))
    assert rules.note == "ar: of 1 long sessions only the last 3,162 clicks count"
    assert len(rules.table.items) == 4 + 3162 * 3161
    assert rules.recommend([["a"]], k=1)[0].items == ["b"]
    assert rules.recommend([[giant[0]]], k=1)[0].own == 0
    assert rules.recommend([[giant[-1]]], k=5)[0].own == 5


def test_association_rules_never_cut_sessions_that_are_usual():
    few = [f"x{click % 40}" for click in range(20_000)]
    assert AssociationRules().fit(Sessions.of([few])).note == ""
    long = [[f"x{(s + click) % 300}" for click in range(200)] for s in range(300)]
    assert AssociationRules().fit(Sessions.of(long)).note == ""


def test_sequential_rules_stop_at_the_longest_session():
    sessions = Sessions.of([["a", "b", "c"]])
    one, other = (SequentialRules(steps=steps, weighting="div").fit(sessions) for steps in (2, 10**9))
    assert one.recommend([["a"]], k=3) == other.recommend([["a"]], k=3)


@pytest.mark.parametrize("method", [Markov, SequentialRules, AssociationRules])
def test_rules_counted_in_blocks_are_those_of_one_block(method: Method, monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(7)
    log = Sessions.of([(draw.zipf(1.5, draw.integers(1, 9)) % 30).tolist() for _ in range(80)])
    whole = method().fit(log).state()
    monkeypatch.setattr(rule_counts, "PAIRS", 20)
    cut = method().fit(log).state()
    assert all(np.array_equal(cut[name], array) for name, array in whole.items())
    monkeypatch.setattr(rules_module, "LARGE", log.n_events - 1)
    monkeypatch.setattr(rules_module, "STRONGEST", 3)
    strongest = method().fit(log).state()
    assert all(np.array_equal(strongest[name], array) for name, array in method(pruning=3).fit(log).state().items())
    assert np.diff(strongest["offsets"]).max() == 3

"""Budgets of tuning, and the metric that is maximised."""

import math
from typing import Any

import pytest

from nearnext.errors import ConfigError
from nearnext.experiments.tuning.budget import Trial, TunedMetric, Tuning


def trials(*seconds: float) -> list[Trial]:
    return [Trial(number, {}, "complete", 0.5, seconds=spent) for number, spent in enumerate(seconds)]


def test_a_budget_of_a_minute_pays_for_three_trials_of_twenty_seconds():
    budget = Tuning(trials=9, minutes=1.0)
    assert budget.allows(trials(20.0, 20.0))
    assert not budget.allows(trials(20.0, 20.0, 20.0))
    assert len(budget.within(trials(*[20.0] * 5))) == 3


def test_no_trial_begins_that_would_end_too_late_by_the_mean_of_those_before():
    assert not Tuning(minutes=1.0).allows(trials(31.0))
    assert Tuning(minutes=1.0).allows(trials(30.0))


def test_the_first_trial_is_always_made():
    assert Tuning(minutes=1e-6).allows([])


def test_the_number_of_trials_ends_first_where_it_is_reached_first():
    budget = Tuning(trials=3, minutes=1.0)
    assert not budget.allows(trials(1.0, 1.0, 1.0))
    assert budget.expected(trials(1.0)) == (3, 2.0)


def test_the_minutes_end_first_where_they_are_spent_first():
    assert Tuning(trials=30, minutes=1.0).expected(trials(20.0, 20.0)) == (3, 20.0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"trials": 0}, "trials must be a whole number of at least 1, found 0"),
        ({"trials": -3}, "trials must be a whole number"),
        ({"minutes": 0.0}, "minutes must be a finite number above 0"),
        ({"minutes": -1.0}, "minutes must be a finite number above 0"),
        ({"minutes": float("nan")}, "minutes must be a finite number"),
        ({"metric": "Accuracy@20"}, "'accuracy' cannot be tuned; known: HitRate"),
        ({"metric": "Gini@20"}, "cannot be tuned"),
        ({"metric": "MRR"}, "expected a name and a list length"),
        ({"metric": "MRR@0"}, "expected a name and a list length"),
        ({"metric": "MRR+mrr@20"}, "each name once"),
        ({"fraction": 1.0}, "fraction must be a finite number above 0 and below 1"),
        ({"seed": -1}, "seed"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(options: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=reason):
        Tuning(**options)


def test_the_geometric_mean_weighs_equal_ratios_equally():
    both = TunedMetric.parse("HitRate+MRR@20")
    before = {"HitRate@20": 0.5, "MRR@20": 0.25}
    more_hits = {**before, "HitRate@20": 0.55}
    higher = {**before, "MRR@20": 0.275}
    assert both.of(more_hits) == pytest.approx(both.of(higher))
    assert both.of(more_hits) == pytest.approx(both.of(before) * 1.1**0.5)


def test_a_single_metric_is_taken_as_it_is():
    assert TunedMetric.parse("ap@3").of({"AP@3": 0.1}) == 0.1


def test_what_is_left_of_a_minute_after_forty_seconds():
    assert Tuning(minutes=1.0).left(trials(15.0, 25.0)) == 20.0
    assert Tuning(minutes=1.0).left([]) == math.inf


def test_trials_that_are_running_count_as_much_as_the_mean_of_those_before():
    budget = Tuning(trials=4, minutes=1.0)
    assert budget.allows(trials(20.0), 1)
    assert not budget.allows(trials(20.0), 2)
    assert budget.allows([], 3)
    assert not budget.allows([], 4)
    assert budget.left(trials(20.0), 1) == 20.0
    assert budget.left([], 2) == 20.0

"""The authors' split: a random tenth, named for what it is."""

import warnings

import numpy as np
import pytest

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.data.splits import Split, split_authors
from nearnext.errors import ConfigError, DataError, LeakWarning
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.plan import SplitPlan

# 200 sessions an hour apart, each with an item of its own besides two that all have; every tenth is longer than 15.
LOG = Sessions.of([["a", f"own{s}", "b"] + ["a"] * (13 * (s % 10 == 0)) for s in range(200)])


def split(seed: int = 7, log: Sessions = LOG, chosen: Filter | None = None) -> Split:
    with warnings.catch_warnings(action="ignore", category=LeakWarning):
        return split_authors(log, seed, chosen=chosen)


def numbers(part: Sessions) -> list[int]:
    return part.session_ids.to_list()


def test_long_sessions_are_left_out_and_a_tenth_of_the_others_is_the_test_part():
    train, test = split()
    assert (train.n_sessions, test.n_sessions) == (162, 18)
    assert max(train.lengths.max(), test.lengths.max()) <= 15
    assert sorted(numbers(train) + numbers(test)) == [s for s in range(200) if s % 10]


def test_the_tenth_is_spread_over_the_whole_period_and_both_parts_keep_their_order():
    tests = [numbers(split(seed).test) for seed in range(30)]
    assert all(chosen == sorted(chosen) for chosen in tests)
    assert np.mean([np.mean(np.array(chosen) < 100) for chosen in tests]) == pytest.approx(0.5, abs=0.07)


def test_the_choice_depends_on_the_seed_alone():
    assert numbers(split(3).test) == numbers(split(3).test)
    assert numbers(split(3).test) != numbers(split(4).test)


def test_filters_and_vocabulary_come_from_the_training_part():
    train, test = split(chosen=Filter(min_support=2))
    assert set(train.vocabulary.ids.to_list()) == {"a", "b"}
    assert np.count_nonzero(test.items == 0) == test.n_sessions


def test_it_is_never_called_clean_and_warns():
    with pytest.warns(LeakWarning, match="not clean: the authors' split: the test part is a random tenth"):
        found = split_authors(LOG)
    assert not found.leaks.clean
    assert "overlaps with the training log" in found.leaks.verdict


def test_a_comparison_says_so_first_and_its_audit_does_not_pass():
    comparison = Comparison(methods=["pop", "sknn"], ks=(1,), plan=SplitPlan.parse("authors"), replicates=20)
    with pytest.warns(LeakWarning, match="looks into the future"):
        result = compare(LOG, comparison=comparison)
    assert result["warnings"][0].startswith("not clean: the authors' split: the test part is a random tenth")
    assert not result["audit"]["passed"]
    failed = [check["name"] for check in result["audit"]["checks"] if not check["passed"]]
    assert failed == ["the test part against the training part"]
    assert "looks into the future" in result["protocol"]["split"]


def test_a_plan_splits_as_the_function_does_and_again_with_sessions_planted_behind():
    plan = SplitPlan.parse("authors:5")
    (planned,) = plan.splits(LOG)
    assert numbers(planned.split.test) == numbers(split(5).test)
    assert numbers(planned.training_log()) == numbers(split(5).train)
    planted = Sessions.of([["z", "a"]], starts=[10_000_000.0])
    again = planned.again(planted)
    assert again.train.fingerprint() == planned.split.train.fingerprint()
    assert again.test.n_sessions == planned.split.test.n_sessions + 1


def test_windows_and_seeds_are_whole_numbers():
    with pytest.raises(ConfigError, match=r"split 'authors:1\.5' must be a whole number of at least 0"):
        SplitPlan.parse("authors:1.5")
    with pytest.raises(ConfigError, match="must be a whole number of at least 0, found '-1'"):
        SplitPlan.parse("authors:-1")


@pytest.mark.parametrize("log", [Sessions.of([["a", "b"]]), Sessions.of([["a"] * 16] * 9 + [["a", "b"]])])
def test_a_log_without_two_short_sessions_is_refused(log: Sessions):
    with pytest.raises(
        DataError, match="expected at least 2 sessions of up to 15 clicks for the authors' split, found 1"
    ):
        split_authors(log)

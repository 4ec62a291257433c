"""The distributions that negatives are drawn from, and how probably a batch holds an item."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nearnext.data.sessions import Sessions
from nearnext.sampling import (
    InversePopularity,
    Popularity,
)
from nearnext.sampling.proposal import BatchItems, Proposal


@pytest.mark.parametrize("weights", [[3.0], [1.0, 1.0], [0.0, 1.0, 0.0, 3.0], [1e-9, 1.0, 1e9], [0.1] * 1000])
def test_alias_draws_follow_the_weights_and_never_give_what_has_none(weights: list[float]):
    proposal = Proposal.of(np.array([0.0, *weights]))
    drawn = np.bincount(proposal.draw(np.random.default_rng(3), 50_000), minlength=len(weights) + 1)
    expected = 50_000 * np.array([0.0, *weights]) / sum(weights)
    assert not drawn[expected == 0].any()
    likely = expected > 5
    if np.count_nonzero(likely) > 1:
        assert (
            stats.chisquare(drawn[likely], expected[likely] * drawn[likely].sum() / expected[likely].sum()).pvalue
            > 0.001
        )


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40).filter(lambda weights: sum(weights) > 1e-3))
@settings(max_examples=60, deadline=None)
def test_the_alias_table_stands_for_its_weights(weights: list[float]):
    proposal = Proposal.of(np.array([0.0, *weights]))
    size = len(weights)
    table = np.zeros(size + 1)
    np.add.at(table, np.arange(1, size + 1), proposal.thresholds / size)
    np.add.at(table, proposal.aliases, (1 - proposal.thresholds) / size)
    assert table == pytest.approx(proposal.shares, abs=1e-12)


@given(counts=st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any), alpha=st.floats(-2, 2))
@settings(max_examples=60, deadline=None)
def test_popularity_gives_each_item_its_power_and_none_without_clicks(counts: list[int], alpha: float):
    wanted = np.array([0.0, *(float(count) ** alpha if count else 0.0 for count in counts)])
    shares = Proposal.by_popularity(np.array([7, *counts]), alpha).shares
    assert shares == pytest.approx(wanted / wanted.sum(), abs=1e-12)


def test_the_presence_is_the_share_of_batches_that_hold_the_item():
    items, rng = BatchItems.of(Sessions.of([[*"aaaaaabbbc"]]), n=2, alpha=1.0), np.random.default_rng(5)
    drawn = items.proposal.draw(rng, (20_000, items.n))
    held = [np.mean((drawn == item).any(axis=1)) for item in (1, 2, 3)]
    # The draws are a fixed number, the formula takes them as Poisson: 1 - exp(-2 p) for 1 - (1 - p)^2.
    np.testing.assert_allclose(held, 1 - (1 - np.array([0.6, 0.3, 0.1])) ** 2, atol=0.015)
    expected = np.exp(items.log_presence(np.array([1, 2, 3]), n_clicks=0))
    np.testing.assert_allclose(expected, 1 - np.exp(-2 * np.array([0.6, 0.3, 0.1])), rtol=1e-5)


def test_popularity_does_not_overflow_for_any_exponent():
    for negatives in (Popularity(alpha=500), InversePopularity(alpha=500)):
        shares = negatives.proposal(np.array([0, 10, 1, 0, 10**9])).shares
        assert np.all(np.isfinite(shares))
        assert shares.max() == 1

"""Lists show as much of the catalogue as asked for, at the smallest discount on popularity, and never for too much."""

from dataclasses import replace

import numpy as np
import pytest

from nearnext.recommenders.metric.features import FEATURES, Candidates
from nearnext.recommenders.metric.reranker import Reranker
from nearnext.recommenders.metric.selection import discount_popularity, items_covered, raise_coverage

PREFIXES = 40
POPULARITY = FEATURES.index("popularity")


def candidates() -> Candidates:
    """Forty prefixes with 21 candidates each: 20 popular items that all share, and a rare one of their own, nearer.

    The popular ones are popular to the power of 1, the rare ones to the power of 0, and nearer by 0.15 or by 0.42.
    """
    items = np.zeros((PREFIXES, 21), np.int32)
    items[:, :20] = np.arange(1, 21)
    items[:, 20] = 21 + np.arange(PREFIXES)
    features = np.zeros((PREFIXES, 21, len(FEATURES)), np.float32)
    features[:, :20, POPULARITY] = 1.0
    features[:, 20, 0] = np.where(np.arange(PREFIXES) < PREFIXES // 2, 0.85, 0.58)
    return Candidates(np.arange(0, 21 * PREFIXES + 1, 21), items.reshape(-1), features.reshape(-1, len(FEATURES)))


def by_nearness_and_popularity() -> Reranker:
    n, linear = len(FEATURES), np.zeros(len(FEATURES), np.float32)
    linear[0] = linear[POPULARITY] = 1.0
    zeros = np.zeros(n, np.float32)
    return Reranker(zeros, zeros + 1, linear, np.zeros((1, n), np.float32), zeros[:1], zeros[:1])


def shown(reranker: Reranker, found: Candidates) -> int:
    return items_covered(reranker.probabilities(found).astype(np.float64), found)


def test_without_a_discount_only_the_popular_items_are_shown():
    assert shown(by_nearness_and_popularity(), candidates()) == 20


@pytest.mark.parametrize(("enough", "exponent", "items"), [(20, 0.0, 20), (30, 0.2, 40), (59, 0.45, 59)])
def test_the_smallest_discount_that_shows_enough_is_taken(enough: int, exponent: float, items: int):
    positions = np.full(PREFIXES, 0)  # the next item is popular, and stays in every list
    found = raise_coverage(by_nearness_and_popularity(), candidates(), positions, enough, 0.99)
    assert found.linear[POPULARITY] == pytest.approx(1.0 - exponent)
    assert shown(found, candidates()) == items


def test_a_discount_that_costs_more_than_its_price_is_not_taken():
    # The popular item with the highest index is the first to leave the lists: equal scores stay in order.
    positions = np.full(PREFIXES, 19)
    found = raise_coverage(by_nearness_and_popularity(), candidates(), positions, 60, 0.01)
    assert found.linear[POPULARITY] == pytest.approx(1.0 - 0.15)
    assert shown(found, candidates()) == 20


def test_enough_is_never_reached_with_nothing_to_choose_from():
    one = Candidates(np.array([0, 1]), np.array([1], np.int32), np.ones((1, len(FEATURES)), np.float32))
    found = raise_coverage(by_nearness_and_popularity(), one, np.array([0]), 5, 0.0)
    assert shown(found, one) == 1


def test_where_all_candidates_are_as_popular_nothing_is_discounted():
    even = replace(by_nearness_and_popularity(), scale=np.zeros(len(FEATURES), np.float32))
    assert discount_popularity(even, 0.5).linear.tolist() == even.linear.tolist()


def test_a_discount_divides_probabilities_by_a_power_of_popularity():
    found, whole = candidates(), by_nearness_and_popularity()
    before, after = (
        one.probabilities(found)[:21].astype(np.float64) for one in (whole, discount_popularity(whole, 0.3))
    )
    expected = before / np.exp(0.3 * found.features[:21, POPULARITY])
    np.testing.assert_allclose(after, expected / expected.sum(), rtol=1e-5)

"""Candidates of the default recommender, their re-ranker, and when it is used."""

import math

import numpy as np
import pytest

from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.metric.candidates import best_candidates
from nearnext.recommenders.metric.features import (
    Candidates,
    Evidence,
    Lists,
    collect,
    feature_names,
    targets_among,
)  # fmt: skip
from nearnext.recommenders.metric.reranker import Reranker, fit_reranker, reranker_recipe
from nearnext.recommenders.metric.selection import ranks_by_halves, reciprocal_ranks, significantly_better
from nearnext.types import Int64Array, ScoreArray


def test_figures_of_candidates_by_hand():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    near = Lists(np.array([[1, 3]], np.int32), np.array([[2.0, 1.6]], np.float32))
    votes = Lists(np.array([[[2, 3, 0]]], np.int32), np.array([[[3.0, 1.0, 0.0]]], np.float32))
    popularity = np.array([0, 0.1, 0.2, 0.3], np.float32)
    prefixes = Prefixes.of([np.array([2, 3, 2], np.int32)])
    scratch = np.zeros((2, 4), np.int32)
    found = collect(
        prefixes, near, vectors[:1], votes, Evidence(vectors, popularity, np.zeros((0, 9), np.float32), 0.5), scratch
    )
    assert not scratch.any()
    assert (found.items.tolist(), found.offsets.tolist()) == ([1, 3, 2], [0, 3])
    expected = {
        "nearness": [0.0, -0.8, -2.0],
        "seen": [0, 1, 1],
        "recency": [0, 1 / 2, 1],
        "repeats": [0, 0, math.log(2)],
        "popularity": [0.1, 0.3, 0.2],
        "length": [math.log(3)] * 3,
        "best cosine": [1.0] * 3,
        "sr share": [0, 1 / 3, 1],
        "sr log share": [math.log(0.001), math.log(0.251), math.log(0.751)],
        "sr best share": [0.75] * 3,
    }
    assert tuple(expected) == feature_names(["sr"])
    np.testing.assert_allclose(found.features, np.array(list(expected.values())).T, rtol=1e-5, atol=1e-6)
    assert targets_among(found, np.array([2], np.int32)).tolist() == [2]


def test_the_best_candidates_are_ranked_and_equal_ones_by_item():
    items, scores = np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32)
    values = np.array([0.1, 0.4, 0.4, 0.1, 1.0], np.float32)
    found = best_candidates(np.array([0, 4, 5]), np.array([8, 7, 2, 1, 5], np.int32), values, items, scores)
    assert (found.tolist(), items.tolist()) == ([3, 1], [[2, 7, 1], [5, 0, 0]])


def random_candidates(n: int, size: int) -> Candidates:
    """Nearness 0, −1, −2, … in each prefix, and three features at random."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n * size, 4)).astype(np.float32)
    features[:, 0] = np.tile(-np.arange(size), n)
    offsets = np.arange(0, n * size + 1, size)
    return Candidates(offsets, np.tile(np.arange(1, size + 1), n).astype(np.int32), features)


def test_reranker_begins_with_the_order_by_distance():
    found = random_candidates(50, 8)
    model = fit_reranker(reranker_recipe(found, np.full(50, 7), hidden=4, steps=1))
    probabilities = model.probabilities(found).reshape(50, 8)
    assert (np.diff(probabilities, axis=1) < 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    expected = np.exp(-np.arange(8)) / np.exp(-np.arange(8)).sum()
    np.testing.assert_allclose(probabilities[0], expected, rtol=0.05)


def test_reranker_without_any_next_item_is_the_order_by_distance():
    found = random_candidates(5, 8)
    model = fit_reranker(reranker_recipe(found, np.full(5, -1), hidden=4, steps=3))
    assert (np.diff(model.probabilities(found).reshape(5, 8), axis=1) < 0).all()


def by(column: int, n_features: int = 2) -> Reranker:
    """Probabilities that rise with one feature."""
    zeros = np.zeros(n_features, np.float32)
    linear = zeros.copy()
    linear[column] = 1.0
    one = np.zeros(1, np.float32)
    return Reranker(zeros, zeros + 1, linear, np.zeros((1, n_features), np.float32), one, one)


def better(halves: tuple[Reranker, Reranker], found: Candidates, positions: Int64Array, sessions: Int64Array) -> bool:
    return significantly_better(*ranks_by_halves(halves, found, positions, sessions), sessions)


def two_each(n: int) -> Candidates:
    """Two candidates of each prefix: the first is nearer, the second has the votes."""
    features: ScoreArray = np.tile(np.array([[0, 0], [-1, 5]], np.float32), (n, 1))
    return Candidates(np.arange(0, 2 * n + 1, 2), np.tile([1, 2], n).astype(np.int32), features)


@pytest.mark.parametrize(("right", "expected"), [(90, True), (55, False), (10, False)])
def test_votes_must_be_right_significantly_more_often(right: int, expected: bool):
    # Gains of 1/2 and −1/2: 40 against 2.33 · 5 for 90 of 100, 5 for 55 of 100.
    positions = (np.arange(100) < right).astype(np.int64)
    assert better((by(1), by(1)), two_each(100), positions, np.arange(100)) is expected


@pytest.mark.parametrize(("n_sessions", "expected"), [(1, False), (2, False), (5, False), (6, True)])
def test_a_handful_of_sessions_proves_nothing_however_alike_they_are(n_sessions: int, expected: bool):
    # Each gains 1/2 where its votes are right: n/2 against 2.33 · √n/2, which 5 do not exceed.
    clicks = n_sessions + 40
    positions = (np.arange(clicks) < n_sessions).astype(np.int64)
    positions[n_sessions:] = -1  # the other sessions' next items are no candidates: nothing changes there
    assert better((by(1), by(1)), two_each(clicks), positions, np.arange(clicks)) is expected


def test_each_half_is_judged_by_the_weights_of_the_other():
    even = np.arange(100) % 2 == 0
    positions = even.astype(np.int64)  # votes are right in even sessions alone
    assert better((by(0), by(1)), two_each(100), positions, np.arange(100))
    assert not better((by(1), by(0)), two_each(100), positions, np.arange(100))


def test_prefixes_of_one_session_are_no_independent_proof():
    positions = (np.arange(100) < 62).astype(np.int64)
    each, two = np.arange(100), np.where(np.arange(100) < 62, 0, 1)
    assert better((by(1), by(1)), two_each(100), positions, each)
    assert not better((by(1), by(1)), two_each(100), positions, two)


def test_more_hits_at_worse_ranks_are_not_better():
    # Of 22 candidates the next one is nearest 30 times and 21st 70 times; by votes it is always 20th:
    # 70 hits more, and a sum of reciprocal ranks lower by 30 · 0.95 − 70 · 0.05 = 25.
    first = np.arange(100) < 30
    positions = np.where(first, 0, 20)
    features = np.zeros((100, 22, 2), np.float32)
    features[:, :, 0] = -np.arange(22)
    features[:, 1:20, 1] = 4.0
    features[~first, 20, 1] = 2.0
    features[first, 0, 1] = 2.0
    found = Candidates(np.arange(0, 2201, 22), np.tile(np.arange(1, 23), 100).astype(np.int32), features.reshape(-1, 2))
    ranks = reciprocal_ranks(by(1).probabilities(found).astype(np.float64), found, positions)
    assert ranks.tolist() == [1 / 20] * 100
    assert not better((by(1), by(1)), found, positions, np.arange(100))


def test_reciprocal_ranks_end_at_twenty():
    scores = -np.arange(25.0)
    found = Candidates(np.array([0, 25]), np.arange(1, 26).astype(np.int32), np.zeros((25, 1), np.float32))
    ranks = [float(reciprocal_ranks(scores, found, np.array([position]))[0]) for position in (0, 19, 20, -1)]
    assert ranks == [1.0, 1 / 20, 0.0, 0.0]

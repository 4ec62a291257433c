"""Proposals in 8 bits: their error is bounded, and lists of single queries are those of many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nearnext.retrieval import ExactIndex
from nearnext.retrieval.scoring import QuantisedItems

values = st.floats(-4, 4, width=32)


@settings(deadline=None)
@given(
    vectors=arrays.arrays(np.float32, (9, 5), elements=values),
    queries=arrays.arrays(np.float32, (3, 5), elements=values),
)
def test_products_err_by_no_more_than_is_said(vectors: np.ndarray, queries: np.ndarray):
    items = QuantisedItems(vectors)
    products = np.empty((3, 9), np.float32)
    errors = items.products(queries, products)
    exact = queries.astype(np.float64) @ vectors.astype(np.float64).T
    assert np.all(np.abs(products - exact) <= errors[:, None] + 1e-4)


@settings(deadline=None)
@given(dim=st.sampled_from([1, 3, 64, 1000]), n_items=st.sampled_from([1, 511, 512, 700]), seed=st.integers(0, 99))
def test_sums_never_leave_their_bits(dim: int, n_items: int, seed: int):
    draw = np.random.default_rng(seed)
    vectors = draw.choice(np.array([-1, 1], np.float32), (n_items, dim)) * draw.choice([1e-15, 1.0, 1e15])
    items = QuantisedItems(vectors.astype(np.float32))
    queries = np.concatenate([vectors[:2], -vectors[:1], 1e-3 * vectors[:1]]).astype(np.float32)
    products = np.empty((len(queries), n_items), np.float32)
    errors = items.products(queries, products)
    exact = queries.astype(np.float64) @ vectors.astype(np.float64).T
    assert np.all(np.abs(products - exact) <= errors[:, None] + 1e-6 * np.abs(exact).max())
    assert np.all(errors <= 0.5 * np.abs(exact).max(axis=1))


def test_in_a_space_too_wide_for_16_bits_every_item_is_proposed():
    vectors = np.full((2, 2**15), 1.0, np.float32)
    products = np.empty((1, 2), np.float32)
    error = QuantisedItems(vectors).products(vectors[:1], products)[0]
    assert np.all(np.abs(products - 2.0**15) <= error)


def test_items_of_length_zero_have_products_of_zero():
    products = np.empty((1, 2), np.float32)
    errors = QuantisedItems(np.zeros((2, 3), np.float32)).products(np.ones((1, 3), np.float32), products)
    assert products.tolist() == [[0.0, 0.0]]
    assert errors.tolist() == [0.0]


def test_the_smallest_numbers_there_are_are_items_too():
    least = np.finfo(np.float32).smallest_subnormal
    products = np.empty((1, 2), np.float32)
    errors = QuantisedItems(np.full((2, 3), least, np.float32)).products(np.ones((1, 3), np.float32), products)
    assert np.all(np.abs(products - 3 * float(least)) <= errors[:, None] + 4 * float(least))  # 0 is as near


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_one_query_gets_the_list_that_it_gets_among_many(distance: str, spread: float):
    draw = np.random.default_rng(7)
    vectors = (draw.standard_normal(16) + spread * draw.standard_normal((3000, 16))).astype(np.float32)
    queries = (draw.standard_normal(16) + spread * draw.standard_normal((40, 16))).astype(np.float32)
    if distance == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    index = ExactIndex(vectors, distance)  # type: ignore[arg-type]
    together = index.search(queries, 20)
    for row in range(len(queries)):
        alone = index.search(queries[row : row + 1], 20)
        assert np.array_equal(alone.items[0], together.items[row])
        assert np.array_equal(alone.scores[0], together.scores[row])

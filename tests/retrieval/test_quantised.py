"""Proposals in 8 bits: their error is bounded, and lists of single queries are those of many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nearnext.retrieval import ExactIndex
from nearnext.retrieval.quantised import QuantisedItems

values = st.floats(-4, 4, width=32)


@settings(deadline=None)
@given(
    vectors=arrays.arrays(np.float32, (9, 5), elements=values),
    queries=arrays.arrays(np.float32, (3, 5), elements=values),
)
def test_products_err_by_no_more_than_is_said(vectors: np.ndarray, queries: np.ndarray):
    items = QuantisedItems(vectors)
    products = np.empty((3, 9), np.float32)
    items.products(queries, products)
    exact = queries.astype(np.float64) @ vectors.astype(np.float64).T
    assert np.all(np.abs(products - exact) <= items.error(np.linalg.norm(queries, axis=1))[:, None] + 1e-4)


def test_items_of_length_zero_have_products_of_zero():
    items = QuantisedItems(np.zeros((2, 3), np.float32))
    products = np.empty((1, 2), np.float32)
    items.products(np.ones((1, 3), np.float32), products)
    assert products.tolist() == [[0.0, 0.0]]
    assert items.error(np.ones(1)).tolist() == [0.0]


def test_the_smallest_numbers_there_are_have_products_of_zero():
    items = QuantisedItems(np.full((2, 3), np.finfo(np.float32).smallest_subnormal, np.float32))
    products = np.empty((1, 2), np.float32)
    items.products(np.ones((1, 3), np.float32), products)
    assert products.tolist() == [[0.0, 0.0]]
    assert 0.0 < items.error(np.ones(1))[0] < 1e-40


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

"""Exact search gives what a plain sort of all distances gives, whatever the batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.recommenders.ranking import Recommendation
from nearnext.retrieval import ExactIndex, Index
from nearnext.retrieval import exact as module
from nearnext.testing import assert_same_lists
from nearnext.types import BoolArray, ScoreArray

DISTANCES = ("cosine", "euclidean", "squared_euclidean")
every_distance = pytest.mark.parametrize("distance", DISTANCES)


def unit(rng: np.random.Generator, rows: int, dim: int) -> ScoreArray:
    vectors = rng.standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plain(query: ScoreArray, vectors: ScoreArray, distance: str) -> ScoreArray:
    """Scores in 64 bits, rounded once."""
    q, v = query.astype(np.float64), vectors.astype(np.float64)
    if distance == "cosine":
        return np.array([1.0 + float(np.sum(q * row)) for row in v]).clip(0, 2).astype(np.float32)
    squared = ((q - v) ** 2).sum(axis=1)
    return (-squared if distance == "squared_euclidean" else -np.sqrt(squared)).astype(np.float32)


def search_one(index: Index, query: ScoreArray, k: int, admissible: BoolArray | None = None) -> list[int]:
    return index.search(query[np.newaxis], k, admissible=admissible).items[0].tolist()


@every_distance
def test_lists_are_those_of_a_plain_sort(distance: str):
    rng = np.random.default_rng(0)
    vectors, queries = unit(rng, 300, 12), unit(rng, 20, 12)
    found = ExactIndex(vectors, distance).search(queries, 10)  # pyright: ignore[reportArgumentType]
    for row, query in enumerate(queries):
        scores = plain(query, vectors, distance)
        order = np.lexsort((np.arange(300), -scores))[:10]
        wanted = Recommendation((order + 1).tolist(), scores[order].tolist(), 10, [])
        assert_same_lists(Recommendation(found.items[row].tolist(), found.scores[row].tolist(), 10, []), wanted)


def test_scores_worked_by_hand():
    vectors = np.array([[3, 4], [0, 0], [-3, 4]], np.float32)
    query = np.array([[3, 0]], np.float32)
    # distances 4, 3 and √52
    assert ExactIndex(vectors, "euclidean").search(query, 3).items.tolist() == [[2, 1, 3]]
    assert ExactIndex(vectors, "squared_euclidean").search(query, 3).scores.tolist() == [[-9.0, -16.0, -52.0]]
    cosine = ExactIndex(np.array([[0.6, 0.8], [0, 0], [-1, 0]], np.float32))
    assert cosine.search(np.array([[1, 0]], np.float32), 3).scores.tolist() == [[np.float32(1.6), 1.0, 0.0]]


@every_distance
def test_equal_scores_are_in_order_of_the_item_index(distance: str):
    vectors = np.repeat(unit(np.random.default_rng(1), 4, 6), 100, axis=0)[np.random.default_rng(2).permutation(400)]
    found = ExactIndex(vectors, distance).search(vectors[:9], 150)  # pyright: ignore[reportArgumentType]
    for items, scores in zip(found.items, found.scores, strict=True):
        assert np.all(np.diff(scores) <= 0)
        assert np.all(np.diff(items)[np.diff(scores) == 0] > 0)


@every_distance
@pytest.mark.parametrize("dim", [3, 100])
def test_the_batch_changes_no_list(distance: str, dim: int):
    rng = np.random.default_rng(3)
    vectors, queries = unit(rng, 500, dim), unit(rng, 600, dim)
    index = ExactIndex(vectors, distance)  # pyright: ignore[reportArgumentType]
    whole = index.search(queries, 7)
    for rows in ([0], [599, 3, 12], list(range(100, 401))):
        part = index.search(queries[rows], 7)
        assert np.array_equal(part.items, whole.items[rows])
        assert np.array_equal(part.scores, whole.scores[rows])


def test_memory_is_bounded_by_blocks_that_change_nothing(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(4)
    vectors, queries = unit(rng, 200, 8), unit(rng, 50, 8)
    whole = ExactIndex(vectors).search(queries, 5)
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 200 * 3)
    in_threes = ExactIndex(vectors).search(queries, 5)
    assert np.array_equal(whole.items, in_threes.items)
    assert np.array_equal(whole.scores, in_threes.scores)


@settings(max_examples=60, deadline=None)
@given(
    vectors=arrays.arrays(np.float32, (9, 2), elements=st.sampled_from([-0.5, -0.25, 0.0, 0.25, 0.5])),
    allowed=arrays.arrays(np.bool_, 9),
    seen=st.lists(st.integers(0, 9), max_size=4),
    k=st.integers(1, 12),
    distance=st.sampled_from(DISTANCES),
)
def test_lists_are_full_while_admissible_items_remain(
    vectors: ScoreArray, allowed: BoolArray, seen: list[int], k: int, distance: str
):
    mask = np.concatenate([[False], allowed])
    clicks = Prefixes.of([np.array(seen, np.int32)])
    index = ExactIndex(vectors, distance)  # pyright: ignore[reportArgumentType]
    found = index.search(np.array([[0.25, 0.5]], np.float32), k, admissible=mask, seen=clicks)
    candidates = set(np.flatnonzero(mask).tolist()) - set(seen)
    listed = found.items[0][: found.found[0]].tolist()
    assert found.found[0] == len(set(listed)) == min(k, len(candidates))
    assert set(listed) <= candidates
    assert not found.items[0, found.found[0] :].any()
    scores = plain(np.array([0.25, 0.5], np.float32), vectors, distance)
    assert listed == sorted(candidates, key=lambda item: (-scores[item - 1], item))[: len(listed)]


def test_what_one_query_has_seen_is_open_to_the_next():
    index = ExactIndex(np.eye(3, dtype=np.float32))
    queries = np.repeat(np.eye(3, dtype=np.float32)[:1], 2, axis=0)
    seen = Prefixes.of([np.array([1], np.int32), np.array([2, 0], np.int32)])
    assert index.search(queries, 2, seen=seen).items.tolist() == [[2, 3], [1, 3]]


def test_faults_say_what_was_expected():
    index = ExactIndex(np.eye(3, dtype=np.float32))
    with pytest.raises(ConfigError, match=r"index has dimension 3, queries have shape .2, 4.; rebuild"):
        index.search(np.zeros((2, 4), np.float32), 1)
    with pytest.raises(ConfigError, match="k must be a whole number of at least 1, found 0"):
        search_one(index, np.zeros(3, np.float32), 0)
    with pytest.raises(ConfigError, match="mask of 3 items after position 0, found 3"):
        search_one(index, np.zeros(3, np.float32), 1, np.ones(3, np.bool_))
    with pytest.raises(ConfigError, match="clicks of 1 queries, found 2"):
        index.search(np.zeros((1, 3), np.float32), 1, seen=Prefixes.of([np.zeros(0, np.int32)] * 2))
    with pytest.raises(ConfigError, match="unknown distance 'taxi'; known: cosine"):
        ExactIndex(np.eye(3, dtype=np.float32), "taxi")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="finite item embeddings"):
        ExactIndex(np.full((2, 2), np.nan, np.float32))


@every_distance
@pytest.mark.parametrize("dim", [12, 70])
def test_lists_are_the_same_however_items_are_blocked(distance: str, dim: int, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    vectors, queries = unit(rng, 300, dim), unit(rng, 100, dim)
    admissible, seen = rng.random(301) < 0.7, Prefixes.of(list(rng.integers(0, 301, (100, 5), np.int32)))
    index = ExactIndex(vectors, distance)  # pyright: ignore[reportArgumentType]
    whole = index.search(queries, 10, admissible=admissible, seen=seen)
    monkeypatch.setattr(module, "BLOCK_ROWS", 30)
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 30 * 70)
    blocked = index.search(queries, 10, admissible=admissible, seen=seen)
    assert np.array_equal(blocked.items, whole.items)
    assert np.array_equal(blocked.scores, whole.scores)
    few = index.search(queries, 250, admissible=admissible, seen=seen)
    assert few.found.max() < 250
    assert np.array_equal(few.items[:, :10], whole.items)

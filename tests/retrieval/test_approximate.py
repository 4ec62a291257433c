"""Approximate lists are never shorter than exact ones, hold only what may be listed, and have exact scores."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ArtifactError, ConfigError
from nearnext.model.distances import DISTANCES, DistanceName
from nearnext.retrieval import ApproximateIndex, ExactIndex
from nearnext.retrieval.approximate import build_graph, proposals
from nearnext.types import BoolArray, Int64Array, ScoreArray

pytest.importorskip("faiss", reason="the extra ann is not installed")

every_distance = pytest.mark.parametrize("distance", DISTANCES)
N_ITEMS, DIM = 200, 8


def unit(rng: np.random.Generator, rows: int, dim: int = DIM) -> ScoreArray:
    vectors = rng.standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def both(distance: DistanceName = "cosine", ef_search: int = 16) -> tuple[ApproximateIndex, ExactIndex]:
    vectors = unit(np.random.default_rng(0), N_ITEMS)
    vectors[150:] = vectors[:50]  # equal scores
    exact = ExactIndex(vectors, distance)
    return ApproximateIndex(exact, build_graph(vectors, distance), ef_search), exact


BOTH = {distance: both(distance) for distance in DISTANCES}


class Poor(ApproximateIndex):
    """An index whose proposals are the same few items, whatever is asked."""

    items: list[int]

    def propose(self, query: ScoreArray, n: int) -> Int64Array:
        assert query.shape == (DIM,)
        return np.array(self.items[:n], dtype=np.int64)


def among_poor(items: list[int]) -> ApproximateIndex:
    poor = Poor(BOTH["cosine"][1], BOTH["cosine"][0].graph, ef_search=1)
    poor.items = items
    return poor


@settings(max_examples=80, deadline=None)
@given(
    k=st.integers(1, 220),
    share=st.floats(0.0, 1.0),
    seen=st.lists(st.integers(0, N_ITEMS), max_size=30),
    seed=st.integers(0, 99),
    distance=st.sampled_from(DISTANCES),
)
def test_lists_are_as_long_as_exact_ones_and_hold_only_what_may_be_listed(
    k: int, share: float, seen: list[int], seed: int, distance: DistanceName
):
    rng = np.random.default_rng(seed)
    mask = np.concatenate([[False], rng.random(N_ITEMS) < share])
    clicks = Prefixes.of([np.array(seen, np.int32), np.zeros(0, np.int32)])
    queries = unit(rng, 2)
    approximate, exact = BOTH[distance]
    found = approximate.search(queries, k, admissible=mask, seen=clicks)
    wanted = exact.search(queries, k, admissible=mask, seen=clicks)
    assert found.found.tolist() == wanted.found.tolist()
    for row in range(2):
        listed = found.items[row, : found.found[row]].tolist()
        assert len(set(listed)) == len(listed)
        assert mask[listed].all()
        assert row == 1 or not set(listed) & set(seen)
        assert not found.items[row, found.found[row] :].any()
        order = list(zip((-found.scores[row, : found.found[row]]).tolist(), listed, strict=True))
        assert order == sorted(order)
        scores = dict(zip(wanted.items[row].tolist(), wanted.scores[row].tolist(), strict=True))
        assert all(scores[item] == -score for score, item in order if item in scores)


@settings(max_examples=40, deadline=None)
@given(
    k=st.integers(1, 12), proposed=st.lists(st.integers(1, N_ITEMS), unique=True, max_size=11), seed=st.integers(0, 99)
)
def test_too_few_proposals_give_the_exact_list(k: int, proposed: list[int], seed: int):
    query = unit(np.random.default_rng(seed), 1)
    found = among_poor(proposed).search(query, k)
    exact = BOTH["cosine"][1].search(query, k)
    if len(proposed) < k:
        assert found.items.tolist() == exact.items.tolist()
        assert found.scores.tolist() == exact.scores.tolist()
    else:
        assert set(found.items[0].tolist()) <= set(proposed)


def test_only_the_rows_that_need_it_are_searched_exactly():
    queries = unit(np.random.default_rng(5), 3)
    seen = Prefixes.of([np.zeros(0, np.int32), np.array([7, 9], np.int32), np.zeros(0, np.int32)])
    found = among_poor([7, 9]).search(queries, 2, seen=seen)
    exact = BOTH["cosine"][1].search(queries, 2, seen=seen)
    assert [set(row) for row in found.items[[0, 2]].tolist()] == [{7, 9}, {7, 9}]
    assert found.items[1].tolist() == exact.items[1].tolist()


@every_distance
def test_the_batch_changes_no_list(distance: DistanceName):
    approximate, _ = BOTH[distance]
    queries = unit(np.random.default_rng(3), 30)
    whole = approximate.search(queries, 5)
    for rows in ([0], [29, 3, 12]):
        part = approximate.search(queries[rows], 5)
        assert np.array_equal(part.items, whole.items[rows])
        assert np.array_equal(part.scores, whole.scores[rows])


def test_more_is_proposed_the_less_may_be_listed():
    assert proposals(10, 0, 1000, 1000) == 20
    assert proposals(10, 4, 1000, 1000) == 24
    assert proposals(10, 0, 100, 1000) == 200
    assert proposals(10, 0, 10, 1000) == 0  # 2,000 proposals of 1,000 items
    assert proposals(10, 0, 9, 1000) == 0
    assert proposals(10, 991, 1000, 1000) == 0


@every_distance
def test_a_wide_walk_finds_the_exact_lists(distance: DistanceName):
    vectors = unit(np.random.default_rng(7), 400)
    exact = ExactIndex(vectors, distance)
    wide = ApproximateIndex(exact, build_graph(vectors, distance), ef_search=400)
    queries = unit(np.random.default_rng(8), 20)
    assert wide.search(queries, 10).items.tolist() == exact.search(queries, 10).items.tolist()


def test_the_same_graph_every_time_and_after_saving(tmp_path: Path):
    vectors = unit(np.random.default_rng(9), 300)
    exact = ExactIndex(vectors)
    first = ApproximateIndex(exact, build_graph(vectors, "cosine"), ef_search=7)
    again = ApproximateIndex(exact, build_graph(vectors, "cosine"), ef_search=7)
    first.save(tmp_path / "one.faiss")
    again.save(tmp_path / "two.faiss")
    assert (tmp_path / "one.faiss").read_bytes() == (tmp_path / "two.faiss").read_bytes()
    loaded = ApproximateIndex.load(exact, tmp_path / "one.faiss")
    assert loaded.ef_search == 7
    queries = unit(np.random.default_rng(10), 20)
    assert loaded.search(queries, 5).items.tolist() == first.search(queries, 5).items.tolist()


def test_damaged_and_foreign_graphs_are_refused(tmp_path: Path):
    index, exact = BOTH["cosine"]
    file = tmp_path / "index.faiss"
    index.save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match="no graph of items, or damaged; rebuild it with nearnext index"):
        ApproximateIndex.load(exact, file)
    file.write_bytes(b"not a graph")
    with pytest.raises(ArtifactError, match="no graph of items"):
        ApproximateIndex.load(exact, file)
    with pytest.raises(ArtifactError, match="no graph of items"):
        ApproximateIndex.load(exact, tmp_path / "absent")
    file.write_bytes(whole)
    with pytest.raises(ConfigError, match="expected a graph of 3 items of dimension 3, found 200 of dimension 8"):
        ApproximateIndex.load(ExactIndex(np.eye(3, dtype=np.float32)), file)
    with pytest.raises(ArtifactError, match="cannot write"):
        index.save(tmp_path / "no" / "folder")


def test_faults_say_what_was_expected():
    index, _ = BOTH["cosine"]
    with pytest.raises(ConfigError, match=r"index has dimension 8, queries have shape .2, 4.; rebuild"):
        index.search(np.zeros((2, 4), np.float32), 1)
    with pytest.raises(ConfigError, match="k must be a whole number of at least 1, found 0"):
        index.search(np.zeros((1, DIM), np.float32), 0)
    with pytest.raises(ConfigError, match="mask of 200 items"):
        index.search(np.zeros((1, DIM), np.float32), 1, admissible=np.ones(3, np.bool_))
    with pytest.raises(ConfigError, match="ef_search must be a whole number of at least 1, found 0"):
        ApproximateIndex(index.exact, index.graph, ef_search=0)
    with pytest.raises(ConfigError, match="threads must be"):
        build_graph(np.eye(3, dtype=np.float32), "cosine", threads=0)


def _subset(admissible: list[int]) -> BoolArray:
    mask = np.zeros(N_ITEMS + 1, np.bool_)
    mask[admissible] = True
    return mask


@every_distance
@pytest.mark.parametrize("listed", [[], [3], [3, 60, 153, 199], list(range(1, 24))])
def test_exact_search_among_few_items_changes_no_bit(distance: DistanceName, listed: list[int]):
    exact = BOTH[distance][1]
    queries = unit(np.random.default_rng(11), 6)
    log = Prefixes.of([np.array([3, 0, 153], np.int32)] * 8)
    seen = log.slice(1, 7)
    few = exact.search(queries, 5, admissible=_subset(listed), seen=seen)
    everything = exact.search(queries, N_ITEMS, seen=seen)
    for row in range(6):
        order = [item for item in everything.items[row].tolist() if item in listed][:5]
        assert few.items[row, : few.found[row]].tolist() == order
        wanted = dict(zip(everything.items[row].tolist(), everything.scores[row].tolist(), strict=True))
        assert few.scores[row, : few.found[row]].tolist() == [wanted[item] for item in order]

"""The index is exact until an approximate one was measured to be good and faster; nothing below the floor is used."""

import numpy as np
import pytest

from nearnext.errors import ConfigError
from nearnext.retrieval import ApproximateIndex, ExactIndex, IndexReport, build_index, building
from nearnext.retrieval.building import Latency, perturbed_items, recall
from nearnext.types import ScoreArray


def unit(rows: int, dim: int = 8, seed: int = 0) -> ScoreArray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def always(milliseconds: float) -> Latency:
    return Latency(milliseconds, milliseconds)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Latencies in the order in which they are measured, instead of real ones: exact, then approximate."""
    pytest.importorskip("faiss", reason="the extra ann is not installed")
    latencies = [50.0, 1.0]
    measured = iter(latencies)
    monkeypatch.setattr(building, "_latency", lambda _search, _queries: always(next(measured)))  # pyright: ignore
    return latencies


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> ExactIndex:
    """A catalogue that is too large for exact search, by a rule made small."""
    monkeypatch.setattr(building, "EXACT_NUMBERS", 500 * 8 - 1)
    return ExactIndex(unit(500))


def test_small_catalogues_are_searched_exactly_without_a_measurement():
    exact = ExactIndex(unit(500))
    index, report = build_index(exact, pytest.fail)
    assert index is exact
    assert report == IndexReport(
        "exact", "4,000 numbers are searched exactly in a few milliseconds", 500, 8, 32.0, recall_floor=0.95
    )


def test_the_rule_is_two_to_the_power_of_23_numbers():
    assert building.EXACT_NUMBERS == 262_144 * 128


def test_large_catalogues_are_searched_approximately_once_measured(large: ExactIndex, timed: list[float]):
    index, report = build_index(large, lambda: unit(300, seed=1))
    assert isinstance(index, ApproximateIndex)
    assert report.kind == "approximate"
    assert report.recall is not None
    assert 0.95 <= report.recall <= 1.0
    assert report.queries == "200 session embeddings"  # a third of the 300 chose the ef_search
    assert report.ef_search == index.ef_search
    assert [report.exact, report.approximate] == [always(milliseconds) for milliseconds in timed]
    assert 32 + 8 + 2 * 16 * 4 < report.bytes_per_item < 32 + 8 + 2 * 16 * 4 + 100
    assert report.reason == f"recall@20 {report.recall:.4f}, floor 0.95"


def test_the_measured_recall_is_that_of_the_index(large: ExactIndex, timed: list[float]):
    assert timed
    queries = unit(300, seed=1)
    index, report = build_index(large, lambda: queries)
    found, exact = index.search(queries[100:], 20), large.search(queries[100:], 20)
    hits = [len(set(a) & set(b)) for a, b in zip(found.items.tolist(), exact.items.tolist(), strict=True)]
    assert report.recall == pytest.approx(sum(hits) / (200 * 20))


def test_items_that_are_never_listed_do_not_count(large: ExactIndex, timed: list[float]):
    assert timed
    listed = np.arange(501) % 2 == 1
    index, report = build_index(large, listed=listed)
    queries = perturbed_items(large, listed)
    assert report.queries == f"{250 - 83} perturbed item embeddings"
    found = index.search(queries[83:], 20, admissible=listed).items
    assert report.recall == pytest.approx(recall(found, large.search(queries[83:], 20, admissible=listed).items))


@pytest.mark.parametrize("found", [0.9499, 0.0])
def test_below_the_floor_auto_is_exact_and_approximate_is_refused(
    large: ExactIndex, timed: list[float], monkeypatch: pytest.MonkeyPatch, found: float
):
    monkeypatch.setattr(building, "recall", lambda *_: found)  # pyright: ignore
    index, report = build_index(large)
    assert index is large
    assert (report.kind, report.recall, report.ef_search) == ("exact", found, 1024)
    assert report.reason == f"too low a recall@20 {found:.4f}, floor 0.95"
    assert report.bytes_per_item == 32.0
    timed[:] = [50.0, 1.0]
    monkeypatch.setattr(building, "_latency", lambda *_: always(1.0))  # pyright: ignore
    with pytest.raises(ConfigError, match=r"misses too much: recall@20 0.\d{4}, floor 0.95; lower the floor"):
        build_index(large, kind="approximate")
    assert build_index(large, kind="approximate", recall_floor=found)[1].kind == "approximate"


def test_a_slower_index_is_not_taken(large: ExactIndex, timed: list[float], monkeypatch: pytest.MonkeyPatch):
    timed[:] = [1.0, 1.0]
    index, report = build_index(large)
    assert index is large
    assert report.reason.startswith("the approximate index is no faster (recall@20 ")
    monkeypatch.setattr(building, "_latency", lambda *_: always(1.0))  # pyright: ignore
    assert build_index(large, kind="approximate")[1].kind == "approximate"


def test_without_the_extra_auto_is_exact_and_says_why(large: ExactIndex, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(building, "can_build_graphs", lambda: False)
    index, report = build_index(large)
    assert index is large
    assert report.reason == "approximate search needs an extra: pip install 'nearnext[ann]'"


def test_exact_on_request_whatever_the_size(large: ExactIndex):
    index, report = build_index(large, kind="exact")
    assert index is large
    assert report.reason == "asked for"


def test_recall_worked_by_hand():
    found = np.array([[1, 2, 3], [4, 5, 0], [0, 0, 0]], np.int32)
    exact = np.array([[3, 9, 1], [5, 0, 0], [7, 8, 9]], np.int32)
    assert recall(found, exact) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_perturbed_items_are_half_a_length_away():
    vectors = unit(50) * 3.0
    euclidean = ExactIndex(vectors.astype(np.float32), "euclidean")
    moved = perturbed_items(euclidean, n=50)
    nearest = [float(np.linalg.norm(vectors - query, axis=1).min()) for query in moved]
    assert max(nearest) <= 1.5 + 1e-5  # half of the length 3, or nearer to another item
    cosine = perturbed_items(ExactIndex(unit(50)), np.arange(51) <= 10)
    assert cosine.shape == (10, 8)
    np.testing.assert_allclose(np.linalg.norm(cosine, axis=1), 1.0, rtol=1e-6)


def test_faults_say_what_was_expected(large: ExactIndex):
    with pytest.raises(ConfigError, match="unknown kind of index 'ivf'; known: auto, exact, approximate"):
        build_index(large, kind="ivf")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="recall_floor must be a finite number of at least 0 and at most 1, found 95"):
        build_index(large, recall_floor=95)
    with pytest.raises(ConfigError, match="recall_floor"):
        build_index(large, recall_floor=float("nan"))

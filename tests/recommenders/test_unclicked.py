"""Items without clicks in re-ranked lists: which clicked items they are like, and lists by brute force."""

import numpy as np
import polars as pl
import pytest

from metric_support import tiny
from nearnext.data.item_features import ItemFeatures
from nearnext.data.items import ItemTable, read_items
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.recommenders.metric import recommender, selection, unclicked
from nearnext.recommenders.metric.features import Candidates
from nearnext.recommenders.metric.recommender import Metric
from nearnext.recommenders.metric.unclicked import Likeness, UnclickedItems
from nearnext.recommenders.placement import Placement
from nearnext.recommenders.ranking import Request
from nearnext.retrieval import ExactIndex

N_CLICKED, N_ITEMS = 20, 26


def table() -> ItemTable:
    """Items i00..i25 of five kinds; the last has attributes that no other item has."""
    titles = [f"kind{number % 5} shade{number % 7}" for number in range(N_ITEMS - 1)] + ["unique"]
    return read_items(pl.DataFrame({"id": [f"i{number:02}" for number in range(N_ITEMS)], "title": titles}))


@pytest.fixture(scope="module")
def placement() -> Placement:
    clicked = table().of(pl.Series([f"i{number:02}" for number in range(N_CLICKED)]))
    embeddings = np.random.default_rng(0).normal(size=(N_CLICKED, 4)).astype(np.float32)
    return Placement.of(clicked, np.full(N_CLICKED, 9), embeddings, None, cosine=True)


@pytest.mark.parametrize("block", [1, 2**20])
def test_the_items_alike_are_those_of_the_largest_cosines(
    placement: Placement, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(unclicked, "BLOCK_BYTES", block)
    monkeypatch.setattr(unclicked, "ALIKE", 6)
    clicks = np.array([0] + [9] * N_CLICKED + [0] * (N_ITEMS - N_CLICKED))
    found = Likeness.of(placement, table(), Vocabulary(table().frame["item_id"]), clicks)
    assert found is not None
    rows = ItemFeatures.of(table().of(pl.Series([f"i{number:02}" for number in range(N_CLICKED)]))).rows(table())
    dense = rows.toarray()
    dense /= np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)
    for at, cosines in enumerate(dense[N_CLICKED:] @ dense[:N_CLICKED].T):
        kept = np.where(found.items[at] > 0, found.weights[at], 0)
        expected = np.sort(cosines)[::-1][:6] ** 4
        np.testing.assert_allclose(np.sort(kept)[::-1], expected / max(expected.sum(), 1e-12), rtol=1e-5)
        for item, weight in zip(found.items[at], kept, strict=True):
            assert not item or weight == pytest.approx(cosines[item - 1] ** 4 / expected.sum(), rel=1e-5)
    assert not found.weights[-1].any()
    assert Likeness.of(None, None, Vocabulary(table().frame["item_id"]), clicks) is None


def test_a_joined_list_is_that_of_all_probabilities_sorted() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(10, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = Likeness(
        rng.integers(0, 21, (10, 3)).astype(np.int32), rng.dirichlet(np.ones(3), size=10).astype(np.float32)
    )
    likeness.weights[likeness.items == 0] = 0
    joined = UnclickedItems(np.arange(21, 31, dtype=np.int32), ExactIndex(vectors), likeness.transposed(30))
    sessions = vectors[:5] + 0.1
    prefixes = Prefixes.of([np.array([21 + row, 1], np.int32) for row in range(5)])
    candidates = np.stack([rng.permutation(20)[:8] + 1 for _ in range(5)]).astype(np.int32)
    probabilities = np.sort(rng.dirichlet(np.ones(8), size=5).astype(np.float32), axis=1)[:, ::-1]
    found = Candidates(np.arange(0, 48, 8), candidates.ravel(), np.zeros((40, 0), np.float32))
    admissible = np.ones(31, np.bool_)
    admissible[25] = False
    for k in (6, 40):
        items, scores = np.zeros((5, k), np.int32), np.zeros((5, k), np.float32)
        own = np.full(5, min(k, 8), np.int32)
        items[:, : own[0]], scores[:, : own[0]] = candidates[:, : own[0]], probabilities[:, : own[0]]
        lengths = joined.join(
            sessions, prefixes, Request(k, admissible), found, probabilities.ravel(), own, items, scores
        )
        for row in range(5):
            of = dict(zip(candidates[row].tolist(), probabilities[row].tolist(), strict=True))
            for at in set(range(10)) - {4, row}:
                pairs = zip(likeness.items[at].tolist(), likeness.weights[at].tolist(), strict=True)
                mean = sum(weight * of.get(item, 0.0) for item, weight in pairs if item)
                of[21 + at] = mean or -1 + float(vectors[at] @ sessions[row]) / 10  # behind all others, by distance
            expected = sorted(of, key=lambda item: -of[item])[:k]
            assert items[row, : lengths[row]].tolist() == expected
            assert (np.diff(scores[row, : lengths[row]]) <= 0).all()
            assert not items[row, lengths[row] :].any()


def test_what_items_are_alike_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
    # Models older than the factor have scores in full.
    monkeypatch.setattr(recommender, "cold_factor", lambda *_: 1.0)  # pyright: ignore[reportUnknownLambdaType]
    log = Sessions.of([[f"i{(s * 7 + j * j) % N_CLICKED:02}" for j in range(2 + s % 5)] for s in range(120)])
    model = tiny(voters=["vsknn", "sr"]).fit(log, items=table())
    assert isinstance(model, Metric)
    assert model.likeness is not None
    assert model.generators is not None
    clicks = model.popularity[1:]
    np.testing.assert_allclose(
        model.generators.evidence.popularity[1:][clicks == 0], np.log1p(clicks[clicks > 0]).mean(), rtol=1e-5
    )
    assert model.generators.clicked[1:].sum() == N_CLICKED
    state = model.state()
    older = {name: array for name, array in state.items() if not name.startswith("likeness.")}
    for kept in (state, older):
        again = model.unfitted()
        again.items = model.items
        again.restore(model.vocabulary, kept)
        assert isinstance(again, Metric)
        assert again.likeness is not None
        np.testing.assert_array_equal(again.likeness.items, model.likeness.items)
        np.testing.assert_array_equal(again.likeness.weights, model.likeness.weights)

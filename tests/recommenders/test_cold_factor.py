"""Item tables that say nothing: how that is measured, and that lists of clicked items then stay as without a table."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from metric_support import CLICKS, LOG, N_ITEMS, tiny
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.items import ItemTable, read_items
from nearnext.data.prefixes import Prefixes
from nearnext.data.vocabulary import Vocabulary
from nearnext.explanation import explain
from nearnext.manifest import CARD
from nearnext.recommenders import placement
from nearnext.recommenders.embedded import EmbeddedRecommender
from nearnext.recommenders.metric import cold_factor, recommender, selection
from nearnext.recommenders.metric.cold_factor import FACTORS, HeldOutLists
from nearnext.recommenders.metric.features import Candidates
from nearnext.recommenders.metric.unclicked import Likeness, UnclickedItems
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.placement import FEWEST, Placement
from nearnext.recommenders.ranking import Request
from nearnext.recommenders.space import table_note, unlisted_note
from nearnext.retrieval import ExactIndex
from nearnext.testing import assert_same_lists
from nearnext.types import ScoreArray

N, KINDS = 150, 10
IDS = [f"i{number:03}" for number in range(N)]
OF_KIND = np.arange(N) % KINDS


def described(kinds: np.ndarray) -> ItemTable:
    """Titles that name the kind of each item, and a number of their own."""
    titles = [f"kind{kind} model{number}" for number, kind in enumerate(kinds)]
    return read_items(pl.DataFrame({"id": IDS, "title": titles}))


def embeddings(rng: np.random.Generator) -> np.ndarray:
    """Rows near those of the other items of the kind."""
    return (rng.normal(size=(KINDS, 6))[OF_KIND] + 0.3 * rng.normal(size=(N, 6))).astype(np.float32)


def placed(table: ItemTable, seed: int = 0) -> Placement:
    rows = embeddings(np.random.default_rng(seed))
    return Placement.of(table, np.full(N, 50), rows, None, cosine=True)


@pytest.mark.parametrize("seed", range(5))
def test_attributes_that_are_permuted_explain_no_embedding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    explained = placed(described(OF_KIND), seed).explained
    assert explained is not None
    assert explained > 0.5
    assert placed(described(rng.permutation(OF_KIND)), seed).explained == 0


def test_too_few_items_explain_nothing() -> None:
    table = described(OF_KIND)
    few = table.of(pl.Series(IDS[:5]))
    placed = Placement.of(few, np.full(5, 9), np.eye(5, dtype=np.float32), None, cosine=True)
    assert (placed.explained, placed.described, placed.too_few) == (0, 5, True)


def first_feature(found: Candidates) -> ScoreArray:
    """A stand-in for the re-ranker: the probabilities are the candidates' only feature."""
    return found.features[:, 0]


@pytest.mark.parametrize("n", [FEWEST - 1, FEWEST])
def test_embeddings_are_measured_only_if_enough_items_have_attributes(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "CRITICAL", -1e9)  # any gain is significant
    kinds = np.where(np.arange(N) < n, OF_KIND % 2, -1)
    table = read_items(pl.DataFrame({"id": IDS, "title": [f"kind{kind}" if kind >= 0 else None for kind in kinds]}))
    rows = np.zeros((N, 2), np.float32)
    rows[np.arange(N), kinds % 2] = 1  # as the titles of those that have one say
    placed = Placement.of(table, np.full(N, 50), rows, None, cosine=True)
    assert (placed.described, placed.too_few) == (n, n < FEWEST)
    assert (placed.explained == 0) == placed.too_few


def lists_of(rng: np.random.Generator, n: int = 400) -> HeldOutLists:
    """Sessions that stay in a kind: its items are the most probable candidates, and one of them is next."""
    kinds = rng.integers(KINDS, size=n)
    members = [np.flatnonzero(kind == OF_KIND) + 1 for kind in range(KINDS)]
    others = [rng.permutation(np.flatnonzero(kind != OF_KIND) + 1)[:30] for kind in kinds]
    items = np.concatenate([np.append(members[kind], other) for kind, other in zip(kinds, others, strict=True)])
    weights = np.tile(np.append(np.ones(N // KINDS), np.full(30, 0.2)), n) * rng.uniform(0.5, 1.5, len(items))
    count = N // KINDS + 30
    offsets = np.arange(0, n * count + 1, count)
    probabilities = (weights / np.repeat(np.add.reduceat(weights, offsets[:-1]), count)).astype(np.float32)
    targets = np.array([rng.choice(members[kind]) for kind in kinds], np.int32)
    clicks = [np.array([rng.choice(members[kind])], np.int32) for kind in kinds]
    found = Candidates(offsets, items.astype(np.int32), probabilities[:, None])
    known = np.arange(1, N + 1, dtype=np.int32)
    return HeldOutLists.of(Prefixes.of(clicks), np.arange(n), targets, found, first_feature, known)


@pytest.mark.parametrize("seed", range(3))
def test_only_attributes_that_predict_next_items_keep_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists, vocabulary = lists_of(rng), Vocabulary(pl.Series(IDS))
    table = described(OF_KIND)
    kept = cold_factor.cold_factor(lists, placed(table), table, vocabulary)
    assert kept is not None
    assert kept >= 0.5
    table = described(rng.permutation(OF_KIND))
    assert cold_factor.cold_factor(lists, placed(table), table, vocabulary) == 0


def test_the_last_lists_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lists_of(np.random.default_rng(0), 40)
    monkeypatch.setattr(cold_factor, "MOST_LISTS", 7)
    last = lists_of(np.random.default_rng(0), 40)
    of_last = whole.owners >= 33
    assert last.prefixes.lengths.tolist() == whole.prefixes.lengths[33:].tolist()
    assert last.owners.tolist() == (whole.owners[of_last] - 33).tolist()
    for name in ("sessions", "targets"):
        assert getattr(last, name).tolist() == getattr(whole, name)[33:].tolist()
    for name in ("items", "probabilities"):
        assert getattr(last, name).tolist() == getattr(whole, name)[of_last].tolist()


def test_hits_are_those_of_lists_that_are_made() -> None:
    rng, n = np.random.default_rng(4), 60
    candidates = [rng.permutation(40)[: rng.integers(15, 30)] + 1 for _ in range(n)]
    offsets = np.cumsum([0, *map(len, candidates)])
    probabilities = rng.random(offsets[-1]).astype(np.float32)
    prefixes = Prefixes.of([rng.integers(0, 41, 3).astype(np.int32) for _ in range(n + 7)]).take(np.arange(5, n + 5))
    targets = rng.integers(0, 41, n).astype(np.int32)
    found = Candidates(offsets, np.concatenate(candidates).astype(np.int32), probabilities[:, None])
    lists = HeldOutLists.of(prefixes, np.arange(n), targets, found, first_feature, np.arange(1, 41, dtype=np.int32))
    taken = np.arange(41) % 4 == 1
    means = rng.random((n, 41)) * taken * (rng.random((n, 41)) < 0.7)
    quality = cold_factor._quality(lists, np.flatnonzero(taken).astype(np.int32), csr_matrix(means))  # pyright: ignore[reportPrivateUsage]
    ranks = set[int]()
    for at, factor in enumerate([*FACTORS.tolist(), 0.0]):
        for row in range(n):
            clicks = set(prefixes.items[prefixes.starts[row] : prefixes.ends[row]].tolist())
            own = dict(zip(candidates[row].tolist(), probabilities[offsets[row] :].tolist(), strict=False))
            scores: dict[int, float] = {item: score for item, score in own.items() if not taken[item] or item in clicks}
            scores |= {item: factor * means[row, item] for item in np.flatnonzero(taken).tolist() if item not in clicks}
            best = sorted((item for item, score in scores.items() if score > 0), key=lambda item: -scores[item])[:20]
            rank = best.index(targets[row]) + 1 if targets[row] in best else 0
            ranks.add(rank)
            assert quality[at, row] == pytest.approx(1 + 1 / rank if rank else 0)
    assert {0, 1, 20} <= ranks


def test_lists_in_other_indices_and_the_last_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lists_of(np.random.default_rng(1), 30)
    monkeypatch.setattr(cold_factor, "MOST_LISTS", 10)
    last = lists_of(np.random.default_rng(1), 30)
    np.testing.assert_array_equal(last.targets, whole.targets[-10:])
    np.testing.assert_array_equal(last.items, whole.items[whole.owners >= 20])
    np.testing.assert_array_equal(last.owners, whole.owners[whole.owners >= 20] - 20)
    np.testing.assert_array_equal(last.clicked() // (N + 1), np.arange(10))
    shifted = last.numbered(np.append(0, np.arange(N, 0, -1)).astype(np.int32))
    np.testing.assert_array_equal(shifted.items, N + 1 - last.items)
    np.testing.assert_array_equal(shifted.known, N + 1 - last.known)


def test_with_the_factor_0_full_lists_are_those_without_such_items() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(10, 4)).astype(np.float32)
    weights = np.zeros((10, 3), np.float32)
    joined = UnclickedItems(
        np.arange(21, 31, dtype=np.int32),
        ExactIndex(vectors),
        Likeness(rng.integers(1, 21, (10, 3)).astype(np.int32), weights).transposed(30),
    )
    candidates = np.stack([rng.permutation(20)[:8] + 1 for _ in range(5)]).astype(np.int32)
    values = np.sort(rng.random((5, 8)).astype(np.float32), axis=1)[:, ::-1]
    found = Candidates(np.arange(0, 48, 8), candidates.ravel(), np.zeros((40, 0), np.float32))
    prefixes, request = Prefixes.of([np.array([1], np.int32)] * 5), Request(8, np.ones(31, np.bool_))
    items, scores = candidates.copy(), values.copy()
    own = joined.join(vectors[:5], prefixes, request, found, values.ravel(), np.full(5, 8, np.int32), items, scores)
    np.testing.assert_array_equal(own, 8)
    np.testing.assert_array_equal(items, candidates)
    np.testing.assert_array_equal(scores, values)


TABLE = read_items(pl.DataFrame({"id": [f"i{n}" for n in range(N_ITEMS + 4)], "title": ["thing"] * (N_ITEMS + 4)}))
NEW = {f"i{n}" for n in range(N_ITEMS, N_ITEMS + 4)}
SML = {"dim": 8, "epochs": 1, "batch_size": 16, "device": "cpu"}


@pytest.fixture
def insignificant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was trained, attributes do not predict it."""
    monkeypatch.setattr(placement, "CRITICAL", 1e9)


def uninformed(name: str, items: ItemTable | None, **options: Any) -> EmbeddedRecommender:
    model = tiny(**options) if name == "metric" else make_recommender(name, SML)
    model.fit(LOG, items=items)
    assert isinstance(model, EmbeddedRecommender)
    return model


@pytest.mark.usefixtures("insignificant")
@pytest.mark.parametrize("name", ["metric", "sml-gru-ncas"])
def test_lists_by_distance_are_then_those_without_a_table(name: str, tmp_path: Path) -> None:
    with_table = uninformed(name, TABLE, voters=())
    without = uninformed(name, None, voters=())
    sessions = [*CLICKS[:20], ["i1", "i62", "i3"]]
    expected = without.recommend([[item for item in one if item not in NEW] for one in sessions], k=40)
    assert_same_lists(with_table.recommend(sessions, k=40), expected)
    (longest,) = with_table.recommend([["i1"]], k=N_ITEMS + 4)
    assert set(longest.items[-4:]) == NEW
    assert {*with_table.recommend([["i1"]], k=2, allow=["i61", "i63"])[0].items} == {"i61", "i63"}
    assert not NEW & set(with_table.item_vectors()["item_id"])
    assert NEW & set(with_table.similar(["i61"], 10)[0].items)
    assert "does not predict embeddings" in with_table.table_note
    provenance = {"item_table": "items.csv"}
    artifact = load_artifact(save_artifact(with_table, tmp_path / "model", provenance))
    again = artifact.recommender
    assert artifact.provenance == provenance
    assert with_table.table_note in (tmp_path / "model" / CARD).read_text("utf-8")
    assert unlisted_note(again) == table_note(again) == with_table.table_note
    assert_same_lists(again.recommend(sessions, k=40), expected)


def of_clicked(n: int, more: set[str]) -> ItemTable:
    """Titles of some items with clicks and of others; one item has no title."""
    ids = [*(f"i{at}" for at in range(n)), *sorted(more), "i60"]
    return read_items(pl.DataFrame({"id": ids, "title": [*["thing"] * (len(ids) - 1), None]}))


@pytest.mark.usefixtures("insignificant")
@pytest.mark.parametrize("name", ["metric", "sml-gru-ncas"])
def test_too_few_described_items_are_called_too_few(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
    few = uninformed(name, of_clicked(FEWEST - 1, NEW))
    assert f"only {FEWEST - 1} of the items with clicks, and {FEWEST} are needed" in few.table_note
    assert (few.cold_factor, few.unclicked_factor) == (None, 0)
    assert not NEW & {*few.recommend([["i1"]], k=N_ITEMS)[0].items}
    again = load_artifact(save_artifact(few, tmp_path / "model", {})).recommender
    assert table_note(again) == unlisted_note(again) == few.table_note
    assert "does not predict" in uninformed(name, TABLE).table_note


@pytest.mark.usefixtures("insignificant")
def test_a_table_without_items_that_lack_clicks_has_no_note(tmp_path: Path) -> None:
    model = uninformed("sml-gru-ncas", of_clicked(N_ITEMS, set()))
    again = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert table_note(model) == table_note(again) == ""
    assert "does not predict embeddings" in unlisted_note(again)  # of items that the catalogue of a service adds


def test_scores_of_too_few_items_are_not_measured() -> None:
    lists, vocabulary = lists_of(np.random.default_rng(0)), Vocabulary(pl.Series(IDS))
    for n in (0, FEWEST - 1, FEWEST):
        titles = [f"kind{kind}" if at < n else None for at, kind in enumerate(OF_KIND)]
        table = read_items(pl.DataFrame({"id": IDS, "title": pl.Series(titles, dtype=pl.String)}))
        assert (cold_factor.cold_factor(lists, placed(table), table, vocabulary) is None) == (n < FEWEST)


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_the_factor_of_a_fit_is_kept(factor: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(recommender, "cold_factor", lambda *_: factor)  # pyright: ignore[reportUnknownLambdaType]
    model = tiny(voters=["vsknn", "sr"]).fit(LOG, items=TABLE)
    assert model.cold_factor == factor
    assert model.likeness is not None
    np.testing.assert_allclose(model.likeness.weights.sum(axis=1), factor, rtol=1e-5)
    again = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert isinstance(again, recommender.Metric)
    clicked = again.clicked_items()
    assert clicked is not None
    assert (again.cold_factor, clicked.factor) == (factor, factor)
    assert bool(unlisted_note(again)) == (factor == 0)
    lists = again.recommend(CLICKS[:10], k=20)
    if factor == 0:
        assert not NEW & {item for one in lists for item in one.items}
    retrained = again.retrain(LOG)
    assert isinstance(retrained, recommender.Metric)
    assert retrained.cold_factor == factor
    assert again.placement is not None
    other = 0.0 if again.placement.explained else 0.5
    monkeypatch.setattr(placement, "_explained", lambda *_: other)  # pyright: ignore[reportUnknownLambdaType]
    retrained = again.retrain(LOG)
    assert isinstance(retrained, recommender.Metric)
    assert (retrained.cold_factor, retrained.unclicked_factor) == (None, 1.0 if other else 0.0)


def test_what_an_older_model_did_not_measure_stays_as_it_was() -> None:
    model = uninformed("metric", TABLE, voters=())
    state = {name: array for name, array in model.state().items() if name != "placement.explained"}
    again = model.unfitted()
    again.items = model.items
    again.restore(model.vocabulary, state)
    assert again.placement is not None
    assert (again.placement.explained, again.unclicked_factor, again.table_note) == (None, 1.0, "")


@pytest.mark.usefixtures("insignificant")
def test_an_explanation_says_why_an_item_without_clicks_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("nearnext.explanation.explain"), "DEPTH", 20)
    model = uninformed("metric", TABLE, voters=())
    assert model.table_note in explain(model, ["i1"], "i61").left_out["rank"]
    assert model.unfitted().fit(LOG).table_note == ""


def test_measured_tenths_are_more_where_there_are_few_items(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = list[int]()
    squares = placement._squares  # pyright: ignore[reportPrivateUsage]

    def counted(rows: object, targets: object, trust: object, fold: np.ndarray, penalty: float) -> object:
        folds.append(int(fold.sum()))
        return squares(rows, targets, trust, fold, penalty)  # type: ignore[arg-type]

    monkeypatch.setattr(placement, "_squares", counted)
    placed(described(OF_KIND))
    assert sum(folds[len(placement.PENALTIES) :]) == N

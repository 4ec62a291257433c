"""Items without clicks: where attributes place them, how they join lists, and that a saved model keeps them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metric_support import tiny
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.item_features import SIZE, ItemFeatures
from nearnext.data.items import ItemTable, read_items
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, LogWarning
from nearnext.explanation import explain
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.content import CategoryPopularity, ContentKNN
from nearnext.recommenders.embedded import EmbeddedRecommender
from nearnext.recommenders.metric import selection
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.placement import Placement, _ridge, behind  # pyright: ignore[reportPrivateUsage]
from nearnext.testing import assert_same_lists

N_ITEMS = 40
LOG = Sessions.of([[f"i{(s * 7 + j * j) % N_ITEMS:02}" for j in range(2 + s % 5)] for s in range(120)])
"""Items i00..i39 in two kinds, even and odd numbers."""


def table(n_items: int) -> ItemTable:
    """Items i00, i01, ...; those from i40 on have no click."""
    ids = [f"i{number:02}" for number in range(n_items)]
    return read_items(
        pl.DataFrame(
            {
                "id": ids,
                "title": [f"{'even' if number % 2 == 0 else 'odd'} thing {number % 5}" for number in range(n_items)],
                "category": [f"c{number % 4}" for number in range(n_items)],
                "price": [float(number % 7) for number in range(n_items)],
                "vector": [[float(number % 3), 1.0] for number in range(n_items)],
            }
        )
    )


SML = {"dim": 8, "epochs": 1, "batch_size": 16, "device": "cpu"}


def fitted(name: str) -> EmbeddedRecommender:
    model = tiny() if name == "metric" else make_recommender(name.partition("@")[0], SML | OPTIONS[name])
    model.fit(LOG, items=table(46))
    assert isinstance(model, EmbeddedRecommender)
    return model


OPTIONS: dict[str, dict[str, object]] = {
    "metric": {},
    "sml-gru-ncas": {},
    "sml-gru-ncas@euclidean": {"distance": "euclidean"},
    "sml-maxpool-ncas@tower": {"item_hidden": 4, "common_embedding": False},
}


def test_the_regression_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(0)
    rows, targets, trust = rng.random((30, 5)), rng.random((30, 3)), rng.random(30)
    from scipy.sparse import csr_matrix

    mean, weights = _ridge(csr_matrix(rows), targets, trust, 0.5)
    scaled = trust / trust.mean()
    expected = np.linalg.solve(
        rows.T @ (scaled[:, None] * rows) + 0.5 * np.eye(5), rows.T @ (scaled[:, None] * (targets - mean))
    )
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    np.testing.assert_allclose(mean, np.average(targets, axis=0, weights=trust))


def test_features_have_a_block_of_length_one_for_each_kind_that_is_known() -> None:
    whole = table(46)
    rows = ItemFeatures.of(whole).rows(whole)
    assert rows.shape == (46, SIZE + 2)
    np.testing.assert_allclose(rows.multiply(rows).sum(axis=1), 4)  # categories, price, words, vector
    nothing = ItemTable(
        whole.frame.head(1).with_columns(
            pl.lit(None).cast(t).alias(n) for n, t in whole.frame.schema.items() if n != "item_id"
        )
    )
    assert ItemFeatures.of(whole).rows(nothing).nnz == 0


@pytest.mark.parametrize("cosine", [True, False])
def test_what_attributes_leave_open_is_put_where_sessions_do_not_look(cosine: bool) -> None:
    rng = np.random.default_rng(1)
    sessions = rng.normal(size=(200, 6)).astype(np.float32)
    sessions[:, 2] = 0  # the direction in which none looks
    known = table(N_ITEMS)
    embeddings = rng.normal(size=(N_ITEMS, 6)).astype(np.float32)
    embeddings[:, 2] = 0
    placement = Placement.of(known, np.full(N_ITEMS, 9), embeddings, sessions, cosine=cosine)
    rows = placement.rows(table(46).of(pl.Series(["i44", "i45"])))
    assert abs(placement.aside[2]) == pytest.approx(1, abs=1e-5)
    assert (np.abs(rows[:, 2]) > 0.1).all()
    if cosine:
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), placement.scale, rtol=1e-5)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_items_without_clicks_are_recommended_and_kept(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    assert len(model.vocabulary) == 46
    assert (model.popularity[1:] == 0).sum() == 6
    assert model.trained[1:].all()
    sessions = [["i03", "i10"], ["i41"], ["i41", "i02"]]
    lists = model.recommend(sessions, k=46)
    assert all(len(set(answer.items)) == 46 for answer in lists)
    assert not any(answer.unknown for answer in lists)
    only = model.recommend([["i03"]], k=3, allow=["i40", "i43"])[0]
    assert set(only.items) == {"i40", "i43"}
    assert "i41" not in model.recommend([["i41"]], k=45, exclude_seen=True)[0].items
    again = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert isinstance(again, EmbeddedRecommender)
    assert [answer.items for answer in again.recommend(sessions, k=46)] == [answer.items for answer in lists]
    assert again.items is not None
    assert again.items.titles(["i40"]) == ["even thing 0"]
    assert again.placement is not None
    assert model.placement is not None
    new = table(47).of(pl.Series(["i46"]))
    np.testing.assert_array_equal(again.placement.rows(new), model.placement.rows(new))


def test_attributes_of_any_size_are_stored(tmp_path: Path) -> None:
    known = table(46).frame
    sizes = [4006381333931.0, 1e300, -1e308, 1e308]
    numbers = pl.Series([sizes[at % 4] for at in range(46)])
    vectors = pl.Series([[1e30 * at, 1.0] for at in range(46)], dtype=pl.List(pl.Float32))
    large = ItemTable(known.with_columns(barcode=numbers, vector=vectors))
    model = make_recommender("sml-gru-ncas", SML).fit(LOG, items=large)
    again = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert_same_lists(again.recommend([["i03", "i10"]], k=46), model.recommend([["i03", "i10"]], k=46))


def test_items_whose_ids_the_log_cannot_have_are_named() -> None:
    log = Sessions.of([[at % 20, (at + 1) % 20, (at * 3) % 20] for at in range(40)])
    ids = [*map(str, range(20)), "21", "A7", "007"]
    items = ItemTable(pl.DataFrame({"item_id": ids, "title": [f"thing {at}" for at in ids]}))
    with pytest.warns(LogWarning, match="integers: 2 items of the item table with other ids, such as 'A7', are left"):
        model = make_recommender("content-knn").fit(log, items=items)
    assert (len(model.vocabulary), model.vocabulary.encode([21])[0] > 0) == (21, True)


def test_an_item_that_the_log_lacks_changes_nothing_for_the_others() -> None:
    model, plain = fitted("metric"), tiny().fit(LOG)
    clicked = LOG.vocabulary.ids.to_list()
    for with_table, without in zip(
        model.recommend([["i03", "i10"], ["i07"]], k=N_ITEMS, allow=clicked),
        plain.recommend([["i03", "i10"], ["i07"]], k=N_ITEMS),
        strict=True,
    ):
        assert with_table.items == without.items


@pytest.mark.parametrize("name", ["metric", "sml-gru-ncas", "content-knn"])
def test_a_table_taken_in_later_gives_the_same_lists(name: str) -> None:
    def made() -> Recommender:
        return (
            tiny(voters=["vsknn", "sr"]) if name == "metric" else make_recommender(name, SML if "sml" in name else {})
        )

    sessions = [["i03", "i10"], ["i41", "i02"]]
    later = made().fit(LOG).take_in(table(46), LOG)
    assert_same_lists(later.recommend(sessions, k=46), made().fit(LOG, items=table(46)).recommend(sessions, k=46))
    with pytest.raises(ConfigError, match="has an item table already; fit it again"):
        later.take_in(table(46), LOG)
    remembering = made().fit(LOG).remember(LOG).take_in(table(46), LOG)
    assert explain(remembering, ["i03"], "i41").rank is not None
    assert later.fit(LOG).items is None
    with pytest.raises(ConfigError, match="expected ItemTable as items, found a DataFrame; read it with"):
        made().fit(LOG, items=table(46).frame)  # type: ignore[arg-type]


@pytest.mark.parametrize("features", [["session", "item"], []])
def test_voters_that_learn_of_further_items_are_those_of_a_fit_with_them(
    features: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
    model = tiny(voters=["vsknn", "sr"], features=features).fit(LOG, items=table(46))
    found = model.generators
    assert found is not None
    assert model.network is not None
    again = model._fitted(model.network, model.index, LOG.with_vocabulary(model.vocabulary))  # pyright: ignore
    for name, voter in found.voters.items():
        for part, array in again.voters[name].state().items():
            np.testing.assert_array_equal(voter.state()[part], array, err_msg=part)
    for one, other in zip(found.evidence, again.evidence, strict=True):
        np.testing.assert_array_equal(np.asarray(one, dtype=float), np.asarray(other, dtype=float))


def test_further_items_stand_behind_as_many_as_are_nearer() -> None:
    own = [0.875, 0.5, 0.375]
    known = np.array([1.9, 1.8, 1.7, 1.6], np.float32)
    assert behind(own, np.array([1.95, 1.75, 1.65, 1.0], np.float32), known, 8).tolist() == [0.875, 0.5, 0.375, 0.375]
    assert behind(own, np.array([1.95, 1.65], np.float32), known, 3).tolist() == [
        0.875
    ]  # the second is behind the whole list
    assert behind([], np.array([1.0], np.float32), known, 3).tolist() == [0.0]


@pytest.mark.parametrize("method", [ContentKNN, CategoryPopularity])
def test_baselines_on_attributes_rank_by_brute_force(method: type[Recommender], tmp_path: Path) -> None:
    whole = table(46)
    model = method().fit(LOG, items=whole)
    answer = model.recommend([["i01", "i05"]], k=46)[0]
    assert answer.own > 0
    again = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert again.recommend([["i01", "i05"]], k=46)[0] == answer
    if method is CategoryPopularity:  # both clicks are of category c1
        clicks = dict(zip(model.vocabulary.ids.to_list(), model.popularity[1:].tolist(), strict=True))
        expected = sorted((item for item in clicks if int(item[1:]) % 4 == 1), key=lambda item: -clicks[item])
        assert [clicks[item] for item in answer.items[: answer.own]] == [clicks[item] for item in expected]
    else:
        rows = ItemFeatures.of(whole.of(model.vocabulary.ids)).rows(whole.of(model.vocabulary.ids)).toarray()
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        at = [index - 1 for index in model.vocabulary.encode(["i01", "i05"]).tolist()]
        alike = rows @ rows[at].sum(axis=0)
        np.testing.assert_allclose(answer.scores[: answer.own], np.sort(alike[alike > 0])[::-1], rtol=1e-5)


def test_without_a_table_baselines_on_attributes_are_by_popularity() -> None:
    answer = ContentKNN().fit(LOG).recommend([["i01"]], k=3)[0]
    assert (answer.own, answer.items) == (0, LOG.vocabulary.ids.head(3).to_list())

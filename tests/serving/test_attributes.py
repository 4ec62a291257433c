"""Attributes that the catalogue changes: new items placed by them, followed by rules, shown, kept over a restart."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metric_support import tiny
from nearnext.artifact import save_artifact
from nearnext.data.items import read_items
from nearnext.recommenders import placement
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.metric import recommender as metric
from nearnext.recommenders.metric import selection
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.space import space_of
from nearnext.serving.catalogue import Catalogue, Change
from nearnext.serving.loading import LoadedModel
from nearnext.serving.playground import find_items
from nearnext.serving.served import Query, ServedModel
from serving_support import LOG, started
from training_support import seeded

pytestmark = pytest.mark.slow

TABLE = read_items(
    pl.DataFrame(
        {
            "id": [*(f"i{n}" for n in range(23)), "cold"],
            "title": [*(f"Thing {n}" for n in range(23)), "Thing 99"],
            "category": [*(f"c{n % 3}" for n in range(23)), "c1"],
            "price": [*(float(n) for n in range(23)), 4.0],
        }
    )
)
COLD = {"title": "Thing 99", "category": "c1", "price": 4}
SML = {"dim": 8, "epochs": 1, "batch_size": 16, "device": "cpu"}
QUICK: dict[str, dict[str, Any]] = {
    "metric-fast": {},
    "sml-maxpool-triplet": SML,
    "sml-maxpool-ncas": SML | {"item_hidden": 4, "common_embedding": False, "extra": 32},
}
METHODS = ["vsknn", *QUICK]

_fitted: dict[str, Recommender] = {}


def fitted(name: str) -> Recommender:
    if name not in _fitted:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(placement, "CRITICAL", -1e9)  # the log is random: attributes say nothing of it
            _fitted[name] = make_recommender(name, seeded(name, QUICK.get(name))).fit(LOG, items=TABLE)
    return _fitted[name]


def served(recommender: Recommender, tmp_path: Path, *changes: Change) -> tuple[ServedModel, Catalogue]:
    catalogue = Catalogue(tmp_path / "changes")
    model = ServedModel(LoadedModel(recommender, {}, "v1"), catalogue)
    change(model, catalogue, *changes)
    return model, catalogue


def change(model: ServedModel, catalogue: Catalogue, *changes: Change) -> None:
    for one in changes:
        catalogue.write(one, durable=False)
        model.available.update(catalogue.refresh())


@pytest.mark.parametrize("name", QUICK)
def test_a_new_item_is_where_the_fit_would_place_its_attributes(name: str, tmp_path: Path) -> None:
    recommender = fitted(name)
    model, catalogue = served(recommender, tmp_path, Change("put", "new", attributes=COLD))
    space, vector = space_of(recommender), model.available.new.vector("new")
    assert space
    assert vector is not None
    np.testing.assert_allclose(vector, space.items(recommender.vocabulary.encode(["cold"]))[0], rtol=1e-5, atol=1e-6)
    answer = model.answer([Query(["i1", "i2"], 24)])[0]
    sources = dict(zip(answer.items, answer.sources, strict=True))
    assert sources["new"] == sources["cold"] == "cold"
    assert abs(answer.items.index("new") - answer.items.index("cold")) == 1
    similar = model.similar("new", 3)
    assert similar is not None
    assert (similar.items[0], similar.basis) == ("cold", "embeddings")
    change(model, catalogue, Change("touch", "new", clicks=["i5"]))
    assert dict(zip(*_listed(model, ["i5"]), strict=True))["new"] == "similar"
    change(model, catalogue, Change("delete", "new"))
    assert "new" not in _listed(model, ["i5"])[0]


def test_a_new_item_has_the_score_of_one_that_the_fit_knew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(metric, "cold_factor", lambda *_: 1.0)  # pyright: ignore[reportUnknownLambdaType]
    recommender = tiny(voters=["vsknn", "sr"]).fit(LOG, items=TABLE)
    model, catalogue = served(recommender, tmp_path, Change("put", "new", attributes=COLD))
    change(model, catalogue, Change("put", "odd", attributes={"title": "unlike"}))
    sessions = [["i1", "i2"], ["i4"], ["i7", "i8", "i9"]]
    for allow in (None, ["new", "cold"]):  # with the second, no item has a probability
        for answer in model.answer([Query(one, 25, allow=allow) for one in sessions]):
            scores = dict(zip(answer.items, answer.scores, strict=True))
            assert scores["new"] == pytest.approx(scores["cold"], rel=1e-5)
            assert (scores["new"] > 0) == (allow is None)
    why = asyncio.run(model.explain_new(sessions[0], "new"))
    listed = model.answer([Query(sessions[0], 25)])[0]
    assert (why.rank, why.score) == (listed.items.index("new") + 1, listed.scores[listed.items.index("new")])
    change(model, catalogue, *(Change("put", f"n{at}", attributes=COLD | {"price": at}) for at in range(300)))
    many = dict(zip(*_scored(model, sessions[0]), strict=True))
    assert many["n4"] == pytest.approx(many["cold"], rel=1e-5)  # searched with the hundreds put before
    change(model, catalogue, Change("delete", "n4"))
    assert "n4" not in _scored(model, sessions[0])[0]


@pytest.mark.parametrize("name", ["metric-fast", "sml-maxpool-triplet"])
def test_a_new_item_whose_attributes_say_nothing_only_fills_short_lists(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "CRITICAL", 1e9)  # nothing is significant, whatever was trained
    recommender = make_recommender(name, seeded(name, QUICK[name]))
    folder = save_artifact(recommender.fit(LOG, items=TABLE), tmp_path / "model", {})
    with started(folder, folder=tmp_path) as server:
        client = server.client
        put = client("PUT", "/v1/items/new", {"attributes": COLD | {"price": 77}}).json
        assert "items without clicks only fill lists that are too short" in put["note"]
        assert put["note"] == client("GET", "/v1/model").json["items_without_clicks"]
        assert "note" not in client("PUT", "/v1/items/like", {"like": ["i1"], "attributes": COLD}).json
        assert "note" not in client("PUT", "/v1/items/i3", {"attributes": COLD}).json
        for session in (["i1"], ["i1", "i2"], ["i7", "i8", "i9"]):
            listed = client("POST", "/v1/recommend", {"items": session, "k": 20}).json["items"]
            assert not {"new", "cold"} & set(listed)
            only = client("POST", "/v1/recommend", {"items": session, "k": 20, "where": "price = 77"}).json
            assert (only["items"], only["sources"]) == (["new"], ["cold"])
        assert client("GET", "/v1/items/new/similar?k=2").json["basis"] == "embeddings"


def test_a_method_that_does_not_place_by_attributes_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, catalogue = served(fitted("vsknn"), tmp_path, Change("put", "new", attributes=COLD))
    assert "vsknn does not place items by attributes; send what it is like" in model.available.unlisted
    why = asyncio.run(model.explain_new(["i1"], "new"))
    assert "nothing places it: put it with items that it is like, or send clicks" in why.left_out["clicks"]
    assert not caplog.records
    change(model, catalogue, Change("put", "odd", attributes={"price": [1], "title": "Odd"}))  # of an earlier model
    assert "values of price that do not fit this model's table: read as missing" in caplog.text


def _scored(model: ServedModel, session: list[Any]) -> tuple[list[Any], list[float]]:
    answer = model.answer([Query(session, 400)])[0]
    return answer.items, answer.scores


def _listed(model: ServedModel, session: list[Any], **rules: Any) -> tuple[list[Any], list[Any]]:
    answer = model.answer([Query(session, 30, rules=ItemRules.of(**rules))])[0]
    return answer.items, list(answer.sources)


def test_the_page_finds_titles_that_the_catalogue_gave(tmp_path: Path) -> None:
    changes = [Change("put", "i3", attributes={"title": "Blue canoe"}), Change("put", "n1", attributes=COLD)]
    model, _ = served(fitted("vsknn"), tmp_path, *changes)
    live = model.available.live
    assert [item["id"] for item in find_items(model.recommender, "canoe", live=live)] == ["i3"]
    assert "i3" not in [item["id"] for item in find_items(model.recommender, "thing 3", live=live)]
    assert find_items(model.recommender, "n1", live=live) == [{"id": "n1", "clicks": 0, "title": "Thing 99"}]


@pytest.mark.parametrize("name", METHODS)
def test_rules_follow_what_the_catalogue_says_of_items(name: str, tmp_path: Path) -> None:
    new = Change("put", "new", clicks=["i1"], attributes={"category": "c1", "price": 50})
    model, catalogue = served(fitted(name), tmp_path, new, Change("put", "i3", attributes={"price": 60}))
    assert set(_listed(model, ["i1"], where="price >= 50")[0]) == {"new", "i3"}
    assert set(_listed(model, ["i1"], where="price >= 50 and category = 'c1'")[0]) == {"new"}
    assert set(_listed(model, ["i1"], where="price >= 50 and category = 'c0'")[0]) == {"i3"}
    limited = _listed(model, ["i1"], where="category = 'c1'", at_most={"category": 2})[0]
    assert len(limited) == 2
    assert _listed(model, ["i1"], where="category = 'c1'", boost={"price = 50": 10})[0][0] == "new"
    shown = model.available.live.shown(["new", "i3", "i4", "never"], ["title", "price", "category"])
    assert shown == [
        {"title": None, "price": 50.0, "category": ["c1"]},
        {"title": "Thing 3", "price": 60.0, "category": ["c0"]},
        {"title": "Thing 4", "price": 4.0, "category": ["c1"]},
        {"title": None, "price": None, "category": None},
    ]
    change(model, catalogue, Change("put", "i3", attributes={"price": 1}), Change("put", "new"))
    assert _listed(model, ["i1"], where="price >= 50")[0] == ["new"]  # a put without attributes leaves them
    change(model, catalogue, Change("delete", "new"), Change("put", "new", clicks=["i1"]))
    assert _listed(model, ["i1"], where="price >= 50")[0] == []  # a deleted item comes back without them
    again = ServedModel(LoadedModel(fitted(name), {}, "v2"), Catalogue(tmp_path / "changes"))
    assert again.available.live.shown(["i3"], ["price"]) == [{"price": 1.0}]


def test_attributes_put_over_http_count_at_once_and_outlast_a_restart(tmp_path: Path) -> None:
    folder = save_artifact(fitted("metric-fast"), tmp_path / "model", {})
    asked = {"items": ["i1"], "k": 30, "where": "price = 77", "show": ["title"]}
    with started(folder, folder=tmp_path) as server:
        client = server.client
        put = client("PUT", "/v1/items/new", {"attributes": {"title": "A new thing", "category": ["c1"], "price": 77}})
        assert put.status == 200
        answer = client("POST", "/v1/recommend", asked).json
        assert (answer["items"], answer["shown"]) == (["new"], [{"title": "A new thing"}])
        assert answer["sources"] == ["cold"]
        assert client("GET", "/v1/items/new/similar?k=2").json["basis"] == "embeddings"
        why = client("POST", "/v1/explain", {"items": ["i1"], "item": "new", "show": ["title"]}).json
        assert why["rank"] == client("POST", "/v1/recommend", {"items": ["i1"], "k": 30}).json["items"].index("new") + 1
        assert why["left_out"]["clicks"] == "it joined after training, placed by its attributes"
        assert (len(why["similar"]), why["shown"]) == (5, {"title": "A new thing"})
        client("PUT", "/v1/items/bare", {})
        why = client("POST", "/v1/explain", {"items": ["i1"], "item": "bare"}).json
        assert why["rank"] is None
        assert "nothing places it" in why["left_out"]["clicks"]
        assert client("POST", "/v1/explain", {"items": ["i1"], "item": "never"}).status == 404
        for attributes, reason in (
            ({"colour": "red"}, "expected attributes of the item table, found 'colour'; known: title, price, category"),
            ({"price": "cheap"}, "expected a number as price, found 'cheap'"),
        ):
            refused = client("PUT", "/v1/items/other", {"attributes": attributes})
            assert refused.status == 422
            assert reason in refused.json["detail"]
        server.kill()
    with started(folder, folder=tmp_path) as server:
        assert server.client("POST", "/v1/recommend", asked).json["shown"] == [{"title": "A new thing"}]


def test_a_catalogue_of_an_earlier_version_takes_attributes(tmp_path: Path) -> None:
    path = tmp_path / "changes"
    one = Catalogue(path)
    one.write(Change("put", "old", clicks=["a"]))
    one.close()
    database = sqlite3.connect(path)
    database.execute("ALTER TABLE item DROP COLUMN attributes")
    database.close()
    two = Catalogue(path)
    assert (two.entries["old"].like, two.entries["old"].attributes) == (("a",), {})
    two.write(Change("put", "old", attributes={"price": 3}))
    two.refresh()
    assert (two.entries["old"].like, two.entries["old"].attributes) == (("a",), {"price": 3})
    two.close()

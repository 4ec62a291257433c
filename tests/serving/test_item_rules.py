"""Rules on items in the service: lists are those of the recommender, new items follow them, and errors are one line."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nearnext.artifact import save_artifact
from nearnext.data.items import read_items
from nearnext.errors import ConfigError
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.named import make_recommender
from nearnext.serving.catalogue import Change
from nearnext.serving.loading import load_model
from nearnext.serving.served import Query
from nearnext.serving.settings import ServiceSettings
from nearnext.testing import assert_same_lists
from serving_support import LOG, served_model, started
from training_support import seeded

pytestmark = pytest.mark.slow

TABLE = read_items(
    pl.DataFrame(
        {
            "id": [f"i{n}" for n in range(23)],
            "title": [f"Thing {n}" for n in range(23)],
            "category": [f"c{n % 3}" for n in range(23)],
            "price": [float(n) for n in range(23)],
        }
    )
)
QUICK: dict[str, dict[str, Any]] = {
    "vsknn": {},
    "metric-fast": {},
    "sml-maxpool-triplet": {"dim": 8, "epochs": 1, "batch_size": 16, "device": "cpu"},
}
RULES: list[dict[str, Any]] = [
    {"where": "price < 12"},
    {"where": "category = 'c1'", "boost": {"price >= 9": 2.5}},
    {"at_most": {"category": 2}},
    {"where": "price > 3", "boost": {"price < 9": 0.5}, "at_most": {"category": 1}},
]
SESSIONS = (["i1"], ["i1", "x", "i4", "i1"], ["i5", "i6", "i7", "i8"], [])

_fitted: dict[str, Recommender] = {}


def fitted(name: str) -> Recommender:
    if name not in _fitted:
        _fitted[name] = make_recommender(name, seeded(name, QUICK[name])).fit(LOG, items=TABLE)
    return _fitted[name]


@pytest.mark.parametrize("name", QUICK)
def test_served_lists_by_rules_are_the_recommenders(name: str, tmp_path: Path) -> None:
    model = served_model(fitted(name), tmp_path)
    asked = [(session, rules, seen) for session in SESSIONS for rules in RULES for seen in (False, True)]
    queries = [Query(session, 6, exclude_seen=seen, rules=ItemRules.of(**rules)) for session, rules, seen in asked]
    for (session, rules, seen), query, together in zip(asked, queries, model.answer(queries), strict=True):
        expected = fitted(name).recommend([session], 6, exclude_seen=seen, **rules)[0]
        for found in (together, *model.answer([query])):
            assert_same_lists(found, expected)
            assert found.shortage == expected.shortage


@pytest.mark.parametrize("name", QUICK)
def test_new_items_without_attributes_match_no_condition_and_no_limit(name: str, tmp_path: Path) -> None:
    model = served_model(fitted(name), tmp_path, *(Change("put", f"new-{n}", clicks=["i1"]) for n in range(3)))
    where, limit = ItemRules.of("price >= 0"), ItemRules.of(at_most={"category": 1})
    (only,) = model.answer([Query(["i1"], 30, rules=where)])
    assert set(only.items) == {f"i{n}" for n in range(23)}
    (limited,) = model.answer([Query(["i1"], 30, rules=limit)])
    assert {"new-0", "new-1", "new-2"} < set(limited.items)
    assert len(limited.items) == 6  # and one of each category
    (few,) = model.answer([Query(["i1"], 30, allow=["new-1", "i2", "i5"], rules=limit)])
    assert sorted(few.items) in (["i2", "new-1"], ["i5", "new-1"])


def test_attributes_are_shown_on_request_and_each_item_says_where_it_comes_from(tmp_path: Path) -> None:
    folder = save_artifact(fitted("vsknn"), tmp_path / "model", {})
    with started(folder, folder=tmp_path) as server:
        client = server.client
        assert client("PUT", "/v1/items/new", {"like": ["i1"]}).status == 200
        asked = {"items": ["i1"], "k": 24, "show": ["title", "category", "price"]}
        answer = client("POST", "/v1/recommend", asked).json
        known = {f"i{n}": {"title": f"Thing {n}", "category": [f"c{n % 3}"], "price": float(n)} for n in range(23)}
        unknown = {"title": None, "category": None, "price": None}
        assert answer["shown"] == [known.get(item, unknown) for item in answer["items"]]
        expected = ["similar" if item == "new" else "model" for item in answer["items"][: answer["own"]]]
        assert answer["sources"] == expected + ["popular"] * (len(answer["items"]) - answer["own"])
        assert 1 < answer["own"] < 24
        assert "shown" not in client("POST", "/v1/recommend", {"items": ["i1"]}).json
        similar = client("GET", "/v1/items/i1/similar?k=3&show=title,price").json
        assert similar["shown"] == [{"title": f"Thing {i[1:]}", "price": float(i[1:])} for i in similar["items"]]
        why = client("POST", "/v1/explain", {"items": ["i1"], "item": "i2", "show": ["title"]}).json
        assert why["shown"] == {"title": "Thing 2"}
        assert all(one["shown"] == {"title": f"Thing {one['item'][1:]}"} for one in [*why["clicks"], *why["similar"]])
        for path in ("/v1/recommend", "/v1/explain"):
            refused = client(
                "POST", path, {"items": ["i1"], "show": ["colour"]} | ({"item": "i1"} if "exp" in path else {})
            )
            assert refused.status == 422
            assert "attributes to show, found 'colour'; known: title, price, category" in refused.json["detail"]
        assert client("GET", "/v1/items/i1/similar?show=x").status == 422


def test_requests_with_rules_and_the_rules_of_the_service(tmp_path: Path) -> None:
    folder = save_artifact(fitted("vsknn"), tmp_path / "model", {})
    with started(folder, "--where", "price < 20", "--at-most", "3:category", folder=tmp_path) as server:
        client = server.client

        def listed(**asked: Any) -> list[str]:
            reply = client("POST", "/v1/recommend", {"items": ["i1"], "k": 8} | asked)
            assert reply.status == 200, reply.body
            return reply.json["items"]

        def expected(where: str, **rules: Any) -> list[Any]:
            return fitted("vsknn").recommend([["i1"]], 8, where=where, **rules)[0].items

        assert listed() == expected("price < 20", at_most={"category": 3})
        assert listed(where="price > 4") == expected("price < 20 and price > 4", at_most={"category": 3})
        boost = {"category = 'c2'": 3}
        asked = {"boost": boost, "at_most": {"category": 5}}
        assert listed(**asked) == expected("price < 20", boost=boost, at_most={"category": 5})
        clicked = client(
            "POST", "/v1/sessions/s/events", {"items": ["i1"], "k": 8, "consent": True, "where": "price > 4"}
        )
        assert clicked.json["recommendations"]["items"] == listed(where="price > 4")
        query = "k=8&where=price%20%3E%204&boost=3:category%20in%20('c2','c9')&at_most=5:category"
        stored = client("GET", f"/v1/sessions/s/recommendations?{query}")
        assert stored.status == 200, stored.body
        assert stored.json["items"] == listed(where="price > 4", **asked)
        for wrong, reason in (
            (
                {"where": "colour = 1"},
                "expected a column at character 1, found 'colour'; known: title, price, category",
            ),
            ({"where": "price <"}, "expected a value at character 8"),
            ({"boost": {"price": 99}}, "Expected `float` <= 10.0 - at `$.boost[...]`"),
            ({"at_most": {"category": 0}}, "Expected `int` >= 1"),
            ({"at_most": {"colour": 1}}, "at most: expected a column, found 'colour'"),
            ({"where": "x" * 1001}, "$.where"),
        ):
            reply = client("POST", "/v1/recommend", {"items": ["i1"]} | wrong)
            assert reply.status == 422
            assert reason in reply.json["detail"]
        assert client("GET", "/v1/sessions/s/recommendations?boost=price").status == 422


def test_a_model_that_the_rules_of_the_service_do_not_fit_is_refused(tmp_path: Path) -> None:
    folder = save_artifact(make_recommender("pop", {}).fit(LOG), tmp_path / "model", {})
    with pytest.raises(ConfigError, match="rules need an item table"):
        load_model(folder, rules=ItemRules.of("price < 5"))
    assert ServiceSettings(folder, where="price < 5", boost=("2:price",)).rules is not None
    with pytest.raises(ConfigError, match="expected NUMBER:TEXT"):
        ServiceSettings(folder, at_most=("category",))


def test_a_request_with_rules_to_a_model_without_items_is_refused(tmp_path: Path) -> None:
    model = served_model(make_recommender("pop", {}).fit(LOG), tmp_path)
    rules = ItemRules.of("price < 5")
    assert rules is not None
    with pytest.raises(ConfigError, match="rules need an item table"):
        model.applied(rules, None)

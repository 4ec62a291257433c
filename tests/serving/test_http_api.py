"""What each endpoint answers, over real HTTP, and that it is what the recommender says."""

from itertools import pairwise
from typing import Any

import pytest
from openapi_spec_validator import validate

from nearnext.explanation import similar_items
from nearnext.recommenders.base import Recommender
from nearnext.testing import assert_same_lists
from serving_support import Client, Server, click, wait_until

pytestmark = pytest.mark.slow


def recommend(client: Client, items: list[Any], k: int = 5, **options: Any) -> Any:
    reply = client("POST", "/v1/recommend", {"items": items, "k": k, **options})
    assert reply.status == 200, reply.body
    return reply.json


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 1},
        {"k": 40},
        {"exclude": ["i1", "i2", "nope"]},
        {"allow": ["i4", "i5", "nope"]},
        {"allow": [], "exclude": ["i1"]},
        {"exclude_seen": True},
        {"time": 1.4e9},
    ],
)
@pytest.mark.parametrize("items", [["i1"], ["i1", "nope", "i7", "i1"], [], ["nope"], [7]])
def test_served_lists_are_those_of_the_recommender(
    client: Client, recommender: Recommender, items: list[Any], options: dict[str, Any]
):
    wanted: dict[str, Any] = {"k": 5} | options
    expected = recommender.recommend([items], **wanted)[0]
    answer = recommend(client, items, **options)
    assert_same_lists(answer, expected)
    assert (answer["unknown"], answer["shortage"]) == (expected.unknown, expected.shortage)


def test_many_sessions_get_a_list_each(client: Client, recommender: Recommender):
    sessions: list[list[Any]] = [["i1"], [], ["nope", "i7"], *([f"i{n % 20}"] for n in range(97))]
    restricted: list[dict[str, Any]] = [{}, {"exclude": ["i1"], "exclude_seen": True}]
    for options in restricted:
        reply = client("POST", "/v1/recommend", {"sessions": sessions, "k": 4, **options})
        expected = recommender.recommend(sessions, k=4, **options)
        for answer, one in zip(reply.json["recommendations"], expected, strict=True):
            assert_same_lists(answer, one)
            assert answer["unknown"] == one.unknown
    assert client("POST", "/v1/recommend", {"sessions": []}).json == {"recommendations": []}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"k": 3}, "expected either items"),
        ({"items": ["i1"], "sessions": [["i1"]]}, "expected either items"),
        ({"sessions": [["i1"]] * 257}, "length <= 256"),
        ({"sessions": [["i1", " "]]}, "expected an id"),
        ({"sessions": ["i1"]}, "Expected `array`"),
    ],
)
def test_other_bodies_than_one_or_many_sessions_are_refused(client: Client, body: dict[str, Any], said: str):
    reply = client("POST", "/v1/recommend", body)
    assert reply.status == 422
    assert said in reply.json["detail"]


def test_similar_items_are_others(client: Client, recommender: Recommender):
    answer = client("GET", "/v1/items/i1/similar?k=5").json
    wanted = similar_items(recommender, "i1", 5)
    assert (answer["items"], answer["scores"]) == ([item for item, _ in wanted], [score for _, score in wanted])
    assert (answer["basis"], answer["shortage"]) == ("sessions", None)
    assert client("GET", "/v1/items/nope/similar").status == 404


def test_similar_items_are_in_stock_and_their_lack_is_explained(client: Client, recommender: Recommender):
    first, second = (item for item, _ in similar_items(recommender, "i1", 2))
    assert client("PUT", f"/v1/items/{first}", {"available": False}).status == 200
    assert client("GET", "/v1/items/i1/similar?k=1").json["items"] == [second]
    everything = client("GET", "/v1/items/i1/similar?k=100").json
    assert (first in everything["items"], "i1" in everything["items"]) == (False, False)
    found = len(everything["items"])
    assert everything["shortage"] == f"{found} of 100: no further item shares a session with it"
    assert client("PUT", f"/v1/items/{first}", {}).status == 200


def test_items_out_of_stock_vanish_and_return(client: Client):
    first = recommend(client, ["i1", "i2"])["items"][0]
    assert client("PUT", f"/v1/items/{first}", {"available": False}).json == {
        "item": first,
        "available": False,
        "known": True,
        "unknown": [],
    }
    assert first not in recommend(client, ["i1", "i2"], k=23)["items"]
    assert first not in recommend(client, ["i1", "i2"], k=23, allow=[first, "i3"])["items"]
    assert client("GET", "/v1/model").json["hidden_items"] == 1
    client("PUT", f"/v1/items/{first}", {})
    assert recommend(client, ["i1", "i2"])["items"][0] == first
    client("DELETE", f"/v1/items/{first}")
    assert first not in recommend(client, [])["items"]
    client("PUT", f"/v1/items/{first}", {})


def test_a_new_item_is_recommended_where_sessions_went_on_to_it(client: Client):
    added = client("PUT", "/v1/items/brand-new", {"like": ["none", 7]}).json
    assert (added["known"], added["unknown"]) == (False, ["none", "7"])
    assert "brand-new" not in recommend(client, ["i1", "i2"], k=40)["items"]
    click(client, "explorer", "i1", "i2", "brand-new")
    wait_until(lambda: "brand-new" in recommend(client, ["i1", "i2"])["items"])
    assert "brand-new" not in recommend(client, ["i1", "i2"], exclude=["brand-new"])["items"]
    assert "brand-new" not in recommend(client, ["i1", "i2", "brand-new"], exclude_seen=True)["items"]
    assert recommend(client, ["i1", "i2"], allow=["brand-new"])["items"] == ["brand-new"]
    assert "brand-new" not in recommend(client, [], k=40)["items"]
    assert client("GET", "/v1/model").json["new_items"] == 1
    client("DELETE", "/v1/items/brand-new")
    assert "brand-new" not in recommend(client, ["i1", "i2"], k=40)["items"]


def test_a_new_item_can_be_said_to_be_like_others(client: Client):
    client("PUT", "/v1/items/twin", {"like": ["i1"]})
    answer = recommend(client, ["i1"], k=10)
    assert "twin" in answer["items"][: answer["own"]]
    assert answer["scores"] == sorted(answer["scores"], reverse=True)
    assert len(set(answer["items"])) == len(answer["items"]) == 10
    client("DELETE", "/v1/items/twin")


def test_the_model_is_described(client: Client, recommender: Recommender):
    answer = client("GET", "/v1/model").json
    assert (answer["method"], answer["items"], answer["refused"]) == ("vsknn", 23, None)
    assert answer["params"] == recommender.params()
    assert recommend(client, ["i1"])["model"] == answer["version"]


def test_health_readiness_and_figures(client: Client):
    assert client("GET", "/healthz").json == {"status": "ok", "store": "memory"}
    assert client("GET", "/readyz").status == 200
    recommend(client, ["i1"])
    figures = client("GET", "/metrics").body.decode()
    assert 'nearnext_requests_total{method="POST",route="/v1/recommend",status="200"}' in figures
    assert "nearnext_sessions " in figures
    assert client("HEAD", "/healthz").body == b""


def test_requests_keep_their_ids(client: Client, server: Server):
    reply = client("POST", "/v1/recommend", {"items": [True]}, {"X-Request-ID": "order-66"})
    assert reply.headers["x-request-id"] == reply.json["request_id"] == "order-66"
    assert client("GET", "/healthz").headers["x-request-id"] != client("GET", "/healthz").headers["x-request-id"]
    assert client("GET", "/healthz", headers={"X-Request-ID": "a b\u00e9"}).headers["x-request-id"] != "a b\u00e9"
    wait_until(lambda: any(line.get("request_id") == "order-66" for line in server.logged()))
    line = next(line for line in server.logged() if line.get("request_id") == "order-66")
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/recommend", 422)


def test_a_body_may_begin_with_a_byte_order_mark(client: Client):
    reply = client("POST", "/v1/recommend", b'\xef\xbb\xbf{"items": ["i1"], "k": 3}')
    assert reply.json == client("POST", "/v1/recommend", {"items": ["i1"], "k": 3}).json


def test_the_description_can_be_read_without_other_addresses(client: Client):
    reply = client("GET", "/docs")
    text = reply.body.decode()
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "POST /v1/sessions/{session}/events" in text
    assert "//" not in text.replace("<!doctype", "")
    assert "<script" not in text


def test_answers_are_not_kept_guessed_at_or_counted(client: Client):
    replies = [client("GET", path) for path in ("/v1/model", "/v1/nothing", "/", "/healthz")]
    for reply in replies:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["vary"] == "Origin"
    assert "script-src 'sha256-" in replies[2].headers["content-security-policy"]
    ids = [client("GET", "/healthz").headers["x-request-id"] for _ in range(20)]
    assert len(set(ids)) == 20
    assert not [one for one, other in pairwise(ids) if int(other, 16) - int(one, 16) == 1]


def test_paths_and_methods_that_do_not_exist(client: Client):
    assert client("GET", "/v1/nothing").status == 404
    assert client("GET", "/v1/sessions//recommendations").status == 404
    reply = client("GET", "/v1/recommend")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert reply.headers["content-type"] == "application/problem+json"


def test_the_description_is_valid_openapi(client: Client):
    document = client("GET", "/openapi.json").json
    validate(document)
    assert document["components"]["schemas"]["RecommendRequest"]["properties"]["k"]["maximum"] == 500

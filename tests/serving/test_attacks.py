"""Requests that mean no good, but are HTTP."""

from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from raw_http_support import answer_to, still_works
from serving_support import Client, Reply, Server, started, wait_until

pytestmark = pytest.mark.fault

KEY = "0123456789abcdef-the-key"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"items": ["\xff"]}', 400, "not JSON"),
        (b'{"items": ["\\ud800"]}', 400, "not JSON"),
        (b'{"items": [NaN]}', 400, "not JSON"),
        (b'{"items": [1], "time": NaN}', 400, "not JSON"),
        (b'{"items": [1], "time": Infinity}', 400, "not JSON"),
        (b'{"items": [1], "time": 1e999}', 422, "out of range"),
        (b'{"items": [1], "time": -1}', 422, ">= 0"),
        (b"[]", 422, "Expected `object`"),
        (b"null", 422, "Expected `object`"),
        (b"{}", 422, "expected either items, the clicks of one session, or sessions"),
        (b'{"items": "i1"}', 422, "$.items"),
        (b'{"items": [1.5]}', 422, "$.items[0]"),
        (b'{"items": [true]}', 422, "$.items[0]"),
        (b'{"items": [null]}', 422, "$.items[0]"),
        (b'{"items": [[]]}', 422, "$.items[0]"),
        (b'{"items": [""]}', 422, "length >= 1"),
        (b'{"items": [9223372036854775808]}', 422, "<= 9223372036854775807"),
        (b'{"items": [], "k": -1}', 422, "$.k"),
        (b'{"items": [], "k": 0}', 422, "$.k"),
        (b'{"items": [], "k": 501}', 422, "k must be in 1..500, found 501"),
        (b'{"items": [], "k": 1e9}', 422, "$.k"),
        (b'{"items": [], "k": 99999999999999999999999}', 422, "k must be in 1..500"),
        (b'{"items": [], "k": "5"}', 422, "$.k"),
        (b'{"items": [], "kk": 5}', 422, "unknown field `kk`; known: k, exclude, "),
        (b'{"items": [], "exclude_seen": 1}', 422, "$.exclude_seen"),
        (b'{"items": [' + b"1," * 1000 + b"1]}", 422, "length <= 1000"),
        (b'{"items": [], "exclude": [' + b"1," * 10_000 + b"1]}", 422, "length <= 10000"),
        (b'{"items": [], "allow": [' + b"1," * 10_000 + b"1]}", 422, "length <= 10000"),
    ],
)
def test_a_wrong_body_is_refused_with_a_reason(client: Client, body: bytes, status: int, said: str):
    reply = client("POST", "/v1/recommend", body)
    assert (reply.status, reply.json["status"]) == (status, status)
    assert said in reply.json["detail"]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"items":[', b'{"items":[{"a":'])
def test_deep_nesting_is_refused(client: Client, opening: bytes):
    assert client("POST", "/v1/recommend", opening * (900_000 // len(opening))).status in (400, 422)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("k=-1", "Expected `int` >= 1 - at `$.k`"),
        ("k=501", "k must be in 1..500"),
        ("k=NaN", "Expected `int`"),
        ("k=1&k=2", "expected k once"),
        ("k=" + "9" * 5000, "out of range"),
        ("k=\u0665", "Expected `int`"),
        ("time=nan", ">= 0"),
        ("time=1e999", "out of range"),
        ("exclude_seen=yes", "Expected `bool`"),
        ("exclude=", "length >= 1"),
        ("exclude=a,,b", "length >= 1"),
        ("nope=1", "unknown parameter `nope`; known: k, exclude, allow, "),
        ("k", "Expected `int`"),
    ],
)
def test_a_wrong_query_is_refused_with_a_reason(client: Client, query: str, said: str):
    reply = client("GET", f"/v1/sessions/s/recommendations?{quote(query, safe='=&,')}")
    assert reply.status == 422
    assert said in reply.json["detail"]


@pytest.mark.parametrize(
    ("path", "headers", "status", "said"),
    [
        ("/v1/recommend?k=3", {}, 422, "unknown parameter `k`: this path takes its options in the body"),
        ("/v1/recommend", {"Content-Encoding": "gzip"}, 415, "encoded with gzip; send it without Content-Encoding"),
        ("/v1/recommend?", {"Content-Encoding": "Identity"}, 200, ""),
    ],
)
def test_no_part_of_a_request_is_ignored(client: Client, path: str, headers: dict[str, str], status: int, said: str):
    reply = client("POST", path, {"items": ["sku-00001"]}, headers=headers)
    assert reply.status == status
    assert said in reply.json.get("detail", "")


@pytest.mark.parametrize("part", ["%ff", "%", "50%", "%zz%41", "a%8", "%zz%ff", "a%80"])
def test_an_id_that_is_no_text_is_refused(client: Client, part: str):
    reply = client("DELETE", f"/v1/sessions/{part}")
    assert reply.status == 400


NOTHING = [
    "NULL",
    "undefined",
    " nan ",
    " ",
    "\n\r\t\0",
    "<NA>",
    r"\N",
    "\u00a0",
    "\u2003",
    "\u200b\u3000",
    "\ufeffNone ",
]
TOO_LONG = ["x" * 513, "\u20ac" * 513, " " + "x" * 513]
LONGEST = ["x" * 512, "\u20ac" * 512, "  " + "x" * 512 + "\t"]


def with_id(client: Client, text: str) -> list[Reply]:
    """What every endpoint that takes an id answers to it."""
    part = quote(text, safe="")
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/recommend", {"items": [text]}),
        ("/v1/recommend", {"items": [], "exclude": ["i1", text]}),
        ("/v1/recommend", {"items": [], "allow": [text]}),
        ("/v1/sessions/whole/events", {"items": ["i1", text]}),
        (f"/v1/sessions/{part}/events", {"items": ["i1"]}),
        ("/v1/explain", {"items": [text], "item": "i1"}),
        ("/v1/explain", {"items": ["i1"], "item": text}),
        ("/v1/map/session", {"items": [text]}),
    ]
    replies = [client("POST", path, body) for path, body in bodies]
    replies += [client("PUT", f"/v1/items/{part}", {}), client("PUT", "/v1/items/i2", {"like": [text]})]
    for path in ("sessions/s/recommendations?exclude=", "sessions/s/recommendations?allow="):
        replies.append(client("GET", f"/v1/{path}{part}"))
    for path in (f"sessions/{part}/recommendations", f"items/{part}/similar"):
        replies.append(client("GET", f"/v1/{path}"))
    return [*replies, client("DELETE", f"/v1/sessions/{part}"), client("DELETE", f"/v1/items/{part}")]


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_no_id_gets_one_answer_everywhere(client: Client, text: str):
    for reply in with_id(client, text):
        assert reply.status == 422
        assert reply.json["detail"].startswith("expected an id, found ")


@pytest.mark.parametrize("text", TOO_LONG)
def test_an_id_that_is_too_long_gets_one_answer_everywhere(client: Client, text: str):
    for reply in with_id(client, text):
        assert (reply.status, reply.json["detail"]) == (422, "expected an id of at most 512 characters, found 513")


@pytest.mark.parametrize("text", LONGEST)
def test_the_longest_id_is_one_everywhere_and_blanks_do_not_count(client: Client, text: str):
    for reply in with_id(client, text):
        assert reply.status in {200, 204, 404} or "expected an id" not in reply.json["detail"]


def test_ids_of_a_megabyte_are_refused(server: Server, client: Client):
    assert client("POST", "/v1/recommend", {"items": ["x" * 1_000_000]}).status == 422
    assert client("POST", "/v1/recommend", {"items": ["x" * 1_100_000]}).status == 413
    reply = answer_to(server, b"GET /v1/items/" + b"x" * 1_000_000 + b"/similar HTTP/1.1\r\nhost: a\r\n\r\n")
    assert reply.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 404 ")) or reply == b""
    assert still_works(server)


def test_answers_cannot_be_split_by_a_request_id(client: Client):
    reply = client("GET", "/healthz", headers={"X-Request-ID": "a\tb", "Origin": "https://evil.example"})
    assert "\t" not in reply.headers["x-request-id"]
    assert "access-control-allow-origin" not in reply.headers


@pytest.fixture(scope="module")
def guarded(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    keys = folder / "keys"
    keys.write_text(f"# the shop\n{KEY}\n\nanother-key-of-someone\n")
    options = ("--api-key-file", keys, "--cors", "https://shop.example", "--catalogue", folder / "changes")
    with started(artifact, *options, folder=folder) as server:
        yield server


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": "bearer another-key-of-someone"}, 200),
        ({"X-API-Key": KEY}, 200),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"X-API-Key": KEY[:-1]}, 401),
        ({"X-API-Key": "# the shop"}, 401),
    ],
)
def test_a_key_is_asked_for(guarded: Server, headers: dict[str, str], status: int):
    client = guarded.client
    for method, path in (("GET", "/v1/model"), ("GET", "/metrics"), ("POST", "/v1/recommend")):
        reply = client(method, path, {"items": []} if method == "POST" else None, headers)
        assert reply.status == status
        assert ("www-authenticate" in reply.headers) == (status == 401)
    assert client("GET", "/healthz").status == client("GET", "/openapi.json").status == 200


def test_keys_are_in_no_log(guarded: Server):
    guarded.client("POST", "/v1/recommend", {"items": ["secret-item"]}, {"Authorization": f"Bearer {KEY}"})
    guarded.client("DELETE", "/v1/sessions/secret-session", headers={"X-API-Key": "wrong-secret"})
    wait_until(lambda: any(line.get("status") == 401 for line in guarded.logged()))
    text = guarded.log.read_text()
    assert KEY not in text
    assert "secret" not in text

"""Requests that mean no good, over raw sockets where a client library would not send them."""

import json
import re
import resource
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from serving_support import PATIENCE, Client, Server, started, wait_until

pytestmark = pytest.mark.fault

KEY = "0123456789abcdef-the-key"


@pytest.fixture(scope="module")
def server(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A service that waits a second for the rest of a request."""
    folder = tmp_path_factory.mktemp("server")
    with started(artifact, "--request-timeout", 1, folder=folder) as running:
        yield running


@contextmanager
def raw(server: Server) -> Generator[socket.socket]:
    """A connection on which anything can be sent."""
    with socket.create_connection(Client(server.url).address, timeout=PATIENCE) as connection:
        yield connection


def answer_to(server: Server, data: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    with raw(server) as connection:
        connection.sendall(data)
        return everything(connection)


def everything(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def still_works(server: Server) -> bool:
    reply = server.client("POST", "/v1/recommend", {"items": ["i1"], "k": 3})
    return reply.status == 200 and len(reply.json["items"]) == 3


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
        (b"{}", 422, "missing required field `items`"),
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
        (b'{"items": [], "kk": 5}', 422, "unknown field `kk`"),
        (b'{"items": [], "exclude_seen": 1}', 422, "$.exclude_seen"),
        (b'{"items": [' + b"1," * 1000 + b"1]}", 422, "length <= 1000"),
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
        ("k=-1", "k must be in 1..500"),
        ("k=NaN", "expected a whole number as k"),
        ("k=1&k=2", "expected k once"),
        ("k=" + "9" * 5000, "expected a whole number as k"),
        ("k=\u0665", "expected a whole number as k"),
        ("time=nan", "expected seconds"),
        ("time=1e999", "expected seconds"),
        ("exclude_seen=yes", "expected true or false"),
        ("exclude=", "ids of 1 to 512 characters"),
        ("nope=1", "unknown parameter 'nope'"),
        ("k", "expected a whole number as k"),
    ],
)
def test_a_wrong_query_is_refused_with_a_reason(client: Client, query: str, said: str):
    reply = client("GET", f"/v1/sessions/s/recommendations?{quote(query, safe='=&')}")
    assert reply.status == 422
    assert said in reply.json["detail"]


@pytest.mark.parametrize("part", ["%ff", "%", "%zz%ff", "a%80"])
def test_an_id_that_is_no_text_is_refused(client: Client, part: str):
    reply = client("DELETE", f"/v1/sessions/{part}")
    assert reply.status == (204 if part == "%" else 400)


def test_ids_in_paths_have_a_longest_length(client: Client):
    assert client("DELETE", f"/v1/sessions/{'x' * 512}").status == 204
    assert client("DELETE", f"/v1/sessions/{'x' * 513}").status == 404
    assert client("DELETE", f"/v1/sessions/{'%E2%82%AC' * 512}").status == 204


def test_ids_of_a_megabyte_are_refused(server: Server, client: Client):
    assert client("POST", "/v1/recommend", {"items": ["x" * 1_000_000]}).status == 422
    assert client("POST", "/v1/recommend", {"items": ["x" * 1_100_000]}).status == 413
    reply = answer_to(server, b"GET /v1/items/" + b"x" * 1_000_000 + b"/similar HTTP/1.1\r\nhost: a\r\n\r\n")
    assert reply.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 404 ")) or reply == b""
    assert still_works(server)


def test_a_body_of_a_hundred_megabytes_is_refused(server: Server):
    head = b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\ncontent-length: 104857600\r\n"
    with raw(server) as connection:
        connection.sendall(head + b"expect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    with raw(server) as connection:
        sent = 0
        try:
            connection.sendall(head + b"\r\n")
            for _ in range(1600):
                connection.sendall(b"x" * 65536)
                sent += 65536
        except OSError:
            pass
        assert sent < 104857600, "it took everything"
        assert b"413" in everything(connection)[:20] + b"413" * (sent > 0)
    chunked = b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    reply = answer_to(server, chunked + (b"%x\r\n" % 1_200_000) + b"x" * 1_200_000 + b"\r\n0\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert still_works(server)


def problem_of(reply: bytes, status: int) -> str:
    """The detail of a refusal, which must be whole and of the one form that refusals have."""
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), reply
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/problem+json"
    assert int(headers[b"content-length"]) == len(body)
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["request_id"]
    return problem["detail"]


def test_headers_without_end_are_cut_off(server: Server):
    with raw(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        try:
            for number in range(20_000):
                connection.sendall(b"x-%d: %s\r\n" % (number, b"y" * 100))
        except OSError:
            return
        assert everything(connection).startswith(b"HTTP/1.1 431 ")
    assert still_works(server)


def test_slow_clients_are_cut_off_and_hold_nobody_up(server: Server):
    begin = time.monotonic()
    with raw(server) as headers, raw(server) as body:
        headers.sendall(b"GET /healthz HTTP/1.1\r\nhost: ")
        body.sendall(b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n{")
        assert still_works(server)
        for connection in (headers, body):
            connection.settimeout(PATIENCE)
            assert problem_of(everything(connection), 408) == "the request did not come in in time"
    assert time.monotonic() - begin > 0.9
    assert still_works(server)


def test_a_client_that_does_not_read_is_cut_off(server: Server):
    request = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n"
    with raw(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request * 2000)

        def cut_off() -> bool:
            try:
                return connection.send(request) == 0
            except ConnectionError:
                return True

        wait_until(cut_off)
    assert still_works(server)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /v1/recommend HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/recommend HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 50\r\n\r\n",
        b"POST /v1/recommend HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/recommend HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nx: a\x00b\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(server: Server, data: bytes):
    reply = answer_to(server, data)
    if reply:
        problem_of(reply, int(reply[9:12]))
        assert reply[9:12] in {b"400", b"404", b"408"}
    assert still_works(server)


def test_what_is_not_http_is_told_so_as_json(server: Server):
    assert problem_of(answer_to(server, b"GET / HTTP/9.9\r\n\r\n"), 400) == "Invalid HTTP request received."
    assert problem_of(answer_to(server, b"NOPE /v1/model HTTP/1.1\r\nhost: a\r\n\r\n"), 400)


def test_headers_that_are_too_long_are_told_so_as_json(server: Server):
    head = b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ".ljust(64 << 10, b"y")
    replies: list[bytes] = []

    def told() -> bool:
        with raw(server) as connection:
            connection.sendall(head)
            time.sleep(0.2)  # a byte that is on its way when the connection is closed takes the answer with it
            connection.sendall(b"y")
            replies.append(everything(connection))
        return replies[-1].startswith(b"HTTP/1.1 431")

    wait_until(told)
    assert problem_of(replies[-1], 431) == "the headers are longer than 65536 bytes"
    assert still_works(server)


def test_answers_cannot_be_split_by_a_request_id(client: Client):
    reply = client("GET", "/healthz", headers={"X-Request-ID": "a\tb", "Origin": "https://evil.example"})
    assert "\t" not in reply.headers["x-request-id"]
    assert "access-control-allow-origin" not in reply.headers


@pytest.fixture
def many_files() -> Generator[int]:
    """How many connections this process may open, after it was allowed as many as the system gives."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield most - 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def test_ten_thousand_open_connections_are_served(server: Server, many_files: int):
    n, address = min(10_000, many_files), Client(server.url).address
    connections = list[socket.socket]()
    try:
        for _ in range(n):
            connections.append(socket.create_connection(address, timeout=PATIENCE))
        assert still_works(server)
        for connection in connections[:: n // 20]:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        for connection in connections:
            connection.close()
    assert still_works(server)


def test_pipelined_requests_are_answered_in_order(server: Server):
    def request(k: int, more: bytes) -> bytes:
        body = b'{"items":["i1"],"k":%d}' % k
        return b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\n%scontent-length: %d\r\n\r\n%s" % (more, len(body), body)

    reply = answer_to(server, request(1, b"") + request(2, b"") + request(3, b"connection: close\r\n"))
    lists = re.findall(rb'"items":(\[[^\]]*\])', reply)
    assert [len(json.loads(items)) for items in lists] == [1, 2, 3]


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


def test_listed_pages_may_ask(guarded: Server):
    client = guarded.client
    asked: dict[str, Any] = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    reply = client("OPTIONS", "/v1/recommend", headers=asked)
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "https://shop.example"
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert "authorization" in reply.headers["access-control-allow-headers"]
    reply = client("GET", "/healthz", headers={"Origin": "https://shop.example"})
    assert reply.headers["access-control-allow-origin"] == "https://shop.example"
    for origin in ("https://evil.example", "https://shop.example.evil.example", "null", ""):
        reply = client("OPTIONS", "/v1/recommend", headers=asked | {"Origin": origin})
        assert "access-control-allow-origin" not in reply.headers

"""Requests that two programs could read in two ways: each has one reading here, or is refused."""

import random
import re
import socket
import time
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path

import pytest

from raw_http_support import answer_to, everything, problem_of, raw, still_works
from serving_support import PATIENCE, Server, started, wait_until

pytestmark = pytest.mark.fault

BODY = b'{"items":["i1"],"k":3}'
HIDDEN = b"DELETE /v1/items/i1 HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def impatient(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A service that waits a second for the rest of a request, and three for the next one."""
    folder = tmp_path_factory.mktemp("server")
    with started(artifact, "--request-timeout", 1, "--idle-timeout", 3, folder=folder) as running:
        yield running


def request(*headers: bytes, body: bytes = BODY, line: bytes = b"POST /v1/recommend HTTP/1.1") -> bytes:
    """A request with these headers and a Host, and with a Content-Length unless one is among them."""
    lines = [line, b"Host: a", *headers]
    if not any(header.lower().startswith((b"content-length", b"transfer-encoding")) for header in headers):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def nothing_was_deleted(server: Server) -> bool:
    return server.client("GET", "/v1/model").json["hidden_items"] == 0


@pytest.mark.parametrize(
    "data",
    [
        request(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAA"),
        request(b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
        request(b"Upgrade: h2c"),
        request(b"Expect: 100-continue"),
        request(b"Transfer-Encoding: chunked", body=chunked(BODY[:5], BODY[5:])),
        request(b"Transfer-Encoding: Chunked", body=b"016;name=value\r\n%s\r\n000\r\n\r\n" % BODY),
        request(line=b"POST http://a/v1/recommend HTTP/1.1"),
        b"\r\n\r\n" + request(),
        request(b"X: " + b"\xe9" * 10, b"X-Empty:"),
    ],
)
def test_a_request_that_has_one_reading_is_answered(server: Server, data: bytes):
    reply = answer_to(server, data + LAST)
    assert reply.count(b"HTTP/1.1 200 OK") == 2, reply
    assert reply.count(b'"items":["') == 1


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"POST", b"OPTIONS"])
@pytest.mark.parametrize(
    "upgrade", [(), (b"Connection: upgrade", b"Upgrade: x"), (b"Connection: Upgrade", b"Upgrade: websocket")]
)
def test_a_body_is_never_run_as_a_request(server: Server, method: bytes, upgrade: tuple[bytes, ...]):
    line = method + b" /v1/nothing HTTP/1.1"
    for data in (
        request(*upgrade, body=HIDDEN, line=line),
        request(*upgrade, b"Transfer-Encoding: chunked", body=chunked(HIDDEN), line=line),
    ):
        reply = answer_to(server, data + LAST)
        assert (reply.count(b"HTTP/1.1 404 "), reply.count(b"HTTP/1.1 200 "), b" 204 " in reply) == (1, 1, False), reply
    assert nothing_was_deleted(server)


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(LENGTH, CHUNKED, body=chunked(BODY)), 400),
        (request(CHUNKED, LENGTH, body=chunked(BODY)), 400),
        (request(b"Content-Length: 0", CHUNKED, body=chunked(BODY)), 400),
        (request(LENGTH, LENGTH), 400),
        (request(LENGTH, b"content-length: 5"), 400),
        *(
            (request(b"Content-Length: " + value), 400)
            for value in (b"+5", b"0x16", b"5, 5", b"5 5", b"-1", b"", b"9" * 30)
        ),
        (request(b"Content-Length : 22"), 400),
        *(
            (request(b"Transfer-Encoding: " + coding, body=chunked(BODY)), 400)
            for coding in (
                b"xchunked",
                b"chunked, chunked",
                b"gzip, chunked",
                b"identity",
                b"chunked;q=1",
                b"\x0bchunked",
                b'"chunked"',
            )
        ),
        (request(CHUNKED, CHUNKED, body=chunked(BODY)), 400),
        (request(b"Transfer-Encoding\t: chunked", body=chunked(BODY)), 400),
        (request(CHUNKED, body=chunked(BODY), line=b"POST /v1/recommend HTTP/1.0"), 400),
        *(
            (request(CHUNKED, body=body), 400)
            for body in (
                b"16\n" + BODY,
                b"0x16\r\n" + BODY,
                b"16\r\n" + BODY + b"XX0\r\n\r\n",
                b"-1\r\n\r\n",
                b" 16\r\n" + BODY,
                b"16;a\n" + BODY,
                b"fffffffff\r\n" + BODY,
                b"\r\n" + BODY,
                b"16;" + b"x" * 500,
                b"0\r\nX: trailer\r\n\r\n",
            )
        ),
        (request(CHUNKED, body=b"7fffffff\r\n" + BODY), 413),
        (request(b"Content-Length: 1048577"), 413),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 400),
        (request(b"Host: a"), 400),
        (request(b"host: b"), 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a/b@c\r\n\r\n", 400),
        (request(line=b"POST http://b/v1/recommend HTTP/1.1"), 400),
        (request(line=b"POST ftp://a/v1/recommend HTTP/1.1"), 400),
        (request(b"X: folded", b" Content-Length: 5"), 400),
        (request(b" X: folded first"), 400),
        (request(b"X: a\nContent-Length: 5"), 400),
        (request(b"X: a\rContent-Length: 5"), 400),
        (request(b"X: a\x00b"), 400),
        (request(b"no colon"), 400),
        (request(b": no name"), 400),
        (request().replace(b"\r\n", b"\n"), 400),
        (b"GET /healthz HTTP/1.1\nHost: a\n\n", 400),
        (request(line=b"POST  /v1/recommend HTTP/1.1"), 400),
        (request(line=b"POST\t/v1/recommend HTTP/1.1"), 400),
        (request(line=b"POST /v1/recommend HTTP/1.1 "), 400),
        (request(line=b"POST /v1/recommend http/1.1"), 400),
        (request(line=b"POST /v1/recommend HTTP/2.0"), 400),
        (request(line=b"POST /v1/recommend#part HTTP/1.1"), 400),
        (request(line=b"POST /v1/recommend?a#part HTTP/1.1"), 400),
        (request(b"Transfer-Encoding: gzip", CHUNKED, body=chunked(BODY)), 400),
        (request(line=b"POST /v1/recommend"), 400),
        (request(line=b"post /v1/recommend HTTP/1.1"), 400),
        (request(line=b"CONNECT a:80 HTTP/1.1"), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (request(b"Expect: something"), 417),
    ],
)
def test_a_request_with_two_readings_is_refused_and_nothing_behind_it_is_run(server: Server, data: bytes, status: int):
    problem_of(answer_to(server, data + HIDDEN), status)
    assert nothing_was_deleted(server)


def test_a_client_that_expects_to_be_asked_for_its_body_is_asked_once(server: Server):
    head, _, _ = request(b"Expect: 100-continue", b"Connection: close").partition(BODY)
    with raw(server) as connection:
        connection.sendall(head)
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert everything(connection).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("byte", [b"\r", b"\n", b"\r\n", b"G"])
def test_no_byte_keeps_a_connection_open_past_its_deadline(impatient: Server, byte: bytes):
    """One deadline counts from the first byte, however many follow."""
    with raw(impatient) as connection:
        connection.settimeout(0.1)

        def closed() -> bool:
            try:
                connection.sendall(byte)
                while connection.recv(4096):
                    pass
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            return True

        wait_until(closed)
    assert still_works(impatient)


def test_silent_connections_are_closed_before_and_after_a_request(impatient: Server):
    with raw(impatient) as silent, raw(impatient) as answered:
        answered.sendall(LAST.replace(b"Connection: close\r\n", b""))
        assert everything(answered).startswith(b"HTTP/1.1 200 OK")
        assert everything(silent) == b""


def test_a_pipelined_part_of_a_request_has_its_time_after_the_others_are_answered(server: Server):
    """Three requests, of which the last is whole only after the others were answered, are all answered."""
    with raw(server) as connection:
        connection.sendall(request() * 2 + request(b"Connection: close")[:-5])
        got = b""
        while got.count(b'"model"') < 2:
            got += connection.recv(65536)
        connection.sendall(BODY[-5:])
        got += everything(connection)
    assert (got.count(b"HTTP/1.1 200 OK"), b" 408 " in got) == (3, False)


def test_many_pipelined_requests_are_all_answered_in_order(server: Server):
    wanted = [request(body=b'{"items":["i1"],"k":%d}' % (1 + n % 20)) for n in range(2000)]
    with raw(server) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(b"".join(wanted) + LAST)
        got = everything(connection)
    assert got.count(b"HTTP/1.1 200 OK") == 2001
    assert [part.partition(b"]")[0].count(b",") for part in got.split(b'"items":[')[1:]] == [
        n % 20 for n in range(2000)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_requests_that_are_cut_anywhere_are_answered_in_order(server: Server, seed: int):
    draw = random.Random(seed)
    kinds = [
        (200, request()),
        (200, request(CHUNKED, body=chunked(*(BODY[at : at + 3] for at in range(0, len(BODY), 3))))),
        (200, b"\r\n" + request(line=b"HEAD /openapi.json HTTP/1.1", body=b"")),
        (404, request(line=b"GET http://a/nothing HTTP/1.1")),
        (204, request(line=b"DELETE /v1/sessions/s HTTP/1.1", body=HIDDEN)),
    ]
    asked = [*draw.choices(kinds, k=10), (200, LAST)]
    data = b"".join(text for _, text in asked)
    cuts = sorted(draw.sample(range(len(data)), 8))
    data += HIDDEN  # behind the request that closes the connection
    with raw(server) as connection:
        for begin, end in pairwise([0, *cuts, len(data)]):
            connection.sendall(data[begin:end])
            time.sleep(draw.choice([0, 0.01]))
        got = everything(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", got) == [b"%d" % status for status, _ in asked]
    assert nothing_was_deleted(server)


def test_a_client_that_sends_no_more_gets_its_answers(server: Server):
    with raw(server) as connection:
        connection.sendall(request() * 3)
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).count(b"HTTP/1.1 200 OK") == 3

"""Connections that mean no good: slow, endless, greedy, or of a protocol that only looks like HTTP."""

import json
import re
import resource
import socket
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from raw_http_support import answer_to, everything, problem_of, raw, still_works
from serving_support import PATIENCE, Client, Server, started, wait_until

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def impatient(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A service that waits a second for the rest of a request."""
    folder = tmp_path_factory.mktemp("server")
    with started(artifact, "--request-timeout", 1, folder=folder) as running:
        yield running


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


def test_slow_clients_are_cut_off_and_hold_nobody_up(impatient: Server):
    begin = time.monotonic()
    with raw(impatient) as headers, raw(impatient) as body:
        headers.sendall(b"GET /healthz HTTP/1.1\r\nhost: ")
        body.sendall(b"POST /v1/recommend HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n{")
        assert still_works(impatient)
        for connection in (headers, body):
            connection.settimeout(PATIENCE)
            assert problem_of(everything(connection), 408) == "the request did not come in in time"
    assert time.monotonic() - begin > 0.9
    assert still_works(impatient)


def test_a_client_that_does_not_read_is_cut_off(impatient: Server):
    request = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n"
    with raw(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def cut_off() -> bool:
            try:
                connection.sendall(request * 2000)
            except ConnectionError:
                return True
            return False

        wait_until(cut_off)
    assert still_works(impatient)


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
def test_what_is_not_http_is_refused(impatient: Server, data: bytes):
    reply = answer_to(impatient, data)
    if reply:
        problem_of(reply, int(reply[9:12]))
        assert reply[9:12] in {b"400", b"404", b"408"}
    assert still_works(impatient)


def test_what_is_not_http_is_told_so_as_json(server: Server):
    assert problem_of(answer_to(server, b"GET / HTTP/9.9\r\n\r\n"), 400) == "this is not HTTP/1.1"
    assert problem_of(answer_to(server, b"NOPE /v1/model HTTP/1.1\r\nhost: a\r\n\r\n"), 400)


def test_what_is_refused_before_it_is_a_request_is_logged_and_counted(server: Server):
    reply = answer_to(server, b"BREW / HTTP/1.1\r\nhost: a\r\n\r\n")
    request_id = json.loads(reply.partition(b"\r\n\r\n")[2])["request_id"]
    counted = 'nearnext_requests_total{method="OTHER",route="(refused)",status="400"}'
    assert counted in server.client("GET", "/metrics").body.decode()
    wait_until(lambda: any(line.get("request_id") == request_id for line in server.logged()))
    line = next(line for line in server.logged() if line.get("request_id") == request_id)
    assert (line["method"], line["route"], line["status"]) == ("OTHER", "(refused)", 400)


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

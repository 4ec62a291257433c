"""Raw sockets for requests that no client library would send."""

import json
import socket
from collections.abc import Generator
from contextlib import contextmanager

from serving_support import PATIENCE, Client, Server


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
    """Whether it answers a request that comes in one piece, so that no limit can cut it off in the middle."""
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    body = b'{"items":["i1"],"k":3}'
    head, _, answer = answer_to(server, head % (len(body), body)).partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200 ") and len(json.loads(answer)["items"]) == 3


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

"""The worker processes of a service, and connections to each."""

from typing import Any

import psutil

from serving_support import Client, Server, wait_until


def recommend(client: Client, _: int = 0) -> Any:
    """A list of ten items."""
    reply = client("POST", "/v1/recommend", {"items": ["i1", "i2"], "k": 10})
    assert reply.status == 200, reply.body
    return reply.json


def workers_of(server: Server) -> list[psutil.Process]:
    """The processes that answer."""
    children = psutil.Process(server.process.pid).children()
    return [child for parent in children for child in parent.children() if lives(child)]


def lives(process: psutil.Process) -> bool:
    """Whether a process still does anything."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def clients_of_both_workers(server: Server, each: int = 3) -> list[Client]:
    """Connections of which as many lead to one worker as to the other."""
    found: dict[int, list[Client]] = {}

    def enough() -> bool:
        client = server.client
        client("GET", "/healthz")
        found.setdefault(worker_of(client, server), []).append(client)
        return len(found) == 2 and all(len(clients) >= each for clients in found.values())

    wait_until(enough)
    return [client for clients in found.values() for client in clients[:each]]


def worker_of(client: Client, server: Server) -> int:
    """The process that has the other end of a connection."""
    for worker in workers_of(server):
        ends = (one.raddr for one in worker.net_connections("tcp") if one.raddr)
        if client.port in {end.port for end in ends}:
            return worker.pid
    raise OSError("no worker has this connection yet")

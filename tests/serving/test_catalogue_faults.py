"""Two services on one catalogue file: a full disk, and a file that is removed or replaced while they run."""

import os
import resource
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from serving_support import Client, Server, started

pytestmark = pytest.mark.fault


def put(client: Client, item: str) -> int:
    return client("PUT", f"/v1/items/{item}", {"like": ["i1"]}).status


def new_items(client: Client) -> int:
    return client("GET", "/v1/model").json["new_items"]


@pytest.fixture
def two(artifact: Path, tmp_path: Path) -> Generator[tuple[Path, list[Server]]]:
    """Two services that share a catalogue."""
    path = tmp_path / "changes"
    options = ("--catalogue", path, "--no-access-log")
    with started(artifact, *options, folder=tmp_path) as one, started(artifact, *options, folder=tmp_path) as other:
        yield path, [one, other]


def test_a_disk_that_is_full_for_a_moment_refuses_changes_and_loses_none(
    two: tuple[Path, list[Server]], artifact: Path, tmp_path: Path
):
    path, servers = two
    clients = [server.client for server in servers]
    accepted = [f"first-{n}" for n, client in enumerate(clients) if put(client, f"first-{n}") == 200]
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.prlimit(servers[0].process.pid, resource.RLIMIT_FSIZE, (path.stat().st_size // 2, hard))
    reply = clients[0]("PUT", "/v1/items/no-room", {"like": ["i1"]})
    assert (reply.status, "free some space" in reply.json["detail"]) == (503, True)
    accepted += [f"meanwhile-{n}" for n in range(5) if put(clients[1], f"meanwhile-{n}") == 200]
    assert new_items(clients[0]) == new_items(clients[1]) == len(accepted) == 7
    resource.prlimit(servers[0].process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert put(clients[0], "later") == 200
    assert new_items(clients[0]) == new_items(clients[1]) == 8
    for server in servers:
        server.kill()
    with started(artifact, "--catalogue", path, folder=tmp_path) as server:
        answer = server.client("POST", "/v1/recommend", {"items": ["i1"], "k": 50, "allow": [*accepted, "later"]}).json
        assert set(answer["items"]) == {*accepted, "later"}


def test_a_file_that_is_removed_loses_nothing(two: tuple[Path, list[Server]], artifact: Path, tmp_path: Path):
    path, servers = two
    clients = [server.client for server in servers]
    assert [put(client, f"first-{n}") for n, client in enumerate(clients)] == [200, 200]
    for file in [path, *tmp_path.glob("changes-*")]:
        file.unlink()
    assert [new_items(client) for client in clients] == [2, 2]
    assert [put(client, f"second-{n}") for n, client in enumerate(clients)] == [200, 200]
    assert [new_items(client) for client in clients] == [4, 4]
    for server in servers:
        server.kill()
    with started(artifact, "--catalogue", path, folder=tmp_path) as server:
        assert new_items(server.client) == 4


@pytest.mark.parametrize("what", ["folder", "fifo"])
def test_a_folder_or_a_pipe_in_its_place_stops_no_request(what: str, two: tuple[Path, list[Server]]):
    path, servers = two
    clients = [server.client for server in servers]
    assert put(clients[0], "first") == 200
    assert new_items(clients[1]) == 1
    for file in [path, *path.parent.glob("changes-*")]:
        file.unlink()
    if what == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    for client in clients:
        assert [new_items(client) for _ in range(3)] == [1, 1, 1]
        reply = client("PUT", "/v1/items/second", {"like": ["i1"]})
        assert (reply.status, "is no file" in reply.json["detail"]) == (503, True)
    path.rmdir() if what == "folder" else path.unlink()
    assert put(clients[1], "third") == 200
    assert new_items(clients[1]) == 2
    for server in servers:
        server.process.send_signal(signal.SIGTERM)
        assert server.stop() == 0

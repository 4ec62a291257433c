"""Faults that really happen to a service: killed, out of disk, overwritten model, a dead session store."""

import json
import re
import resource
import shutil
import threading
import time
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from nearnext.artifact import load_artifact
from nearnext.data.sessionise import read_sessions
from nearnext.testing import assert_same_lists
from serving_support import LOG, OTHER_LOG, Client, Redis, Server, fitted, lines_of, started, wait_until
from worker_support import clients_of_both_workers, lives, recommend, workers_of

pytestmark = pytest.mark.fault


def on(redis: Redis) -> tuple[object, ...]:
    """Options of a service whose sessions are there."""
    return "--store", redis.url


class Load:
    """Requests from several threads until it is stopped; what each got is kept."""

    def __init__(self, clients: Sequence[Client], work: Callable[[Client, int], Any]) -> None:
        self.results: list[Any] = []
        self.errors: list[Exception] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(client, work, place * 1_000_000))
            for place, client in enumerate(clients)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: Client, work: Callable[[Client, int], Any], number: int) -> None:
        while not self._stop.is_set():
            number += 1
            try:
                self.results.append(work(client, number))
            except Exception as error:
                self.errors.append(error)
                time.sleep(0.02)

    def goes_on(self, more: int = 30) -> None:
        """Return when so many further requests were answered."""
        reached = len(self.results) + more
        wait_until(lambda: len(self.results) >= reached)


def test_nothing_accepted_is_lost_when_it_is_killed_under_load(artifact: Path, tmp_path: Path):
    options = ("--catalogue", tmp_path / "changes", "--event-log", tmp_path / "events")

    def work(client: Client, number: int) -> tuple[str, str | None]:
        session, item = f"s{number}", f"new-{number}" if number % 3 == 0 else None
        logged = client("POST", f"/v1/sessions/{session}/events", {"items": ["i1", "i2"], "consent": True}).json[
            "logged"
        ]
        assert logged is True
        if item:
            assert client("PUT", f"/v1/items/{item}", {"like": ["i1"]}).status == 200
        return session, item

    with started(artifact, *options, folder=tmp_path) as server, Load([server.client for _ in range(3)], work) as load:
        load.goes_on()
        server.kill()
    sessions = {session for session, _ in load.results}
    items = {item for _, item in load.results if item}
    assert items
    logged = {line["session_id"] for line in lines_of(tmp_path / "events")}
    assert sessions <= logged
    with started(artifact, *options, folder=tmp_path) as server:
        assert server.client("GET", "/v1/model").json["new_items"] >= len(items)
        answer = server.client("POST", "/v1/recommend", {"items": ["i1"], "k": 500, "allow": sorted(items)}).json
        assert set(answer["items"]) == items
        server.client("POST", "/v1/sessions/after/events", {"items": ["i3"], "consent": True})
        assert server.stop() == 0
    read = read_sessions(str(tmp_path / "events"))
    assert sessions | {"after"} <= set(read.session_ids.to_list())


def test_a_full_disk_loses_events_but_no_request(artifact: Path, tmp_path: Path):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    with started(
        artifact, "--event-log", tmp_path / "events", "--no-access-log", folder=tmp_path, before=small_files
    ) as server:
        client = server.client
        answers = [
            client("POST", f"/v1/sessions/s{n}/events", {"items": ["i1"], "consent": True, "k": 3}).json
            for n in range(60)
        ]
        assert all(len(answer["recommendations"]["items"]) == 3 for answer in answers)
        assert all(answer["stored"] for answer in answers)
        logged = {f"s{n}" for n, answer in enumerate(answers) if answer["logged"]}
        assert 0 < len(logged) < 60
        assert {line["session_id"] for line in lines_of(tmp_path / "events")} == logged
        lost = next(
            line
            for line in client("GET", "/metrics").body.decode().splitlines()
            if line.startswith("nearnext_events_lost_t")
        )
        assert float(lost.split()[1]) >= 60 - len(logged)
        assert client("GET", "/readyz").status == 200


@pytest.fixture
def watched(tmp_path: Path) -> Generator[tuple[Path, Server]]:
    """A service whose model a test may replace."""
    model = fitted("vsknn", tmp_path / "model")
    with started(model, folder=tmp_path) as server:
        yield model, server


def test_a_new_model_replaces_the_old_one_under_load(watched: tuple[Path, Server]):
    model, server = watched
    old = load_artifact(model).recommender.recommend([["i1", "i2"]], k=10)[0]
    with Load([server.client for _ in range(3)], recommend) as load:
        load.goes_on()
        before = load.results[0]["model"]
        fitted("markov-1", model, OTHER_LOG)
        wait_until(lambda: load.results[-1]["model"] != before)
        load.goes_on()
    new = load_artifact(model).recommender.recommend([["i1", "i2"]], k=10)[0]
    assert not load.errors
    assert old.items != new.items
    for answer in load.results:
        expected = old if answer["model"] == before else new
        assert_same_lists(answer, expected)
    described = server.client("GET", "/v1/model").json
    assert (described["method"], described["items"]) == ("markov-1", 17)
    figures = server.client("GET", "/metrics").body.decode()
    assert "nearnext_model_swaps_total 1.0" in figures
    assert f'nearnext_model{{method="vsknn",version="{before}"}} 0.0' in figures


def test_broken_models_are_refused_and_the_old_one_stays(watched: tuple[Path, Server], tmp_path: Path):
    model, server = watched
    client = server.client
    before = recommend(client)
    other = fitted("markov-1", tmp_path / "other", OTHER_LOG)
    whole = {file.name: file.read_bytes() for file in other.iterdir()}
    state, manifest = whole["state.safetensors"], json.loads(whole["manifest.json"])
    faults = {
        "state.safetensors": [state[: len(state) // 2], bytes(len(state)), b""],
        "manifest.json": [json.dumps(manifest | {"schema": 99}).encode(), b"{", b"\xff"],
        "vocabulary.parquet": [b"PAR1"],
    }

    def refusals() -> float:
        figures = client("GET", "/metrics").body.decode()
        return float(re.findall(r"^nearnext_models_refused_total (.*)$", figures, re.MULTILINE)[0])

    for name, contents in faults.items():
        for content in contents:
            count = refusals()
            for file, right in sorted(whole.items(), key=lambda entry: entry[0] != name):
                (model / file).write_bytes(content if file == name else right)
            wait_until(lambda: refusals() > count)  # noqa: B023 - called at once
            assert client("GET", "/v1/model").json["refused"]
            assert recommend(client) == before
    shutil.rmtree(model)
    wait_until(lambda: "is missing" in client("GET", "/v1/model").json["refused"])
    assert recommend(client) == before
    assert client("GET", "/readyz").status == 200
    wait_until(lambda: sum("is refused" in said for said in server.messages()) == refusals())
    shutil.copytree(other, model)  # at last a whole one
    wait_until(lambda: recommend(client)["model"] != before["model"])
    assert client("GET", "/v1/model").json["refused"] is None


def test_catalogue_changes_outlast_a_model_swap(watched: tuple[Path, Server]):
    model, server = watched
    client = server.client
    client("PUT", "/v1/items/i1", {"available": False})
    client("PUT", "/v1/items/i99", {"like": ["i2"]})
    before = recommend(client)["model"]
    with_i99 = LOG.vocabulary.ids.to_list()
    fitted("markov-1", model, type(LOG).of([["i1", "i2"], ["i2", "i99"], ["i2", "i99"], with_i99]))
    wait_until(lambda: recommend(client)["model"] != before)
    answer = client("POST", "/v1/recommend", {"items": ["i2"], "k": 24}).json
    assert answer["items"][0] == "i99"
    assert "i1" not in answer["items"]
    described = client("GET", "/v1/model").json
    assert (described["new_items"], described["hidden_items"]) == (0, 1)


def test_open_requests_are_answered_when_it_is_told_to_stop(artifact: Path, tmp_path: Path):
    with started(artifact, folder=tmp_path) as server, Load([server.client for _ in range(4)], recommend) as load:
        load.goes_on()
        assert server.stop() == 0
        answered = len(load.results)
        assert answered > 0
        assert all(isinstance(error, OSError) or "Remote end closed" in str(error) for error in load.errors)
    messages = [line for line in server.logged() if line["level"] in ("error", "critical")]
    assert messages == []


def test_it_serves_without_the_store_and_recovers(artifact: Path, redis: Redis, tmp_path: Path):
    def work(client: Client, number: int) -> tuple[bool, int]:
        reply = client("POST", f"/v1/sessions/s{number % 50}/events", {"items": ["i1"], "consent": True, "k": 3})
        assert reply.status == 200, reply.body
        assert len(reply.json["recommendations"]["items"]) == 3
        return reply.json["stored"], reply.json["length"]

    with started(artifact, *on(redis), folder=tmp_path) as server:
        client = server.client
        with Load([server.client for _ in range(3)], work) as load:
            load.goes_on()
            redis.kill()
            wait_until(lambda: load.results[-1][0] is False)
            load.goes_on()
            down = client("GET", "/v1/sessions/s1/recommendations?k=3").json
            assert (len(down["items"]), down["reason"]) == (3, "the session store does not answer")
            assert client("DELETE", "/v1/sessions/s1").status == 503
            assert client("GET", "/healthz").json == {"status": "ok", "store": "down"}
            assert client("GET", "/readyz").status == 200
            assert "nearnext_store_up 0.0" in client("GET", "/metrics").body.decode()
            redis.start()
            wait_until(lambda: load.results[-1][0] is True)
            load.goes_on()
        assert not load.errors
        assert client("GET", "/healthz").json["store"] == "up"
        # Lines follow what they are about after a moment.
        wait_until(lambda: "the session store answers again" in server.messages())


def test_a_store_that_died_shows_though_no_request_needs_it(artifact: Path, redis: Redis, tmp_path: Path):
    with started(artifact, *on(redis), folder=tmp_path) as server:
        client = server.client

        def says(state: str) -> bool:
            up = f"nearnext_store_up {float(state == 'up')}" in client("GET", "/metrics").body.decode()
            return up and client("GET", "/readyz").json == {"status": "ok", "store": state}

        assert says("up")
        redis.kill()
        wait_until(lambda: says("down"))
        redis.start()
        wait_until(lambda: says("up"))


def test_two_workers_lose_no_click_of_one_session(artifact: Path, redis: Redis, tmp_path: Path):
    def work(client: Client, number: int) -> str:
        reply = client("POST", "/v1/sessions/shared/events", {"items": [f"c{number}"], "consent": True})
        assert reply.json["stored"], reply.body
        return f"c{number}"

    with started(artifact, *on(redis), "--workers", 2, "--event-log", tmp_path / "events", folder=tmp_path) as server:
        with Load(clients_of_both_workers(server), work) as load:
            load.goes_on(150)
        assert not load.errors
        answer = server.client("GET", "/v1/sessions/shared/recommendations?k=1").json
        assert answer["length"] == len(load.results)
        assert sorted(answer["unknown"]) == sorted(load.results)
        assert sorted(line["item_id"] for line in lines_of(tmp_path / "events")) == sorted(load.results)
        assert len(list((tmp_path / "events").glob("*.jsonl"))) == 2, "one worker took all requests"


def test_the_url_is_told_once_all_workers_answer(artifact: Path, redis: Redis, tmp_path: Path):
    with started(artifact, *on(redis), "--workers", 3, folder=tmp_path) as server:
        told = datetime.now(UTC).isoformat(timespec="milliseconds")

        def begun() -> list[str]:
            said = (line for line in server.logged() if "requests are answered by model" in line.get("message", ""))
            return [line["time"] for line in said]

        wait_until(lambda: len(begun()) == 3)
        assert max(begun()) <= told


def test_workers_share_the_catalogue_and_come_back_when_they_die(artifact: Path, redis: Redis, tmp_path: Path):
    with started(artifact, *on(redis), "--workers", 2, folder=tmp_path) as server:
        clients = clients_of_both_workers(server, each=4)
        first = recommend(clients[0])["items"][0]
        clients[0]("DELETE", f"/v1/items/{first}")
        assert all(first not in recommend(client)["items"] for client in clients)
        requests = 'nearnext_requests_total{method="POST",route="/v1/recommend",status="200"} 9.0'
        # A worker counts a request after its answer.
        wait_until(lambda: requests in clients[0]("GET", "/metrics").body.decode())
        workers = workers_of(server)
        assert len(workers) == 2
        workers[0].kill()
        wait_until(lambda: recommend(server.client)["items"] is not None)
        wait_until(lambda: len(workers_of(server)) == 2 and workers[0] not in workers_of(server))
        assert first not in recommend(server.client)["items"]
        children = psutil.Process(server.process.pid).children(recursive=True)
        server.kill()
        wait_until(lambda: not any(lives(child) for child in children))

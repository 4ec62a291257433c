"""What is put in the model's place: what cannot be served is refused with a reason, and the next good one taken."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from nearnext.manifest import STATE, VOCABULARY
from nearnext.recommenders.rules import Markov
from nearnext.serving import service as services
from nearnext.serving.loading import ModelWatcher
from nearnext.serving.service import Service
from nearnext.serving.settings import ServiceSettings
from nearnext.stored_arrays import checksum
from serving_support import LOG, OTHER_LOG, Client, Redis, Server, fitted, started, wait_until
from worker_support import clients_of_both_workers, lives, recommend, workers_of

pytestmark = pytest.mark.fault


def signed(model: Path, **said: Any) -> None:
    """Write a manifest that says something else, with the checksums of what is there."""
    manifest = json.loads((model / "manifest.json").read_text()) | said
    manifest["sha256"] = {name: checksum(model / name) for name in manifest["sha256"]}
    (model / "manifest.json").write_text(json.dumps(manifest))


def another_network(model: Path) -> None:
    state = load_file(model / STATE)
    save_file({f"network.{name}": array for name, array in state.items()}, model / STATE)
    signed(model)


def odd_types(model: Path) -> None:
    signed(model, params=["k", 3], method={"name": "vsknn"})


def odd_checksums(model: Path) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest | {"sha256": [STATE, VOCABULARY]}))


def deep_json(model: Path) -> None:
    text = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text('{"data": ' + "[" * 100_000 + "]" * 100_000 + "," + text[1:])


def null_sessions(model: Path) -> None:
    frame = pl.DataFrame({"session_id": ["a", None], "end": [1, None], "items": [[1], None]})
    frame.write_parquet(model / "sessions.parquet")
    manifest = json.loads((model / "manifest.json").read_text())
    signed(model, sha256=manifest["sha256"] | {"sessions.parquet": ""})


def null_items(model: Path) -> None:
    pl.DataFrame({"item_id": [None] * 23}, schema={"item_id": pl.String}).write_parquet(model / VOCABULARY)
    signed(model)


def no_numbers(model: Path) -> None:
    state = load_file(model / STATE)
    save_file({name: np.zeros(0, array.dtype) for name, array in state.items()}, model / STATE)
    signed(model)


ODD: list[Callable[[Path], None]] = [
    another_network, odd_types, odd_checksums, deep_json, null_sessions, null_items, no_numbers,
]  # fmt: skip


def test_every_error_of_a_model_is_a_refusal_with_a_reason(tmp_path: Path):
    model = fitted("vsknn", tmp_path / "model")

    def refusals(client: Client) -> float:
        exposed = client("GET", "/metrics").body.decode()
        assert "nearnext_watcher_up 1.0" in exposed
        return float(re.findall(r"^nearnext_models_refused_total (.*)$", exposed, re.MULTILINE)[0])

    with started(model, folder=tmp_path) as server:
        client = server.client
        before = recommend(client)
        for turn, spoil in enumerate(ODD):
            bad = fitted("vsknn", tmp_path / f"bad-{turn}", OTHER_LOG)
            spoil(bad)
            shutil.rmtree(model)
            bad.rename(model)
            wait_until(lambda: refusals(client) > turn)  # noqa: B023 - called at once
            reason = client("GET", "/v1/model").json["refused"]
            assert reason, spoil.__name__
            wait_until(lambda: reason in " ".join(server.messages()))  # noqa: B023 - called at once
            assert recommend(client) == before
            assert client("GET", "/readyz").status == 200
        fitted("markov-1", model, OTHER_LOG)
        wait_until(lambda: recommend(client)["model"] != before["model"])
        assert client("GET", "/v1/model").json["refused"] is None
        assert not [line for line in server.logged() if "exception" in line]


def test_a_watcher_that_does_not_run_shows(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(services, "WATCH", 0.001)

    turns: list[int] = []

    async def fails(_: Service) -> None:
        turns.append(1)
        if len(turns) > 3:
            raise asyncio.CancelledError
        raise ValueError("odd")

    monkeypatch.setattr(Service, "follow_artifact", fails)

    async def live() -> None:
        service = Service(ServiceSettings(artifact, catalogue=tmp_path / "changes"))
        assert not service.ready
        await service.start()
        while service.ready:
            assert (len(turns) > 3) == (b"nearnext_watcher_up 0.0" in service.measure())
            await asyncio.sleep(0)
        assert b"nearnext_watcher_up 0.0" in service.measure()
        await service.stop()

    asyncio.run(live())


def test_a_process_starts_with_the_last_model_that_worked(tmp_path: Path):
    model = fitted("vsknn", tmp_path / "model")
    with started(model, folder=tmp_path) as server:
        before = recommend(server.client)
        server.kill()
    (model / STATE).write_bytes(b"torn")
    with started(model, folder=tmp_path) as server:
        assert recommend(server.client) == before
        assert "was altered or cut short" in server.client("GET", "/v1/model").json["refused"]
        assert any("is refused" in said for said in server.messages())
        fitted("markov-1", model, OTHER_LOG)
        wait_until(lambda: recommend(server.client)["model"] != before["model"])


def test_a_worker_that_dies_while_a_refused_model_is_in_place_comes_back(tmp_path: Path, redis: Redis):
    model = fitted("vsknn", tmp_path / "model")
    with started(model, "--store", redis.url, "--workers", 2, folder=tmp_path) as server:
        before = recommend(server.client)
        (model / "manifest.json").write_text("{")
        wait_until(
            lambda: len({line["process"] for line in server.logged() if "is refused" in line.get("message", "")}) == 2
        )
        dying, healthy = workers_of(server)
        kill_and_wait(server, dying)
        assert lives(healthy)
        assert all(recommend(client) == before for client in clients_of_both_workers(server, each=1))


def test_a_worker_that_cannot_start_is_tried_again_and_the_others_go_on(tmp_path: Path, redis: Redis):
    model = fitted("vsknn", tmp_path / "model")
    with started(model, "--store", redis.url, "--workers", 2, folder=tmp_path) as server:
        before = recommend(server.client)
        shutil.rmtree(model)
        shutil.rmtree(tmp_path / "model.catalogue.model")
        dying, healthy = workers_of(server)
        dying.kill()
        wait_until(lambda: sum("died (status 3)" in said for said in server.messages()) >= 2)
        assert lives(healthy)
        assert recommend(server.client) == before
        fitted("vsknn", model)
        wait_until(lambda: len(workers_of(server)) == 2 and len(clients_of_both_workers(server, each=1)) == 2)


def kill_and_wait(server: Server, worker: Any) -> None:
    """Kill a worker, and return once another one took its place."""
    worker.kill()
    wait_until(lambda: len(workers_of(server)) == 2 and worker not in workers_of(server))


def test_workers_have_the_users_own_parts(tmp_path: Path, redis: Redis):
    parts = tmp_path / "own_popularity.py"
    parts.write_text(
        "from nearnext import register\n"
        "from nearnext.recommenders.popularity import Pop\n"
        "@register\n"
        "class OwnPop(Pop):\n"
        "    '''Popularity of our own.'''\n"
        "    name = 'own-pop'\n"
    )
    from nearnext.own_parts import import_parts

    import_parts(str(parts))
    model = fitted("own-pop", tmp_path / "model", LOG)
    options = ("--import", parts, "--store", redis.url, "--workers", 2)
    with started(model, *options, folder=tmp_path) as server:
        assert all(recommend(client)["items"] for client in clients_of_both_workers(server, each=1))
        assert server.client("GET", "/v1/model").json["method"] == "own-pop"


def test_a_damaged_copy_is_made_again(tmp_path: Path):
    model, kept = Markov().fit(LOG).save(tmp_path / "model"), tmp_path / "kept"
    assert ModelWatcher(model, kept).look() is not None
    whole = (kept / STATE).read_bytes()
    (kept / STATE).write_bytes(b"damaged")
    watcher = ModelWatcher(model, kept)
    assert watcher.look() is not None
    assert watcher.refused is None
    assert (kept / STATE).read_bytes() == whole


def test_checksums_are_verified_again_only_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, kept, verified = Markov().fit(LOG).save(tmp_path / "model"), tmp_path / "kept", list[Path]()

    def noted(path: Path) -> str:
        verified.append(path)
        return checksum(path)

    monkeypatch.setattr("nearnext.manifest.checksum", noted)
    assert ModelWatcher(model, kept).look() is not None
    assert {path.name for path in verified} == {STATE, VOCABULARY, "training.safetensors"}
    verified.clear()
    assert ModelWatcher(model, kept).look() is not None
    assert not verified
    for folder in (kept, model):  # of the same size, and as old as before
        state, before = (folder / STATE).read_bytes(), (folder / STATE).stat()
        (folder / STATE).write_bytes(state[:-1] + bytes([state[-1] ^ 1]))
        os.utime(folder / STATE, ns=(before.st_atime_ns, before.st_mtime_ns))
        watcher = ModelWatcher(model, kept)
        assert (watcher.look() is None) == (folder == model)
    assert "was altered" in str(watcher.refused)

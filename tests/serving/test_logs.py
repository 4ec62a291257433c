"""Logging never waits for who reads the logs, and signals are obeyed while nobody does."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from nearnext.serving import server
from nearnext.serving.logs import PENDING, LineWriter
from serving_support import PATIENCE, Client, fitted, started, wait_until

pytestmark = pytest.mark.fault


def test_lines_that_nobody_reads_are_dropped_and_counted():
    reading, writing = os.pipe()
    writer = LineWriter(writing)
    for number in range(3 * PENDING):
        writer.write(b"%06d" % number + b"." * 100)
    assert writer.dropped > 0
    writer.flush(0.01)
    text = b""
    while b"lines were not logged" not in text:
        text += os.read(reading, 1 << 16)
    lines = text.splitlines()
    assert lines[0].startswith(b"000000.")
    numbers = [int(line[:6]) for line in lines if not line.startswith(b"{")]
    assert numbers == sorted(set(numbers))


def test_nobody_left_to_read_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing)
    writer.write(b"lost")
    writer.flush()
    os.close(writing)


@contextmanager
def unread(model: Path, compiled: Path) -> Generator[tuple[subprocess.Popen[str], Client]]:
    """A service whose stderr is a full pipe that nobody reads, and that has to compile its code."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    program = [sys.executable, "-c", "from nearnext.cli import main; main()", "serve", str(model), "--port", "0"]
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=writing, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(compiled)},
    )  # fmt: skip
    os.close(writing)
    assert process.stdout
    try:
        client = Client(process.stdout.readline().split()[-1])
        yield process, client
        client.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(reading)


def test_a_service_whose_logs_nobody_reads_answers_and_ends(tmp_path: Path):
    model = fitted("pop", tmp_path / "model")
    with unread(model, tmp_path / "nothing compiled yet") as (process, client):
        (model / "manifest.json").write_text("{")
        wait_until(lambda: bool(client("GET", "/v1/model").json["refused"]))  # which is a warning
        for _ in range(50):
            assert client("POST", "/v1/recommend", {"items": ["i1"]}).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_sighup_reads_the_keys_again_and_begins_new_files(artifact: Path, tmp_path: Path):
    keys, events = tmp_path / "keys", tmp_path / "events"
    keys.write_text("0123456789abcdef\n")
    with started(artifact, "--api-key-file", keys, "--event-log", events, folder=tmp_path) as server:
        client = server.client

        def status(key: str) -> int:
            body = {"items": ["i1"], "consent": True}
            return client("POST", "/v1/sessions/s/events", body, {"x-api-key": key}).status

        assert (status("0123456789abcdef"), status("fedcba9876543210")) == (200, 401)
        keys.write_text("fedcba9876543210\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: status("fedcba9876543210") == 200)
        assert status("0123456789abcdef") == 401
        assert len(list(events.glob("*.jsonl"))) == 2
        keys.write_text("short\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("the keys stay as they are" in said for said in server.messages()))
        assert status("fedcba9876543210") == 200
        assert server.stop() == 0


def test_sighup_while_it_loads_ends_nothing(artifact: Path, tmp_path: Path):
    log = tmp_path / "log"
    program = [sys.executable, "-c", "from nearnext.cli import main; main()", "serve", str(artifact), "--port", "0"]
    with log.open("w") as errors:
        process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout
    try:
        wait_until(lambda: "loading" in log.read_text())
        process.send_signal(signal.SIGHUP)
        assert " at http://" in process.stdout.readline(), log.read_text()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_worker_that_does_not_answer_yet_gets_no_sighup(monkeypatch: pytest.MonkeyPatch):
    class Process:
        def __init__(self, pid: int) -> None:
            self.pid, self.is_alive = pid, lambda: True

    (loading, _), (answering, sender) = [multiprocessing.Pipe(duplex=False) for _ in range(2)]
    sender.send("")
    group: Any = object.__new__(server._Workers)  # pyright: ignore[reportPrivateUsage]
    made: Any = server._Worker  # pyright: ignore[reportPrivateUsage]
    group._running = [made(Process(1), loading, 0.0), made(Process(2), answering, 0.0)]
    sent = list[tuple[int, int]]()
    monkeypatch.setattr(server.os, "kill", lambda process, number: sent.append((process, number)))  # pyright: ignore
    group.reopen()
    assert sent == [(2, signal.SIGHUP)]


def test_it_ends_while_the_map_is_computed(artifact: Path, tmp_path: Path):
    begun, endless = tmp_path / "begun", tmp_path / "endless.py"
    endless.write_text(
        "import threading\n"
        "from pathlib import Path\n"
        "from nearnext.serving import endpoints\n"
        "def endless(_):\n"
        f"    Path({str(begun)!r}).touch()\n"
        "    threading.Event().wait()\n"
        "endpoints.ItemMap = endless\n"
    )
    options = ("--import", endless, "--shutdown-timeout", 1)
    with started(artifact, *options, folder=tmp_path) as server, socket.create_connection(server.client.address) as one:
        one.sendall(b"GET /v1/map HTTP/1.1\r\nhost: a\r\n\r\n")
        wait_until(begun.exists)
        assert server.client("GET", "/readyz").status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0

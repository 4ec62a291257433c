"""A real server in a process of its own, on a free port, and a client that speaks plain HTTP to it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from nearnext.artifact import save_artifact
from nearnext.data.sessions import Sessions
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import make_recommender
from nearnext.serving.catalogue import Catalogue, Change
from nearnext.serving.loading import LoadedModel
from nearnext.serving.served import ServedModel
from training_support import seeded

LOG = Sessions.of(
    [[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(60)] + [["i1", "i1", "i2"]] * 3
)
GROUPS = [[f"{group}-{(s + j * j) % 9}" for j in range(3 + s % 3)] for s in range(40) for group in "abc"]
"""Sessions of three groups of items that no session mixes."""
OTHER_LOG = Sessions.of([[f"i{(s * 5 + 3 * j) % 17}" for j in range(3)] for s in range(60)])


PATIENCE = 300.0
"""Seconds after which what should have happened has not, on a machine that does much else."""

PATIENT = [
    word
    for limit in ("request-timeout", "idle-timeout", "store-timeout", "shutdown-timeout")
    for word in (f"--{limit}", str(PATIENCE))
]
"""Options of a service that cuts off nobody for being slow; tests of a limit give their own value after these."""


def served_model(recommender: Recommender, folder: Path, *changes: Change) -> ServedModel:
    """A model in this process, with a catalogue of these changes in a folder."""
    catalogue = Catalogue(folder / "changes")
    for change in changes:
        catalogue.write(change, durable=False)
    catalogue.refresh()
    return ServedModel(LoadedModel(recommender, {}, "v1"), catalogue)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Client:
    """Requests over one connection, which is opened again where the server closed it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.address = (parts.hostname, parts.port or 80)
        self._connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)

    @property
    def port(self) -> int:
        """The port of this end, once connected."""
        return self._connection.sock.getsockname()[1]

    def __call__(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Reply:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, path, data, headers or {})
            answer = self._connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()


@dataclass
class Server:
    """A running ``nearnext serve``."""

    url: str
    process: subprocess.Popen[str]
    log: Path
    clients: list[Client] = field(default_factory=list[Client])

    @property
    def client(self) -> Client:
        """A new connection, closed with the server."""
        self.clients.append(Client(self.url))
        return self.clients[-1]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def messages(self) -> list[str]:
        """What the service said; lines of the access log, which follow answers after a while, have no message."""
        return [line["message"] for line in self.logged() if "message" in line]


@contextmanager
def started(artifact: Path, *options: object, folder: Path, before: Callable[[], None] | None = None):
    """The service of an artifact, until the block ends; it waits for slow clients unless ``options`` say otherwise."""
    log = folder / f"serve-{time.monotonic_ns()}.log"
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", "from nearnext.cli import main; main()"]
    arguments = ["serve", str(artifact), "--port", "0", *PATIENT, *map(str, options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            preexec_fn=before,  # noqa: PLW1509 - no thread runs here
        )
    assert process.stdout
    server: Server | None = None
    try:
        line = process.stdout.readline()
        assert " at http://" in line, log.read_text()
        server = Server(line.split()[-1], process, log)
        client = server.client
        wait_until(lambda: client("GET", "/readyz").status == 200)
        yield server
    finally:
        for client in server.clients if server else ():
            client.close()
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return once the condition holds; connections that fail count as: not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException):
            pass
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of the event log's files directly in a folder."""
    texts = [file.read_text() for file in sorted(folder.glob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.split("\n")[:-1]]


def fitted(name: str, folder: Path, log: Sessions = LOG, **options: Any) -> Path:
    """An artifact of a method fitted on a small log."""
    return save_artifact(make_recommender(name, seeded(name, options)).fit(log), folder, {})


def click(client: Client, session: str, *items: Any, **options: Any) -> Any:
    """Send clicks of a session with consent; gives the answer."""
    reply = client(
        "POST", f"/v1/sessions/{quote(session, safe='')}/events", {"items": items, "consent": True} | options
    )
    assert reply.status == 200, reply.body
    return reply.json


@dataclass
class Redis:
    """A redis-server that a test can stop and start again."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--dir", str(self.folder), "--save", "", "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(PATIENCE)

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")

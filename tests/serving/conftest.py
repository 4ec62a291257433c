"""Servers, clients, a browser and redis for the tests of the service."""

import shutil
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from chromium_support import Chromium
from nearnext.artifact import load_artifact
from nearnext.recommenders.base import Recommender
from serving_support import Client, Redis, Server, fitted, started


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model; tests that change it make their own."""
    return fitted("vsknn", tmp_path_factory.mktemp("artifact") / "model")


@pytest.fixture(scope="module")
def recommender(artifact: Path) -> Recommender:
    """The small model, in this process."""
    return load_artifact(artifact).recommender


@pytest.fixture(scope="module")
def server(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A service that the tests of a module share."""
    folder = tmp_path_factory.mktemp("server")
    options = ("--catalogue", folder / "changes", "--event-log", folder / "events")
    with started(artifact, *options, folder=folder) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Generator[Client]:
    """A connection to the shared service."""
    one = server.client
    yield one
    one.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Chromium]:
    """A real headless Chromium; the tests are skipped where there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        pytest.skip("needs Chromium: install the chromium package")
    one = Chromium(binary, tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.fixture
def redis(tmp_path: Path) -> Generator[Redis]:
    """A real redis-server; the test is skipped where there is none."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server: install the redis-server package")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = Redis(port, tmp_path)
    one.start()
    yield one
    one.kill()

"""Models go to a hub and come back whole; what cannot be is one line. The hub is a folder, or a server that refuses."""

import shutil
import sys
import threading
from collections.abc import Generator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import nearnext as library
from conftest import Command
from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError, MissingPackageError

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    log = Sessions.of([["a", "b"]] * 3 + [["b", "c"]])
    return library.make_recommender("markov-1").fit(log).remember(log).save(tmp_path / "model")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of repositories, in the place of a hub."""
    root = tmp_path / "hub"

    class Url(str):
        repo_id: str

    def create_repo(_self: object, repo_id: str, *, private: bool, exist_ok: bool) -> Url:
        assert exist_ok
        (root / "me" / repo_id).mkdir(parents=True, exist_ok=True)
        (root / f"{repo_id}.private").write_text(str(private))
        url = Url(f"https://hub/me/{repo_id}")
        url.repo_id = f"me/{repo_id}"
        return url

    def matching(path: Path, patterns: list[str]) -> list[Path]:
        return [file for file in path.iterdir() if any(fnmatch(file.name, pattern) for pattern in patterns)]

    def upload_folder(
        _self: object,
        *,
        repo_id: str,
        folder_path: Path,
        commit_message: str,
        allow_patterns: list[str],
        delete_patterns: list[str],
    ) -> None:
        assert commit_message == "Upload a markov-1 model"
        for file in matching(root / repo_id, delete_patterns):
            file.unlink()
        for file in matching(folder_path, allow_patterns):
            shutil.copy(file, root / repo_id)

    def snapshot_download(repo_id: str, *, revision: str | None, local_dir: Path, allow_patterns: list[str]) -> None:
        assert revision in (None, "v1")
        (local_dir / ".cache").mkdir()
        for file in matching(root / repo_id, allow_patterns):
            shutil.copy(file, local_dir)

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return root


def test_a_model_goes_to_the_hub_and_comes_back(model: Path, folder: Path, tmp_path: Path):
    (model / "notes.txt").write_text("not for others")
    assert library.push(model, "shop") == "https://hub/me/shop"
    assert (folder / "shop.private").read_text() == "True"
    (folder / "me/shop/index.faiss").write_text("of an earlier model")
    (folder / "me/shop/own.txt").write_text("of the owner")
    library.push(model, "shop", public=True)
    assert (folder / "shop.private").read_text() == "False"
    names = {file.name for file in model.iterdir()} - {"notes.txt"}
    assert {file.name for file in (folder / "me/shop").iterdir()} == {*names, "own.txt"}
    pulled = library.pull("me/shop", tmp_path / "pulled")
    assert {file.name for file in pulled.iterdir()} == names
    assert library.load(pulled).recommend([["a"]], k=1)[0].items == ["b"]


@pytest.mark.usefixtures("folder")
def test_the_commands_do_the_same(nearnext: Command, model: Path, tmp_path: Path):
    done = nearnext("push", model, "shop", "--public")
    assert (done.code, done.out) == (0, "model: https://hub/me/shop\n")
    done = nearnext("pull", "me/shop", tmp_path / "pulled", "--revision", "v1")
    assert (done.code, done.out) == (0, f"model: {tmp_path / 'pulled'}\n")
    assert library.load(tmp_path / "pulled").name == "markov-1"


def test_what_is_no_model_is_neither_pushed_nor_pulled(model: Path, folder: Path, tmp_path: Path):
    with pytest.raises(ArtifactError, match="holds no nearnext model"):
        library.push(tmp_path, "shop")
    library.push(model, "shop")
    (folder / "me/shop/manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"^me/shop holds no nearnext model .*; name a repository made by push$"):
        library.pull("me/shop", tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(ArtifactError, match="is no nearnext artifact"):
        library.pull("me/shop", tmp_path / "other")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("state.safetensors", b"altered", "was altered or cut short: its checksum differs; push the model again"),
        ("vocabulary.parquet", None, "is missing; push the model again"),
        ("manifest.json", b"{", "cannot be read (.*); push the model again"),
        ("manifest.json", b'{"schema": 9}', "has schema 9, .*; push the model again or match versions"),
        ("manifest.json", b'{"schema": 1}', "lacks a method, its options or checksums; push the model again"),
    ],
)
def test_a_damaged_model_of_a_hub_is_named_by_its_repository(
    model: Path, folder: Path, file: str, content: bytes | None, said: str
):
    library.push(model, "shop")
    if content is None:
        (folder / "me/shop" / file).unlink()
    else:
        (folder / "me/shop" / file).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"^me/shop/{file} {said}$"):
        library.pull("me/shop", model)
    assert library.load(model).name == "markov-1"  # what was there is kept


@pytest.mark.usefixtures("folder")
def test_what_the_library_says_of_retries_is_not_shown_and_its_settings_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from huggingface_hub.utils import logging as log

    def retried(*_: object, **__: object) -> None:
        assert hub.utils.are_progress_bars_disabled()
        log.get_logger("huggingface_hub.file_download").warning("Trying to resume download...")
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(hub, "snapshot_download", retried)
    before = log.get_verbosity()
    with pytest.raises(ArtifactError, match=r"cannot be reached \(reset by peer\)"):
        library.pull("me/shop", tmp_path / "pulled")
    assert not caplog.records
    assert log.get_verbosity() == before
    assert not hub.utils.are_progress_bars_disabled()


class Refusing(BaseHTTPRequestHandler):
    """A hub that gives the same answer to everything."""

    status, code, body, kind = 200, "", b"", "application/json"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(self.status)
        self.send_header("x-error-code", self.code)
        self.send_header("content-type", self.kind)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = do_HEAD = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - names of the base class
        """Stay silent."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    yield
    server.shutdown()
    server.server_close()


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )


LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token with that right"


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, "", b""), f"the hub refused it; {LOG_IN}"),
        ((403, "", b'{"error": "read\\nonly"}'), f"the hub refused it (read only); {LOG_IN}"),
        (
            (404, "RepoNotFound", b""),
            f"the hub has no such model repository, or a private one; check its name, and {LOG_IN}",
        ),
        ((403, "GatedRepo", b""), f"the repository is gated; ask for access on its page, then {LOG_IN}"),
        (
            (404, "RevisionNotFound", b""),
            "the repository has no such revision; name one of its branches, tags or commits",
        ),
        ((402, "", b'{"error": "over\\nquota"}'), "the hub answered 402 Payment Required (over quota)"),
        ((429, "", b""), "the hub answered 429 Too Many Requests; try again later"),
        ((500, "", b"<html>down</html>"), "the hub answered 500 Internal Server Error; try again later"),
        ((200, "", b"<html>log in</html>"), "{endpoint} does not answer as a hub does (Expecting value"),
    ],
)
def test_a_hub_that_refuses_is_one_line(
    nearnext: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, said: str
):
    for name, value in zip(("status", "code", "body"), answer, strict=True):
        monkeypatch.setattr(Refusing, name, value)
    monkeypatch.setattr(Refusing, "kind", "text/html" if answer[2].startswith(b"<") else "application/json")
    said = said.format(endpoint=hub.constants.ENDPOINT)
    for what, arguments in {
        f"push {model} to shop": ("push", model, "shop"),
        "pull me/shop": ("pull", "me/shop", tmp_path / "pulled"),
    }.items():
        done = nearnext(*arguments)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert done.err.startswith(f"error: cannot {what}: {said}")


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(
    ("constant", "value", "said"),
    [
        ("HF_HUB_OFFLINE", True, "unset HF_HUB_OFFLINE"),
        ("HF_TOKEN", "hf_ü", "its token has characters that tokens do not have"),
    ],
)
def test_settings_of_the_library_that_cannot_work_are_named(
    nearnext: Command,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    constant: str,
    value: bool | str,
    said: str,
):
    if constant == "HF_TOKEN":
        monkeypatch.setenv(constant, str(value))
    else:
        monkeypatch.setattr(hub.constants, constant, value)
    for arguments in (("push", model, "shop"), ("pull", "me/shop", tmp_path / "pulled")):
        done = nearnext(*arguments)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert said in done.err


def test_no_network_and_a_name_that_is_none_are_one_line(
    nearnext: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use("http://127.0.0.1:9", monkeypatch)
    for arguments in (("push", model, "shop"), ("pull", "me/shop", tmp_path / "pulled")):
        done = nearnext(*arguments)
        assert done.code == 2
        assert "http://127.0.0.1:9 cannot be reached" in done.err
        assert done.err.count("\n") == 1
    done = nearnext("pull", "me/shop/v1", tmp_path / "pulled")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "me/shop/v1" in done.err


def test_without_the_library_the_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"push needs the package huggingface_hub; .*nearnext\[hub\]"):
        library.push(model, "shop")

"""``fit --out`` where writing fails: one line, status 2, nothing half written, and the fit is not lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
import pytest
from safetensors import SafetensorError

import nearnext.artifact
from nearnext.artifact import load_artifact, save_artifact
from nearnext.atomic import whole_folder
from nearnext.data.sessions import Sessions
from nearnext.recommenders.named import make_recommender

Command = Callable[..., Any]

ROWS = [
    f"s{session},i{(session + click) % 5},{1_700_000_000 + session * 100 + click}"
    for session in range(9)
    for click in range(2)
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["session_id,item_id,timestamp", *ROWS]) + "\n", "utf-8")
    return path


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(28, os.strerror(28))


def full_for_safetensors(*_: object, **__: object) -> NoReturn:
    raise SafetensorError("I/O error: No space left on device (os error 28)")


STEPS: dict[str, tuple[object, str, Callable[..., NoReturn]]] = {
    "scores": (nearnext.artifact, "save_file", full_for_safetensors),
    "items": (pl.DataFrame, "write_parquet", full),
    "manifest": (nearnext.artifact, "versions", full),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_does_not_lose_the_fit(
    nearnext: Command, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    where, name, failing = STEPS[step]
    before, there, rescue = getattr(where, name), tmp_path / "there", tmp_path / "rescue"
    there.mkdir()
    rescue.mkdir()
    assert nearnext("fit", log, "--method", "pop", "--out", there / "m").code == 0
    old = (there / "m" / "manifest.json").read_bytes()
    calls: list[int] = []

    def once(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        return failing() if len(calls) == 1 else before(*arguments, **named)

    monkeypatch.setattr(where, name, once)
    monkeypatch.setattr("tempfile.tempdir", str(rescue))
    done = nearnext("fit", log, "--method", "markov-1", "--out", there / "m")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "No space left on device" in done.err
    found = re.search(r"the fitted model is in (\S+): move it", done.err)
    assert found
    assert load_artifact(found[1]).recommender.name == "markov-1"
    assert Path(found[1]).is_relative_to(rescue)
    assert [path.name for path in there.iterdir()] == ["m"]
    assert (there / "m" / "manifest.json").read_bytes() == old


def test_where_no_folder_has_room_the_error_is_one_line(
    nearnext: Command, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    places = tmp_path / "places"
    places.mkdir()
    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    monkeypatch.setattr("tempfile.tempdir", str(places))
    monkeypatch.setenv("HOME", str(places))
    monkeypatch.chdir(places)
    done = nearnext("fit", log, "--method", "pop", "--out", places / "m")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "nothing was replaced" in done.err
    assert list(places.iterdir()) == []


def test_a_folder_that_cannot_be_removed_does_not_hide_why_nothing_was_saved(
    nearnext: Command, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def kept(_folder: Path) -> NoReturn:
        raise OSError(39, os.strerror(39))

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    monkeypatch.setattr(Path, "rmdir", kept)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = nearnext("fit", log, "--method", "pop", "--out", tmp_path / "m")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "No space left on device; nothing was replaced" in done.err


@pytest.mark.slow
def test_a_real_full_disk(log: Path, tmp_path: Path):
    """A private mount of 64 KiB that nothing outside sees; needs root."""
    small, rescue = tmp_path / "small", tmp_path / "rescue"
    small.mkdir()
    rescue.mkdir()
    rows = [f"s{number},item-{number * 7919 % 60_000},{number}" for number in range(120_000)]
    log.write_text("\n".join(["session_id,item_id,timestamp", *(row for row in rows for _ in "ab")]) + "\n", "utf-8")
    mount = f"mount -t tmpfs -o size=64k none {small}"
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-m", "sh", "-c", mount], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount: a file system of 64 KiB")
    program = f"{sys.executable} -c 'from nearnext.cli import main; main()' -q fit {log} --method pop --out {small}/m"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mount} && {program}; code=$?; ls -A {small}; exit $code"],
        capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(rescue)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    (kept,) = rescue.glob("nearnext-*/m")
    assert str(kept) in done.stderr
    assert load_artifact(kept).recommender.name == "pop"


def test_a_model_of_another_method_is_named_before_it_is_replaced(nearnext: Command, log: Path, tmp_path: Path):
    out = tmp_path / "m"
    assert "replace" not in nearnext("fit", log, "--method", "pop", "--out", out).out
    assert "replace" not in nearnext("fit", log, "--method", "pop", "--out", out).out
    assert (
        f"{out} holds a model of pop; the one of sr will replace it"
        in nearnext("fit", log, "--method", "sr", "--out", out).out
    )


@pytest.mark.parametrize("kind", ["photos", "file"])
def test_what_is_no_model_is_refused_before_the_log_is_read(nearnext: Command, tmp_path: Path, kind: str):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("notes", "utf-8")
    else:
        out.mkdir()
        (out / "cat.jpg").write_bytes(b"cat")
    done = nearnext("fit", tmp_path / "no-such-log.csv", "--method", "pop", "--out", out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no nearnext artifact" in done.err


KILLED = """
import sys, time
from pathlib import Path
from nearnext.atomic import whole_folder
target = Path(sys.argv[1])
with whole_folder(target) as fresh:
    (fresh / "half").write_text("half")
    if target.exists():
        target.rename(fresh.with_name("old"))
    print("writing", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_writer_leaves_is_put_back_and_removed(tmp_path: Path):
    target = tmp_path / "m"
    fitted = make_recommender("markov-1").fit(Sessions.of([["a", "b"]]))
    save_artifact(fitted, target, {})
    (tmp_path / ".m.backup12").mkdir()
    (tmp_path / ".m.backup12" / "mine").write_text("kept", "utf-8")
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    assert writer.stdout.readline() == "writing\n"
    assert not target.exists()
    with pytest.raises(RuntimeError, match="stop"), whole_folder(tmp_path / "m"):
        raise RuntimeError("stop")  # the other writer lives: what it has made is left alone
    assert not target.exists()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    with pytest.raises(RuntimeError, match="stop"), whole_folder(target):
        raise RuntimeError("stop")
    assert load_artifact(target).recommender.name == "markov-1"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m.backup12", "m"]
    assert json.loads((target / "manifest.json").read_text("utf-8"))["method"] == "markov-1"


def test_a_model_that_is_missing_while_it_is_replaced_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fitted = make_recommender("markov-1").fit(Sessions.of([["a", "b"]]))
    fresh = save_artifact(fitted, tmp_path / "fresh", {})
    monkeypatch.setattr("nearnext.artifact.time.sleep", lambda _: fresh.rename(tmp_path / "model"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    assert load_artifact(tmp_path / "model").recommender.name == "markov-1"

"""A model that replaces another one: no reader finds none or half of one, and what was killed leaves nothing."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nearnext import atomic, manifest
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.sessions import Sessions
from nearnext.recommenders.named import make_recommender

READER = """
import sys
from pathlib import Path
from nearnext.artifact import load_artifact
print("ready", flush=True)
seen = Path(sys.argv[2])
while not (seen / "end").exists():
    found = load_artifact(sys.argv[1]).recommender
    assert found.recommend([["a"]], k=1)[0].items == [found.vocabulary.ids[1]]
    (seen / found.name).touch()
"""


def failing(*_: object) -> int:
    return -1


def publish(path: Path, turn: int) -> None:
    name, other = (("markov-1", "b"), ("sr", "c"))[turn % 2]
    save_artifact(make_recommender(name).fit(Sessions.of([["a", other]] * 3 + [["a"]])), path, {})


@pytest.mark.slow
def test_readers_find_one_model_or_the_other(tmp_path: Path):
    model, seen, turn = tmp_path / "model", tmp_path / "seen", 0
    seen.mkdir()
    publish(model, turn)
    command = [sys.executable, "-c", READER, str(model), str(seen)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout
        assert reader.stdout.readline() == "ready\n"
        while turn < 40 or len(list(seen.iterdir())) < 2:  # however slow the reader is, it sees both
            turn += 1
            publish(model, turn)
            assert model.is_dir()
            assert reader.poll() is None
        (seen / "end").touch()
        assert reader.wait(300) == 0
    assert {file.name for file in seen.iterdir()} == {"markov-1", "sr", "end"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model", "seen"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_where_names_cannot_be_exchanged_it_is_renamed(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(atomic, "c_function", {"renameat2": failing}.get)
    monkeypatch.setattr(atomic.ctypes, "get_errno", lambda: code)
    for turn in range(2):
        publish(tmp_path / "model", turn)
    assert load_artifact(tmp_path / "model").recommender.name == "sr"
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_a_name_that_cannot_be_replaced_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    publish(tmp_path / "model", 0)
    monkeypatch.setattr(atomic, "c_function", {"renameat2": failing}.get)
    monkeypatch.setattr(atomic.ctypes, "get_errno", lambda: errno.EBUSY)
    with pytest.raises(Exception, match="nothing was replaced"):
        publish(tmp_path / "model", 1)
    assert load_artifact(tmp_path / "model").recommender.name == "markov-1"


def test_everything_is_on_the_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(os.fstat(file).st_ino)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    publish(tmp_path / "model", 0)
    inodes = {file.stat().st_ino for file in (tmp_path / "model").iterdir()} | {(tmp_path / "model").stat().st_ino}
    assert inodes <= set(synced)
    assert synced[-1] == tmp_path.stat().st_ino


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path):
    model = tmp_path / "model"
    publish(model, 0)
    program = (
        "import os, sys; from pathlib import Path; from nearnext.atomic import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as fresh:\n"
        "    (fresh / 'half').touch(); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(model)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    publish(model, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_two_writers_of_one_name_both_succeed_and_the_last_one_counts(tmp_path: Path):
    for whole, write in ((atomic.whole_file, Path.write_text), (atomic.whole_folder, note)):
        path = tmp_path / whole.__name__
        with whole(path) as one:
            with whole(path) as other:
                write(one, "a long text of one writer")
                write(other, "short")
            assert said(path) == "short"
        assert said(path) == "a long text of one writer"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["whole_file", "whole_folder"]


def note(folder: Path, text: str) -> None:
    (folder / "note").write_text(text)


def said(path: Path) -> str:
    return (path / "note" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("there", [True, False])
def test_a_name_that_comes_or_goes_just_before_it_is_taken(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "model"
    if there:
        publish(path, 0)
    real = Path.exists

    def late(self: Path, **options: bool) -> bool:
        found = real(self, **options)
        if self == path:
            monkeypatch.undo()
            path.rename(tmp_path / "moved") if there else publish(path, 0)
        return found

    with atomic.whole_folder(path) as fresh:
        note(fresh, "new")
        monkeypatch.setattr(Path, "exists", late)
    assert said(path) == "new"


def test_a_scratch_folder_that_is_taken_for_a_dead_writers_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = atomic.exclusive_folder

    def late(folder: Path, *, wait: bool = True) -> Any:
        monkeypatch.undo()
        publish(tmp_path / "model", 0)  # by another writer, before this one has locked its scratch folder
        assert not folder.exists()
        return real(folder, wait=wait)

    monkeypatch.setattr(atomic, "exclusive_folder", late)
    publish(tmp_path / "model", 1)
    assert load_artifact(tmp_path / "model").recommender.name == "sr"
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_a_model_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, inode = tmp_path / "model", 7  # each folder gets the inode of the one before
    publish(model, 0)
    real, stat = manifest.read_manifest, Path.stat

    def same_inode(self: Path, **options: bool) -> os.stat_result:
        found = stat(self, **options)
        return os.stat_result((found[0], inode, *found[2:]), {"st_mtime_ns": found.st_mtime_ns})

    def late(folder: Path, *origin: Any) -> Any:
        found = real(folder, *origin)
        monkeypatch.setattr(manifest, "read_manifest", real)
        publish(model, 1)
        return found

    monkeypatch.setattr(Path, "stat", same_inode)
    monkeypatch.setattr(manifest, "read_manifest", late)
    assert load_artifact(model).recommender.name == "sr"

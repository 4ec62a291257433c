"""The catalogue's file: shared, durable, written anew when it is mostly void, not upset by crashes."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.errors import DataError
from nearnext.serving import catalogue as catalogues
from nearnext.serving.catalogue import MAX_TOUCHES, Catalogue, Change
from nearnext.types import RawId
from serving_support import PATIENCE

pytestmark = pytest.mark.slow

changes = st.lists(
    st.builds(
        Change,
        st.sampled_from(["put", "delete", "touch"]),
        st.one_of(st.integers(-2, 2), st.text(max_size=3)),
        st.booleans(),
        st.lists(st.one_of(st.integers(0, 3), st.text(max_size=2)), max_size=3),
    ),
    max_size=12,
)


def told(catalogue: Catalogue) -> dict[tuple[type, RawId], object]:
    catalogue.refresh()
    return {
        (type(item), item): (entry.available, entry.like, entry.touches) for item, entry in catalogue.entries.items()
    }


@settings(deadline=None)
@given(changes=changes)
def test_readers_and_later_processes_see_what_the_writer_sees(
    changes: list[Change], tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("catalogue") / "changes"
    writer, reader = Catalogue(path), Catalogue(path)
    for place, change in enumerate(changes):
        (writer if place % 2 else reader).write(change, durable=False)
    assert told(writer) == told(reader) == told(Catalogue(path))


@settings(deadline=None)
@given(changes=changes, cut=st.integers(2, 40))
def test_a_line_that_was_cut_off_is_left_out_and_later_ones_count(
    changes: list[Change], cut: int, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("catalogue") / "changes"
    writer = Catalogue(path)
    for change in changes:
        writer.write(change, durable=False)
    before = told(writer)
    text = msgspec.json.encode(Change("delete", "torn-off"))
    torn = (b"%08x %s\n" % (zlib.crc32(text), text))[: -min(cut, len(text))]
    with path.open("ab") as file:
        file.write(torn)
    after = Catalogue(path)
    assert told(after) == before
    after.write(Change("put", "later"))
    assert after.refresh() == ["later"]
    assert told(Catalogue(path)) == told(after) == told(writer)


def test_a_damaged_line_is_left_out(tmp_path: Path):
    one = Catalogue(tmp_path / "changes")
    for item in ("a", "b", "c"):
        one.write(Change("delete", item))
    text = (tmp_path / "changes").read_text()
    (tmp_path / "changes").write_text(text.replace('"b"', '"x"'))
    assert list(Catalogue(tmp_path / "changes").entries) == ["a", "c"]


def test_a_new_item_takes_a_bounded_number_of_sessions(tmp_path: Path):
    one = Catalogue(tmp_path / "changes")
    one.write(Change("put", "new"))
    one.refresh()
    for number in range(MAX_TOUCHES + 50):
        one.touch("new", [f"a{number}"])
        one.refresh()
    assert len(one.entries["new"].touches) == MAX_TOUCHES
    size = (tmp_path / "changes").stat().st_size
    one.touch("new", ["b"])
    one.touch("unknown", ["b"])
    assert (tmp_path / "changes").stat().st_size == size


def test_a_file_that_cannot_be_written_is_read_all_the_same(tmp_path: Path):
    path = tmp_path / "changes"
    Catalogue(path).write(Change("delete", "a"))
    program = (
        "import sys; from pathlib import Path; from nearnext.serving.catalogue import Catalogue, Change\n"
        "import os; os.open = lambda *a, real=os.open, **k: (_ for _ in ()).throw(PermissionError(13, 'denied')) "
        "if a[1] & os.O_RDWR else real(*a, **k)\n"
        "one = Catalogue(Path(sys.argv[1])); print(list(one.entries), one.writable)\n"
        "try: one.write(Change('delete', 'b'))\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "['a'] False"
    assert "choose another with --catalogue" in done.stdout


def test_a_full_disk_is_an_error_and_leaves_the_file_usable(tmp_path: Path):
    path = tmp_path / "changes"
    one = Catalogue(path)
    one.write(Change("delete", "a"))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
        with pytest.raises(DataError, match="free some space"):
            one.write(Change("delete", "b"))
        with pytest.raises(DataError, match="free some space"):
            one.write(Change("delete", "c"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    one.write(Change("delete", "d"))
    one.refresh()
    assert list(one.entries) == list(Catalogue(path).entries) == ["a", "d"]


# ---- written anew ----


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """One void line more than there are live ones is reason enough to write the file anew."""
    monkeypatch.setattr(catalogues, "VOID", 0)


def in_and_out(path: Path, times: int = 20) -> Catalogue:
    """A catalogue in which one item went in and out of stock again and again."""
    one = Catalogue(path)
    for turn in range(times):
        one.write(Change("put", "a", available=bool(turn % 2)), durable=False)
    return one


def n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


@settings(deadline=None)
@given(changes=changes)
def test_a_file_written_anew_says_the_same(changes: list[Change], tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("catalogue") / "changes"
    one = in_and_out(path, 40)
    for change in changes:
        one.write(change, durable=False)
    before = told(one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogues, "VOID", 0)
        later = Catalogue(path)
    assert n_lines(path) == sum(1 + len(entry.touches) for entry in later.entries.values())
    assert told(later) == told(one) == told(Catalogue(path)) == before


def test_a_file_is_left_alone_while_little_of_it_is_void(tmp_path: Path):
    path = tmp_path / "changes"
    one = in_and_out(path, catalogues.VOID + 1)
    before = path.stat().st_ino
    Catalogue(path)
    assert (path.stat().st_ino, n_lines(path)) == (before, 1001)
    one.write(Change("put", "a"))
    Catalogue(path)
    assert (path.stat().st_ino != before, n_lines(path)) == (True, 1)


@pytest.mark.usefixtures("eager")
def test_a_running_process_writes_the_file_anew_as_well(tmp_path: Path):
    path = tmp_path / "changes"
    one = in_and_out(path)
    assert (n_lines(path), one.refresh(), n_lines(path)) == (20, ["a"] * 20, 1)
    one.write(Change("put", "b"))
    one.write(Change("delete", "b"))
    assert (one.refresh(), n_lines(path)) == (["b", "b"], 3)  # two live lines, one void
    one.write(Change("put", "b"))
    one.write(Change("delete", "b"))
    assert (one.refresh(), n_lines(path)) == (["b", "b"], 2)
    assert told(one) == told(Catalogue(path)) == {(str, "a"): (True, (), []), (str, "b"): (False, (), [])}


@pytest.mark.usefixtures("eager")
def test_what_changed_while_the_file_is_written_anew_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "changes"
    other, one = Catalogue(path), in_and_out(path)
    take = Catalogue._take  # pyright: ignore[reportPrivateUsage]

    def and_then_somebody_writes(self: Catalogue, texts: list[bytes]) -> list[RawId]:
        changed = take(self, texts)
        if len(texts) == 20:
            other.write(Change("delete", "late"))
        return changed

    monkeypatch.setattr(Catalogue, "_take", and_then_somebody_writes)
    assert one.refresh() == [*["a"] * 20, "late"]
    assert (n_lines(path), one.entries["late"].available) == (2, False)


@pytest.mark.usefixtures("eager")
def test_processes_that_have_the_old_file_open_go_over_to_the_new_one(tmp_path: Path):
    path = tmp_path / "changes"
    reader, writer = Catalogue(path), in_and_out(path)
    assert reader.refresh() == ["a"] * 20
    writer.write(Change("delete", "before"))
    Catalogue(path)
    assert n_lines(path) == 2
    writer.write(Change("delete", "after"))
    assert (reader.refresh(), writer.refresh()) == (["before", "after"], ["a", "before", "after"])
    assert told(writer) == told(reader) == told(Catalogue(path))
    assert list(writer.entries) == ["a", "before", "after"]


@pytest.mark.usefixtures("eager")
def test_items_keep_their_lives_in_a_new_file_unless_they_began_another(tmp_path: Path):
    path = tmp_path / "changes"
    one = in_and_out(path)
    for item in ("same", "joined", "reborn"):
        one.write(Change("put", item, clicks=[1]))
        one.write(Change("touch", item, clicks=[2]))
    one.refresh()
    lives = {item: entry.life for item, entry in one.entries.items()}
    other = Catalogue(path)
    other.write(Change("touch", "joined", clicks=[3]))
    for _ in range(20):
        other.write(Change("delete", "reborn"), durable=False)
    other.write(Change("put", "reborn", clicks=[4]))
    other.refresh()
    assert n_lines(path) == 7
    assert sorted(map(str, one.refresh())) == ["joined", "reborn"]
    now = {item: entry.life for item, entry in one.entries.items()}
    assert [item for item in now if now[item] == lives[item]] == ["a", "same", "joined"]
    assert now["reborn"] not in lives.values()
    assert one.entries["joined"].touches == [(2,), (3,)]


@pytest.mark.usefixtures("eager")
def test_a_file_that_somebody_writes_to_waits_for_another_start(tmp_path: Path):
    path = tmp_path / "changes"
    in_and_out(path)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert list(Catalogue(path).entries) == ["a"]
    assert n_lines(path) == 20
    Catalogue(path)
    assert n_lines(path) == 1


@pytest.mark.usefixtures("eager")
def test_links_and_permissions_stay(tmp_path: Path):
    path, link = tmp_path / "changes", tmp_path / "link"
    in_and_out(path)
    path.chmod(0o640)
    link.symlink_to(path)
    Catalogue(link)
    assert (link.is_symlink(), path.stat().st_mode & 0o777, n_lines(path)) == (True, 0o640, 1)


@pytest.mark.usefixtures("eager")
def test_without_room_for_a_new_file_the_old_one_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "changes"
    in_and_out(path)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        one = Catalogue(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert "stays as long as it is" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == ["changes"]
    one.write(Change("delete", "b"))
    assert list(Catalogue(path).entries) == ["a", "b"]


@pytest.mark.parametrize("moment", ["os.fchown", "os.fsync", "Path.replace", "Journal._sync_folder"])
def test_a_process_killed_while_it_writes_the_file_anew_loses_nothing(tmp_path: Path, moment: str):
    path = tmp_path / "changes"
    one = in_and_out(path)
    one.write(Change("put", "b", clicks=["x"]))
    before = told(one)
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from nearnext.serving import catalogue\n"
        "from nearnext.serving.journal import Journal\n"
        "catalogue.VOID = 0\n"
        "def begin(self, texts, real=Journal.replace):\n"
        f"    {moment} = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(self, texts)\n"
        "Journal.replace = begin\n"
        "catalogue.Catalogue(Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL
    assert n_lines(path) == (2 if moment == "Journal._sync_folder" else 21)
    one.write(Change("delete", "c"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogues, "VOID", 0)
        after = Catalogue(path)
    assert told(after) == told(one) == before | {(str, "c"): (False, (), [])}
    assert (n_lines(path), [file.name for file in tmp_path.iterdir()]) == (3, ["changes"])


@pytest.mark.usefixtures("eager")
def test_changes_written_while_processes_start_and_write_the_file_anew_all_count(tmp_path: Path):
    path = tmp_path / "changes"
    program = (
        "import sys; from pathlib import Path\n"
        "from nearnext.serving.catalogue import Catalogue, Change\n"
        "one = Catalogue(Path(sys.argv[1]))\n"
        "for number in range(400):\n"
        "    for available in (False, True):\n"
        "        one.write(Change('put', 'same', available), durable=False)\n"
        "    one.write(Change('delete', f'{sys.argv[2]}-{number}'), durable=False)\n"
        "    if number % 7 == 0: one.refresh()\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("x", "y")]
    watcher, inodes = Catalogue(path), set[int]()
    while any(writer.poll() is None for writer in writers):
        Catalogue(path).close()
        watcher.refresh()
        inodes.add(path.stat().st_ino)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(inodes) > 1
    watcher.refresh()
    wanted = {"same", *(f"{name}-{number}" for name in ("x", "y") for number in range(400))}
    assert set(watcher.entries) == set(Catalogue(path).entries) == wanted
    assert [item for item, entry in watcher.entries.items() if entry.available] == ["same"]


def test_a_file_that_was_removed_is_made_again_by_the_next_change(tmp_path: Path):
    path = tmp_path / "changes"
    one = in_and_out(path)
    one.refresh()
    path.unlink()
    assert (one.refresh(), list(one.entries)) == ([], ["a"])
    one.write(Change("delete", "b"))
    assert one.refresh() == ["a", "b"]
    assert list(one.entries) == list(Catalogue(path).entries) == ["b"]


def test_a_catalogue_that_was_read_only_is_followed_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "changes"
    real = os.open

    def denied(name: Path, flags: int, *rest: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "denied")
        return real(name, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)
        one = Catalogue(path)
    assert (one.writable, one.refresh()) == (False, [])
    Catalogue(path).write(Change("delete", "b"))
    assert one.refresh() == ["b"]

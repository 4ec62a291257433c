"""The catalogue's file: shared, durable, and not upset by what a crash leaves behind."""

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
from nearnext.serving.catalogue import MAX_TOUCHES, Catalogue, Change

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


def told(catalogue: Catalogue) -> object:
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

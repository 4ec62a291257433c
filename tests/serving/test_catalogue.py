"""What the catalogue says, in every process; its file is made again when it is gone."""

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.errors import DataError
from nearnext.serving import catalogue as catalogues
from nearnext.serving import catalogue_file
from nearnext.serving.catalogue import Catalogue, Change, Entry
from nearnext.serving.catalogue_file import MAX_TOUCHES
from nearnext.types import RawId

pytestmark = pytest.mark.slow

changes = st.lists(
    st.builds(
        Change,
        st.sampled_from(["put", "delete", "touch"]),
        st.one_of(st.integers(-2, 2), st.sampled_from([2**63 - 1, -(2**63)]), st.text(max_size=3)),
        st.booleans(),
        st.lists(st.one_of(st.integers(0, 3), st.text(max_size=2)), max_size=3),
        st.dictionaries(
            st.sampled_from(["title", "price"]), st.one_of(st.none(), st.integers(0, 3), st.text(max_size=2))
        ),
    ),
    max_size=12,
)


def known(catalogue: Catalogue) -> dict[tuple[type, RawId], object]:
    catalogue.refresh()
    return {
        (type(item), item): (entry.available, entry.like, entry.touches, entry.attributes)
        for item, entry in catalogue.entries.items()
    }


def expected(changes: list[Change]) -> dict[tuple[type, RawId], object]:
    """What changes lead to, by a plain dictionary."""
    entries: dict[tuple[type, RawId], Entry] = {}
    for change in changes:
        key = type(change.item), change.item
        entry = entries.get(key)
        if change.op == "touch":
            if entry and entry.available:
                entry.touches.append(tuple(change.clicks))
        elif change.op == "delete":
            entries[key] = Entry(available=False)
        else:
            entry = entries.setdefault(key, Entry())
            entry.available, entry.like = change.available, tuple(change.clicks) or entry.like
            entry.attributes = change.attributes or entry.attributes
    return {key: (entry.available, entry.like, entry.touches, entry.attributes) for key, entry in entries.items()}


@settings(deadline=None)
@given(changes=changes)
def test_readers_and_later_processes_see_what_the_writers_wrote(
    changes: list[Change], tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("catalogue") / "changes"
    one, two, reader = Catalogue(path), Catalogue(path), Catalogue(path)
    for place, change in enumerate(changes):
        (one if place % 2 else two).write(change, durable=False)
        assert [change.item] == reader.refresh() or change.op == "touch"
    assert known(one) == known(two) == known(reader) == known(Catalogue(path)) == expected(changes)


def test_a_change_gives_an_item_another_life_and_a_session_does_not(tmp_path: Path):
    one = Catalogue(tmp_path / "changes")
    one.write(Change("put", "new", clicks=["a"]))
    one.refresh()
    first = one.entries["new"].life
    one.touch("new", ["b"])
    assert one.refresh() == ["new"]
    assert one.entries["new"].life == first
    one.write(Change("put", "new"))
    one.refresh()
    assert one.entries["new"].life != first
    assert (one.entries["new"].like, one.entries["new"].touches) == (("a",), [("b",)])


def test_a_new_item_takes_a_bounded_number_of_sessions(tmp_path: Path):
    one, other = Catalogue(tmp_path / "changes"), Catalogue(tmp_path / "changes")
    one.write(Change("put", "new"))
    one.refresh()
    other.refresh()
    for number in range(MAX_TOUCHES + 10):
        one.touch("new", [f"a{number}"])
        other.touch("new", [f"b{number}"])  # it has not read what the other one wrote
        one.refresh()
    assert len(one.entries["new"].touches) == MAX_TOUCHES
    assert known(one) == known(other)
    one.touch("unknown", ["b"])
    assert (one.refresh(), list(one.entries)) == ([], ["new"])


# ---- gone, or another one ----


def test_a_file_that_was_removed_is_made_again_with_all_that_it_said(tmp_path: Path):
    path = tmp_path / "changes"
    one, other = Catalogue(path), Catalogue(path)
    one.write(Change("put", "a", clicks=["x"]))
    one.write(Change("touch", "a", clicks=["y"]))
    one.write(Change("put", "a", available=False))
    before = known(one)
    one.write(Change("delete", "late"))
    path.unlink()
    assert one.refresh() == ["late"]
    other.write(Change("delete", "b"))  # it has not read the late change, and yet writes it again
    after = before | {(str, "late"): (False, (), [], {}), (str, "b"): (False, (), [], {})}
    assert one.refresh() == ["b"]
    assert known(one) == known(other) == known(Catalogue(path)) == after
    one.close()
    other.write(Change("delete", "c"))
    assert known(other) == known(Catalogue(path)) == after | {(str, "c"): (False, (), [], {})}


@pytest.mark.parametrize("by", ["nothing", "another"])
def test_a_file_that_goes_while_it_is_opened_is_not_taken_for_the_one_after_it(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(catalogues, "PAUSE", 0.0)
    path, last = tmp_path / "changes", tmp_path / "last"
    for place, item in ((last, "c"), (tmp_path / "next", "b"), (path, "a")):
        (made := Catalogue(place)).write(Change("delete", item))
        if place != path:
            made.close()
    one, connected = Catalogue(path), catalogue_file._connected  # pyright: ignore[reportPrivateUsage]

    def late(path: Path, query: str) -> sqlite3.Connection:
        found = connected(path, query)
        path.unlink()
        if by == "another":
            last.replace(path)
        return found

    (tmp_path / "next").replace(path)
    monkeypatch.setattr(catalogue_file, "_connected", late)
    assert (one.refresh(), list(one.entries)) == ((["a", "b"], ["b"]) if by == "nothing" else ([], ["a"]))
    monkeypatch.undo()
    monkeypatch.setattr(catalogues, "PAUSE", 0.0)
    one.refresh()
    one.write(Change("delete", "d"))
    one.refresh()
    assert list(one.entries) == list(Catalogue(path).entries) == ["c" if by == "another" else "b", "d"]
    assert caplog.text.count("was replaced while it was opened") == (by == "another")


def test_a_damaged_file_stops_no_reader_and_is_written_again_once_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(catalogues, "PAUSE", 0.0)
    path = tmp_path / "changes"
    one = Catalogue(path)
    for number in range(50):
        one.write(Change("put", f"a{number}", clicks=["x"]), durable=False)
    before = known(one)
    path.write_bytes(b"torn" * 100)
    assert (one.refresh(), known(one)) == ([], before)
    with pytest.raises(DataError, match="choose another"):
        one.write(Change("delete", "b"))
    path.unlink()
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    one.write(Change("delete", "b"))
    assert known(one) == known(Catalogue(path)) == before | {(str, "b"): (False, (), [], {})}


@pytest.mark.parametrize("what", ["folder", "fifo", "text", "database"])
def test_something_else_in_its_place_is_refused_and_the_old_changes_count(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(catalogues, "PAUSE", 0.0)
    path = tmp_path / "changes"
    one = Catalogue(path)
    one.write(Change("delete", "a"))
    one.refresh()
    path.rename(tmp_path / "before")
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "text":
        path.write_text("a list of things to buy\n")
    else:
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE things (name TEXT)")
    with pytest.raises(DataError, match="--catalogue"):
        Catalogue(path)
    for _ in range(3):
        assert (one.refresh(), list(one.entries)) == ([], ["a"])
    assert caplog.text.count("cannot be read") == 1
    with pytest.raises(DataError, match="--catalogue"):
        one.write(Change("delete", "b"))
    if what == "folder":
        path.rmdir()
    (tmp_path / "before").replace(path)
    one.write(Change("delete", "b"))
    one.refresh()
    assert list(one.entries) == list(Catalogue(path).entries) == ["a", "b"]


def test_another_catalogue_in_its_place_counts_from_then_on(tmp_path: Path):
    path = tmp_path / "changes"
    one, other = Catalogue(path), Catalogue(tmp_path / "other")
    for item in ("same", "changed", "gone"):
        one.write(Change("put", item, clicks=["x"]))
    other.write(Change("put", "same", clicks=["x"]))
    other.write(Change("put", "changed", clicks=["y"]))
    one.refresh()
    same, changed = one.entries["same"], one.entries["changed"]
    other.close()
    (tmp_path / "other").replace(path)
    assert sorted(map(str, one.refresh())) == ["changed", "gone"]
    assert one.entries["same"] is same
    assert (one.entries["changed"].life != changed.life, "gone" in one.entries) == (True, False)

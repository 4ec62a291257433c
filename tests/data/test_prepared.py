"""Prepared logs: folders of arrays that are mapped into memory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nearnext.data.events import read_events
from nearnext.data.filters import Filter, apply_filter
from nearnext.data.prepare import prepare
from nearnext.data.sessionise import read_sessions
from nearnext.errors import ConfigError, DataError
from nearnext.recommenders.neighbours import VSKNN

FRAME = pl.DataFrame(
    {
        "session": [3, 1, 1, 2, 3, 2, 5, 5, 4],
        "item": ["b", "a", "b", "c", "a", "b", "c", "c", "a"],
        "ts": [10, 10, 11, 10, 12, 10, 10, 13, 9],
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepare(FRAME, tmp_path / "log", chosen=Filter(min_length=1), partitions=2).out


def test_a_log_and_its_copies_give_one_model(tmp_path: Path) -> None:
    raw = read_sessions(FRAME)
    states = [VSKNN().fit(raw).state()]
    for partitions in (1, 2, 7):
        out = prepare(FRAME, tmp_path / "log", chosen=Filter(min_length=1), partitions=partitions).out
        sessions = read_sessions(out)
        assert sessions.fingerprint() == raw.fingerprint()
        states.append(VSKNN().fit(sessions).state())
    assert all(np.array_equal(state[name], array) for state in states[1:] for name, array in states[0].items())


def test_sessions_are_mapped_and_shared_by_what_a_filter_leaves(folder: Path) -> None:
    sessions = read_sessions(folder)
    assert not sessions.items.flags.owndata
    kept, _ = apply_filter(sessions, Filter(min_length=1))
    assert kept.reindexed() is sessions


def test_a_folder_says_how_the_log_was_read_and_takes_no_options(folder: Path) -> None:
    assert json.loads((folder / "prepared.json").read_text("utf-8"))["read"]["used"] == 9
    for options in ({"gap": 5}, {"time_unit": "s"}, {"collapse_repeats": True}):
        given: dict[str, Any] = options
        with pytest.raises(ConfigError, match="is a prepared log: how it is read was chosen"):
            read_sessions(folder, **given)


def test_a_prepared_log_is_replaced_and_other_folders_are_kept(tmp_path: Path, folder: Path) -> None:
    again = prepare(FRAME, folder, chosen=Filter(min_length=2))
    assert read_sessions(folder).n_sessions == again.sessions < 5
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    with pytest.raises(DataError, match="it is a folder of other files"):
        prepare(FRAME, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "other"]


@pytest.mark.parametrize("name", ["items.bin", "offsets.bin", "times.bin", "vocabulary.arrow", "session_ids.arrow"])
@pytest.mark.parametrize("size", [None, 0, 8])
def test_damage_is_one_clear_error(folder: Path, name: str, size: int | None) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:size]) if size is not None else (folder / name).unlink()
    with pytest.raises(DataError, match=r"log is damaged \(.*\); prepare the log again"):
        read_sessions(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 5}, "has schema 5, this nearnext reads 4"),
        ({"sessions": 4}, "is damaged .expected 5 numbers in offsets.bin, found 6"),
        ({"read": {}}, "is damaged"),
    ],
)
def test_another_manifest_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    manifest = json.loads((folder / "prepared.json").read_text("utf-8"))
    (folder / "prepared.json").write_text(json.dumps(manifest | change), "utf-8")
    with pytest.raises(DataError, match=message):
        read_sessions(folder)


def test_where_clicks_are_read_a_prepared_log_is_named_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a prepared log, whose clicks are sessions already; read it with"):
        prepare(folder, tmp_path / "again")
    with pytest.raises(DataError, match="or give the log that it was made from"):
        read_events(folder)

"""Logs larger than a block give what they give in one block."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearnext.data.blocks import empty_array
from nearnext.data.filters import Filter, apply_filter
from nearnext.data.imprint import Imprint
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_last


def log() -> Sessions:
    draw = np.random.default_rng(7)
    lengths = draw.integers(1, 9, 60)
    clicks = np.split(draw.zipf(1.3, lengths.sum()) % 40, np.cumsum(lengths)[:-1])
    return Sessions.of([session.tolist() for session in clicks], starts=draw.integers(0, 500, 60).tolist())


def worked_out(sessions: Sessions) -> list[Any]:
    kept, report = apply_filter(sessions, Filter(2, 3, "iterated", max_length=4))
    train, test = split_last(kept, 0.2)
    imprint = Imprint.of(sessions, limit=10).arrays()
    return [
        report,
        *(part.fingerprint() for part in (sessions, kept, kept.reindexed(), train, test)),
        *(part.vocabulary.ids.to_list() for part in (kept.reindexed(), train)),
        kept.select(np.arange(kept.n_sessions)[::-1]).fingerprint(),
        sessions.item_counts().tolist(),
        {name: array.tolist() for name, array in imprint.items()},
    ]


@pytest.mark.parametrize("block", [1, 7, 50])
def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    sessions = log()
    expected = worked_out(sessions)
    monkeypatch.setattr("nearnext.data.blocks.BLOCK", block)
    monkeypatch.setattr("nearnext.data.blocks.IDS", block)
    monkeypatch.setattr("nearnext.data.sessions.BLOCK", block)
    parts = list(sessions.parts())
    assert parts[0].raw(0) == sessions.raw(0)
    assert sum(part.n_sessions for part in parts) == sessions.n_sessions
    assert all(part.n_events <= block or part.n_sessions == 1 for part in parts)
    assert worked_out(sessions) == expected


def test_sessions_that_follow_one_another_share_their_clicks() -> None:
    sessions = log()
    part = sessions.select(np.arange(10, 30))
    assert np.shares_memory(part.items, sessions.items)
    assert [part.raw(s) for s in range(20)] == [sessions.raw(s) for s in range(10, 30)]
    assert sessions.select(sessions.lengths > 0) is sessions


def test_sessions_cut_to_their_last_clicks_are_in_order_of_their_new_start() -> None:
    sessions = Sessions.of([["a", "b", "c"], ["d"]], starts=[0, 1])
    kept, _ = apply_filter(sessions, Filter(min_length=1, max_length=1))
    assert [kept.raw(0), kept.raw(1)] == [["d"], ["c"]]


def test_clicks_in_a_temporary_file_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sessions = log()
    expected = [*worked_out(sessions), sessions.followed_by(sessions).fingerprint()]
    monkeypatch.setattr("nearnext.data.blocks.LARGE", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert [*worked_out(sessions), sessions.followed_by(sessions).fingerprint()] == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
def test_clicks_stay_in_memory_where_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nearnext.data.blocks.LARGE", 0)
    assert isinstance(empty_array(3, np.dtype(np.int32)).base, np.memmap)
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert empty_array(3, np.dtype(np.int32)).base is None

"""The event log is on the disk or says that it is not: removed segments, folders, and something else in their place."""

import shutil
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

from nearnext.data.sessionise import read_sessions
from nearnext.serving import event_log
from nearnext.serving.event_log import EventLogWriter
from serving_support import Client, Server, lines_of, started, wait_until

pytestmark = pytest.mark.slow


def sessions(folder: Path) -> list[str]:
    return [line["session_id"] for line in lines_of(folder)]


@pytest.mark.parametrize("what", ["segments", "folder", "replaced", "moved"])
def test_what_is_confirmed_after_files_went_is_on_the_disk(what: str, tmp_path: Path):
    folder = tmp_path / "events"
    gone = list[int]()
    writer = EventLogWriter(folder, gone.append)
    assert writer.clicked("before", ["a"])
    for round_ in range(3):
        segment = max(folder.glob("*.jsonl"))
        if what == "folder":
            shutil.rmtree(folder)
        elif what == "replaced":
            segment.unlink()
            segment.write_text("")
        elif what == "moved":
            segment.rename(tmp_path / f"rotated-{round_}")
        else:
            segment.unlink()
        assert writer.clicked(f"after-{round_}", ["a"])
        assert writer.shown(f"after-{round_}", ["b"], "v1")
        assert f"after-{round_}" in sessions(folder)
        assert f"after-{round_}" in sessions(folder / "shown")
    assert gone == []
    writer.close()


def test_writers_that_would_name_a_segment_alike_write_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Still(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2026, 1, 1, tzinfo=tz)

    monkeypatch.setattr(event_log, "datetime", Still)
    writers = [EventLogWriter(tmp_path) for _ in range(2)]  # as two containers, in which processes have the same number
    for writer in writers:
        assert writer.clicked("one", ["a"])
        assert writer.clicked("one", ["b"])
        writer.close()
    assert [file.read_text().count("\n") for file in tmp_path.glob("*.jsonl")] == [2, 2]


def test_a_folder_that_cannot_be_made_again_loses_events_and_says_so(tmp_path: Path):
    folder = tmp_path / "events"
    gone = list[int]()
    writer = EventLogWriter(folder, gone.append)
    assert writer.clicked("before", ["a"])
    shutil.rmtree(folder)
    folder.write_text("a file")
    assert not writer.clicked("lost", ["a", "b"])
    assert not writer.shown("lost", ["a"], "v1")
    assert sum(gone) == 3
    folder.unlink()
    assert writer.clicked("after", ["a"])
    assert sessions(folder) == ["after"]
    writer.close()


def test_new_files_begin_when_it_is_closed(tmp_path: Path):
    writer = EventLogWriter(tmp_path)
    assert writer.clicked("a", ["x"])
    writer.unsynced()()
    writer.close()
    assert writer.clicked("b", ["x"])
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    writer.close()


def lost(client: Client) -> float:
    lines = client("GET", "/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith("nearnext_events_lost_t")).split()[1])


@pytest.mark.fault
def test_a_service_whose_log_is_removed_goes_on_logging_or_counts_what_is_lost(artifact: Path, tmp_path: Path):
    folder = tmp_path / "events"

    def logged(client: Client, session: str) -> bool:
        return client("POST", f"/v1/sessions/{session}/events", {"items": ["i1"], "consent": True}).json["logged"]

    with started(artifact, "--event-log", folder, folder=tmp_path) as server:
        client = server.client
        assert logged(client, "first")
        shutil.rmtree(folder)
        assert logged(client, "second")
        assert (sessions(folder), lost(client)) == (["second"], 0)
        shutil.rmtree(folder)
        folder.write_text("a file")
        assert not logged(client, "third")
        assert lost(client) == 1
        folder.unlink()
        assert logged(client, "fourth")
        assert sessions(folder) == ["fourth"]
        wait_until(lambda: any("can be written again" in said for said in server.messages()))


def test_clicks_keep_the_type_that_they_were_sent_with(client: Client, server: Server):
    body = {"items": ["i1"], "consent": True}
    assert client("POST", "/v1/sessions/typed/events", body | {"event": "purchase"}).json["logged"]
    assert client("POST", "/v1/sessions/typed/events", body).json["logged"]
    lines = [line for line in lines_of(server.log.parent / "events") if line["session_id"] == "typed"]
    assert [line.get("event") for line in lines] == ["purchase", None]
    assert client("POST", "/v1/sessions/typed/events", body | {"event": ""}).status == 422


def test_a_log_with_types_is_read_as_one(tmp_path: Path):
    writer = EventLogWriter(tmp_path / "events")
    for time, (item, event) in enumerate([("a", "view"), ("b", "view"), ("a", "purchase"), ("c", None)]):
        assert writer.clicked("s", [item], 1e9 + time, event)
    writer.close()
    sessions = read_sessions(tmp_path / "events", target=["purchase"])
    assert sessions.raw(0) == ["a", "b", "a", "c"]
    assert sessions.predicted.tolist() == [False, False, True, False]

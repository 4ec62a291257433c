"""Session ids stay where they were given: not in what is served, and erased from the event log when asked."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearnext.artifact import save_artifact
from nearnext.data.sessionise import read_sessions
from nearnext.errors import DataError
from nearnext.recommenders.named import make_recommender
from nearnext.serving import event_log
from nearnext.serving.event_log import EventLogWriter, forget_session
from serving_support import lines_of, started

pytestmark = pytest.mark.slow


def test_an_explanation_that_is_served_names_no_session(tmp_path: Path):
    writer = EventLogWriter(tmp_path / "events")
    for number in range(20):
        assert writer.clicked(f"secret-{number}", ["a", "b", f"c{number % 3}"], time=1.6e9 + number)
    writer.close()
    log = read_sessions(str(tmp_path / "events"))
    fitted = make_recommender("vsknn").fit(log)
    kept = save_artifact(fitted.remember(log, keep_ids=True), tmp_path / "kept", {})
    with started(kept, folder=tmp_path) as server:
        reply = server.client("POST", "/v1/explain", {"items": ["a"], "item": "b"})
        near = reply.json["evidence"]["sessions"]
        assert (len(near) > 0, b"secret" in reply.body) == (True, False)
        assert all(isinstance(session["id"], int) for session in near)
    fitted_by_default = save_artifact(fitted.remember(log), tmp_path / "model", {})
    assert not any(b"secret" in file.read_bytes() for file in fitted_by_default.iterdir())


def written(folder: Path, *sessions: str) -> EventLogWriter:
    writer = EventLogWriter(folder)
    for session in sessions:
        assert writer.clicked(session, ["a", "b"])
        assert writer.shown(session, ["c"], "v1")
    return writer


def sessions(folder: Path) -> list[str]:
    return [str(line["session_id"]) for part in (folder, folder / "shown") for line in lines_of(part)]


@pytest.mark.parametrize("session", ["s1", "ключ\n\"'", "7"])
def test_a_session_is_erased_and_the_others_stay(session: str, tmp_path: Path):
    writer = written(tmp_path, "before", session, "s10", "after")
    writer.close()
    (tmp_path / "more.jsonl").write_text(
        json.dumps({"session_id": 7, "item_id": 1, "timestamp": 1}) + "\n"
        + json.dumps({"session_id": session, "item_id": "é", "timestamp": 1}) + "\n\nno json\n"
    )  # fmt: skip
    (tmp_path / "old.csv").write_text("session_id,item_id\ns1,a\n")
    (tmp_path / "2025").mkdir()
    (tmp_path / "shown" / "older").mkdir()
    erased = forget_session(tmp_path, session)
    assert (erased.lines, erased.files) == (5 if session == "7" else 4, 3)
    assert erased.unread == {tmp_path / "more.jsonl": 1}
    assert [file.name for file in erased.unsearched] == ["2025", "old.csv", "older"]
    text = (tmp_path / "more.jsonl").read_text()
    assert text.endswith("\nno json\n")
    (tmp_path / "more.jsonl").unlink()
    assert sorted(set(sessions(tmp_path))) == ["after", "before", "s10"]
    assert forget_session(tmp_path, session).lines == 0


@pytest.mark.parametrize(("written", "asked"), [(" s1 ", "s1"), ("s1", " s1"), ("12.0", "12"), ("12", "12.0")])
def test_ids_that_a_fit_reads_as_one_session_are_erased_together(written: str, asked: str, tmp_path: Path):
    writer = EventLogWriter(tmp_path)
    writer.clicked(written, ["a"])
    writer.clicked("007", ["b"])
    writer.close()
    assert forget_session(tmp_path, asked).lines == 1
    assert forget_session(tmp_path, "7").lines == 0


@pytest.mark.parametrize(
    "line",
    [
        b'{"session_id": 12.0, "item_id": "a", "timestamp": 1}',
        b'{"session_id": 12, "item_id": "a", "timestamp": 1, "price": NaN}',
        b'\xef\xbb\xbf{"session_id": "12", "item_id": "a", "timestamp": 1}',
    ],
)
def test_lines_of_other_programs_are_erased_where_a_fit_reads_them(line: bytes, tmp_path: Path):
    other = b'{"session_id": "13", "item_id": "a", "timestamp": 1}\n'
    (tmp_path / "older.jsonl").write_bytes(line + b"\n" + other)
    assert forget_session(tmp_path, "12").lines == 1
    assert (tmp_path / "older.jsonl").read_bytes() == other


def test_lines_that_cannot_be_read_are_counted_and_stop_nothing(tmp_path: Path):
    deep = b'{"session_id": "s1", "more": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    odd = [b'{"session_id":"x\xff"}', b'{"session_id": "\\ud800"}', deep, b'{"item_id": 1}', b"[1]", b"no json"]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*odd, b'{"session_id": "s1"}', b""]))
    (tmp_path / "b.jsonl").write_bytes(b'{"session_id": "s1"}\n')
    assert forget_session(tmp_path, "s1") == (2, 2, {tmp_path / "a.jsonl": len(odd)}, [])
    assert (tmp_path / "a.jsonl").read_bytes() == b"\n".join([*odd, b""])


def test_a_file_that_held_nothing_else_is_removed(tmp_path: Path):
    written(tmp_path, "only").close()
    assert forget_session(tmp_path, "only") == (3, 2, {}, [])
    assert not list(tmp_path.rglob("*.jsonl"))
    with pytest.raises(DataError, match="no folder"):
        forget_session(tmp_path / "none", "only")


@pytest.mark.parametrize("others", [("s1", "s2"), ("s1",)])
def test_sessions_that_are_erased_at_the_same_time_stay_erased(
    others: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    written(tmp_path, "s0", *others).close()
    before = event_log.flock

    def late(file: int, how: int) -> bool:
        monkeypatch.setattr(event_log, "flock", before)
        forget_session(tmp_path, "s0")  # by another process, which had the lock
        return before(file, how)

    monkeypatch.setattr(event_log, "flock", late)
    assert forget_session(tmp_path, "s1").lines == 3
    assert set(sessions(tmp_path)) == {*others} - {"s1"}


def test_erasing_while_services_write_loses_no_line(tmp_path: Path):
    program = (
        "import sys; from pathlib import Path\n"
        "from nearnext.serving.event_log import EventLogWriter\n"
        "writer = EventLogWriter(Path(sys.argv[1]))\n"
        "for number in range(3000):\n"
        "    assert writer.clicked(f'{sys.argv[2]}-{number}', ['a'])\n"
        "    if number % 10 == 0: assert writer.clicked('gone', ['a'])\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in ("x", "y")]
    erased = 0
    while any(writer.poll() is None for writer in writers):
        erased += forget_session(tmp_path, "gone").lines
    erased += forget_session(tmp_path, "gone").lines
    assert [writer.wait() for writer in writers] == [0, 0]
    assert erased == 600
    assert sorted(sessions(tmp_path)) == sorted(f"{name}-{number}" for name in "xy" for number in range(3000))


def test_the_command_erases_and_says_what(nearnext: Callable[..., Any], tmp_path: Path):
    written(tmp_path / "events", "s1", "s2").close()
    (tmp_path / "events" / "old.csv").write_text("x")
    (tmp_path / "events" / "2025").mkdir()
    done = nearnext("forget", "--session", "s1", "--event-log", tmp_path / "events")
    assert done.code == 0
    assert "erased 3 lines of 2 files" in done.out
    assert "not searched, as they are no segments of an event log: 2025, old.csv" in done.out
    assert set(sessions(tmp_path / "events")) == {"s2"}
    for session in ("s1", "s"):
        unknown = nearnext("forget", "--session", session, "--event-log", tmp_path / "events")
        assert (unknown.code, f"no readable line of session '{session}'" in unknown.err) == (2, True)
        assert "not searched" in unknown.out
    assert set(sessions(tmp_path / "events")) == {"s2"}
    refused = nearnext("forget", "--session", "s1", "--event-log", tmp_path / "none")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["events"]

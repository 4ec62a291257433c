"""Pieces of a log that are read side by side give what the whole log gives, whatever the pieces before them say."""

import csv
import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from executor_support import SideBySide
from nearnext.data import pieces as pieces_module
from nearnext.data.events import read_events, scan_events
from nearnext.data.files import FileState
from nearnext.data.filters import Filter
from nearnext.data.prepare import PrepareReport, prepare
from nearnext.data.sessionise import read_sessions
from nearnext.errors import DataError

ALL = Filter(min_length=1)
BEGIN = 1_600_000_000


def rows(n: int, session: Callable[[int], object] = lambda n: n // 3, item: Callable[[int], object] = str) -> list[str]:
    return [f"{session(each)},{item(each % 50)},{BEGIN + each}" for each in range(n)]


def quoted(n: int) -> list[str]:
    """Rows of which many have an item on several lines."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        (each // 3, f"a{each % 7}\n" * (each % 5) + "b", BEGIN + each) for each in range(n)
    )
    return out.getvalue().splitlines()


def damaged(n: int) -> list[str]:
    """Rows of which few, and none at the beginning, cannot be used."""
    found = rows(n)
    found[n // 2] = f"{n // 6},,{BEGIN}"
    found[n // 2 + 40] = "x"
    found[n - 7 : n - 5] = ["", f"1,2,{BEGIN},3"]
    return found


HEADER = "session_id,item_id,time"
TEXTS = {
    "plain": [HEADER, *rows(900)],
    "a byte order mark": ["\ufeff" + HEADER, *rows(900)],
    "ids that turn out to be text": [HEADER, *rows(700, item=lambda n: n), *rows(300, session=lambda n: f"s{n // 4}")],
    "text ids at the beginning only": [HEADER, *rows(20, item=lambda n: f"0{n}"), *rows(900)],
    "fields on several lines": [HEADER, *quoted(700)],
    "a quote that is never closed": [HEADER, *rows(500), f'7,"8,{BEGIN}', *rows(500)],
    "rows that cannot be used": [HEADER, *damaged(900)],
    "milliseconds further on": [HEADER, *rows(500), *(f"{row}000" for row in rows(500, session=lambda n: -n - 1))],
    "no time at the beginning": [HEADER, *(f"{n},{n}," for n in range(400)), *rows(500)],
    "a clock that the second piece decides": [
        HEADER,
        *(f"{n},{n}," for n in range(300)),
        *rows(60),
        *(f"{n // 9},{n},{n}" for n in range(400)),
    ],
    "event types that come one after another": [
        f"{HEADER},event",
        *(f"{row},view" for row in rows(100)),
        *(f"{row},Zoom" for row in rows(80)),
        *(f"{row},cart" for row in rows(80)),
        *(f"{row},{kind}" for row, kind in zip(rows(160), ["zoom", "CART"] * 80, strict=True)),
    ],
    "a word at the end": [HEADER, *rows(900), "yes,no,maybe"],
    "blanks around ids": [HEADER, *rows(900, item=lambda n: f" i{n}")],
    "event types": [f"{HEADER},event", *(f"{row},view" for row in rows(600)), *(f"{row},Cart" for row in rows(300))],
    "event types in other letters": [
        f"{HEADER},event",
        *(f"{row},{random.Random(n).choice(['view', 'VIEW', 'View ', ''])}" for n, row in enumerate(rows(900))),
    ],
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnext.data.delimited.BLOCK", 512)
    monkeypatch.setattr("nearnext.data.jsonlines.BLOCK", 512)
    monkeypatch.setattr("nearnext.data.chunks.ROWS", 32)


def prepared(log: Path, out: Path, **options: object) -> PrepareReport:
    return prepare(log, out, chosen=ALL, workers=SideBySide(3), partitions=3, **options)  # type: ignore[arg-type]


def same_as_whole(log: Path, tmp_path: Path) -> None:
    done = prepared(log, tmp_path / "out")
    expected, whole = read_sessions(log), read_events(log).report
    assert read_sessions(done.out).fingerprint() == expected.fingerprint()
    assert read_sessions(done.out).event_types == expected.event_types
    assert done.read == whole
    assert prepare(log, tmp_path / "one", chosen=ALL).read == whole
    one, out = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "out"))
    assert one == out


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.filterwarnings("ignore::nearnext.errors.LogWarning")
def test_pieces_of_a_text_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "log.csv").write_text("\n".join([*TEXTS[kind], ""]), "utf-8")
    same_as_whole(tmp_path / "log.csv", tmp_path)


@pytest.mark.parametrize("kind", ["fields on several lines", "rows that cannot be used"])
@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_pieces_of_lines_that_end_otherwise(tmp_path: Path, kind: str, end: str) -> None:
    (tmp_path / "log.csv").write_bytes(end.join([*TEXTS[kind], ""]).encode())
    same_as_whole(tmp_path / "log.csv", tmp_path)


@pytest.mark.parametrize(("usual", "once"), [("\r", "\n"), ("\n", "\r"), ("\r", "\r\n")])
def test_pieces_of_lines_of_which_one_ends_otherwise(tmp_path: Path, usual: str, once: str) -> None:
    lines = TEXTS["plain"]
    text = usual.join(lines[:850]) + once + usual.join(lines[850:])
    (tmp_path / "log.csv").write_bytes(text.encode())
    same_as_whole(tmp_path / "log.csv", tmp_path)
    assert read_events(tmp_path / "log.csv").report.used == 900


def test_a_carriage_return_inside_an_object_does_not_end_its_line(tmp_path: Path) -> None:
    lines = [json.dumps({"session_id": n, "item_id": n % 9, "time": BEGIN + n}, indent=0) for n in range(500)]
    (tmp_path / "log.jsonl").write_bytes("\n".join(line.replace("\n", "\r") for line in lines).encode())
    same_as_whole(tmp_path / "log.jsonl", tmp_path)
    assert read_events(tmp_path / "log.jsonl").report.used == 500


@pytest.mark.filterwarnings("ignore::nearnext.errors.LogWarning")
def test_pieces_of_several_files_of_several_kinds(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "a.csv").write_text("\n".join(TEXTS["plain"]))
    (folder / "b.csv").write_text("")
    (folder / "c.csv").write_text("\n".join(TEXTS["rows that cannot be used"]))
    columns = {"session_id": ["x", "y"] * 400, "item_id": ["7", "é"] * 400}
    pl.DataFrame(columns).with_columns(time=pl.int_range(800) + BEGIN).write_parquet(folder / "d.parquet")
    lines = [json.dumps({"session_id": n, "item_id": n % 9, "time": BEGIN + n}) for n in range(500)]
    (folder / "e.jsonl").write_text("\n".join([*lines, "{", *lines]))
    same_as_whole(folder, tmp_path)


@pytest.mark.filterwarnings("ignore::nearnext.errors.LogWarning")
def test_small_files_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "GROUP_EVENTS", 60)
    folder = tmp_path / "log"
    folder.mkdir()
    for number in range(40):
        found = [f"{number}.{each // 3},i{each % 7},{BEGIN + number * 20 + each}" for each in range(20)]
        found += ["1,,3"] if number in (17, 29) else []
        (folder / f"{number:02}.csv").write_text("\n".join([HEADER, *found]))
    (folder / "20.csv").write_text("\n".join(TEXTS["rows that cannot be used"]))
    same_as_whole(folder, tmp_path)


def test_a_late_row_that_cannot_be_used_is_named_by_its_line(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("\n".join([HEADER, *rows(800), "1,2", *rows(300), "3"]))
    for executor in (1, SideBySide(4)):
        with pytest.raises(DataError, match=r"2 of 1,102 rows cannot be used .*log.csv line 802: wrong column count"):
            prepare(log, tmp_path / "out", strict=True, workers=executor)
    prepared(log, tmp_path / "out", rejects=tmp_path / "rejects.csv")
    assert pl.read_csv(tmp_path / "rejects.csv")["line"].to_list() == [802, 1103]


def test_a_late_column_is_named_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnext.data.files.SAMPLE", 4096)
    log = tmp_path / "log.jsonl"
    lines = [json.dumps({"user_id": n, "item_id": n % 9, "time": BEGIN + n}) for n in range(500)]
    log.write_text("\n".join([*lines, json.dumps({"session_id": 1, "item_id": 2, "time": BEGIN}), *lines]))
    with pytest.raises(DataError) as whole:
        read_events(log)
    with pytest.raises(DataError) as found:
        prepared(log, tmp_path / "out")
    assert str(found.value) == str(whole.value)


def test_a_piece_that_a_worker_could_not_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.csv"
    log.write_text("\n".join(TEXTS["plain"]))
    expected = read_sessions(prepared(log, tmp_path / "out").out).fingerprint()
    tried = pieces_module._tried  # pyright: ignore[reportPrivateUsage]
    calls = list[int]()

    def fails(*arguments: object) -> object:
        calls.append(1)
        return None if len(calls) % 2 else tried(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pieces_module, "_tried", fails)
    assert read_sessions(prepared(log, tmp_path / "again").out).fingerprint() == expected
    assert len(calls) > 4


def test_most_pieces_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.csv"
    log.write_text("\n".join(TEXTS["rows that cannot be used"]))
    read = list[int]()
    spreads = pieces_module._spreads  # pyright: ignore[reportPrivateUsage]

    def counting(scan: object, n: int, pieces: list[pieces_module.Piece], *more: object) -> object:
        read.append(pieces[0].span.begin)
        return spreads(scan, n, pieces, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(pieces_module, "_spreads", counting)
    prepared(log, tmp_path / "out")
    assert len(set(read)) == 8
    assert len(read) - len(set(read)) == 1, "the piece whose line is named"


def test_a_report_of_pieces_counts_files_that_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "a.csv").write_text("\n".join(TEXTS["plain"]))
    (folder / "a.txt.bak").write_text("x")
    done = prepared(folder, tmp_path / "out")
    assert done.read == read_events(folder).report
    assert done.read.left_out == ["a.txt.bak"]


def cut_off(log: Path) -> None:
    os.truncate(log, 5000)


def emptied(log: Path) -> None:
    os.truncate(log, 0)


def replaced(log: Path) -> None:
    log.with_suffix(".new").write_text("\n".join([HEADER, *rows(2000)]))
    os.utime(log.with_suffix(".new"), (1, 1))  # clocks of file systems are coarse
    log.with_suffix(".new").replace(log)


def written_again(log: Path) -> None:
    log.write_text("\n".join([HEADER, *rows(2000, item=lambda n: n + 1)]))


def grown(log: Path) -> None:
    with log.open("a") as file:
        file.write("".join(f"{row}\n" for row in rows(90)))


def prepared_while(change: Callable[[Path], None], log: Path, monkeypatch: pytest.MonkeyPatch) -> PrepareReport:
    """Prepare a log that is changed once its first piece is read."""
    spreads, left = pieces_module._spreads, [change]  # pyright: ignore[reportPrivateUsage]

    def changing(*arguments: Any) -> Any:
        found = spreads(*arguments)
        while left:
            left.pop()(log)
        return found

    monkeypatch.setattr(pieces_module, "_spreads", changing)
    return prepared(log, log.parent / "out")


@pytest.mark.parametrize("change", [cut_off, emptied, replaced, written_again])
def test_a_file_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    (tmp_path / "log.csv").write_text("\n".join([HEADER, *rows(900), ""]))
    with pytest.raises(DataError, match=r"log\.csv was replaced or cut off while it was read"):
        prepared_while(change, tmp_path / "log.csv", monkeypatch)
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]


def test_a_file_may_get_another_number_while_it_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("\n".join([HEADER, *rows(900)]))
    state = FileState.of(log)
    state._replace(inode=state.inode + 1).require(log)
    with pytest.raises(DataError, match="was replaced or cut off"):
        state._replace(inode=state.inode + 1, modified=state.modified - 1).require(log)


def test_a_file_may_grow_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.csv").write_text("\n".join([HEADER, *rows(900), ""]))
    assert prepared_while(grown, tmp_path / "log.csv", monkeypatch).read.used == 990


def test_a_file_that_becomes_shorter_while_one_process_reads_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("\n".join([HEADER, *rows(900), ""]))
    chunks = iter(scan_events(tmp_path / "log.csv"))
    next(chunks)
    cut_off(tmp_path / "log.csv")
    with pytest.raises(DataError, match=r"log\.csv was replaced or cut off while it was read"):
        list(chunks)

"""Logs as events: formats, folders, and rejected rows."""

import bz2
import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nearnext.data.events import read_events, scan_events
from nearnext.data.jsonlines import JsonLinesReader
from nearnext.data.prepare import prepare
from nearnext.data.repeats import Repeats
from nearnext.data.sessionise import read_sessions, sessions_of
from nearnext.errors import ConfigError, DataError

SECONDS = 1_396_867_869
MICROS = SECONDS * 1_000_000
CSV = f"session_id,item_id,timestamp\ns,a,{SECONDS}\ns,b,{SECONDS + 1}\n"
ROWS = [("s", "a", MICROS), ("s", "b", MICROS + 1_000_000)]
FRAME = pl.DataFrame({"session_id": ["s", "s"], "item_id": ["a", "b"], "timestamp": [SECONDS, SECONDS + 1]})
PANDAS = pd.DataFrame(FRAME.to_dict(as_series=False))
JSONL = "".join(json.dumps(row) + "\n" for row in FRAME.to_dicts())


def parquet_bytes(frame: pl.DataFrame, path: Path) -> bytes:
    frame.write_parquet(path / "written.bin")
    return (path / "written.bin").read_bytes()


def zstd(data: bytes) -> bytes:
    compress: Any = pa.compress
    return compress(data, "zstd", asbytes=True)


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.parquet", "log", "log.bin"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_format_is_found_by_content_whatever_the_name(tmp_path: Path, name: str, kind: str) -> None:
    content = {"csv": CSV.encode(), "jsonl": JSONL.encode(), "parquet": parquet_bytes(FRAME, tmp_path)}[kind]
    (tmp_path / name).write_bytes(content)
    assert read_events(tmp_path / name).frame.rows() == ROWS


@pytest.mark.parametrize("text", [CSV, JSONL])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, zstd])
def test_compressed_text_is_read(tmp_path: Path, text: str, compress: Callable[[bytes], bytes]) -> None:
    half = len(text) // 2
    (tmp_path / "log.csv").write_bytes(compress(text[:half].encode()) + compress(text[half:].encode()))
    assert read_events(str(tmp_path / "log.csv")).frame.rows() == ROWS


def test_a_folder_is_its_log_files_by_name_and_a_glob_what_it_matches(tmp_path: Path) -> None:
    for number, name in enumerate(["b.csv", "a.csv.gz", "c.parquet"]):
        frame = FRAME.with_columns(pl.lit(f"{name[0]}{number}").alias("session_id"))
        data = parquet_bytes(frame, tmp_path) if name[0] == "c" else frame.write_csv().encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for ignored in ("notes.md", "_SUCCESS", ".hidden.csv", "empty.csv"):
        (tmp_path / ignored).write_text("" if ignored == "empty.csv" else "x")
    assert read_events(tmp_path).frame["session_id"].to_list() == ["a1", "a1", "b0", "b0", "c2", "c2"]
    assert read_events(f"{tmp_path}/[bc].*").frame["session_id"].to_list() == ["b0", "b0", "c2", "c2"]


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.lazy(),
        FRAME.to_arrow(),
        FRAME.to_arrow().combine_chunks().to_batches()[0],
        FRAME.to_arrow().to_reader(),
        PANDAS,
        PANDAS.astype(object),
        PANDAS.set_index("session_id"),
        PANDAS.assign(timestamp=pd.to_datetime(PANDAS["timestamp"], unit="s")),
    ],
    ids=["polars", "lazy", "arrow", "batch", "stream", "pandas", "objects", "index", "timestamps"],
)
def test_frames_are_read(frame: object) -> None:
    log = read_events(frame)
    assert log.frame.rows() == ROWS
    assert log.report.layout == "frame"


def test_ids_of_frames_keep_their_kind() -> None:
    times = [SECONDS, SECONDS, SECONDS]
    floats = read_events(pd.DataFrame({"session": [1.0, None, 3.0], "item": ["7", "8", "9"], "ts": times}))
    assert floats.frame.rows() == [(1, "7", MICROS), (3, "9", MICROS)]
    assert floats.report.rejected == {"missing session id": 1}
    mixed = read_events(pd.DataFrame({"session": [1, "007", True], "item": ["7", "8", "9"], "ts": times}))
    assert mixed.frame.rows() == [("1", "7", MICROS), ("007", "8", MICROS)]
    assert mixed.report.rejected == {"session id is neither integer nor string": 1}


def test_bytes_in_parquet_are_text_where_they_are_utf8(tmp_path: Path) -> None:
    frame = FRAME.with_columns(pl.Series("item_id", ["é".encode(), b"\xff"]))
    (tmp_path / "log.parquet").write_bytes(parquet_bytes(frame, tmp_path))
    log = read_events(tmp_path / "log.parquet")
    assert log.frame.rows() == [("s", "é", MICROS)]
    assert log.report.rejected == {"not valid UTF-8": 1}


def test_ids_become_text_when_a_later_chunk_has_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"session_id,item_id,timestamp\n1,12,{SECONDS}\n")
    (tmp_path / "b.csv").write_text(f"session_id,item_id,timestamp\n2,007,{SECONDS}\n")
    assert read_events(tmp_path).frame.rows() == [(1, "12", MICROS), (2, "007", MICROS)]


def test_a_rejected_row_does_not_decide_what_ids_are(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"session_id,item_id,timestamp\n1,12,{SECONDS}\ntotal,,\n")
    assert read_events(tmp_path / "log.csv").frame.rows() == [(1, 12, MICROS)]


BAD = (
    f"session_id,item_id,timestamp,note\n,a,{SECONDS},1\n\ns,,{SECONDS},2\ns,a,,3\ns,a,soon,4\ns,a,0,5\ns,a,-1,6\n"
    f"s,a,99999999999,7\ns,a\ns,b,{SECONDS},8\ns,c,{SECONDS}000,9\n"
)
BAD_COUNTS = {
    "time out of range": 3,
    "wrong column count": 1,
    "missing session id": 1,
    "missing item id": 1,
    "missing time": 1,
    "unparsable time": 1,
}


def test_rejected_rows_are_counted_by_reason_and_written_aside(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(BAD)
    log = read_events(tmp_path / "log.csv", rejects=tmp_path / "rejects.csv")
    assert log.frame.rows() == [("s", "b", MICROS), ("s", "c", MICROS)]
    assert (log.report.rows, log.report.used, log.report.rejected) == (10, 2, BAD_COUNTS)
    assert log.report.time_unit == "seconds (75%), milliseconds (25%)"
    aside = pl.read_csv(tmp_path / "rejects.csv")
    assert aside.select("line", "reason", "text").rows() == [
        (2, "missing session id", f",a,{SECONDS},1"),
        (4, "missing item id", f"s,,{SECONDS},2"),
        (5, "missing time", "s,a,,3"),
        (6, "unparsable time", "s,a,soon,4"),
        (7, "time out of range", "s,a,0,5"),
        (8, "time out of range", "s,a,-1,6"),
        (9, "time out of range", "s,a,99999999999,7"),
        (10, "wrong column count", "s,a"),
    ]
    assert aside["file"].unique().to_list() == [str(tmp_path / "log.csv")]


def test_strict_reading_names_the_first_rejected_row(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(BAD)
    with pytest.raises(
        DataError, match=r"8 of 10 rows cannot be used \(time out of range 3, .*log.csv line 2: missing s"
    ):
        read_events(tmp_path / "log.csv", strict=True)
    (tmp_path / "log.csv").write_text(CSV)
    assert read_events(tmp_path / "log.csv", strict=True).frame.rows() == ROWS


def test_a_rejects_file_in_the_folder_is_no_part_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(BAD)
    for _ in range(2):
        assert read_events(tmp_path, rejects=tmp_path / "rejects.csv").report.rows == 10


def test_event_types_are_all_counted_and_selected_ones_used(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"user,item,ts,type\nu,a,{SECONDS},view\nu,b,{SECONDS},buy\nu,,{SECONDS},buy\nu,,{SECONDS},view\n")
    report = read_events(path, events=["view"]).report
    assert (report.rows, report.used, report.rejected) == (4, 1, {"missing item id": 1})
    assert report.event_types == {"view": 2, "buy": 2}
    with pytest.raises(DataError, match="no event is of type like; found types buy, view"):
        read_events(path, events=["like"])
    with pytest.raises(ConfigError, match="expected a list of event types, found 'view'"):
        read_events(path, events="view")
    path.write_text(CSV)
    with pytest.raises(DataError, match="no event column to select types from"):
        read_events(path, events=["view"])


@pytest.mark.parametrize("seed", [1, 2, 6])
def test_repeats_of_one_item_across_event_types_are_counted(seed: int) -> None:
    rows = [
        ("u", "a", 0, "view"),
        ("u", "a", 1, "cart"),
        ("v", "a", 1, "view"),
        ("u", "b", 2, "view"),
        ("u", "b", 3, "view"),
    ]
    rows += [("v", "a", 3, "buy"), ("v", None, 4, "buy"), ("u", "b", 4, "buy")]
    frame = pl.DataFrame(rows, schema=["session", "item", "ts", "type"], orient="row")
    frame = frame.with_columns(pl.col("ts") + SECONDS)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    assert sessions_of(read_events(shuffled))[1] == Repeats(7, 4, 4, 4, sessions=2)
    assert sessions_of(read_events(frame, events=["view"]))[1].across_types == 0
    assert sessions_of(read_events(frame, events=["view", "cart"]))[1].across_types == 1
    assert sessions_of(read_events(frame.drop("type")))[1].across_types == 0


@pytest.mark.parametrize("call", [read_events, scan_events, read_sessions, partial(prepare, out="out.parquet")])
def test_an_unknown_option_is_named_by_the_call_itself(call: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colums'"):
        call(FRAME, colums={})


def test_malformed_json_is_rejected_by_line(tmp_path: Path) -> None:
    good = f'{{"session":"s","item":7,"ts":{SECONDS}}}'
    lines = [good.encode(), b"", b'{"session":', b"[1]", b'{"session":"\xff"}', b'{"session":"s","item":"7","ts":null}']
    (tmp_path / "log.jsonl").write_bytes(b"\n".join([*lines, b'{"session":"s","item":[1],"ts":1}', good.encode()]))
    log = read_events(tmp_path / "log.jsonl", rejects=tmp_path / "rejects.csv")
    assert log.frame.rows() == [("s", "7", MICROS)] * 2
    assert pl.read_csv(tmp_path / "rejects.csv").select("line", "reason").rows() == [
        (3, "malformed JSON"),
        (4, "malformed JSON"),
        (5, "not valid UTF-8"),
        (6, "missing time"),
        (7, "item id is neither integer nor string"),
    ]


def test_sessions_of_events_are_spread_and_their_lines_kept(tmp_path: Path) -> None:
    rows = [
        {"session": "s", "events": [{"aid": 1, "ts": SECONDS, "type": "view"}, {"aid": None, "ts": 1, "type": "view"}]},
        {"session": "t", "events": None},
        {"session": "t", "events": [3]},
        {"session": "007", "events": [{"aid": 2, "ts": SECONDS + 0.5}]},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = read_events(path, rejects=tmp_path / "rejects.csv")
    assert log.frame.rows() == [("s", 1, MICROS), ("007", 2, MICROS + 500_000)]
    assert log.report.event_types == {"view": 2, "(none)": 1}
    assert pl.read_csv(tmp_path / "rejects.csv").select("line", "reason").rows() == [
        (1, "missing item id"),
        (2, "no events in the line"),
        (3, "malformed JSON"),
    ]


@pytest.mark.parametrize("block", [1, 7, 30, 1 << 20])
def test_lines_of_json_longer_than_a_block_are_read(tmp_path: Path, block: int) -> None:
    from nearnext.data.files import identify

    path = tmp_path / "log.jsonl"
    path.write_text(JSONL.replace("\n", "\r\n") + "\n" + JSONL.rstrip("\n"))
    reader = JsonLinesReader(identify(path), {}, block)
    chunks = list(reader.chunks({"session": "session_id", "item": "item_id", "time": "timestamp"}))
    assert [row[1] for chunk in chunks for row in chunk.frame.rows()] == ["a", "b", "a", "b"]
    assert [line for chunk in chunks for line in chunk.lines.tolist()] == [1, 2, 4, 5]


def test_a_scan_gives_its_report_at_the_end_and_can_be_read_again(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    scan = scan_events(tmp_path / "log.csv")
    with pytest.raises(DataError, match="not read to its end"):
        _ = scan.report
    for _ in range(2):
        assert pl.concat(list(scan)).rows() == ROWS
        assert scan.report.used == 2


def test_reading_leaves_a_frame_as_it_is() -> None:
    frame = pd.DataFrame({"session": [1, "x"], "item": [1.0, 2.0], "ts": [SECONDS, SECONDS]})
    before = frame.copy(deep=True)
    read_events(frame)
    pd.testing.assert_frame_equal(frame, before)

"""Files and frames that are no log: every kind of bad input is one clear line."""

import gzip
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from nearnext.data.events import read_events
from nearnext.errors import DataError

CSV = "session_id,item_id,timestamp\ns,a,1396867869\ns,b,1396867870\n"
FRAME = pl.DataFrame({"session_id": ["s", "s"], "item_id": ["a", "b"], "timestamp": [1396867869, 1396867870]})


def parquet_bytes(frame: pl.DataFrame, path: Path) -> bytes:
    frame.write_parquet(path / "written.bin")
    return (path / "written.bin").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", b"", "has no events: it is empty or has a header only"),
        ("log.csv", b"\n\n  \n", "has no events"),
        ("log.csv", b"session_id,item_id,timestamp\n", "has no events"),
        ("log.csv", b"session_id,item_id,timestamp", "has no events"),
        ("log.csv", b"session_id,item_id,timestamp\n,,1\n", r"none of 1 rows can be used \(missing session id 1\)"),
        (
            "log.csv",
            b"session_id,item_id,timestamp\n1,2,31/12/24\n",
            "unparsable time; write times as numbers or as 2024",
        ),
        ("log.csv", b"session_id,item_id,timestamp\n1,\xe9,1\n", "not valid UTF-8; convert it to UTF-8"),
        ("log.csv", b"session_id,item_id,timestamp\n1,2\n", "wrong column count 1"),
        ("log.csv", bytes(range(256)) * 20, "its first line is binary"),
        ("log.csv", "session,item,größe\n".encode("latin-1"), "text in another encoding than UTF-8; convert the file"),
        ("log.parquet", b"PAR1" + bytes(200), "cannot read .*log.parquet"),
        ("log.csv.gz", gzip.compress(CSV.encode() * 9, mtime=0)[:-20], "cannot read .*: Truncated compressed stream"),
        ("log.csv.gz", b"\x1f\x8bnonsense", "cannot read"),
        ("log.xlsx", b"PK\x03\x04rest", "is a ZIP archive or a spreadsheet"),
        ("log.csv", "session_id".encode("utf-16"), "is UTF-16 text"),
        ("log.json", b'[{"session": 1}]', "holds one JSON array; write one JSON object per line"),
        ("log.jsonl", b'{"session": 1,\n"item": 2}\n', "no line of it is a JSON object"),
        ("log.jsonl", b'{"session": 1}\n', "no item and no time column"),
        ("log.csv", b"just some words\nand more\n", "no column names known in the first line"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_events(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_parquet_file_is_one_clear_error(tmp_path: Path) -> None:
    data = parquet_bytes(pl.concat([FRAME] * 1000), tmp_path)
    (tmp_path / "log.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cannot read .*log.parquet: .*; check that the file is complete"):
        read_events(tmp_path / "log.parquet")


def test_damaged_pages_of_a_parquet_file_are_one_clear_error(tmp_path: Path) -> None:
    data = bytearray(parquet_bytes(pl.concat([FRAME] * 1000), tmp_path))
    data[4:60] = b"\xff" * 56
    (tmp_path / "log.parquet").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"cannot read .*log.parquet"):
        read_events(tmp_path / "log.parquet")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.csv", "no log at .*missing.csv; name a file, a folder or a glob that exists"),
        ("*.nothing", "no log at"),
        ("folder", "no log files directly in folder"),
        ("file/below.csv", "no log at|cannot read"),
    ],
)
def test_missing_paths_are_one_clear_error(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=message):
        read_events(tmp_path / source)


def test_a_path_that_may_not_be_read_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.csv").write_text(CSV)

    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot read .*log.csv: permission denied"):
        read_events(tmp_path / "log.csv")


@pytest.mark.parametrize("source", [7, [1, 2], None, {"a": 1}])
def test_what_is_no_log_is_one_clear_error(source: object) -> None:
    with pytest.raises(DataError, match="expected a path or a pandas, polars or pyarrow frame, found"):
        read_events(source)


def test_frames_that_cannot_be_used_are_one_clear_error() -> None:
    with pytest.raises(DataError, match=r"cannot read the frame: .*; correct it first"):
        read_events(pl.scan_csv("/no/such/file.csv"))
    with pytest.raises(DataError, match="no column names known"):
        read_events(pd.DataFrame())


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.clear(), "polars frame has no events"),
        (FRAME.with_columns(pl.lit(None).alias("item_id")), "missing item id 2"),
        (FRAME.with_columns(pl.lit([1]).alias("timestamp")), "polars frame: expected one value in each row"),
        (FRAME.with_columns(pl.lit(1.5).alias("item_id")), "polars frame: expected whole numbers below 2"),
        (FRAME.with_columns(pl.lit([1]).alias("type")), "polars frame: expected words as event types"),
    ],
    ids=["empty", "nulls", "lists", "fractions", "types"],
)
def test_frames_without_events_are_one_clear_error(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_events(frame)


def test_rejects_that_cannot_be_written_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    with pytest.raises(DataError, match="cannot write rejected rows"):
        read_events(tmp_path / "log.csv", rejects=tmp_path / "none" / "rejects.csv")
    with pytest.raises(DataError, match="it is the log itself"):
        read_events(tmp_path / "log.csv", rejects=tmp_path / "log.csv")
    assert (tmp_path / "log.csv").read_text() == CSV


def test_clicks_in_lists_are_refused_with_what_to_do(tmp_path: Path):
    events = [[{"item_id": "a", "timestamp": 1396867869}, {"item_id": "b", "timestamp": 1396867870}]]
    frame = pl.DataFrame({"session_id": ["s"], "events": events})
    frame.write_parquet(tmp_path / "log.parquet")
    for source in (frame, frame.to_arrow(), tmp_path / "log.parquet"):
        with pytest.raises(DataError, match="lists or structs are in events: write one row for each click"):
            read_events(source)
    listed = pl.DataFrame({"session_id": ["s"], "item_id": [["a", "b"]], "timestamp": [1396867869]})
    with pytest.raises(DataError, match="found lists or structs in item_id; write one row for each click"):
        read_events(listed)
    assert read_events(frame.explode("events").unnest("events")).frame.height == 2

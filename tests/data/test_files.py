"""Which files are read as a log: what a folder or glob holds and is not read is named."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nearnext import Markov, Sessions, read_items, read_sessions
from nearnext.data.events import COMPRESSION, EVENT_BYTES, EventScan, read_events
from nearnext.data.filters import Filter
from nearnext.data.prepare import prepare
from nearnext.data.read_options import ReadOptions
from nearnext.errors import DataError

TEXT = b"session_id,item_id,timestamp\ns,a,1700000000\ns,b,1700000010\n"


def compressed(kind: str) -> Callable[[bytes], bytes]:
    compress: Any = pa.compress
    return partial(compress, codec=kind, asbytes=True)


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": compressed("zstd"),
    "lz4": compressed("lz4"),
}


@pytest.mark.parametrize("kind", COMPRESSED)
@pytest.mark.parametrize("name", ["a.csv.", "a.", "A.CSV."])
def test_what_is_read_alone_is_read_in_a_folder(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / f"{name}{kind}").write_bytes(COMPRESSED[kind](TEXT) + COMPRESSED[kind](TEXT.split(b"\n", 1)[1]))
    for source in (tmp_path, tmp_path / f"{name}{kind}", f"{tmp_path}/*"):
        report = read_events(source, strict=True).report
        assert (report.used, report.left_out) == (4, [])


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_file_that_is_cut_off_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    data = COMPRESSED[kind](b"".join(TEXT + b"%d\n" % number for number in range(999)))
    (tmp_path / "log").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cannot read .*log: .*check that the file is complete"):
        read_events(tmp_path / "log")


def folder(path: Path) -> Path:
    (path / "older").mkdir()
    for name in (
        "mon.csv",
        "thu.log",
        "clicks.csv.1",
        "older/fri.csv",
        ".hidden.csv",
        "_SUCCESS",
        ".x.crc",
        "._mon.csv",
    ):
        (path / name).write_bytes(TEXT)
    with zipfile.ZipFile(path / "tue.zip", "w") as file:
        file.writestr("tue.csv", TEXT)
    (path / "lost.csv").symlink_to(path / "nowhere.csv")
    (path / "empty.csv").touch()
    return path


def test_what_a_folder_holds_and_is_not_read_is_named(tmp_path: Path) -> None:
    report = read_events(folder(tmp_path), rejects=tmp_path / "rejects.csv").report
    assert report.used == 2
    assert report.left_out == [
        ".hidden.csv",
        "clicks.csv.1",
        "empty.csv (empty)",
        "lost.csv",
        "older/",
        "thu.log",
        "tue.zip",
    ]
    done = prepare(
        tmp_path, tmp_path.parent / "out.parquet", chosen=Filter(min_length=1), rejects=tmp_path / "rejects.csv"
    )
    assert done.read == report


def test_strict_reading_stops_at_what_is_left_out(tmp_path: Path) -> None:
    message = r"7 files or folders are not read: \.hidden\.csv, clicks\.csv\.1, .*older/.*; name the files to read"
    with pytest.raises(DataError, match=message):
        read_events(folder(tmp_path), strict=True)
    assert read_events(f"{tmp_path}/mon.*", strict=True).report.left_out == []


def test_a_glob_names_the_folders_that_it_matches(tmp_path: Path) -> None:
    folder(tmp_path)
    assert read_events(f"{tmp_path}/[mo]*").report.left_out == ["older/"]
    assert read_events(f"{tmp_path}/**/*.csv").report.left_out == [
        "empty.csv (empty)",
        "lost.csv",
        "fri.csv (holds the same as mon.csv)",
    ]
    with pytest.raises(DataError, match=r"tue\.zip is a ZIP archive"):
        read_events(f"{tmp_path}/t*")


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_file_beside_its_compressed_copy_is_read_once_and_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT)
    (tmp_path / f"a.csv.{kind}").write_bytes(COMPRESSED[kind](TEXT))
    report = read_events(tmp_path).report
    assert (report.used, report.left_out) == (2, [f"a.csv.{kind} (holds the same as a.csv)"])


def test_links_and_copies_of_a_file_are_read_once_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT)
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
    (tmp_path / "c.csv").hardlink_to(tmp_path / "a.csv")
    (tmp_path / "d.csv").write_bytes(TEXT)
    for source in (tmp_path, f"{tmp_path}/*.csv"):
        report = read_events(source).report
        assert report.used == 2
        assert report.left_out == [f"{name}.csv (holds the same as a.csv)" for name in "bcd"]
    with pytest.raises(DataError, match=r"3 files or folders are not read: b\.csv \(holds the same as a\.csv\)"):
        read_events(tmp_path, strict=True)


def test_files_of_one_size_or_name_that_differ_are_all_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT)
    (tmp_path / "b.csv").write_bytes(TEXT.replace(b"s,a", b"t,a"))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TEXT.replace(b"s,", b"u,")))
    report = read_events(tmp_path, strict=True).report
    assert (report.used, report.left_out) == (6, [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-32-be"])
def test_text_of_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    mark = b"\0\0\xfe\xff" if encoding == "utf-32-be" else b""
    (tmp_path / "a.csv").write_bytes(mark + TEXT.decode().encode(encoding))
    with pytest.raises(DataError, match=f"is {encoding[:6].upper()} text; give it as CSV in UTF-8"):
        read_events(tmp_path / "a.csv")


@pytest.mark.parametrize(("inside", "kind"), [("_delta_log", "a Delta table"), (".hoodie", "a Hudi table")])
def test_the_folder_of_a_delta_or_hudi_table_is_refused(tmp_path: Path, inside: str, kind: str):
    (tmp_path / "part-0.csv").write_bytes(TEXT)
    (tmp_path / inside).mkdir()
    with pytest.raises(DataError, match=f"is {kind}, whose files also hold rows that were deleted"):
        read_events(tmp_path)
    assert read_events(f"{tmp_path}/*.csv").report.used


def test_the_error_for_a_folder_of_folders_names_a_glob(tmp_path: Path) -> None:
    (tmp_path / "day=1").mkdir()
    (tmp_path / "day=1" / "part-0.tsv").write_bytes(TEXT)
    with pytest.raises(DataError, match=r"no log files directly in folder .*; name .* such as .*/\*\*/\*\.tsv"):
        read_events(tmp_path)


@pytest.mark.parametrize(("read", "what"), [(read_sessions, "log"), (read_items, "item table")])
def test_a_model_is_no_log_and_no_item_table(tmp_path: Path, read: Callable[[Path], object], what: str):
    model = Markov().fit(Sessions.of([["a", "b"]])).save(tmp_path / "model")
    with pytest.raises(DataError, match=f"model is a model made by fit, expected a {what}; name its file or folder"):
        read(model)


def test_files_of_one_size_are_compared_only_if_they_begin_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(*_files: Path) -> bool:
        pytest.fail("compared")

    monkeypatch.setattr("nearnext.data.files._same_content", compare)
    for number in range(10, 40):
        (tmp_path / f"{number}.csv").write_text(f"session_id,item_id,time\n{number},1,5\n")
    assert len(read_events(tmp_path).frame) == 30


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_log_is_expected_to_have_more_events(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"log.csv.{kind}"
    path.write_bytes(COMPRESSED[kind](TEXT))
    (piece,) = EventScan(path, ReadOptions()).pieces()
    assert piece.events == pytest.approx(path.stat().st_size * COMPRESSION / EVENT_BYTES["bytes"])

"""Logs as other programs leave them: each oddity is read, or is one counted reject or one error with a remedy."""

import errno
import io
import lzma
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nearnext.data.events import read_events
from nearnext.data.filters import Filter
from nearnext.data.prepare import prepare
from nearnext.data.repeats import Repeats
from nearnext.data.sessionise import read_sessions, sessions_of
from nearnext.errors import ConfigError, DataError

TEXT = b"session_id,item_id,timestamp\ns,a,1700000000\ns,b,1700000010\n"


def written(table: pl.DataFrame) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    table.write_parquet(file)
    return file.getvalue()


def frame(**columns: object) -> pd.DataFrame:
    rows: dict[str, object] = {"session_id": ["s", "s"], "item_id": ["a", "b"], "timestamp": [1700000000, 1700000010]}
    return pd.DataFrame(rows | columns)


@pytest.mark.parametrize("rest", [b"hello", lzma.compress(TEXT)[:-9], b"\0" * 8 + b"?"])
def test_what_follows_the_whole_streams_of_an_xz_file_is_no_silent_loss(tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "log.csv.xz").write_bytes(lzma.compress(TEXT) + rest)
    with pytest.raises(DataError, match="it does not end as an xz file does; check that the file is complete"):
        read_events(tmp_path / "log.csv.xz")


def test_a_file_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    path.write_bytes(TEXT)
    assert read_events(path).report.used == read_events(tmp_path).report.used == 2
    with pytest.raises(DataError, match=r"cannot write .*: pyarrow writes to names in UTF-8 only; name another folder"):
        prepare(path, path.with_suffix(""))
    assert prepare(path, tmp_path / "out").events == 2
    path.with_suffix(".pq").write_bytes(written(pl.DataFrame({"a": [1]})))
    with pytest.raises(DataError, match=r"polars reads Parquet files with names in UTF-8 only; rename it"):
        read_events(path.with_suffix(".pq"))


def test_a_name_with_a_nul_byte_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(TEXT)
    with pytest.raises(DataError, match="no log at a\0b"):
        read_events("a\0b")
    with pytest.raises(ConfigError, match="expected a path as out"):
        prepare(tmp_path / "log.csv", "a\0b")
    with pytest.raises(ConfigError, match="expected a path as rejects"):
        read_events(tmp_path / "log.csv", rejects="a\0b")


def test_the_empty_name_is_not_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.csv").write_bytes(TEXT)
    monkeypatch.chdir(tmp_path)
    assert read_events(".").report.used == 2
    with pytest.raises(DataError, match="expected the name of the log, found an empty text"):
        read_events("")


def test_a_text_that_is_no_name_is_one_clear_error(tmp_path: Path) -> None:
    for read in (read_events, read_sessions, partial(prepare, out=tmp_path / "out")):
        with pytest.raises(DataError, match=r"expected the name of the log, found a text of 5,900 characters"):
            read(TEXT.decode() * 100)
        with pytest.raises(DataError, match=r"File name too long|no log at"):  # the latter from Python 3.14 on
            read("x" * 300)


@pytest.mark.parametrize("name", ["log", "log/a.csv", "log/*.csv"])
def test_a_folder_that_must_not_be_entered_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_dir", denied)
    monkeypatch.setattr(Path, "is_file", denied)
    for read in (read_events, read_sessions, partial(prepare, out=tmp_path / "out")):
        with pytest.raises(DataError, match=r"cannot read .*log.*permission denied"):
            read(tmp_path / name)


def test_a_link_to_itself_is_left_out_or_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(TEXT)
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    assert read_events(tmp_path, rejects=tmp_path / "rejects.csv").report.left_out == ["loop.csv"]
    with pytest.raises(DataError, match=r"cannot write rejected rows to .*loop\.csv"):
        read_events(tmp_path / "log.csv", rejects=tmp_path / "loop.csv")


def test_a_byte_order_mark_inside_a_file_makes_no_other_id(tmp_path: Path) -> None:
    later = "session_id,item_id,timestamp\n".encode("utf-8-sig") + b"s,c,1700000020\n"
    (tmp_path / "log.csv").write_bytes(TEXT + later + "s,d,1700000030\n".encode("utf-8-sig"))
    log = read_events(tmp_path / "log.csv")
    assert log.frame["session_id"].to_list() == ["s"] * 4
    assert log.report.rejected == {"unparsable time": 1}
    assert log.report.changed == {"blanks around ids dropped": 2}


@pytest.mark.parametrize("blank", ["\0", " \0 ", "\0\0"])
def test_an_id_of_nul_bytes_is_missing(tmp_path: Path, blank: str) -> None:
    (tmp_path / "log.csv").write_bytes(TEXT + f"s,{blank},1700000020\n".encode())
    assert read_events(tmp_path / "log.csv").report.rejected == {"missing item id": 1}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_lacks_costs_only_its_own_field(tmp_path: Path, number: str) -> None:
    line = f'{{"session_id":"s","item_id":"a","timestamp":1700000000,"price":{number}}}\n'
    (tmp_path / "log.jsonl").write_text(line + line.replace('"a"', number), "utf-8")
    report = read_events(tmp_path / "log.jsonl").report
    assert (report.used, report.rejected) == (1, {"missing item id": 1})


def test_a_number_that_json_lacks_inside_a_list_costs_only_its_event(tmp_path: Path) -> None:
    events = '[{"aid":1,"ts":1700000000000,"p":NaN},{"aid":NaN,"ts":1700000000001}]'
    (tmp_path / "log.jsonl").write_text(f'{{"session":"s","events":{events}}}\n', "utf-8")
    report = read_events(tmp_path / "log.jsonl", rejects=tmp_path / "rejects.csv").report
    assert (report.used, report.rejected) == (1, {"missing item id": 1})
    assert '{""aid"":null,""ts"":1700000000001}' in (tmp_path / "rejects.csv").read_text("utf-8")


@pytest.mark.parametrize(("dtype", "digits"), [(np.float16, 11), (np.float32, 24), (np.float64, 53)])
def test_floats_that_stand_for_several_integers_are_no_ids(dtype: type, digits: int) -> None:
    largest = np.array([2**digits - 1, 1], dtype)
    assert read_events(frame(item_id=largest)).frame["item_id"].to_list() == [2**digits - 1, 1]
    with pytest.raises(DataError, match=rf"whole numbers below 2\^{digits}"):
        read_events(frame(item_id=largest + dtype(1)))


def with_equal_names(kind: str, names: list[str]) -> Any:
    if kind == "pandas":
        return pd.DataFrame([[1, 2, 1700000000, 9, 8]], columns=pd.Index(names))
    return pa.table([pa.array([value]) for value in (1, 2, 1700000000, 9, 8)], names=names)


@pytest.mark.parametrize("kind", ["pandas", "arrow"])
def test_columns_of_one_name_are_distinguished_by_position_in_a_frame_too(kind: str) -> None:
    others = with_equal_names(kind, ["session_id", "item_id", "timestamp", "x", "x"])
    assert read_events(others).frame["item_id"].to_list() == [2]
    doubtful = with_equal_names(kind, ["session_id", "item_id", "timestamp", "item_id", "x"])
    with pytest.raises(DataError, match="2 columns are called item_id, which is the item; map one by its position"):
        read_events(doubtful)
    assert read_events(doubtful, columns={"item": "4"}).frame["item_id"].to_list() == [9]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["item"]}, "expected the column of each role as columns"),
        ({"events": [1]}, r"event types, found \[1\]; give texts"),
    ],
)
def test_an_option_of_another_type_says_what_is_expected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_events(frame(event=[1, 2]), **options)


@pytest.mark.parametrize("source", [{"session_id": ["s"]}, ["a.csv", "b.csv"], None, b"a.csv"])
def test_what_is_no_log_says_how_to_give_one(source: object) -> None:
    with pytest.raises(DataError, match=r"make one with polars\.DataFrame\(\.\.\.\), or name a folder or a glob"):
        read_events(source)


def reused(minutes: float, ids: str = "session_id", **options: Any) -> Repeats:
    times = [1700000000 + round(60 * minutes * click) for click in range(3)]
    rows = {ids: ["s", "s", "s", "t"], "item_id": ["a", "b", "a", "b"], "timestamp": [*times, 1700000000]}
    return sessions_of(read_events(pl.DataFrame(rows)), **options)[1]


def test_session_ids_that_are_used_again_after_a_long_pause_are_named() -> None:
    assert (reused(31).sessions, reused(31).reused) == (2, 1)
    assert "1 of 2 sessions go on after a pause longer than gap (--gap, 30 minutes by default)" in reused(31).note({})
    assert (reused(30).note({}), reused(9999, "user_id").note({})) == ("", "")
    assert (reused(31, gap=3600.0).reused, reused(30, gap=60.0).reused) == (0, 1)
    assert Repeats(clicks=100, sessions=100, reused=4).note({}) == ""


SHARED = pl.DataFrame(
    {
        "session_id": ["1", "1", "1", "2", "2", "3", "3"],
        "user_id": ["u", "v", "u", None, "u", "", "NULL"],
        "item_id": list("abacabc"),
        "timestamp": [1700000000 + click for click in range(7)],
    }
)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl", "frame"])
def test_a_session_id_with_several_users_is_one_session_and_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.{suffix}"
    write = {"csv": SHARED.write_csv, "parquet": SHARED.write_parquet, "jsonl": SHARED.write_ndjson}.get(suffix)
    if write:
        write(path)
    source = path if write else SHARED
    sessions, found, _ = sessions_of(read_events(source))
    assert (sessions.n_sessions, sessions.n_events, found.shared, found.reused) == (3, 7, 1, 0)
    assert found.note({}) == (
        "1 of 3 session ids have clicks of several users, which are read as one session; to cut sessions per user "
        "instead, map the users' column to user with columns (--column)"
    )
    by_user = sessions_of(read_events(source, columns={"user": "user_id"}))
    assert (by_user[1].shared, by_user[0].session_ids.sort().to_list()) == (0, ["u:1", "v:1"])
    done = prepare(source, tmp_path / "out.parquet", partitions=3, chosen=Filter(min_length=1))
    assert (done.events, done.repeats.shared) == (7, 1)


def test_a_user_is_the_same_in_every_spelling_and_file(tmp_path: Path) -> None:
    rows = {"session_id": [1, 1], "item_id": [7, 8], "timestamp": [1700000000, 1700000001]}
    (tmp_path / "a.csv").write_text("session_id,item_id,timestamp,user_id\n1,7,1700000000, 5\n")
    pl.DataFrame(rows | {"user_id": [5, None]}).write_parquet(tmp_path / "b.parquet")
    pl.DataFrame(rows | {"user_id": [5.0, 5.0]}).write_parquet(tmp_path / "c.parquet")
    pl.DataFrame(rows).write_parquet(tmp_path / "d.parquet")
    assert sessions_of(read_events(tmp_path))[1].shared == 0
    pl.DataFrame(rows | {"user_id": [6, None]}).write_parquet(tmp_path / "e.parquet")
    assert sessions_of(read_events(tmp_path))[1].shared == 1
    nested = pl.DataFrame(rows | {"user_id": [[5], [6]]})
    assert sessions_of(read_events(nested))[1].shared == 0


@pytest.mark.parametrize("times", [[1_735_694_257, 1_735_694_357], [1e30, 5]])
def test_times_that_32_bit_floats_round_are_refused(times: list[float]) -> None:
    with pytest.raises(DataError, match="times in a column of type Float32 are exact up to 16,777,216 only"):
        read_events(frame(timestamp=np.array(times, np.float32)))
    counter = np.array([5, np.inf], np.float32)
    assert read_events(frame(timestamp=counter)).report.rejected == {"unparsable time": 1}

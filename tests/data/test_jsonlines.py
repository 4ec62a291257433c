"""JSON lines: every line is one row or one reject, whatever it carries and in whichever order lines come."""

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nearnext.data.events import read_events
from nearnext.data.filters import Filter
from nearnext.data.prepare import prepare
from nearnext.errors import DataError

SECONDS = 1_700_000_000
CARRIED: list[dict[str, Any]] = [
    {},
    {"params": []},
    {"params": [{"key": "page", "value": 1}, {"key": "type", "value": 2}]},
    {"params": [{"item_id": "other", "timestamp": 1, "session_id": "z", "type": "x"}] * 3},
    {"params": [[1], [{"item_id": "other"}]]},
    {"params": None, "more": {"item_id": "inner", "deep": {"user_id": [1]}}},
    {"params": "text", "images": [{"url": "1.jpg"}, 7]},
]


def lines_of(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [3, 0, 5, 2, 6, 1, 4]])
@pytest.mark.parametrize("before", [0, 200])
@pytest.mark.parametrize("ahead", [False, True])
def test_what_a_line_carries_neither_multiplies_nor_drops_rows(
    tmp_path: Path, order: list[int], before: int, ahead: bool
) -> None:
    clicks = [{"user_id": "u", "item_id": f"i{number}", "ts": SECONDS + number} for number in range(before + 7)]
    carried = [{}] * before + [CARRIED[number] for number in order]
    rows = [more | click if ahead else click | more for click, more in zip(clicks, carried, strict=True)]
    path = tmp_path / "log.jsonl"
    path.write_text(lines_of(rows))
    log = read_events(path, strict=True)
    assert log.frame["item_id"].to_list() == [click["item_id"] for click in clicks]
    assert (log.report.rows, log.report.rejected) == (before + 7, {})
    done = prepare(path, tmp_path / "out.parquet", chosen=Filter(min_length=1), strict=True)
    assert (done.read, done.events) == (log.report, before + 7)


def test_a_list_is_spread_only_where_the_item_or_time_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    inner = [{"item_id": "a", "type": "x"}, {"item_id": "b"}]
    rows = [{"user_id": "u", "ts": SECONDS, "params": [{"key": 1}] * 3, "items": inner}] * 2
    path.write_text(lines_of([*rows, {"user_id": "u", "ts": SECONDS, "items": []}, {"user_id": "u", "ts": SECONDS}]))
    log = read_events(path, rejects=tmp_path / "rejects.csv")
    assert log.frame["item_id"].to_list() == ["a", "b"] * 2
    assert log.report.rejected == {"no items in the line": 2}
    assert pl.read_csv(tmp_path / "rejects.csv")["line"].to_list() == [3, 4]


def test_fields_of_objects_are_mapped_by_their_path(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"user": {"id": "u"}, "e": {"sku": {"code": item}}, "ts": SECONDS} for item in ("a", None, 7)]
    path.write_text(lines_of([*rows, {"user": "u", "e": [], "ts": SECONDS}]))
    log = read_events(path, columns={"user": "user.id", "item": "e.sku.code"})
    assert log.frame["item_id"].to_list() == ["a", "7"]
    assert log.report.rejected == {"missing item id": 1, "missing user id": 1}


@pytest.mark.parametrize("value", [["a"], {"id": "a"}, True, 1.5, [{"id": "a"}]])
def test_an_id_that_is_a_structure_rejects_its_line(tmp_path: Path, value: object) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines_of([{"user": "u", "item": item, "ts": SECONDS} for item in (value, "b")]))
    report = read_events(path).report
    assert (report.rows, report.rejected) == (2, {"item id is neither integer nor string": 1})


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_key_given_twice_rejects_its_line(tmp_path: Path, order: tuple[int, ...]) -> None:
    lines = [
        '{"user":"u","item":"a","ts":1700000000,"x":"item"}',
        '{"item":"a","user":"u","item":"b","ts":1700000000}',
        '{"user":"u","item":"c","ts":1700000000,"x":{"item":"z","ts":2}}',
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines[number] for number in order))
    log = read_events(path)
    assert log.frame["item_id"].to_list() == [("a", "", "c")[number] for number in order if number != 1]
    assert log.report.rejected == {"item given twice": 1}


def test_columns_that_come_late_are_found_or_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    views = [{"user_id": "u", "ts": SECONDS, "page": "x" * 90} for _ in range(20_000)]
    path.write_text(lines_of([*views, {"user_id": "u", "ts": SECONDS, "item_id": "a"}]))
    report = read_events(path).report
    assert (report.used, report.rejected) == (1, {"missing item id": 20_000})
    clicks = [view | {"item_id": "a"} for view in views]
    path.write_text(lines_of([*clicks, clicks[0] | {"session_id": "s"}]))
    with pytest.raises(DataError, match="the column session_id is not in the first lines but from line"):
        read_events(path)
    assert read_events(path, columns={"user": "user_id"}, strict=True).report.used == 20_001


def test_odd_lines_are_one_reject_each(tmp_path: Path) -> None:
    good = b'{"user":"u","item":7,"ts":1700000000}'
    big = b'{"user":"u","item":123456789012345678901234567890,"ts":1700000000}'
    odd = [b'{"user":"u"}}', b"\0", b'{"user":"u","item":NaN,"ts":1}', b"null", b"7", good + good, b"\xff\xfe"]
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([good, b"", *odd, b"   ", b"\t", big]))
    log = read_events(path, rejects=tmp_path / "rejects.csv")
    assert log.frame["item_id"].to_list() == ["7", "123456789012345678901234567890"]
    assert log.report.rejected == {"malformed JSON": 5, "not valid UTF-8": 1, "missing item id": 1}
    assert pl.read_csv(tmp_path / "rejects.csv")["line"].to_list() == [3, 4, 5, 6, 7, 8, 9]


def test_a_rejected_line_is_written_aside_as_it_is(tmp_path: Path) -> None:
    line = '{ "user": "u",  "item": "", "ts": 1700000000, "x": [1.50] }'
    (tmp_path / "log.jsonl").write_text(line + "\n" + line.replace('""', '"a"'))
    read_events(tmp_path / "log.jsonl", rejects=tmp_path / "rejects.csv")
    assert pl.read_csv(tmp_path / "rejects.csv")["text"].to_list() == [line]


def test_a_compressed_file_is_read_alike(tmp_path: Path) -> None:
    text = lines_of([{"user": "u", "item": "a", "ts": SECONDS, "x": [{"y": 1}] * 3}] * 3)
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert read_events(tmp_path).report.used == 3


def test_a_line_that_is_nested_deeply_costs_no_more_than_itself(tmp_path: Path) -> None:
    deep = '{"a":' * 1015 + "1" + "}" * 1015
    rest = f'"time":1600000000,"x":{deep}}}'
    lines = [
        f'{{"session_id":1,"item_id":2,{rest}',
        f'{{"session_id":1,"item_id":2,"item_id":3,{rest}',
        f'{{"session_id":1,"item_id":18446744073709551616,{rest}',
        '{"session_id":1,"item_id":5,"time":1600000000}',
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines), "utf-8")
    report = read_events(tmp_path / "log.jsonl").report
    assert report.rows == report.used + sum(report.rejected.values()) == 4
    assert report.rejected["item given twice"] == 1
    assert report.used >= 2, "Python 3.12 reads the long number too"

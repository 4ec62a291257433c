"""CSV and its kin: every field survives, every line is accounted for."""

import csv
import io
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data import delimited
from nearnext.data.chunks import Chunk
from nearnext.data.delimited import DelimitedReader
from nearnext.data.events import read_events
from nearnext.data.files import identify
from nearnext.data.layouts import Role
from nearnext.errors import DataError

COLUMNS: dict[Role, str] = {"session": "session_id", "item": "item_id", "time": "timestamp"}
HEADER = b"session_id,item_id,timestamp\n"
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r")
TEXT = st.text(
    alphabet=st.one_of(LETTERS, st.sampled_from(['"', ",", "\n", ";", "\t", " ", "\0", "0", "é"])), min_size=1
)


def chunks_of(path: Path, data: bytes, block: int = 1 << 20) -> list[Chunk]:
    path.write_bytes(data)
    return list(DelimitedReader(identify(path), {}, block).chunks(COLUMNS))


def rows_of(chunks: list[Chunk]) -> list[tuple[object, ...]]:
    return [row for chunk in chunks for row in chunk.frame.rows()]


def lines_of(chunks: list[Chunk]) -> list[int]:
    return [line for chunk in chunks for line in chunk.lines.tolist()]


def rejected_of(chunks: list[Chunk]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for chunk in chunks for row in chunk.rejected]


@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=20), delimiter=st.sampled_from("\t;,|"))
def test_any_text_id_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    lines: list[int] = []
    writer.writerow(COLUMNS.values())
    for session, item in rows:
        lines.append(file.getvalue().count("\n") + 1)
        writer.writerow([session, item, 1_400_000_000])
    found = chunks_of(tmp_path_factory.mktemp("csv") / "log", file.getvalue().encode(), block=64)
    assert rows_of(found) == [(*row, "1400000000") for row in rows]
    assert lines_of(found) == lines
    assert rejected_of(found) == []


@pytest.mark.parametrize("block", [40, 64, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_true_beside_blank_wrong_and_multi_line_rows(tmp_path: Path, block: int, end: str) -> None:
    text = ["session_id,item_id,timestamp", "a,1,1", "", "b,2", 'c,"x' + end + 'y",3', "d,4,4,4", "  ", "e,5,5", "f"]
    chunks = chunks_of(tmp_path / "log.csv", end.join(text).encode(), block)
    assert rows_of(chunks) == [("a", "1", "1"), ("c", f"x{end}y", "3"), ("e", "5", "5")]
    assert lines_of(chunks) == [2, 5, 9]
    assert rejected_of(chunks) == [
        (4, "wrong column count"),
        (7, "wrong column count"),
        (10, "wrong column count"),
    ]


def test_a_row_longer_than_a_block_is_read(tmp_path: Path) -> None:
    long = "x" * 1000
    body = "".join(f"s{row},{row},{row}\n" for row in range(50)) + "a,b\n" + f"z,{long},1\n" + "q,1\n" + "y,2,2\n"
    chunks = chunks_of(tmp_path / "log.csv", HEADER + body.encode(), block=128)
    assert rows_of(chunks)[-2:] == [("z", long, "1"), ("y", "2", "2")]
    assert lines_of(chunks) == [*range(2, 52), 53, 55]
    assert rejected_of(chunks) == [(52, "wrong column count"), (54, "wrong column count")]


@pytest.mark.parametrize("block", [1, 40, 1 << 20])
@pytest.mark.parametrize("tail", [b'b,2,"3\nc,3,3\nd,4,4\n', b'b,"2,3\nc,3,3\nd,4,4\n', b'b,"2,3\nc,3,3\nd,4,4'])
def test_a_quote_that_is_never_closed_costs_its_own_line(tmp_path: Path, tail: bytes, block: int) -> None:
    chunks = chunks_of(tmp_path / "log.csv", HEADER + b"a,1,1\n" + tail, block)
    assert rows_of(chunks) == [("a", "1", "1"), ("c", "3", "3"), ("d", "4", "4")]
    assert rejected_of(chunks) == [(3, "quote never closed")]


STRAY = {
    '"Best of': "quote never closed",
    'Best "of': None,
    'Best of"': None,
    '"': "quote never closed",
    '"Best" of': None,
    '"Best of""': "quote never closed",
    'Best, "of': "wrong column count",
    '"Best", of" x': "wrong column count",
    '"Best, of" x': "stray quote",
    '"Best of", "x': "wrong column count",
    '"Best of","x': "quote never closed",
    '""Best of""': None,
    '""': None,
    'a""b': None,
}


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 50, 64, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("position", [0, 3, 6])
@pytest.mark.parametrize(("title", "reason"), STRAY.items())
def test_a_stray_quote_costs_its_own_row_at_most(
    tmp_path: Path, title: str, reason: str | None, position: int, end: str, block: int
) -> None:
    titles = ["plain", '"two, parts"', '"12"" screen"', "it's", '"two' + end + 'lines, 5"', "x"]
    titles.insert(position, title)
    rows = [f"s{number},i{number},{1_700_000_000 + number},{text}" for number, text in enumerate(titles)]
    text = "session_id,item_id,timestamp,title" + end + end.join(rows)
    chunks = chunks_of(tmp_path / "log.csv", text.encode(), block)
    expected = [(f"s{n}", f"i{n}", str(1_700_000_000 + n)) for n in range(7) if n != position or reason is None]
    assert rows_of(chunks) == expected
    line = position + 2 + (position > 4)
    assert rejected_of(chunks) == ([(line, reason)] if reason else [])
    assert [row.text for chunk in chunks for row in chunk.rejected] == ([rows[position]] if reason else [])
    assert lines_of(chunks) == [n + 2 + (n > 4 + (position <= 4)) for n in range(7) if n != position or reason is None]


@pytest.mark.parametrize("block", [1, 64, 1 << 20])
@pytest.mark.parametrize("title", STRAY)
def test_quotes_are_letters_where_quoting_is_off(tmp_path: Path, title: str, block: int) -> None:
    rows = [f"s{number}\ti{number}\t{1_700_000_000 + number}\t{title}" for number in range(5)]
    path = tmp_path / "log.tsv"
    path.write_text("session_id\titem_id\ttimestamp\ttitle\n" + "\n".join(rows))
    reader = DelimitedReader(identify(path), {}, block, quoting=False)
    chunks = list(reader.chunks({"session": "session_id", "item": "title", "time": "timestamp"}))
    assert rows_of(chunks) == [(f"s{number}", title, str(1_700_000_000 + number)) for number in range(5)]
    assert read_events(path, columns={"item": "title"}, quoting=False, strict=True).report.used == (title != "") * 5


def test_ids_keep_quotes_that_are_letters_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('session_id,item_id,timestamp\ns,"TV" 42,1700000000\ns,TV 42",1700000001\ns,"TV 42",1700000002\n')
    log = read_events(path)
    assert log.frame["item_id"].to_list() == ['"TV" 42', 'TV 42"', "TV 42"]
    assert log.report.changed == {"rows with stray quotes read as written": 1}


@pytest.mark.parametrize("block", [1, 30, 1 << 20])
@given(
    fields=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6),
    junk=st.text(alphabet=st.sampled_from('",\n\rxé \0'), max_size=12),
)
def test_no_text_between_rows_takes_more_than_its_own_lines(
    tmp_path_factory: pytest.TempPathFactory, block: int, fields: list[tuple[str, str]], junk: str
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for session, item in fields:
        writer.writerow([session, item, 1_400_000_000])
    rows = [(*row, "1400000000") for row in fields]
    plain = "".join(f"p{number},q,1400000000\n" for number in range(3))
    text = HEADER.decode() + plain + junk + "\n" + plain + file.getvalue()
    found = rows_of(chunks_of(tmp_path_factory.mktemp("csv") / "log", text.encode(), block))
    known = [(f"p{number}", "q", "1400000000") for number in range(3)]
    assert [row for row in found if row in known] == known * 2
    assert found[-len(rows) :] == rows


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_line_end_and_mark_gives_the_same_rows(tmp_path: Path, end: bytes, mark: bytes) -> None:
    rows = [HEADER.rstrip(), b"a,1,1", b"", b"b,2", b"c,\0,3", b'd,"4""",4', b""]
    chunks = chunks_of(tmp_path / "log.csv", mark + end.join(rows), 16)
    assert rows_of(chunks) == [("a", "1", "1"), ("c", "\0", "3"), ("d", '4"', "4")]
    assert lines_of(chunks) == [2, 5, 6]
    assert rejected_of(chunks) == [(4, "wrong column count")]


def test_a_closed_quote_at_the_end_is_no_open_one(tmp_path: Path) -> None:
    data = b'session_id,timestamp,item_id\na,1,"x\ny\n"\n'
    assert rows_of(chunks_of(tmp_path / "log.csv", data)) == [("a", "x\ny\n", "1")]


def test_only_wrong_rows_are_all_reported(tmp_path: Path) -> None:
    chunks = chunks_of(tmp_path / "log.csv", HEADER + b"a,1\nb\n")
    assert rows_of(chunks) == []
    assert rejected_of(chunks) == [(2, "wrong column count"), (3, "wrong column count")]


def test_bytes_that_are_no_utf8_reject_their_rows_alone(tmp_path: Path) -> None:
    body = b"a,caf\xe9,1\nb,caf\xc3\xa9,2\n\xff,2\nc,3,3\n"
    chunks = chunks_of(tmp_path / "log.csv", HEADER + body)
    assert rows_of(chunks)[1:] == [("b", "café", "2"), ("c", "3", "3")]
    assert [mask.tolist() for chunk in chunks for _, mask in chunk.faults if mask.any()] == [[True, False, False]]
    assert {reason for chunk in chunks for reason, _ in chunk.faults} == {"not valid UTF-8"}
    assert chunks[0].text(0) == "a,caf\\xe9,1"
    assert [(row.line, row.text) for chunk in chunks for row in chunk.rejected] == [(4, "\\xff,2")]


@given(cut=st.integers(1, 64))
def test_letters_cut_by_a_block_stay_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    body = "".join(f"é€{row},😀,{row}\n" for row in range(20))
    chunks = chunks_of(tmp_path_factory.mktemp("csv") / "log", HEADER + body.encode(), block=64 + cut)
    assert rows_of(chunks) == [(f"é€{row}", "😀", str(row)) for row in range(20)]
    assert not any(chunk.faults for chunk in chunks)


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"\n\r\n", b"\xef\xbb\xbf\n"])
def test_a_byte_order_mark_and_blank_lines_before_the_header_are_skipped(tmp_path: Path, prefix: bytes) -> None:
    chunks = chunks_of(tmp_path / "log.csv", prefix + HEADER + b"a,1,1\n")
    assert rows_of(chunks) == [("a", "1", "1")]
    assert lines_of(chunks) == [prefix.count(b"\n") + 2]


def test_a_quoted_header_over_two_lines_is_one_header(tmp_path: Path) -> None:
    chunks = chunks_of(tmp_path / "log.csv", b'"session_id",item_id,timestamp,"a\nnote"\na,1,1,\n')
    assert rows_of(chunks) == [("a", "1", "1")]
    assert lines_of(chunks) == [3]


def test_a_line_of_delimiters_alone_counts_as_blank(tmp_path: Path) -> None:
    assert rows_of(chunks_of(tmp_path / "log.csv", HEADER + b",,\na,1,1\n")) == [("a", "1", "1")]


def test_a_quote_open_over_much_text_is_out_of_place(tmp_path: Path) -> None:
    body = b'a,1,1\nb,"2,2\n' + b"no row\n" * 20_000 + b"c,3,3\n"
    chunks = chunks_of(tmp_path / "log.csv", HEADER + body, block=1 << 16)
    assert rows_of(chunks) == [("a", "1", "1"), ("c", "3", "3")]
    assert rejected_of(chunks)[:2] == [(3, "quote never closed"), (4, "wrong column count")]
    assert len(rejected_of(chunks)) == 20_001


def test_a_line_without_end_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnext.data.files.LONGEST_ROW", 4096)
    with pytest.raises(DataError, match="a line is longer than"):
        chunks_of(tmp_path / "log.csv", HEADER + b"a," + b"1" * 9000, block=1024)


def test_a_first_line_without_end_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="first"):
        chunks_of(tmp_path / "log.csv", b"a," * (1 << 20))


def test_quotes_and_inner_blanks_of_ids_come_back_from_a_whole_log(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('session_id,item_id,timestamp\n" a ","say ""hi"", x",1400000000\nb,007,1400000001\n')
    assert read_events(path).frame.rows() == [
        ("a", 'say "hi", x', 1_400_000_000_000_000),
        ("b", "007", 1_400_000_001_000_000),
    ]


def test_ctrl_c_while_pyarrow_reads_reaches_python_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.csv").write_text("session_id,item_id,time\n1,2,1600000000\nx\n")
    at_once, real = list[int](), delimited.arrow_csv.read_csv

    def interrupted(body: object, *, parse_options: Any, **options: object) -> object:
        def handler(_row: object) -> str:
            before = len(got)
            signal.raise_signal(signal.SIGINT)
            at_once.append(len(got) - before)
            return "skip"

        parse_options.invalid_row_handler = handler
        return real(body, parse_options=parse_options, **options)

    got = list[int]()
    handled = signal.signal(signal.SIGINT, lambda number, _: got.append(number))
    monkeypatch.setattr(delimited.arrow_csv, "read_csv", interrupted)
    try:
        with suppress(DataError):  # the row is not counted, or reading was cancelled
            read_events(tmp_path / "log.csv")
    finally:
        signal.signal(signal.SIGINT, handled)
    assert at_once == [1]

"""The reader of CSV and its kin: delimiter and header sniffed, every field kept as the text that it is."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import chain, count, repeat
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow, arrow_csv, python_signals
from nearnext.data.chunks import NOT_UTF8, SPAN_BLOCKS, WHOLE, Chunk, Rejected, Span, decoded, spans_of
from nearnext.data.files import BLOCK, BOM, SAMPLE, LogFile, blocks, data_errors
from nearnext.data.layouts import Role, known_names, position_of
from nearnext.errors import DataError
from nearnext.types import Int64Array

DELIMITERS = "\t;,|"
SNIFFED = 20
"""Lines that tell the delimiter."""
START = 1 << 16
"""Bytes that mostly hold them."""
TIME_CELL = re.compile(r"\d{8,}(?:\.\d+)?|\d{4}[-/]\d\d[-/]\d\d.*")
LITERAL = "rows with stray quotes read as written"
WRONG_COUNT, UNCLOSED, STRAY = "wrong column count", "quote never closed", "stray quote"


class _Rows(NamedTuple):
    """The rows of a block: wanted columns by position, the first line of each, from 0, and the line after it: [n]."""

    columns: dict[int, pl.Series]
    begins: Int64Array
    ends: Int64Array
    wrong: list[tuple[int, str]]  # lines that are no rows, and why
    n_lines: int
    literal: int = 0  # rows whose quotes are letters
    rest: bytes = b""  # what may go on in the next block


class DelimitedReader:
    """A text file of delimited rows (RFC 4180 quoting), read in blocks.

    A quote that is out of place costs its own line at most: where a quoted field never ends, or a line inside it is a
    row of the log, that line alone is rejected. A line with other stray quotes is read with its quotes as letters if
    that gives the right number of fields.
    """

    unit = "bytes"
    untyped = True
    nested: Sequence[str] = ()

    def __init__(self, file: LogFile, mapped: Mapping[Role, str], block: int = 0, *, quoting: bool = True) -> None:
        self._log = file
        self._block = block or BLOCK
        self._quoting = quoting
        self.where = str(file.path)
        self.work = file.size
        start = file.sample.removeprefix(BOM)
        lines = start[:START].splitlines(keepends=True)
        if len(lines) <= SNIFFED:
            lines = start.splitlines(keepends=True)
        self._blank = next(number for number, line in enumerate(lines) if line.strip())
        self._before = sum(map(len, lines[: self._blank]))
        self._lines = lines[self._blank :]
        if len(self._lines[0]) >= SAMPLE - len(BOM) and not self._lines[0].endswith((b"\n", b"\r")):
            raise DataError(f"{self.where}: the first line does not end within a MiB; expected one event per line")
        self._delimiter = max(DELIMITERS, key=lambda mark: self._likelihood(mark, mapped))
        self.first_row, self._header = self._first_record(self._delimiter)
        if not known_names(self.first_row, mapped) or any(map(TIME_CELL.fullmatch, self.first_row)):
            self._header = 0
        self.names: list[str] = self.first_row if self._header else []
        self._begin = self._before + sum(map(len, self._lines[: self._header]))
        self.reached = WHOLE
        self._keys = self.names or [f"column {number}" for number in range(1, len(self.first_row) + 1)]

    def _likelihood(self, delimiter: str, mapped: Mapping[Role, str]) -> tuple[int, int, int]:
        """Known names in the first row, rows as long as the first, fields."""
        first, _ = self._first_record(delimiter)
        alike = sum(len(self._fields(line, delimiter)) == len(first) for line in self._lines[:SNIFFED])
        return known_names(first, mapped), alike if len(first) > 1 else 0, len(first)

    def _fields(self, line: bytes, delimiter: str) -> list[str]:
        text = _shown(line)
        if not self._quoting or len(text) >= csv.field_size_limit():
            return text.split(delimiter)
        return next(csv.reader([text], delimiter=delimiter), [""])

    def _first_record(self, delimiter: str) -> tuple[list[str], int]:
        """The fields of the first record, and how many lines it takes."""
        found: list[str] | None = None
        taken = 1
        if self._quoting:
            records = csv.reader(
                (line.decode(errors="replace") for line in self._lines), delimiter=delimiter, strict=True
            )
            with suppress(csv.Error):  # a quote is out of place: the line as it is written
                found, taken = next(records), records.line_num
        return [field.strip() for field in found or _shown(self._lines[0]).split(delimiter)], taken

    def spans(self) -> list[Span]:
        """Several blocks each, the header in the first; one span if the file is compressed."""
        size = SPAN_BLOCKS * self._block
        return [WHOLE] if self._log.compression or self._begin > size else spans_of(self.work, size)

    def chunks(self, columns: Mapping[Role, str], span: Span = WHOLE) -> Iterator[Chunk]:
        """The rows, by block; positions are lines from 1."""
        indices: dict[Role, int] = {role: position_of(column, self._keys) for role, column in columns.items()}
        wanted = sorted(set(indices.values()))
        skipped, lines = (0, span.lines) if span.begin else (self._begin, self._blank + self._header)
        self._time = indices["time"]
        self._shape = _shape(self._some_time())
        first, rest = lines + 1, span.rest
        end = [(b"", 0)] if span.end is None else []
        for block, work in chain(blocks(self._log, self._block, span.begin, span.end), end):
            body = rest + block[skipped:]
            skipped -= min(skipped, len(block))
            if body and _is_utf8(body) and not (self._quoting and b'"' in body):
                rows = self._plain(body, wanted)
            else:
                rows = self._quoted(body, wanted, last=not block)
            yield self._chunk(rows, body, first, indices, work)
            first += rows.n_lines
            rest = rows.rest
        self.reached = Span(lines=first - 1, rest=rest)

    def _some_time(self) -> str:
        """The time of the first row that has all fields."""
        rows = (self._fields(line, self._delimiter) for line in self._lines[self._header : self._header + SNIFFED])
        return next((row[self._time] for row in rows if len(row) == len(self._keys) and row[self._time]), "")

    def _chunk(self, rows: _Rows, body: bytes, first: int, indices: Mapping[Role, int], work: int) -> Chunk:
        lines = cache(partial(body.splitlines, keepends=True))

        def text(row: int) -> str:
            return _shown(b"".join(lines()[rows.begins[row] : rows.ends[row]]))

        damaged = np.zeros(len(rows.begins), np.bool_)
        found = list[pl.Series]()
        for role, index in indices.items():
            column, undecodable = decoded(rows.columns[index])
            found.append(column.alias(role))
            damaged |= undecodable
        frame, kept = pl.DataFrame(found), np.arange(len(rows.begins))
        if (frame["time"] == "").any():  # as in a blank line
            blank = frame.select(pl.all_horizontal(pl.all() == "")).to_series().arg_true().to_list()
            kept = np.delete(kept, [row for row in blank if not text(row).strip(f'{self._delimiter}" \t')])
            frame = frame[kept]
        return Chunk(
            frame,
            rows.begins[kept] + first,
            lambda row: text(int(kept[row])),
            work,
            [Rejected(first + line, why, _shown(lines()[line])) for line, why in rows.wrong if lines()[line].strip()],
            [(NOT_UTF8, damaged[kept])] if damaged.any() else [],
            {LITERAL: rows.literal} if rows.literal else {},
        )

    def _plain(self, body: bytes, wanted: Sequence[int]) -> _Rows:
        """The rows of UTF-8 whose quotes, if any, are letters: each is a line."""
        names = [str(number) for number in range(len(self._keys))]
        wrong: list[int] = []

        def note(row: Any) -> str:
            wrong.append(row.number - 1)
            return "skip"

        with data_errors(self._log.path), python_signals():
            table = arrow_csv.read_csv(
                arrow.BufferReader(body),
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(body) + 1, column_names=names),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self._delimiter, quote_char=False, ignore_empty_lines=False, invalid_row_handler=note
                ),
                convert_options=arrow_csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(names, arrow.string()),
                    strings_can_be_null=False,
                    include_columns=[names[index] for index in wanted],
                ),
            )
        n_lines = int(table.num_rows) + len(wrong)
        begins = np.delete(np.arange(n_lines), wrong)
        columns = {index: pl.Series(table[names[index]]) for index in wanted}
        return _Rows(columns, begins, begins + 1, [(line, WRONG_COUNT) for line in wrong], n_lines)

    def _quoted(self, body: bytes, wanted: Sequence[int], *, last: bool) -> _Rows:
        """The rows of any text; a field that may go on waits for the next block, unless this is the last."""
        lines = list(io.StringIO(body.decode(errors="surrogateescape"), newline=""))
        rows, begins, ends = list[Sequence[str]](), list[int](), list[int]()
        wrong, literal, n_lines = list[tuple[int, str]](), 0, 0
        for begin, n_lines, fields, fault in self._records(lines, last=last):
            if len(fields) == len(self._keys):
                rows.append(fields)
                begins.append(begin)
                ends.append(n_lines)
                literal += fault == STRAY
            else:
                wrong.append((begin, fault))
        columns = {index: _column([row[index] for row in rows]) for index in wanted}
        found = np.array(begins, np.int64), np.array(ends, np.int64)
        rest = "".join(lines[n_lines:]).encode(errors="surrogateescape")
        return _Rows(columns, *found, wrong, n_lines, literal, rest)

    def _records(self, lines: Sequence[str], *, last: bool) -> Iterator[tuple[int, int, list[str], str]]:
        """Where each record begins and ends, its fields, and what is wrong if there are too few or too many."""
        with suppress(csv.Error):
            alone = list(self._reader(lines))
            if len(alone) == len(lines):  # each record is a line
                yield from zip(count(), count(1), alone, repeat(WRONG_COUNT))
                return
        done = 0
        while done < len(lines):
            begin, reader = done, self._reader(map(lines.__getitem__, range(done, len(lines))))
            with suppress(csv.Error):
                for fields in reader:
                    end = begin + reader.line_num
                    if end > done + 1 and (
                        len(fields) != len(self._keys) or any(map(self._is_row, lines[done:end][1:]))
                    ):
                        break
                    yield done, end, fields, WRONG_COUNT
                    done = end
            if done < len(lines):
                if not last and begin + reader.line_num == len(lines) and self._is_open(lines[done:]):
                    return
                if self._is_open(lines[done : done + 1]):
                    yield done, done + 1, [], UNCLOSED
                else:
                    yield done, done + 1, lines[done].rstrip("\r\n").split(self._delimiter), STRAY
                done += 1

    def _reader(self, lines: Iterable[str]) -> Any:
        quoting = csv.QUOTE_MINIMAL if self._quoting else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self._delimiter, quoting=quoting, strict=True)

    def _is_open(self, lines: Sequence[str]) -> bool:
        """Whether lines are a record whose last field only lacks its closing quote."""
        with suppress(csv.Error):
            return len(list(self._reader([*lines[:-1], lines[-1].rstrip("\r\n") + '"']))) == 1
        return False

    def _is_row(self, line: str) -> bool:
        """Whether a line alone is a row of the log: as many fields, and a time like that of other rows."""
        if not self._shape or line.count('"') % 2:  # a quote is open before it
            return False
        with suppress(csv.Error):
            fields = next(self._reader([line]))
            return len(fields) == len(self._keys) and _shape(fields[self._time]) == self._shape
        return False


def _shape(time: str) -> str:
    """A time with its digits left out, but for how many a calendar number begins with."""
    digits = re.match(r"\s*\d{8,}", time)
    return re.sub(r"\d+", "9", time.strip()) + (str(len(digits[0].strip())) if digits else "")


def _column(values: Sequence[str]) -> pl.Series:
    """Texts, as bytes where some are no UTF-8."""
    try:
        return pl.Series(values, dtype=pl.String)
    except UnicodeEncodeError:
        return pl.Series([value.encode(errors="surrogateescape") for value in values], dtype=pl.Binary)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(line: bytes) -> str:
    r"""A line as text without its end; bytes that are not UTF-8 as ``\xff``."""
    return line.decode(errors="backslashreplace").rstrip("\r\n")

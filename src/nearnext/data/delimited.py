"""The reader of CSV and its kin: delimiter and header sniffed, every field kept as the text that it is."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow, arrow_csv
from nearnext.data.chunks import NOT_UTF8, Chunk, Rejected, decoded
from nearnext.data.files import BLOCK, BOM, SAMPLE, LogFile, blocks, data_errors
from nearnext.data.layouts import Role, known_names, position_of
from nearnext.data.records import Framer, Records, shown
from nearnext.errors import DataError
from nearnext.types import BoolArray, Int64Array

DELIMITERS = "\t;,|"
SNIFFED = 20
"""Lines that tell the delimiter."""
START = 1 << 16
"""Bytes that mostly hold them."""
TIME_CELL = re.compile(r"\d{8,}(?:\.\d+)?|\d{4}[-/]\d\d[-/]\d\d.*")
LITERAL = "rows with stray quotes read as written"


class DelimitedReader:
    """A text file of delimited rows (RFC 4180 quoting), read in blocks."""

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
        self._keys = self.names or [f"column {number}" for number in range(1, len(self.first_row) + 1)]

    def _likelihood(self, delimiter: str, mapped: Mapping[Role, str]) -> tuple[int, int, int]:
        """Known names in the first row, rows as long as the first, fields."""
        first, _ = self._first_record(delimiter)
        alike = sum(len(self._fields(line, delimiter)) == len(first) for line in self._lines[:SNIFFED])
        return known_names(first, mapped), alike if len(first) > 1 else 0, len(first)

    def _fields(self, line: bytes, delimiter: str) -> list[str]:
        text = shown(line)
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
        return [field.strip() for field in found or shown(self._lines[0]).split(delimiter)], taken

    def chunks(self, columns: Mapping[Role, str]) -> Iterator[Chunk]:
        """The rows, by block; positions are lines from 1."""
        indices: dict[Role, int] = {role: position_of(column, self._keys) for role, column in columns.items()}
        skipped = self._before + sum(map(len, self._lines[: self._header]))
        framer = Framer(
            self._delimiter,
            len(self._keys),
            self._blank + self._header + 1,
            quoting=self._quoting,
            time=(indices["time"], self._some_time(indices["time"])),
        )
        for block, work in blocks(self._log, self._block):
            body = block[skipped:]
            skipped -= len(block) - len(body)
            yield self._chunk(framer.cut(body), indices, work)
        yield self._chunk(framer.cut(b"", last=True), indices, 0)

    def _some_time(self, index: int) -> str:
        """The time of the first row that has all fields."""
        rows = (self._fields(line, self._delimiter) for line in self._lines[self._header : self._header + SNIFFED])
        return next((row[index] for row in rows if len(row) == len(self._keys) and row[index]), "")

    def _chunk(self, records: Records, indices: Mapping[Role, int], work: int) -> Chunk:
        wanted = sorted(set(indices.values()))
        rows, table = self._parsed(records, wanted)
        found = {index: pl.Series(table[str(index)]) for index in wanted}
        damaged = np.zeros(len(rows), np.bool_)
        if not records.utf8:
            for index, column in found.items():
                found[index], undecodable = _as_utf8(column)
                damaged |= undecodable
        frame = pl.DataFrame([found[index].alias(role) for role, index in indices.items()])
        wrong = np.setdiff1d(np.arange(len(records.lines)), rows) if len(rows) < len(records.lines) else rows[:0]
        rejected = [
            Rejected(int(records.lines[row]), "wrong column count", records.text(row)) for row in wrong.tolist()
        ]
        kept = ~self._blank_rows(frame, rows, records)
        if not kept.all():
            frame, rows, damaged = frame.filter(pl.Series(kept)), rows[kept], damaged[kept]
        return Chunk(
            frame,
            records.lines[rows] if len(rows) < len(records.lines) else records.lines,
            lambda row: records.text(int(rows[row])),
            work,
            sorted([*records.rejected, *(row for row in rejected if row.text.strip())], key=lambda row: row.line),
            [(NOT_UTF8, damaged)] if damaged.any() else [],
            {LITERAL: records.literal} if records.literal else {},
        )

    def _blank_rows(self, frame: pl.DataFrame, rows: Int64Array, records: Records) -> BoolArray:
        """Rows without any letter, which is also how a blank line appears: [n]."""
        if not (frame["time"] == "").any():
            return np.zeros(len(rows), np.bool_)
        blank = frame.select(pl.all_horizontal(pl.all() == "").alias("blank"))["blank"].to_numpy().copy()
        for row in np.flatnonzero(blank).tolist():
            blank[row] = not records.text(int(rows[row])).strip(f'{self._delimiter}" \t')
        return blank

    def _parsed(self, records: Records, wanted: Sequence[int]) -> tuple[Int64Array, Any]:
        """Records of the right number of fields, and a table of the chosen fields by their numbers."""
        names = [str(number) for number in range(len(self._keys))]
        # Bytes that are no UTF-8 go through the parser, which takes none, as Latin-1.
        body = records.body if records.utf8 else records.body.decode("latin-1").encode()
        invalid: list[int] = []

        def note(row: Any) -> str:
            invalid.append(row.number - 1)
            return "skip"

        if len(records.lines) == 0:
            return np.zeros(0, np.int64), {str(index): pl.Series([], dtype=pl.String) for index in wanted}
        with data_errors(self._log.path):
            table = arrow_csv.read_csv(
                arrow.BufferReader(body),
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(body) + 1, column_names=names),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self._delimiter,
                    quote_char='"' if self._quoting else False,
                    newlines_in_values=True,
                    ignore_empty_lines=False,
                    invalid_row_handler=note,
                ),
                convert_options=arrow_csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(names, arrow.string()),
                    strings_can_be_null=False,
                    include_columns=[names[index] for index in wanted],
                ),
            )
        rows = np.arange(len(records.lines))
        if invalid:
            rows = np.delete(rows, np.unique(invalid).astype(np.int64))
        if len(rows) != table.num_rows:
            raise DataError(
                f"{self.where}: cannot tell the rows after line {records.lines[0]} apart; check their quotes"
            )
        return rows, table


def _as_utf8(column: pl.Series) -> tuple[pl.Series, BoolArray]:
    """Text that was read as Latin-1 as the UTF-8 that it is, and where it is none."""
    undecodable = np.zeros(len(column), np.bool_)
    foreign = (column.str.len_bytes() != column.str.len_chars()).arg_true()
    if len(foreign) == 0:
        return column, undecodable
    written = pl.Series([text.encode("latin-1") for text in column.gather(foreign)], dtype=pl.Binary)
    texts, undecodable[foreign.to_numpy()] = decoded(written)
    return column.scatter(foreign, texts), undecodable

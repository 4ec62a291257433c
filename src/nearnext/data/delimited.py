"""The reader of CSV and its kin: delimiter and header sniffed, every field kept as the text that it is."""

import csv
import io
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow, arrow_compute, arrow_csv
from nearnext.data.chunks import Chunk, Rejected
from nearnext.data.files import SAMPLE, ByteSource, LogFile, data_errors
from nearnext.data.layouts import Role, known_names
from nearnext.data.utf8 import MARK, Utf8Stream, unmarked
from nearnext.errors import DataError
from nearnext.types import BoolArray, Int64Array

__all__ = ["DelimitedReader"]

BLOCK = 1 << 24
LONGEST_ROW = 1 << 28
DELIMITERS = "\t;,|"
UNCLOSED = "quote never closed"
BOM = b"\xef\xbb\xbf"


class DelimitedReader:
    """A text file of delimited rows (RFC 4180 quoting), read in blocks.

    Raises:
        DataError: the first line is longer than a MiB.
    """

    unit = "bytes"
    untyped = True

    def __init__(self, file: LogFile, mapped: Mapping[Role, str], block: int | None = None) -> None:
        self._log = file
        self._block = block or BLOCK
        self.where = str(file.path)
        self.work = file.size
        lines = file.sample.removeprefix(BOM).splitlines(keepends=True)
        blank = next(number for number, line in enumerate(lines) if line.strip())
        rows = {delimiter: self._first_record(lines[blank:], delimiter) for delimiter in DELIMITERS}
        self._delimiter = max(rows, key=lambda mark: (known_names(rows[mark][0], mapped), len(rows[mark][0])))
        self.first_row, length = rows[self._delimiter]
        self.names: list[str] = self.first_row if known_names(self.first_row, mapped) else []
        self._keys = self.names or [f"column {number}" for number in range(1, len(self.first_row) + 1)]
        self._skipped_lines = blank + (length if self.names else 0)
        self._skipped_bytes = sum(map(len, lines[: self._skipped_lines])) + (
            len(BOM) if file.sample.startswith(BOM) else 0
        )

    def _first_record(self, lines: list[bytes], delimiter: str) -> tuple[list[str], int]:
        """The fields of the first record, and how many lines it takes."""
        records = csv.reader((line.decode(errors="replace") for line in lines), delimiter=delimiter)
        try:
            fields = next(records)
        except csv.Error as error:
            raise DataError(f"{self.where}: the first line cannot be read as CSV: {error}; check the quotes") from error
        if records.line_num == len(lines) and not lines[-1].endswith((b"\n", b"\r")) and len(lines[-1]) >= SAMPLE:
            raise DataError(f"{self.where}: no line ends within the first MiB; expected one event per line")
        return [field.strip() for field in fields], records.line_num

    def chunks(self, columns: Mapping[Role, str]) -> Iterator[Chunk]:
        """The rows, by block; positions are lines from 1."""
        rows = _Rows(self._log, self._delimiter, len(self._keys), self._skipped_bytes)
        place = _Place(self._skipped_lines + 1)
        indices: dict[Role, int] = {role: self._keys.index(column) for role, column in columns.items()}
        done = 0
        for batch, last in _with_last(rows.batches(self._block, place)):
            lines, rejected = place.advance(batch, rows.quoted)
            kept = ~_blank(batch)
            if last and (n_lines := _unclosed_lines(batch, rows.tail)):
                kept[-1] = False
                rejected.append(Rejected(int(lines[-1]), UNCLOSED, self._text(batch, batch.num_rows - 1), n_lines))
            yield self._chunk(batch, kept, lines, rejected, indices, rows, rows.position - done)
            done = rows.position

    def _chunk(
        self,
        batch: Any,
        kept: BoolArray,
        lines: Int64Array,
        rejected: list[Rejected],
        indices: Mapping[Role, int],
        rows: "_Rows",
        work: int,
    ) -> Chunk:
        frame = pl.DataFrame([pl.Series(role, batch.column(index)) for role, index in indices.items()])
        positions = np.flatnonzero(kept)
        if len(positions) < batch.num_rows:
            frame, lines = frame[positions], lines[positions]
        faults: list[tuple[str, BoolArray]] = []
        if rows.damaged:
            marked = pl.any_horizontal(pl.all().str.contains(MARK, literal=True))
            faults.append(("not valid UTF-8", frame.select(marked.alias("marked"))["marked"].to_numpy()))
        return Chunk(frame, lines, lambda row: self._text(batch, positions[row]), work, rejected, faults)

    def _text(self, batch: Any, row: int) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=self._delimiter, lineterminator="").writerow(
            column[row].as_py() for column in batch.columns
        )
        return unmarked(line.getvalue())


class _LongRow(Exception):  # noqa: N818 - a signal, not an error: larger blocks will do
    """A row does not fit into a block."""


class _Rows:
    """The rows of a text file as Arrow batches of strings; the last batch is empty."""

    def __init__(self, file: LogFile, delimiter: str, width: int, skipped_bytes: int) -> None:
        self._log = file
        self._delimiter = delimiter
        self._names = [str(number) for number in range(width)]
        self._skipped_bytes = skipped_bytes
        self._stream: Utf8Stream | None = None
        self.position = 0

    @property
    def quoted(self) -> bool:
        """Whether there has been a quote so far, so that fields may hold line ends."""
        return self._stream is not None and self._stream.quoted

    @property
    def damaged(self) -> bool:
        """Whether there have been bytes so far that are no UTF-8."""
        return self._stream is not None and self._stream.damaged

    @property
    def tail(self) -> bytes:
        """The last byte so far that ends no line."""
        return self._stream.tail if self._stream else b""

    def batches(self, block: int, place: "_Place") -> Iterator[Any]:
        """Batches of rows; a row that is longer than a block makes the blocks larger from there on."""
        done = 0
        while block <= LONGEST_ROW:
            skip = done
            try:
                for batch in self._open(block, place):
                    fresh = batch.slice(min(skip, batch.num_rows))
                    skip -= batch.num_rows - fresh.num_rows
                    done += fresh.num_rows
                    if fresh.num_rows:
                        yield fresh
            except _LongRow:
                block *= 4
            else:
                yield arrow.RecordBatch.from_pydict({name: arrow.array([], arrow.string()) for name in self._names})
                return
        raise DataError(
            f"{self._log.path}: a row after line {place.line - 1} is longer than {LONGEST_ROW >> 20} MiB; "
            'close its quote (") or split it'
        )

    def _open(self, block: int, place: "_Place") -> Iterator[Any]:
        with ByteSource(self._log.path, self._log.compression) as source, data_errors(self._log.path):
            self._stream = Utf8Stream(source, self._skipped_bytes)
            try:
                for batch in arrow_csv.open_csv(
                    arrow.PythonFile(self._stream, mode="r"), **self._options(block, place)
                ):
                    self.position = max(self.position, source.position)
                    yield batch
            except arrow.ArrowInvalid as error:
                if "block size" in str(error):
                    raise _LongRow from error
                if "Empty CSV" not in str(error):
                    raise

    def _options(self, block: int, place: "_Place") -> dict[str, Any]:
        return {
            "read_options": arrow_csv.ReadOptions(use_threads=False, block_size=block, column_names=self._names),
            "parse_options": arrow_csv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=place.note,
            ),
            "convert_options": arrow_csv.ConvertOptions(
                check_utf8=False, column_types=dict.fromkeys(self._names, arrow.string()), strings_can_be_null=False
            ),
        }


class _Place:
    """Where in the file the next row begins, its rows of a wrong length included."""

    def __init__(self, line: int) -> None:
        self.line = line
        self._row = 1
        self._noted = 0
        self._invalid: deque[tuple[int, str]] = deque()

    def note(self, row: Any) -> str:
        """Remembers a row of a wrong length, once, and has it skipped."""
        if row.number > self._noted:
            self._noted = row.number
            self._invalid.append((row.number, row.text))
        return "skip"

    def advance(self, batch: Any, quoted: bool) -> tuple[Int64Array, list[Rejected]]:
        """Lines on which the rows of a batch begin, and the rows of a wrong length among them: [n]."""
        size: int = batch.num_rows
        before: list[int] = []
        texts: list[str] = []
        while self._invalid and self._invalid[0][0] - self._row - len(texts) <= size:
            number, text = self._invalid.popleft()
            before.append(number - self._row - len(texts))
            texts.append(text)
        valid = np.arange(size) + np.searchsorted(np.asarray(before, np.int64), np.arange(size), side="right")
        invalid = np.asarray(before, np.int64) + np.arange(len(before))
        extra = np.zeros(size + len(texts), np.int64)
        extra[valid] = _line_ends(batch) if quoted else 0
        extra[invalid] = [text.count("\n") for text in texts]
        lines = self.line + np.arange(len(extra)) + np.cumsum(extra) - extra
        self.line += len(extra) + int(extra.sum())
        self._row += len(extra)
        wrong = zip(lines[invalid].tolist(), texts, strict=True)
        return lines[valid], [_wrong_length(line, text) for line, text in wrong if text.strip()]


def _wrong_length(line: int, text: str) -> Rejected:
    inner = text.count("\n")
    return Rejected(line, UNCLOSED if inner else "wrong column count", unmarked(text), inner + 1)


def _line_ends(batch: Any) -> Int64Array:
    """Line ends inside the fields of each row: [n]."""
    inner = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        inner += arrow_compute.count_substring(column, "\n").to_numpy(zero_copy_only=False)
    return inner


def _blank(batch: Any) -> BoolArray:
    """Rows whose every field is empty, which is also how a blank line appears: [n]."""
    blank = np.ones(batch.num_rows, np.bool_)
    for column in batch.columns:
        blank &= arrow_compute.equal(column, "").to_numpy(zero_copy_only=False)
        if not blank.any():
            break
    return blank


def _unclosed_lines(batch: Any, tail: bytes) -> int:
    """Lines of the file's last row where a quote in it is never closed, otherwise 0."""
    if batch.num_rows == 0 or tail == b'"':
        return 0
    inner = batch.column(batch.num_columns - 1)[batch.num_rows - 1].as_py().rstrip("\r\n").count("\n")
    return inner + 1 if inner else 0


def _with_last(batches: Iterator[Any]) -> Iterator[tuple[Any, bool]]:
    """Each batch, and whether only an empty one follows."""
    held = next(batches)
    for batch in batches:
        yield held, batch.num_rows == 0
        held = batch
    yield held, False

"""Lines of delimited text as records: a quote that is out of place costs its own line at most."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow
from nearnext.data.chunks import Rejected
from nearnext.types import Int64Array

UNCLOSED = "quote never closed"
STRAY = "stray quote"
LONGEST_FIELD = 1 << 20
"""Bytes over which a quoted field may go on."""
TOGETHER = 256
"""Lines whose quotes are checked at once; one by one only where that fails."""
ASCII = bytes(range(0x80)) + b"?" * 0x80
"""Bytes that are no ASCII stand for any letter where quotes are checked."""


@dataclass(frozen=True)
class Records:
    """Whole records: their bytes one after another, the line on which each begins: [n], whether all of it is UTF-8.

    Between them are ``rejected`` lines that are no records; quotes of ``literal`` ones are letters. ``sizes``: bytes of
    each: [n], None where each is a line.
    """

    body: bytes
    lines: Int64Array
    utf8: bool
    rejected: Sequence[Rejected] = ()
    literal: int = 0
    sizes: Int64Array | None = None

    @cached_property
    def starts(self) -> Int64Array:
        """Where each begins in ``body``, and the end of the last: [n + 1]; seldom asked for."""
        return _line_starts(self.body) if self.sizes is None else np.concatenate([[0], np.cumsum(self.sizes)])

    def text(self, record: int) -> str:
        """A record as it is written."""
        return shown(self.body[self.starts[record] : self.starts[record + 1]])


class Framer:
    r"""Cuts blocks of whole lines into records.

    A field that begins with a quote may hold delimiters, doubled quotes and line ends. It has to end with a quote and
    a delimiter or the end of the line, and no line inside it may be a row of the log: else the quote that opens it is
    out of place. That line alone is rejected, or read with its quotes as letters where that gives the right number of
    fields and no field is left open. A row has ``width`` fields, of which ``time`` names that of the time and one time.

    >>> framer = Framer(",", 3, 1, quoting=True, time=(2, "1"))
    >>> records = framer.cut(b's,"a\n\nb",1\ns,"c,2\ns,d,3\n')
    >>> records.lines.tolist(), [(row.line, row.reason) for row in records.rejected]
    ([1, 5], [(4, 'quote never closed')])
    """

    def __init__(self, delimiter: str, width: int, line: int, *, quoting: bool, time: tuple[int, str]) -> None:
        self._delimiter = delimiter
        self._width = width
        self._line: int = line
        self._quoting = quoting
        self._time, self._shape = time[0], _shape(time[1])
        self._rest = b""
        mark = re.escape(delimiter)
        field = rf'(?:"(?:[^"]|"")*"|[^"{mark}\r\n][^{mark}\r\n]*)?'
        self._sound = rf"^{field}(?:{mark}{field})*[\r\n]*$"
        self._all_sound = rf"^(?:{field}[{mark}\r\n])*{field}$".replace('[^"]|""', r'[^"\r\n]|""')
        self._whole = re.compile(self._sound.replace(")*", ")*+").encode())
        strict = field.replace(rf'[^"{mark}\r\n][^{mark}\r\n]*', rf'[^"{mark}\r\n]+')
        self._strict = re.compile(rf"^{strict}(?:{mark}{strict})*+[\r\n]*$".replace('"")*"', '"")*+"').encode())
        self._open = re.compile(rf'^(?:{field}{mark})*"(?:[^"]|"")*+$'.encode())

    def cut(self, block: bytes, *, last: bool = False) -> Records:
        """The records of the next block; a field that may go on waits for the next one, unless this is the last."""
        body, first = self._rest + block, self._line
        utf8 = body.isascii() or _is_utf8(body)
        if self._quoting and b'"' in body:
            starts = _line_starts(body)
            if unsound := self._unsound(body, starts):
                return self._resolved(body, starts, unsound, utf8=utf8, last=last)
        self._rest = b""
        self._line += _n_lines(body)
        return Records(body, np.arange(first, self._line), utf8)

    def _unsound(self, body: bytes, starts: Int64Array) -> list[int]:
        """Lines whose quotes do not enclose fields of that line."""
        letters = arrow.py_buffer(body if body.isascii() else body.translate(ASCII))

        def pieces(bounds: Int64Array) -> pl.Series:
            return pl.Series(arrow.LargeStringArray.from_buffers(len(bounds) - 1, arrow.py_buffer(bounds), letters))

        n_lines = len(starts) - 1
        bounds = np.append(np.arange(0, n_lines, TOGETHER), n_lines)
        sound = pieces(starts[bounds]).str.contains(self._all_sound)
        if sound.all():
            return []
        lines = pieces(starts)
        doubtful = np.flatnonzero(np.repeat(~sound.to_numpy(), np.diff(bounds)))
        return doubtful[~lines.gather(doubtful).str.contains(self._sound).to_numpy()].tolist()

    def _resolved(self, body: bytes, starts: Int64Array, unsound: Sequence[int], *, utf8: bool, last: bool) -> Records:
        """Records of lines of which some go on, are read with quotes as letters, or are rejected."""
        sizes = np.diff(starts)
        begins = np.ones(len(sizes), np.bool_)
        changed: dict[int, bytes] = {}
        rejected: list[Rejected] = []
        end = len(sizes)
        done = 0
        for line in unsound:
            if line < done:
                continue
            done = self._end_of(body, starts, line)
            if done > len(sizes) and not last:
                end = line
                break
            if line + 1 < done <= len(sizes):
                begins[line + 1 : done] = False
                continue
            done = line + 1
            text = body[starts[line] : starts[done]]
            stray = not self._open.match(text)
            fields = text.decode("latin-1").rstrip("\r\n").split(self._delimiter)
            if stray and len(fields) == self._width:
                changed[line] = _enclosed(fields, self._delimiter)
            else:
                changed[line], begins[line] = b"", False
                rejected.append(Rejected(self._line + line, STRAY if stray else UNCLOSED, shown(text)))
            sizes[line] = len(changed[line])
        pieces: list[bytes] = []
        position = 0
        for line, text in changed.items():
            before = body[position : starts[line]]
            kept = before.rstrip(b"\r")  # carriage returns alone must not join the line feed of a later line
            pieces += [kept, b"\n" * (len(before) - len(kept)), text]
            position = int(starts[line + 1])
        pieces.append(body[position : starts[end]])
        positions = np.flatnonzero(begins[:end])
        lengths = np.add.reduceat(sizes[:end], positions) if len(positions) else sizes[:0]
        lines = self._line + positions
        self._rest = body[starts[end] :]
        self._line += end
        return Records(b"".join(pieces), lines, utf8, rejected, len(changed) - len(rejected), lengths)

    def _end_of(self, body: bytes, starts: Int64Array, line: int) -> int:
        """The line after the record that begins on a line; that line if its quotes are stray, n + 1 if it may go on."""
        begin = int(starts[line])
        if not self._open.match(body[begin : starts[line + 1]]):
            return line
        for after in range(line + 1, len(starts) - 1):
            text = body[starts[after] : starts[after + 1]]
            if self._is_row(text) or starts[after + 1] - begin > LONGEST_FIELD:
                return line
            record = body[begin : starts[after + 1]]
            if b'"' in text and self._whole.match(record) and len(self._fields(record)) == self._width:
                return after + 1
        return len(starts) if len(body) - begin <= LONGEST_FIELD else line

    def _is_row(self, line: bytes) -> bool:
        """Whether a line alone is a row of the log: as many fields, and a time like that of other rows."""
        fields = self._fields(line) if self._strict.match(line) else []
        return len(fields) == self._width and bool(self._shape) and _shape(fields[self._time]) == self._shape

    def _fields(self, record: bytes) -> list[str]:
        text = record.decode("latin-1").rstrip("\r\n")
        if len(text) >= csv.field_size_limit():
            return []
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter), list[str]())


def shown(line: bytes) -> str:
    r"""A line as text without its end; bytes that are not UTF-8 as ``\xff``."""
    return line.decode(errors="backslashreplace").rstrip("\r\n")


def _shape(time: str) -> str:
    """A time with its digits left out, but for how many a calendar number begins with."""
    digits = re.match(r"\s*\d{8,}", time)
    return re.sub(r"\d+", "9", time.strip()) + (str(len(digits[0].strip())) if digits else "")


def _enclosed(fields: Sequence[str], delimiter: str) -> bytes:
    """A row whose fields are these, quotes included, every one enclosed in quotes."""
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(fields)
    return line.getvalue().encode("latin-1")


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _n_lines(body: bytes) -> int:
    """How many lines there are; quicker than where they begin."""
    if b"\r" in body and body.count(b"\r") != body.count(b"\r\n"):
        return len(_line_starts(body)) - 1
    ends = int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord("\n")))
    return ends + (body != b"" and not body.endswith(b"\n"))


def _line_starts(body: bytes) -> Int64Array:
    """Where each line begins, and the end of the last: [lines + 1]."""
    letters = np.frombuffer(body, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    if b"\r" in body and body.count(b"\r") != body.count(b"\r\n"):  # a carriage return alone ends a line too
        alone = np.flatnonzero(letters == ord("\r"))
        ends = np.union1d(ends, alone[letters[np.minimum(alone + 1, len(body) - 1)] != ord("\n")])
    if len(body) and (len(ends) == 0 or ends[-1] != len(body) - 1):
        ends = np.append(ends, len(body) - 1)
    starts = np.zeros(len(ends) + 1, np.int64)
    np.add(ends, 1, out=starts[1:])
    return starts

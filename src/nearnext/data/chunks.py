"""Chunks of raw rows, and the readers of Parquet files and of frames in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import narwhals as nw
import numpy as np
import orjson
import polars as pl
from polars.exceptions import PolarsError

from nearnext.atomic import has_utf8_name
from nearnext.data.arrow import arrow
from nearnext.data.files import LogFile, data_errors
from nearnext.data.ids import series_of
from nearnext.data.layouts import Role, position_of
from nearnext.errors import DataError
from nearnext.types import BoolArray, Int64Array

ROWS = 1 << 17
"""Rows of a chunk of a Parquet file or a frame."""
SPAN_BLOCKS = 4
"""Chunks, about, of a span."""
ID_ROLES: tuple[Role, ...] = ("session", "user", "item")
NOT_UTF8 = "not valid UTF-8"
"""The reason of rows in another encoding."""


@dataclass(frozen=True)
class Rejected:
    """A row of a log that cannot be used: its first line (from 1), why, and its text."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a log as they were written: ``frame`` has one raw column per role."""

    frame: pl.DataFrame
    lines: Int64Array  # [n]: line, or row where the source has no lines, of each row, from 1
    text: Callable[[int], str]  # a row of the frame as the log has it
    work: int  # bytes of the file, or rows, that this chunk took
    rejected: Sequence[Rejected] = ()  # what could not even be cut into columns
    faults: Sequence[tuple[str, BoolArray]] = ()  # why rows of the frame cannot be used, with masks: [n]
    changed: Mapping[str, int] = field(default_factory=dict[str, int])  # rows read otherwise than written, by kind


class Span(NamedTuple):
    """A part of a source: its bytes, or rows, from ``begin`` to ``end`` (None: the end of the source).

    ``lines``: lines of the source before it. ``rest``: the beginning of a record that continues in it.
    """

    begin: int = 0
    end: int | None = None
    lines: int = 0
    rest: bytes = b""


WHOLE = Span()


def spans_of(total: int, size: int) -> list[Span]:
    """Spans of a source, ``size`` bytes or rows each; the last one may be shorter."""
    begins = range(0, max(total, 1), size)
    return [Span(begin, begin + size if begin + size < total else None) for begin in begins]


class LogReader(Protocol):
    """One source of rows: where it is, its column names or else its first row, and its ``work`` in bytes or rows.

    ``untyped``: it cannot tell integers from strings. ``nested``: columns of lists or structs. ``reached``:
    ``lines`` and ``rest`` for the next span, once a span of a text file is read.
    """

    where: str
    names: list[str]
    nested: Sequence[str]
    first_row: list[str]
    work: int
    unit: str
    untyped: bool
    reached: Span

    def spans(self) -> list[Span]:
        """Parts to read one by one; together, their chunks are those of the whole source."""
        ...

    def chunks(self, columns: Mapping[Role, str], span: Span = WHOLE) -> Iterator[Chunk]:
        """The rows, chunk by chunk, with the columns of these roles."""
        ...


class ParquetReader:
    """A Parquet file, read in batches of rows."""

    unit = "rows"
    untyped = False
    reached = WHOLE

    def __init__(self, file: LogFile) -> None:
        self._path = file.path
        self.where = str(file.path)
        if not has_utf8_name(file.path):
            raise DataError(f"cannot read {file.path}: polars reads Parquet files with names in UTF-8 only; rename it")
        with data_errors(self._path):
            self._rows = pl.scan_parquet(self._path, glob=False)
            schema = self._rows.collect_schema()
            self.names: list[str] = schema.names()
            self.nested: Sequence[str] = [name for name, dtype in schema.items() if dtype.is_nested()]
            self.work = int(self._rows.select(pl.len()).collect().item())
        self.first_row: list[str] = []

    def spans(self) -> list[Span]:
        """Several batches each."""
        return spans_of(self.work, SPAN_BLOCKS * ROWS)

    def chunks(self, columns: Mapping[Role, str], span: Span = WHOLE) -> Iterator[Chunk]:
        """The rows, by batch; positions are row numbers from 1."""
        done, length = span.begin, None if span.end is None else span.end - span.begin
        with data_errors(self._path):
            rows = self._rows.select(set(columns.values())).slice(done, length)
            for batch in rows.collect_batches(chunk_size=ROWS, maintain_order=True):
                yield _typed_chunk({role: batch[name] for role, name in columns.items()}, done)
                done += batch.height


class FrameReader:
    """A pandas, polars or pyarrow frame, read in slices of rows; a DataError where it is something else, or broken."""

    unit = "rows"
    untyped = False
    reached = WHOLE

    def __init__(self, source: object) -> None:
        try:
            names, frame = _distinct(as_frame(source))
            found: Any = nw.from_native(frame)
            self._frame: nw.DataFrame[Any] = found.collect() if isinstance(found, nw.LazyFrame) else found
            self.names: list[str] = [str(name) for name in names or self._frame.columns]
            dtypes = zip(self.names, self._frame.schema.values(), strict=True)
            self.nested: Sequence[str] = [name for name, dtype in dtypes if dtype.is_nested()]
        except TypeError as error:
            raise DataError(
                f"expected a path or a pandas, polars or pyarrow frame, found {type(source).__name__}; make one with "
                "polars.DataFrame(...), or name a folder or a glob for several files"
            ) from error
        except (OSError, ValueError, PolarsError) as error:
            raise DataError(f"cannot read the frame: {str(error).splitlines()[0]}; correct it first") from error
        self.where = f"{self._frame.implementation.name.lower()} frame"
        self.work = len(self._frame)
        self.first_row: list[str] = []

    def spans(self) -> list[Span]:
        """One: no other process has the frame."""
        return [WHOLE]

    def chunks(self, columns: Mapping[Role, str], span: Span = WHOLE) -> Iterator[Chunk]:
        """The rows, by slice; positions are row numbers from 1."""
        for begin in range(span.begin, self.work, ROWS):
            rows = self._frame[begin : begin + ROWS]
            faults: list[tuple[str, BoolArray]] = []
            values: dict[Role, pl.Series] = {}
            for role, name in columns.items():
                values[role], foreign = _polars(rows[:, position_of(name, self.names)])
                if role in ID_ROLES and foreign.any():
                    faults.append((not_an_id(role), foreign))
            yield _typed_chunk(values, begin, faults)


def as_frame(frame: Any) -> Any:
    """Arrow batches and streams as a table, a pandas frame with its named index as columns; all else as it is."""
    known: Any = nw.dependencies
    if not known.is_pandas_dataframe(frame):
        of_arrow = hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__arrow_c_array__")
        if of_arrow and not known.is_into_dataframe(frame) and not isinstance(frame, pl.LazyFrame):
            with suppress(arrow.ArrowInvalid):  # one column, which is no frame
                return arrow.table(frame)
        return frame
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(level=named) if named else frame


def _distinct(source: Any) -> tuple[list[Any], Any]:
    """The column names of a frame in which some are equal, and that frame with numbers for names."""
    known: Any = nw.dependencies
    names = source.columns if known.is_pandas_dataframe(source) else None
    names = source.column_names if known.is_pyarrow_table(source) else names
    if names is None or len(set(names)) == len(names):
        return [], source
    numbers = list(map(str, range(len(names))))
    renamed = source.set_axis(numbers, axis=1) if hasattr(source, "set_axis") else source.rename_columns(numbers)
    return list(names), renamed


def not_an_id(role: Role) -> str:
    """The reason of rows whose id is of another kind of value."""
    return f"{role} id is neither integer nor string"


def _polars(column: "nw.Series[Any]") -> tuple[pl.Series, BoolArray]:
    """A column of any frame in polars; columns of mixed Python values go value by value."""
    try:
        found = column.to_polars()
    except (TypeError, ValueError, arrow.ArrowException, PolarsError):
        return series_of(column.to_list())
    if found.dtype == pl.Object or (found.dtype == pl.Binary and not isinstance(column.drop_nulls().first(), bytes)):
        return series_of(column.to_list())  # UUIDs, for example, are no text in bytes
    return found, np.zeros(len(found), np.bool_)


def _typed_chunk(values: Mapping[Role, pl.Series], done: int, faults: Sequence[tuple[str, BoolArray]] = ()) -> Chunk:
    columns: dict[Role, pl.Series] = {}
    for role, column in values.items():
        columns[role], undecodable = decoded(column)
        if undecodable.any():
            faults = [*faults, (NOT_UTF8, undecodable)]
    frame = pl.DataFrame([column.alias(role) for role, column in columns.items()])
    lines = np.arange(done + 1, done + 1 + frame.height)
    return Chunk(frame, lines, lambda row: _json(frame.row(row, named=True)), frame.height, faults=faults)


def decoded(column: pl.Series) -> tuple[pl.Series, BoolArray]:
    """Bytes as the text that they encode, and where they encode none."""
    if column.dtype != pl.Binary:
        return column, np.zeros(len(column), np.bool_)
    with suppress(PolarsError):
        return column.cast(pl.String), np.zeros(len(column), np.bool_)
    texts = [None if value is None else value.decode(errors="backslashreplace") for value in column]
    wrong = [text is not None and text.encode() != value for text, value in zip(texts, column, strict=True)]
    return pl.Series(texts, dtype=pl.String), np.asarray(wrong, np.bool_)


def _json(row: Mapping[str, object]) -> str:
    return orjson.dumps(row, default=str).decode(errors="backslashreplace")

"""Click logs as events: who clicked which item when, in the order of the log."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Unpack, cast

import polars as pl

from nearnext.data.chunks import WHOLE, FrameReader, LogReader, ParquetReader, Span, as_frame
from nearnext.data.delimited import DelimitedReader
from nearnext.data.files import COMPRESSED_SUFFIXES, FileState, identify, log_files, same_path
from nearnext.data.ids import user_codes
from nearnext.data.jsonlines import JsonLinesReader
from nearnext.data.layouts import Layout, Role, recognise
from nearnext.data.prepared import is_prepared
from nearnext.data.read_options import ReadKeywords, ReadOptions
from nearnext.data.reading import LISTED, OTHER_FILES, Reading, ReadReport
from nearnext.data.rejects import RejectsFile
from nearnext.data.times import Clock
from nearnext.errors import DataError, NearnextError
from nearnext.forks import require_polars
from nearnext.progress import track


@dataclass(frozen=True, eq=False)
class EventLog:
    """The usable events of a log, in its order.

    Attributes:
        frame: columns ``session_id`` or ``user_id`` and ``item_id`` (Int64 or String), ``time`` (Int64, microseconds
            since 1970 UTC).
        report: what was read.
        types: event type of each event, as a number (UInt8), where the log has several.
        event_types: names of the types 0, 1, ..., the most frequent first; empty where they are not known.
        users: user of each event, as a number (UInt64, 0 for none), where the log has session ids and users.
        targets: whether each event is to be predicted (Boolean), where not all are.
        weights: how much each event counts (Float64), where weights are given.
    """

    frame: pl.DataFrame
    report: ReadReport
    types: pl.Series | None = None
    event_types: tuple[str, ...] = ()
    users: pl.Series | None = None
    targets: pl.Series | None = None
    weights: pl.Series | None = None

    @classmethod
    def of(
        cls, chunks: Sequence[pl.DataFrame], report: ReadReport, event_codes: Mapping[str, int] | None = None
    ) -> "EventLog":
        """The log of an `EventScan`'s chunks, at least one, or of a part of them, and its ``event_codes``."""
        frame = pl.concat(same_types(chunks), how="diagonal")
        types = frame["event"].fill_null(OTHER_FILES) if "event" in frame.columns else None
        names = tuple(event_codes or ())
        if types is not None and event_codes:
            at = {code: position for position, code in enumerate(event_codes.values())}
            types = types.replace_strict(at, return_dtype=pl.UInt8)
        return cls(
            frame=frame.drop("event", "user", "target", "weight", strict=False),
            report=report,
            types=types if types is not None and (len(names) > 1 or types.n_unique() > 1) else None,
            event_types=names if len(names) > 1 else (),
            users=_codes(frame["user"]) if "user" in frame.columns else None,
            targets=frame["target"] if "target" in frame.columns else None,
            weights=frame["weight"] if "weight" in frame.columns else None,
        )


EVENT_BYTES = {"bytes": 25, "rows": 1}
"""What an event takes, about, in each unit of work."""
COMPRESSION = 5
"""How many times smaller, about, a compressed file is."""


class Piece(NamedTuple):
    """A span of a log's file (its number, from 0), and about how many events it has."""

    file: int
    span: Span
    events: float
    state: FileState | None = None  # of a file in several pieces, when it was cut into them


class EventScan:
    """The events of a log, one chunk after another, in bounded memory.

    Each chunk is a frame as in `EventLog`; of files with event types also with a number for each type (``event``), and
    of files with session ids and users also with these (``user``). Ids of text files may begin as Int64 and go on as
    String, once one is seen that is no integer; ``report`` and ``event_codes``, the number of each event type, the most
    frequent first, are known when the last chunk has been given.
    """

    def __init__(self, source: object, options: ReadOptions) -> None:
        require_polars("reading a log")
        self._options = options
        self._mapped = cast("Mapping[Role, str]", options.columns)
        self._types = cast("tuple[frozenset[str] | None, frozenset[str] | None]", (options.events, options.target))
        self._weights = options.weights
        self._rejects = cast("Path | None", options.rejects)
        self._source = as_frame(source)  # once: a stream ends
        self._report: ReadReport | None = None
        self.event_codes: Mapping[str, int] = {}
        if is_prepared(source):
            raise DataError(
                f"{source} is a prepared log, whose clicks are sessions already; read it with read_sessions, or give "
                "the log that it was made from"
            )
        self.files, self.left_out = log_files(source, self._rejects) if isinstance(source, str | Path) else ([], [])
        if options.strict and self.left_out:
            raise DataError(
                f"{source}: {len(self.left_out):,} files or folders are not read: "
                f"{', '.join(self.left_out[:LISTED])}{', ...' * (len(self.left_out) > LISTED)}; "
                "name the files to read by a glob, or read without strict"
            )
        if self._rejects is not None and any(same_path(self._rejects, file) for file in self.files):
            raise DataError(f"cannot write rejected rows to {self._rejects}: it is the log itself; name another file")
        self.name = str(source) if isinstance(source, str | Path) else FrameReader(self._source).where

    @property
    def report(self) -> ReadReport:
        """What was read; a DataError before the log has been read to its end."""
        if self._report is None:
            raise DataError("the log is not read to its end yet; take all chunks before asking for the report")
        return self._report

    def readers(self) -> Iterator[LogReader]:
        """The readers of the log's files, opened one after another; empty files have none."""
        opened = map(self._reader, range(max(len(self.files), 1)))
        return (reader for reader in opened if reader is not None)

    def _reader(self, number: int) -> LogReader | None:
        if not self.files:
            return FrameReader(self._source)
        file = identify(self.files[number])
        if file.format == "parquet":
            return ParquetReader(file)
        if file.format == "jsonl":
            return JsonLinesReader(file, self._mapped)
        return DelimitedReader(file, self._mapped, quoting=self._options.quoting) if file.format == "text" else None

    def pieces(self) -> list[Piece]:
        """The spans of all files, in order."""
        found = list[Piece]()
        for number in range(max(len(self.files), 1)):
            if (reader := self._reader(number)) is not None:
                packed = Path(reader.where).suffix.lower() in COMPRESSED_SUFFIXES
                each = (COMPRESSION if packed else 1) / EVENT_BYTES[reader.unit]
                spans = reader.spans()
                state = FileState.of(self.files[number]) if len(spans) > 1 else None
                found += [Piece(number, span, each * _work(reader, span), state) for span in spans]
        return found

    def begin(self, rejects: RejectsFile | None = None) -> Reading:
        """A pass over the log that has read nothing yet."""
        return Reading(Clock(self._options.time_unit), *self._types, self._weights, rejects)

    def rejects(self) -> RejectsFile:
        """The file of rejected rows, if one is named."""
        return RejectsFile(self._rejects)

    def head(self, first: Piece) -> Reading:
        """A pass that has read the first chunk, if that can be read."""
        reading = self.begin()
        with suppress(NearnextError):
            next(self.read(reading, first), None)
        return reading

    def read(self, reading: Reading, piece: Piece) -> Iterator[pl.DataFrame]:
        """The events of a piece, chunk by chunk.

        Raises:
            DataError: its file was replaced or cut off since it was cut into pieces.
        """
        if (reader := self._reader(piece.file)) is not None:
            yield from self._events(reading, reader, piece.span)
        if piece.state is not None:
            piece.state.require(self.files[piece.file])

    def _events(self, reading: Reading, reader: LogReader, span: Span = WHOLE) -> Iterator[pl.DataFrame]:
        layout = _layout(reader, self._mapped, self._options.layout)
        reading.enter(reader, layout)
        with track(f"reading {Path(reader.where).name}", _work(reader, span), reader.unit) as advance:
            for chunk in reader.chunks(layout.columns, span):
                usable = reading.usable(chunk, reader)
                advance(chunk.work)
                if usable.height:
                    yield usable
        reading.reached = reader.reached

    def finish(self, reading: Reading) -> None:
        """Set the report, from a pass that has read the whole log."""
        self._report = reading.report(self.name, self.left_out, strict=self._options.strict)
        self.event_codes = reading.named_types()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        with self.rejects() as rejects:
            reading = self.begin(rejects)
            for reader in self.readers():
                yield from self._events(reading, reader)
        self.finish(reading)


def _work(reader: LogReader, span: Span) -> int:
    return (reader.work if span.end is None else span.end) - span.begin


def _layout(reader: LogReader, mapped: Mapping[Role, str], wanted: str | None) -> Layout:
    """The layout of a file; a DataError says what to do where clicks stand in columns of lists or structs."""
    advice = "write one row for each click, for example with explode and unnest of polars"
    try:
        layout = recognise(reader.where, reader.names, reader.first_row, mapped, wanted)
    except DataError as error:
        if not reader.nested:
            raise
        raise DataError(f"{error}; lists or structs are in {', '.join(reader.nested)}: {advice}") from error
    found = [layout.columns[role] for role in ("session", "item", "time") if layout.columns.get(role) in reader.nested]
    if found:
        where = f"{reader.where}: expected one value in each row"
        raise DataError(f"{where}, found lists or structs in {', '.join(found)}; {advice}")
    return layout


def scan_events(source: object, **options: Unpack[ReadKeywords]) -> EventScan:
    """The events of a log, chunk by chunk, in bounded memory; ``source`` and options as in `read_events`.

    >>> scan_events(pl.DataFrame({"user": ["u"], "item": ["i"], "ts": ["2014-04-07"]})).name
    'polars frame'
    """
    return EventScan(source, ReadOptions(**options))


def read_events(
    source: object,
    *,
    columns: Mapping[str, str] | None = None,
    layout: str | None = None,
    time_unit: str | None = None,
    events: Sequence[str] | None = None,
    quoting: bool = True,
    strict: bool = False,
    rejects: str | Path | None = None,
    target: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> EventLog:
    """The events of a click log.

    Args:
        source: path of a file (CSV, TSV, JSONL, Parquet; gzip, bz2, xz, zstd or lz4), of a folder of such files or a
            glob, or a pandas, polars or pyarrow frame.
        columns: column of each role (session, user, item, time, event, weight) not found by its name; a name, or
            a position from 1 where the file has no header. A mapped user without a mapped session means: cut sessions
            per user.
        layout: a known layout, where it must not be guessed: session-rec, yoochoose-clicks, retailrocket, diginetica,
            otto, columns.
        time_unit: the unit of numeric times, by default found by their magnitude: s, ms, us, ns, min, h or d since
            1970, excel (days since 1899-12-30), or date (20240131, 202401311530 and so on).
        events: event types to use, whatever their case; all without it.
        quoting: whether quotes in text files enclose fields; without, they are letters like any other.
        strict: whether a rejected row, or a file of a folder that is not read, is an error.
        rejects: CSV file to write rejected rows to (file, line, reason, text); it is no part of the log in a folder.
        target: event types to predict and score, such as purchases; the others are read all the same; all without it.
        weights: how much an event of each type counts when it is learned from, at least 0 and 1 for other types, e.g.
            ``{"cart": 3, "purchase": 5}``; 0 is input only. A column of weights is mapped by ``columns`` instead.

    Raises:
        DataError: nothing usable is there, or a row is rejected and ``strict`` is given.
        ConfigError: an unknown option value.

    >>> log = read_events(pl.DataFrame({"user": ["u"], "item": ["007"], "ts": ["2014-04-07T10:51:09Z"]}))
    >>> log.frame.rows()
    [('u', '007', 1396867869000000)]
    """
    options = ReadOptions(columns, layout, time_unit, events, quoting, strict, rejects, target, weights)
    scan = EventScan(source, options)
    chunks = list(scan)
    return EventLog.of(chunks, scan.report, scan.event_codes)


def same_types(chunks: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Chunks of one log with ids as strings throughout where any chunk has them as strings, users all in one form."""
    text = [name for name in chunks[0].columns if any(chunk.schema.get(name) == pl.String for chunk in chunks)]
    chunks = [chunk.with_columns(pl.col(text).cast(pl.String)) for chunk in chunks]
    if not any(chunk.schema.get("user") == pl.UInt64 for chunk in chunks):
        return chunks
    return [
        chunk.with_columns(user_codes(chunk["user"].cast(pl.String))) if chunk.schema.get("user") == pl.Int64 else chunk
        for chunk in chunks
    ]


def _codes(users: pl.Series) -> pl.Series:
    """A number for each user, 0 for none: [n]."""
    codes = users if users.dtype == pl.UInt64 else users.hash(seed=0).set(users.is_null(), 0)
    return codes.fill_null(0)

"""The pieces of a log, read one after another or side by side, with the same result."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from nearnext.data.chunks import WHOLE, Span
from nearnext.data.events import EventScan, Piece
from nearnext.data.partitions import Partitions, Spread, spread
from nearnext.data.reading import Reading
from nearnext.errors import NearnextError
from nearnext.processes import Executor
from nearnext.progress import track

SPREAD_EVENTS = 1_000_000
"""Events that are spread over the partitions at a time."""


def read_pieces(scan: EventScan, parts: Partitions, folder: Path, executor: Executor) -> None:
    """Spread the events of a log over partitions, in files of a folder.

    A worker reads a piece before those that precede it are read, with what the first rows have decided about times and
    ids. Where the pieces before it decide otherwise or end within a record, where it has the first row that cannot be
    used, whose line is then not known yet, or where it fails, this process reads it again when its turn comes.
    """
    pieces = scan.pieces()
    with scan.rejects() as rejects, track(f"reading {Path(scan.name).name}", len(pieces), "parts") as advance:
        reading = scan.begin(rejects)
        shared = executor.workers > 1 and len(pieces) > 1 and scan.files and not rejects
        head = scan.head() if shared else reading

        def ahead() -> Iterator[tuple[Piece, Reading, Path]]:
            for number, piece in enumerate(pieces):
                known = reading if number == 0 or reading.rows else head
                yield piece, known.ahead(), folder / f"events-{number}"

        tried = executor.map(partial(_tried, scan, parts.n), ahead()) if shared else repeat(None, len(pieces))
        for number, (piece, found) in enumerate(zip(pieces, tried, strict=True)):
            before = reading.reached if piece.span.begin else WHOLE
            if found and found.fits(reading, before):
                reading.follow(found.reading)
                reading.reached = reading.reached._replace(lines=before.lines + reading.reached.lines)
                spreads = found.spreads
            else:
                goes_on = piece.span._replace(lines=before.lines, rest=before.rest)
                spreads = _spreads(scan, parts.n, piece._replace(span=goes_on), reading, folder / f"events-{number}")
            for events in spreads:
                parts.add(events)
            advance(1)
    parts.close()
    scan.finish(reading)


class _Tried(NamedTuple):
    """The events of a piece, the decisions with which it was read, and the pass over it."""

    spreads: list[Spread]
    assumed: dict[str, Any]
    reading: Reading

    def fits(self, reading: Reading, before: Span) -> bool:
        """Whether the pass over all pieces before it, which have ended like this, would have read the same."""
        unnamed = self.reading.first is not None and reading.first is None
        return self.assumed == reading.decided() and not before.rest and not unnamed


def _tried(scan: EventScan, n: int, task: tuple[Piece, Reading, Path]) -> _Tried | None:
    """A piece that is read before its turn; None where that fails."""
    piece, reading, path = task
    assumed = reading.decided()
    with suppress(NearnextError, OSError, MemoryError):
        return _Tried(_spreads(scan, n, piece, reading, path), assumed, reading)
    return None


def _spreads(scan: EventScan, n: int, piece: Piece, reading: Reading, path: Path) -> list[Spread]:
    """Read a piece, and spread its events over n partitions in files whose names begin with a path."""
    found, chunks = list[Spread](), list[pl.DataFrame]()

    def write() -> None:
        found.append(spread(chunks, path.with_name(f"{path.name}-{len(found)}.arrow"), n))
        chunks.clear()

    for chunk in scan.read(reading, piece):
        chunks.append(chunk)
        if sum(one.height for one in chunks) >= SPREAD_EVENTS:
            write()
    if chunks:
        write()
    return found

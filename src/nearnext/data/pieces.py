"""The pieces of a log, read one after another or side by side, with the same result."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, repeat
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
GROUP_EVENTS = 600_000
"""Events, about, of small files that are read together."""


def read_pieces(scan: EventScan, pieces: Sequence[Piece], parts: Partitions, folder: Path, executor: Executor) -> None:
    """Spread the events of a log over partitions, in files of a folder.

    Workers read pieces speculatively, with what the first rows have decided about times, ids and event types. This
    process reads one again when its turn comes if the pieces before it decided otherwise or end within a record, if the
    first row that cannot be used is in it and its line was not known, or if the worker failed.
    """
    groups = _grouped(pieces)
    with scan.rejects() as rejects, track(f"reading {Path(scan.name).name}", len(groups), "parts") as advance:
        reading = scan.begin(rejects)
        shared = executor.workers > 1 and len(groups) > 1 and scan.files and not rejects
        head = scan.head(pieces[0]) if shared else reading

        def ahead() -> Iterator[tuple[list[Piece], Reading, Path]]:
            for number, group in enumerate(groups):
                known = reading if number == 0 or reading.rows else head
                yield group, known.ahead(), folder / f"events-{number}"

        tried = executor.map(partial(_tried, scan, parts.n), ahead()) if shared else repeat(None, len(groups))
        for number, (group, found) in enumerate(zip(groups, tried, strict=True)):
            span = group[0].span
            before = reading.reached if span.begin else WHOLE
            if found and found.fits(reading, before):
                reading.follow(found.reading)
                reading.reached = reading.reached._replace(lines=before.lines + reading.reached.lines)
                spreads = found.spreads
            else:
                group[0] = group[0]._replace(span=span._replace(lines=before.lines, rest=before.rest))
                spreads = _spreads(scan, parts.n, group, reading, folder / f"events-{number}")
            for events in spreads:
                parts.add(events)
            advance(1)
    parts.number_items()
    scan.finish(reading)


def _grouped(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces that are whole small files, several together; each other piece alone."""
    groups, room = list[list[Piece]](), 0.0
    for piece in pieces:
        if piece.span != WHOLE or room <= 0 or groups[-1][-1].span != WHOLE:
            groups.append([])
            room = GROUP_EVENTS
        groups[-1].append(piece)
        room -= piece.events
    return groups


class _Tried(NamedTuple):
    """The events of pieces that were read speculatively, the decisions they were read with, and the pass over them."""

    spreads: list[Spread]
    assumed: dict[str, Any]
    reading: Reading
    lines_unknown: bool  # whether it begins within a file

    def fits(self, reading: Reading, before: Span) -> bool:
        """Whether the pass over all pieces before these, which ended as ``before``, would have read the same."""
        unnamed = self.lines_unknown and self.reading.first is not None and reading.first is None
        return self.assumed == reading.decided() and not before.rest and not unnamed


def _tried(scan: EventScan, n: int, task: tuple[list[Piece], Reading, Path]) -> _Tried | None:
    """Read pieces before their turn; None if that fails."""
    pieces, reading, path = task
    assumed = reading.decided()
    with suppress(NearnextError, OSError, MemoryError):
        spreads = _spreads(scan, n, pieces, reading, path)
        return _Tried(spreads, assumed, reading, pieces[0].span.begin > 0)
    return None


def _spreads(scan: EventScan, n: int, pieces: Sequence[Piece], reading: Reading, path: Path) -> list[Spread]:
    """Read pieces, and spread their events over n partitions in files whose names begin with a path."""
    found, chunks = list[Spread](), list[pl.DataFrame]()

    def write() -> None:
        found.append(spread(chunks, path.with_name(f"{path.name}-{len(found)}.arrow"), n))
        chunks.clear()

    for chunk in chain.from_iterable(scan.read(reading, piece) for piece in pieces):
        chunks.append(chunk)
        if sum(one.height for one in chunks) >= SPREAD_EVENTS:
            write()
    if chunks:
        write()
    return found

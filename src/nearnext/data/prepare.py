"""Logs larger than memory: read, sessionised, filtered and written part by part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
import polars as pl

from nearnext.atomic import has_utf8_name, is_special, scratch_path, whole_folder
from nearnext.data.arrow import parquet_file
from nearnext.data.events import EventLog, EventScan, Piece, ReadKeywords, ReadOptions
from nearnext.data.files import same_path
from nearnext.data.filters import Counts, Filter, FilterReport, by_length, by_support
from nearnext.data.partitions import Partition, Partitions
from nearnext.data.pieces import read_pieces
from nearnext.data.prepared import is_prepared, write_prepared
from nearnext.data.reading import ReadReport
from nearnext.data.repeats import Repeats
from nearnext.data.sessionise import GAP, sessions_of
from nearnext.data.sessions import Sessions
from nearnext.data.stored import StoredSessions, numbers
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError
from nearnext.options import Count, checked, path_of
from nearnext.processes import ONE_PROCESS, Executor, Processes
from nearnext.progress import track
from nearnext.types import Int64Array

PARTITION_EVENTS = 1_000_000
"""Events of a partition: about 150 MiB of memory while it is cut into sessions."""
MOST_PARTITIONS = 256
PROCESSES_PAY = 4_000_000
"""Events from which processes of this machine save more than their start takes; docs/scale.md has the times."""
PARQUET = (".parquet", ".pq")
"""Ending of output names that become Parquet files; others become folders."""


@dataclass(frozen=True)
class PrepareReport:
    """What was written.

    Attributes:
        out: the folder, or the Parquet file: columns session_id, item_id, timestamp (microseconds, UTC).
        read: what was read.
        filtered: what the filter took away.
        sessions: sessions written.
        events: clicks written.
        items: distinct items written.
        partitions: parts in which the log was worked on.
        repeats: how clicks that repeat the one before them were counted.
    """

    out: Path
    read: ReadReport
    filtered: FilterReport
    sessions: int
    events: int
    items: int
    partitions: int
    repeats: Repeats


def prepare(
    source: object,
    out: str | Path,
    *,
    chosen: Filter | None = None,
    gap: float = GAP,
    collapse_repeats: bool | None = None,
    partitions: int | None = None,
    workers: int | Executor = 1,
    **options: Unpack[ReadKeywords],
) -> PrepareReport:
    """Write a sessionised, filtered copy of a log of any size; memory holds one partition and the items.

    ``out`` becomes a folder that `read_sessions` and the commands map into memory, or a Parquet file if its name ends
    in .parquet. Reading it gives the sessions that filtering the whole log in memory would give, in the same order. It
    appears when it is complete; an interrupted run leaves nothing behind. ``chosen`` are the sessions and items
    to use, by default sessions of 2 or more clicks; ``partitions`` the parts to work on one after another, by default
    by the log's size; ``workers`` the processes that do so if it has 4 million events or more, each with a part in
    memory, or another executor, which changes no result. The log and further options are as in `read_events`, ``gap``
    and ``collapse_repeats`` as in `sessionise`.

    Raises:
        DataError: nothing usable is read or left, or the file cannot be written.
        ConfigError: an option has an impossible value.

    >>> from tempfile import mkdtemp
    >>> log = pl.DataFrame({"session_id": [1, 1, 2], "item_id": [7, 8, 7], "timestamp": [100, 101, 102]})
    >>> report = prepare(log, Path(mkdtemp()) / "clicks.parquet")
    >>> report.sessions, report.filtered.short_sessions
    (1, 1)
    """
    partitions = checked("the number of partitions", partitions, Count | None)
    executor = Processes(checked("the number of workers", workers, Count)) if isinstance(workers, int) else workers
    reading = ReadOptions(**options)
    scan = EventScan(source, reading)
    target = path_of("out", out)
    weighted = reading.weights or "weight" in (reading.columns or {})
    if (reading.target is not None or weighted) and target.suffix in PARQUET:
        raise ConfigError(f"{target}: a Parquet file keeps no event types or weights; name a folder, or leave them out")
    try:
        _check_target(target, scan)
        with scratch_path(target) as folder:
            folder.mkdir()
            pieces = scan.pieces()
            events = sum(piece.events for piece in pieces)
            parts = Partitions(partitions or int(np.clip(np.ceil(events / PARTITION_EVENTS), 1, MOST_PARTITIONS)))
            arguments = scan, pieces, parts, folder, target, chosen or Filter(), gap, collapse_repeats, reading
            if not isinstance(executor, Processes):
                return _prepared(*arguments, executor)
            with (executor if events >= PROCESSES_PAY else ONE_PROCESS).kept() as team:
                return _prepared(*arguments, team)
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error.strerror or error}; free some space or name another folder"
        ) from error


def _check_target(out: Path, scan: EventScan) -> None:
    """Raise a DataError unless the target is new, an empty folder, one of `prepare`, or a Parquet file."""
    if not has_utf8_name(out):
        raise DataError(f"cannot write {out}: pyarrow writes to names in UTF-8 only; name another folder")
    if any(same_path(file, out) for file in scan.files):
        raise DataError(f"{out} is the log itself; name another file to write")
    if out.is_dir() and (out.suffix in PARQUET or not is_prepared(out)) and any(out.iterdir()):
        raise DataError(f"cannot write {out}: it is a folder of other files; name a new folder")
    if is_special(out) or (out.is_file() and out.suffix not in PARQUET):
        raise DataError(f"cannot write {out}: it is no folder; name a new one, or a file that ends in .parquet")
    if not out.parent.is_dir():
        raise DataError(f"cannot write {out}: there is no folder {out.parent}; create it first")


def _prepared(
    scan: EventScan,
    pieces: Sequence[Piece],
    parts: Partitions,
    folder: Path,
    target: Path,
    chosen: Filter,
    gap: float,
    collapse_repeats: bool | None,
    options: ReadOptions,
    executor: Executor,
) -> PrepareReport:
    local = ONE_PROCESS if executor.remote else executor
    read_pieces(scan, pieces, parts, folder, local)
    cut = partial(
        cut_partition,
        report=scan.report,
        event_codes=scan.event_codes,
        gap=gap,
        collapse_repeats=collapse_repeats,
        chosen=chosen,
        n_items=len(parts.items),
    )
    stored = StoredSessions(folder, len(parts.items))
    counts = np.zeros(len(parts.items) + 1, np.int64)
    filtered, repeats = _cut_all(parts, stored, cut, counts, executor)
    parts.remove()
    filtered += by_support(stored, counts, chosen, local)
    if counts.sum() == 0:
        raise DataError(
            f"no sessions are left of {scan.name} after the filter (length {chosen.min_length}, support "
            f"{chosen.min_support}); lower the filters or give a longer log"
        )
    counted = repeats.facts(options.used(scan.report.event_types))
    read = replace(scan.report, repeats=counted, collapse_repeats=collapse_repeats)
    if target.suffix in PARQUET:
        n_sessions = _write_parquet(stored, Vocabulary(parts.items), folder / target.name)
        (folder / target.name).replace(target)
    else:
        with whole_folder(target) as fresh:
            n_sessions = write_prepared(stored, parts.items, fresh, read, list(scan.event_codes), local)
    return PrepareReport(
        out=target,
        read=scan.report,
        filtered=filtered,
        sessions=n_sessions,
        events=int(counts.sum()),
        items=int(np.count_nonzero(counts)),
        partitions=parts.n,
        repeats=repeats,
    )


def _cut_all(
    parts: Partitions,
    stored: StoredSessions,
    cut: Callable[[Partition], "CutPartition | None"],
    counts: Int64Array,
    executor: Executor,
) -> tuple[FilterReport, Repeats]:
    """Cut all partitions and store their sessions; ``counts`` gets the clicks of each item: [I + 1]."""
    filtered, repeats = FilterReport(), Repeats()
    found = (
        map(partial(_store, stored), executor.map(cut, map(Partition.loaded, parts)))
        if executor.remote
        else executor.map(partial(_cut_and_store, stored, cut), parts)
    )
    with track("cutting sessions", parts.n, "parts") as advance:
        for number, part in enumerate(found):
            if part is not None:
                stored.parts.append(number)
                repeats += part.repeats
                filtered += part.filtered
                part.counts.add_to(counts)
            advance(1)
    return filtered, repeats


class CutPartition(NamedTuple):
    """The sessions of a partition that the filter keeps by their length; their ids are rows of ``keys``."""

    number: int
    sessions: Sessions
    keys: pl.DataFrame  # of all its sessions, see `StoredSessions.store`
    filtered: FilterReport
    repeats: Repeats


def cut_partition(
    partition: Partition,
    *,
    report: ReadReport,
    event_codes: Mapping[str, int],
    gap: float,
    collapse_repeats: bool | None,
    chosen: Filter,
    n_items: int,
) -> CutPartition | None:
    """The sessions of a partition; None where it has no events."""
    events = partition.events()
    if not events:
        return None
    log = EventLog.of(events, report, event_codes)
    known = log.frame["item_id"].to_numpy(), numbers(n_items)
    sessions, repeats, first = sessions_of(log, gap=gap, collapse_repeats=collapse_repeats, known=known)
    rows = log.frame["row"].to_numpy()[first]
    keys = pl.DataFrame({"session_id": sessions.session_ids, "begun": sessions.starts, "row": rows})
    positions = pl.Series("key", np.arange(sessions.n_sessions))
    kept, filtered = by_length(replace(sessions, session_ids=positions), chosen)
    return CutPartition(partition.number, kept, keys, filtered, repeats)


class StoredPartition(NamedTuple):
    """What was counted in a partition whose sessions are stored."""

    filtered: FilterReport
    repeats: Repeats
    counts: Counts


def _store(stored: StoredSessions, part: CutPartition | None) -> StoredPartition | None:
    if part is None:
        return None
    stored.store(part.number, part.sessions, part.keys)
    return StoredPartition(part.filtered, part.repeats, Counts.of(part.sessions))


def _cut_and_store(
    stored: StoredSessions, cut: Callable[[Partition], CutPartition | None], partition: Partition
) -> StoredPartition | None:
    return _store(stored, cut(partition))


def _write_parquet(stored: StoredSessions, vocabulary: Vocabulary, path: Path) -> int:
    """Write sessions as Parquet, one row per click; returns their number."""
    blocks, total = stored.blocks()
    with parquet_file(path) as append:
        for sessions in stored.in_order(blocks):
            append(replace(sessions, vocabulary=vocabulary).to_frame())
    return total.sessions

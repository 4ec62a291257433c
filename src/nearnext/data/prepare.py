"""Logs larger than memory: read, sessionised, filtered and written part by part."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
import polars as pl

from nearnext.atomic import scratch_path, whole_folder
from nearnext.data.arrow import parquet_file
from nearnext.data.events import EventLog, EventScan, ReadKeywords, ReadOptions
from nearnext.data.files import same_path
from nearnext.data.filters import Filter, FilterReport, by_length, by_support
from nearnext.data.partitions import Partition, Partitions
from nearnext.data.prepared import StoredSessions, is_prepared, write_prepared
from nearnext.data.reading import ReadReport
from nearnext.data.repeats import Repeats
from nearnext.data.sessionise import GAP, sessions_of
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.options import Count, checked, path_of
from nearnext.processes import Executor, Processes
from nearnext.progress import track

PARTITION_EVENTS = 3_000_000
"""Events of a partition: about half a GiB of memory while it is cut into sessions."""
EVENT_BYTES = {"bytes": 25, "rows": 1}
COMPRESSION = 5
MOST_PARTITIONS = 256
PROCESSES_PAY = 10_000_000
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
    by the log's size; ``workers`` the processes that do so if it has 10 million events or more, each with a part in
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
    target = _checked_target(path_of("out", out), scan)
    weighted = reading.weights or "weight" in (reading.columns or {})
    if (reading.target is not None or weighted) and target.suffix in PARQUET:
        raise ConfigError(f"{target}: a Parquet file keeps no event types or weights; name a folder, or leave them out")
    try:
        with scratch_path(target) as folder:
            folder.mkdir()
            parts = Partitions(folder, partitions or _n_partitions(scan))
            return _prepared(scan, parts, folder, target, chosen or Filter(), gap, collapse_repeats, reading, executor)
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error.strerror or error}; free some space or name another folder"
        ) from error


def _checked_target(out: Path, scan: EventScan) -> Path:
    if out.is_dir() and (out.suffix in PARQUET or not is_prepared(out)) and any(out.iterdir()):
        raise DataError(f"cannot write {out}: it is a folder of other files; name a new folder")
    if not out.parent.is_dir():
        raise DataError(f"cannot write {out}: there is no folder {out.parent}; create it first")
    if any(same_path(file, out) for file in scan.files):
        raise DataError(f"{out} is the log itself; name another file to write")
    return out


def _n_partitions(scan: EventScan) -> int:
    """Partitions of about 3 million events, guessed from the size of the log."""
    events = 0.0
    for reader in scan.readers():
        packed = any(reader.where.lower().endswith(suffix) for suffix in (".gz", ".bz2", ".zst", ".zstd"))
        events += reader.work / EVENT_BYTES[reader.unit] * (COMPRESSION if packed else 1)
    return int(np.clip(np.ceil(events / PARTITION_EVENTS), 1, MOST_PARTITIONS))


def _prepared(
    scan: EventScan,
    parts: Partitions,
    folder: Path,
    target: Path,
    chosen: Filter,
    gap: float,
    collapse_repeats: bool | None,
    options: ReadOptions,
    executor: Executor,
) -> PrepareReport:
    for chunk in scan:
        parts.add(chunk)
    parts.close()
    work, filtered, repeats = StoredSessions(folder), FilterReport(), Repeats()
    cut = partial(
        cut_partition,
        report=scan.report,
        event_codes=scan.event_codes,
        gap=gap,
        collapse_repeats=collapse_repeats,
        chosen=chosen,
    )
    with track("cutting sessions", parts.n, "parts") as advance:
        for part in _mapped(executor, cut, parts, scan.report.used):
            if part is not None:
                repeats += part.repeats
                filtered += part.filtered
                work.add(part.sessions, part.keys)
            advance(1)
    filtered += by_support(work, work.counts, chosen)
    if work.counts.sum() == 0:
        raise DataError(
            f"no sessions are left of {scan.name} after the filter (length {chosen.min_length}, support "
            f"{chosen.min_support}); lower the filters or give a longer log"
        )
    counted = repeats.facts(options.used(scan.report.event_types))
    read = replace(scan.report, repeats=counted, collapse_repeats=collapse_repeats)
    if target.suffix in PARQUET:
        n_sessions = _write_parquet(work.in_order(), folder / target.name)
        (folder / target.name).replace(target)
    else:
        with whole_folder(target) as fresh:
            n_sessions = write_prepared(work.in_order(), fresh, read, list(scan.event_codes))
    return PrepareReport(
        out=target,
        read=scan.report,
        filtered=filtered,
        sessions=n_sessions,
        events=int(work.counts.sum()),
        items=int(np.count_nonzero(work.counts)),
        partitions=parts.n,
        repeats=repeats,
    )


def _mapped(
    executor: Executor, cut: Callable[[Partition], "CutPartition | None"], parts: Partitions, n_events: int
) -> "Iterator[CutPartition | None]":
    if parts.n == 1 or (n_events < PROCESSES_PAY and not executor.remote):
        return map(cut, parts)
    return executor.map(cut, map(Partition.loaded, parts) if executor.remote else parts)


class CutPartition(NamedTuple):
    """The sessions of a partition that the filter keeps by their length; their ids are rows of ``keys``."""

    sessions: Sessions
    keys: pl.DataFrame  # of all its sessions, see `StoredSessions.add`
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
) -> CutPartition | None:
    """The sessions of a partition; None where it has no events."""
    events = partition.events()
    if not events:
        return None
    log = EventLog.of([part.drop("row") for part in events], report, event_codes)
    sessions, repeats, first = sessions_of(log, gap=gap, collapse_repeats=collapse_repeats)
    rows = np.concatenate([part["row"].to_numpy() for part in events])[first]
    keys = pl.DataFrame({"session_id": sessions.session_ids, "begun": sessions.starts, "row": rows})
    numbers = pl.Series("key", np.arange(sessions.n_sessions))
    kept, filtered = by_length(replace(sessions, session_ids=numbers), chosen)
    return CutPartition(kept, keys, filtered, repeats)


def _write_parquet(parts: Iterable[Sessions], path: Path) -> int:
    """Write sessions as Parquet, one row per click; returns their number."""
    n_sessions = 0
    with parquet_file(path) as append:
        for sessions in parts:
            n_sessions += sessions.n_sessions
            append(sessions.to_frame())
    return n_sessions

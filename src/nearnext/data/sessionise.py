"""Events into sessions: by session id, or cut per user by inactivity, over the whole log."""

import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack, cast

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from nearnext.data.arrow import arrow
from nearnext.data.chunks import as_frame
from nearnext.data.events import EventLog, ReadKeywords, ReadOptions, read_events
from nearnext.data.prepared import is_prepared, open_prepared
from nearnext.data.reading import ReadReport
from nearnext.data.repeats import EventCodes, Repeats, merge_repeats, repeat_notes
from nearnext.data.sessions import MICROSECONDS, Sessions, require_sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError, LogWarning
from nearnext.forks import require_polars
from nearnext.options import NonNegative, checked, require_type
from nearnext.progress import track
from nearnext.types import Int64Array

GAP = 1800.0
"""Seconds: a longer pause of a user begins a new session."""

Codes = NDArray[np.int32]
Positions = NDArray[np.signedinteger[Any]]
"""int32 where that is enough."""


def group(codes: Codes, n_groups: int) -> tuple[Positions, Int64Array]:
    """Positions sorted by group, in their old order within each, and where each group begins: [n], [n_groups + 1].

    Counting sort, linear in n.

    >>> order, offsets = group(np.array([1, 0, 1], dtype=np.int32), 2)
    >>> order.tolist(), offsets.tolist()
    ([1, 0, 2], [0, 1, 3])
    """
    size = len(codes)
    positions = _smallest(np.arange(size))
    entries: Any = sparse.coo_array((np.ones(size, np.int8), (codes, positions)), shape=(n_groups, max(size, 1)))
    rows: Any = entries.tocsr()
    return rows.indices, rows.indptr.astype(np.int64)


def sessionise(log: EventLog, *, gap: float = GAP, collapse_repeats: bool | None = None) -> Sessions:
    """The sessions of a log, in order of their start; equal starts keep the order of first appearance.

    With session ids, events of one id are one session, however long its pauses and however many its users; `stats` and
    the like count and name the ids that were used again. Otherwise a session of a user ends where the pause until the
    next event is longer than ``gap``; the n-th session of user u is called ``u:n``. Inside a session events are in
    order of time; equal times keep the log's order. Of consecutive clicks on one item that have several event types,
    such as a view and then a purchase, the first counts, unless ``collapse_repeats`` says otherwise.

    Args:
        log: the events.
        gap: seconds, used where the log has no session ids.
        collapse_repeats: whether consecutive clicks of a session on one item become its first: all of them (True, which
            also drops rows that repeat an earlier one exactly), none (False), those with several event types (None).

    Raises:
        DataError: the log has no events.
        ConfigError: the gap is negative, or an option of another type.

    >>> from nearnext.data.events import read_events
    >>> events = {"user": ["u", "u", "u"], "item": ["a", "b", "c"], "ts": [1.4e9, 1.4e9 + 1800, 1.4e9 + 3601]}
    >>> sessions = sessionise(read_events(pl.DataFrame(events)))
    >>> sessions.session_ids.to_list(), sessions.raw(0)
    (['u:1', 'u:2'], ['a', 'b'])
    """
    return sessions_of(log, gap=gap, collapse_repeats=collapse_repeats)[0]


def as_sessions(name: str, value: Any) -> Sessions:
    """`Sessions` unchanged; a pandas, polars or Arrow frame of clicks is read and cut into sessions.

    Raises:
        DataError: the frame has no usable rows.
        ConfigError: the argument is neither.
    """
    frame = as_frame(value)
    if isinstance(nw.from_native(frame, pass_through=True), nw.DataFrame | nw.LazyFrame):
        return sessionise(read_events(frame))
    require_sessions(name, value)
    return value


def sessions_of(
    log: EventLog,
    *,
    gap: float = GAP,
    collapse_repeats: bool | None = None,
    known: tuple[Codes, Vocabulary] | None = None,
) -> tuple[Sessions, Repeats, Positions]:
    """The sessions of a log as `sessionise` gives them, how repeats were counted, and each session's first row: [S].

    ``known``: the item of each event as a position in a vocabulary, from 0, which the sessions keep.
    """
    require_polars("cutting sessions")
    require_type("log", log, EventLog, "make it with read_events(source), or both at once with read_sessions(source)")
    gap = checked("gap", gap, NonNegative)
    collapse_repeats = checked("collapse_repeats", collapse_repeats, bool | None)
    if log.frame.height == 0:
        raise DataError("the log has no events, so there are no sessions; give a log with clicks")
    with track("cutting sessions", log.frame.height, "events") as advance:
        grouped, first, codes, users = _grouped(log, gap, *(known or _items(log)))
        merged, repeats = merge_repeats(grouped, codes, collapse_repeats)
        reused = _reused(grouped, gap) if log.frame.columns[0] == "session_id" else 0
        shared = _shared(grouped, users) if users is not None else 0
        repeats = replace(repeats, sessions=grouped.n_sessions, reused=reused, shared=shared)
        del grouped, codes, users
        sessions = merged.reindexed() if known is None else merged
        advance(log.frame.height)
    return sessions, repeats, first


def _reused(sessions: Sessions, gap: float) -> int:
    """How many sessions go on after a pause longer than the gap, in seconds."""
    late = np.flatnonzero(np.diff(sessions.times) > gap * MICROSECONDS) + 1
    owners = np.searchsorted(sessions.offsets, late, side="right") - 1
    return len(np.unique(owners[late > sessions.offsets[owners]]))


def _shared(sessions: Sessions, users: NDArray[np.uint64]) -> int:
    """How many sessions have clicks of several users; 0 stands for no user and does not count: [E]."""
    changed = users[1:] != users[:-1]
    changed[sessions.offsets[1:-1] - 1] = False
    if not changed.any():
        return 0
    known = users > 0
    owners, users = sessions.session_of_event()[known], users[known]
    return len(np.unique(owners[1:][(users[1:] != users[:-1]) & (owners[1:] == owners[:-1])]))


def _items(log: EventLog) -> tuple[Codes, Vocabulary]:
    codes, ids = encode(log.frame["item_id"])
    return codes, Vocabulary(ids)


def _grouped(
    log: EventLog, gap: float, codes: Codes, vocabulary: Vocabulary
) -> tuple[Sessions, Positions, EventCodes | None, NDArray[np.uint64] | None]:
    """Sessions by start and first row, and these rows; event type and user of each click where there are several."""
    frame = log.frame
    key = frame.columns[0]
    times = frame["time"].to_numpy()
    order, offsets, ids = _by_owner_and_time(frame[key], times)
    times = times[order]
    if key == "user_id":
        ids, offsets = _cut(ids, offsets, times, gap)
    first = np.minimum.reduceat(order, offsets[:-1])
    arrangement = np.lexsort((first, times[offsets[:-1]]))
    if np.any(arrangement[1:] < arrangement[:-1]):
        moved, offsets = _moved(offsets, arrangement, order.dtype)
        order, times, ids, first = order[moved], times[moved], ids.gather(arrangement), first[arrangement]
        del moved
    items = codes[order]
    further = (log.types, log.users, log.targets, log.weights)
    types, users, targets, weights = (None if each is None else each.to_numpy()[order] for each in further)
    del codes, order
    items += np.int32(1)
    ids = ids.alias("session_id")
    grouped = Sessions(items, offsets, times, vocabulary, ids, targets, weights)
    if log.event_types and types is not None:
        grouped = replace(grouped, types=types, event_types=log.event_types)
    return grouped, first, types, users


def encode(ids: pl.Series) -> tuple[Codes, pl.Series]:
    """Codes from 0 in order of first appearance, and the id of each."""
    column = cast("Any", ids.to_frame()).to_arrow(compat_level=pl.CompatLevel.oldest())[0]
    encoded = column.combine_chunks().dictionary_encode()
    arrow.default_memory_pool().release_unused()  # the hash table is as large as everything else here
    found = encoded.indices  # its own to_numpy imports pandas, which takes half a second
    codes = np.frombuffer(found.buffers()[1] or b"", np.int32, len(found), 4 * found.offset)
    return codes, pl.Series(ids.name, encoded.dictionary)


def _by_owner_and_time(owners: pl.Series, times: Int64Array) -> tuple[Positions, Int64Array, pl.Series]:
    """Positions sorted by owner, then time, then the log's order; where each owner begins; the owners."""
    codes, names = encode(owners)
    order, offsets = group(codes, len(names))
    grouped = times[order]
    falls = grouped[1:] < grouped[:-1]
    falls[offsets[1:-1] - 1] = False
    if not falls.any():
        return order, offsets, names
    by_time = _smallest(np.argsort(times, kind="stable"))
    order, offsets = group(codes[by_time], len(names))
    return by_time[order], offsets, names


def _moved(offsets: Int64Array, arrangement: Int64Array, dtype: np.dtype[Any]) -> tuple[Positions, Int64Array]:
    """The old position of each event once sessions are rearranged, and the new offsets."""
    lengths = np.diff(offsets)[arrangement]
    new_offsets = np.concatenate([[0], np.cumsum(lengths)])
    moved = np.repeat((offsets[arrangement] - new_offsets[:-1]).astype(dtype), lengths)
    moved += np.arange(len(moved), dtype=dtype)
    return moved, new_offsets


def _smallest(positions: Int64Array) -> Positions:
    return positions.astype(np.int32) if len(positions) < np.iinfo(np.int32).max else positions


def _cut(users: pl.Series, offsets: Int64Array, times: Int64Array, gap: float) -> tuple[pl.Series, Int64Array]:
    """Session ids, and where sessions begin: at each user and after each pause longer than the gap."""
    begins = np.zeros(len(times), np.bool_)
    begins[1:] = np.diff(times) > gap * MICROSECONDS
    begins[offsets[:-1]] = True
    starts = np.flatnonzero(begins)
    owner = np.searchsorted(offsets, starts, side="right") - 1
    first = np.searchsorted(starts, offsets[:-1])
    number = np.arange(len(starts)) - first[owner] + 1
    ids = pl.select(
        pl.concat_str(users.gather(owner).cast(pl.String), pl.lit(":"), pl.Series(number).cast(pl.String)).alias("id")
    )["id"]
    return ids.alias("session_id"), np.append(starts, len(times))


def read_sessions(
    source: object, *, gap: float = GAP, collapse_repeats: bool | None = None, **options: Unpack[ReadKeywords]
) -> Sessions:
    """The sessions of a click log; source and options as in `read_events`, the others as in `sessionise`.

    A folder that `prepare` has written is mapped into memory, so that it can be larger than it. A `LogWarning` names
    session ids that were used again, and clicks that a log has several times.

    Raises:
        DataError: nothing usable is there, or a row is rejected and ``strict`` is given.
        ConfigError: an unknown option value.

    >>> frame = pl.DataFrame({"SessionId": [1, 1, 2], "ItemId": [7, 8, 7], "Time": [1.4e9, 1.4e9, 1.5e9]})
    >>> read_sessions(frame).raw(0)
    [7, 8]
    """
    sessions, report = read_log(source, ReadOptions(**options), gap=gap, collapse_repeats=collapse_repeats)
    for note in repeat_notes([asdict(report)]):
        warnings.warn(note, LogWarning, stacklevel=2)
    return sessions


def read_log(
    source: object, options: ReadOptions, *, gap: float = GAP, collapse_repeats: bool | None = None
) -> tuple[Sessions, ReadReport]:
    """The sessions of a log and how it was read; a prepared log is mapped into memory."""
    if not is_prepared(source):
        log = read_events(source, **vars(options))
        sessions, repeats, _ = sessions_of(log, gap=gap, collapse_repeats=collapse_repeats)
        counted = repeats.facts(options.used(log.report.event_types))
        return sessions, replace(log.report, repeats=counted, collapse_repeats=collapse_repeats)
    if (options, gap, collapse_repeats) != (ReadOptions(), GAP, None):
        raise ConfigError(
            f"{source} is a prepared log: how it is read was chosen when it was prepared; leave out the reading "
            "options, or prepare it again with them"
        )
    return open_prepared(cast("str | Path", source))

"""Training sessions by recency and the sessions of each item, for session-kNN and for explanations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from nearnext.compiled import compiled
from nearnext.data.arrow import arrow
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.options import Count, checked
from nearnext.stored_arrays import require_array, require_offsets
from nearnext.types import FloatArray, IndexArray, Int64Array, RawId

MOST_POSITION, LATEST = 1 << 24, 1 << 62
"""The greatest position in a session, and time in microseconds, of a stored index."""


class SessionIndex(NamedTuple):
    """Training sessions by recency, and the sessions of each item."""

    item_offsets: Int64Array  # sessions of item i are at item_offsets[i]..item_offsets[i + 1]: [I + 2]
    item_sessions: IndexArray  # session numbers, most recent first: [P]
    item_positions: IndexArray  # position of the last click on the item in that session, from 1: [P]
    session_offsets: Int64Array  # items of session s are at session_offsets[s]..session_offsets[s + 1]: [S + 1]
    session_items: IndexArray  # distinct items of each session: [Q]
    last_positions: IndexArray  # position of the last click on that item in its session, from 1: [Q]
    ends: Int64Array  # time of each session's last click, microseconds: [S]
    item_weights: FloatArray  # factor of a vote for each item, 1 + λ · idf: [I + 1]
    idf: FloatArray  # log(sessions / clicks on the item): [I + 1]
    click_weights: FloatArray  # largest weight of a session's clicks on that item: [Q]; [0]: all weights are 1


def newest_first(sessions: Sessions) -> Int64Array:
    """Positions of the sessions by recency of their last click; of equal ones the later in the log comes first: [S].

    >>> newest_first(Sessions.of([["a"], ["b"], ["c"]], starts=[0, 5, 5])).tolist()
    [2, 1, 0]
    """
    return np.argsort(sessions.ends, kind="stable")[::-1]


def build_index(sessions: Sessions, idf_factor: float, most: int = 0) -> SessionIndex:
    """Training sessions numbered by recency of their last click, with the sessions of each item.

    With ``most`` above 0, each item keeps only its ``most`` most recent sessions, and sessions that no item keeps lose
    their items. A method that samples the ``most`` most recent sessions gives the same lists.

    idf is log(sessions / clicks), which session-rec counts in clicks rather than sessions; 0 for items without clicks.
    """
    by_recency, counts = newest_first(sessions), sessions.item_counts()
    clicked = np.flatnonzero(counts[1:]) + 1
    idf = np.zeros(len(counts))
    idf[clicked] = np.log(sessions.n_sessions / counts[clicked])
    most = most or sessions.n_sessions
    item_offsets, session_offsets = _sizes(sessions.items, sessions.offsets, by_recency, len(counts), most)
    lists = _fill(sessions.items, sessions.offsets, by_recency, item_offsets, session_offsets)
    item_sessions, item_positions, session_items, last_positions = lists
    largest, weights = np.zeros(0), sessions.weights
    if weights is not None:
        of_sessions = by_recency, session_offsets, session_items
        largest = _largest_weights(sessions.items, weights, sessions.offsets, *of_sessions)
    return SessionIndex(
        item_offsets=item_offsets,
        item_sessions=item_sessions,
        item_positions=item_positions,
        session_offsets=session_offsets,
        session_items=session_items,
        last_positions=last_positions,
        ends=sessions.ends[by_recency],
        item_weights=1.0 + idf_factor * idf,
        idf=idf,
        click_weights=largest,
    )


@compiled()
def _largest_weights(
    clicks: IndexArray,
    weights: FloatArray,
    click_offsets: Int64Array,
    order: Int64Array,
    offsets: Int64Array,
    items: IndexArray,
) -> FloatArray:
    """Largest weight of the clicks of each session on each of its items, which are sorted: [Q]."""
    largest = np.zeros(len(items))
    for number, session in enumerate(order):
        begin, end = offsets[number], offsets[number + 1]
        if begin < end:
            for click in range(click_offsets[session], click_offsets[session + 1]):
                at = begin + np.searchsorted(items[begin:end], clicks[click])  # pyright: ignore[reportUnknownVariableType]
                largest[at] = max(largest[at], weights[click])
    return largest


@compiled()
def _sizes(
    items: IndexArray, offsets: Int64Array, order: Int64Array, n_indices: int, most: int
) -> tuple[Int64Array, Int64Array]:
    """Where each item's sessions and each session's items begin: [I + 2], [S + 1]."""
    item_offsets, session_offsets = np.zeros(n_indices + 1, np.int64), np.zeros(len(order) + 1, np.int64)
    seen = np.zeros(n_indices, np.int64)
    for number, session in enumerate(order):
        distinct, kept = 0, False
        for click in range(offsets[session], offsets[session + 1]):
            item = items[click]
            if seen[item] == number + 1:
                continue
            seen[item] = number + 1
            distinct += 1
            if item_offsets[item + 1] < most:
                item_offsets[item + 1] += 1
                kept = True
        session_offsets[number + 1] = session_offsets[number] + (distinct if kept else 0)
    return np.cumsum(item_offsets), session_offsets


@compiled()
def _fill(
    items: IndexArray, offsets: Int64Array, order: Int64Array, item_offsets: Int64Array, session_offsets: Int64Array
) -> tuple[IndexArray, IndexArray, IndexArray, IndexArray]:
    """Sessions of the items and positions in them [P]; items of the sessions, and their last positions [Q]."""
    item_sessions = np.empty(item_offsets[-1], np.int32)
    item_positions = np.empty(item_offsets[-1], np.int32)
    session_items = np.empty(session_offsets[-1], np.int32)
    last_positions = np.empty(session_offsets[-1], np.int32)
    heads = item_offsets[:-1].copy()
    for number, session in enumerate(order):
        begin, end = session_offsets[number], session_offsets[number + 1]
        if begin == end:
            continue
        first = offsets[session]
        # By item and position: of equal items the last click closes the run.
        clicks = np.empty(offsets[session + 1] - first, np.int64)
        for at in range(len(clicks)):
            clicks[at] = (np.int64(items[first + at]) << np.int64(32)) | np.int64(at + 1)
        clicks.sort()
        for at in range(len(clicks)):
            item = clicks[at] >> np.int64(32)
            if at + 1 < len(clicks) and clicks[at + 1] >> np.int64(32) == item:
                continue
            session_items[begin], last_positions[begin] = item, clicks[at] & np.int64(0xFFFFFFFF)
            if heads[item] < item_offsets[item + 1]:
                item_sessions[heads[item]], item_positions[heads[item]] = number, last_positions[begin]
                heads[item] += 1
            begin += 1
    return item_sessions, item_positions, session_items, last_positions


def index_arrays(index: SessionIndex) -> dict[str, FloatArray | IndexArray | Int64Array]:
    """The arrays from which `stored_index` makes the index again, by name."""
    left_out = set[str]() if len(index.click_weights) else {"click_weights"}
    return {name: array for name, array in index._asdict().items() if name not in left_out}


def stored_index(arrays: Mapping[str, Any], n_items: int) -> SessionIndex:
    """The index whose `index_arrays` are given; `DataError` where they do not fit one another.

    >>> index = build_index(Sessions.of([["a", "b"], ["b"]]), 0.0)
    >>> stored_index(index_arrays(index), n_items=2).item_positions.tolist() == index.item_positions.tolist()
    True
    """
    weights = arrays.get("click_weights", np.zeros(0))
    n_pairs, n_listed, n_sessions = (len(arrays[name]) for name in ("session_items", "item_sessions", "ends"))
    index = SessionIndex(
        item_offsets=require_offsets("offsets of items", arrays["item_offsets"], n_items + 1, n_listed),
        item_sessions=require_array("sessions", arrays["item_sessions"], np.int32, (n_listed,), 0, n_sessions - 1),
        item_positions=require_array("positions", arrays["item_positions"], np.int32, (n_listed,), 1, MOST_POSITION),
        session_offsets=require_offsets("offsets of sessions", arrays["session_offsets"], n_sessions, n_pairs),
        session_items=require_array("items of sessions", arrays["session_items"], np.int32, (n_pairs,), 0, n_items),
        last_positions=require_array("positions", arrays["last_positions"], np.int32, (n_pairs,), 1, MOST_POSITION),
        ends=require_array("ends of sessions", arrays["ends"], np.int64, (n_sessions,), -LATEST, LATEST),
        item_weights=require_array("weights of items", arrays["item_weights"], np.float64, (n_items + 1,)),
        idf=require_array("idf", arrays["idf"], np.float64, (n_items + 1,)),
        click_weights=require_array("weights of clicks", weights, np.float64, (n_pairs if len(weights) else 0,), 0.0),
    )
    if not (n_sessions and np.all(index.ends[1:] <= index.ends[:-1]) and _agrees(index)):
        raise DataError("expected sessions by recency with the sessions of each item, found others")
    return index


@compiled()
def _agrees(index: SessionIndex) -> bool:
    """Whether lists are in order and sessions have the items, at the positions given."""
    for session in range(len(index.ends)):
        for at in range(index.session_offsets[session] + 1, index.session_offsets[session + 1]):
            if index.session_items[at - 1] >= index.session_items[at]:
                return False
    for item in range(len(index.item_offsets) - 1):
        begin = index.item_offsets[item]
        for at in range(begin, index.item_offsets[item + 1]):
            session = index.item_sessions[at]
            low, high = index.session_offsets[session], index.session_offsets[session + 1]
            found = low + np.searchsorted(index.session_items[low:high], item)
            if found == high or index.session_items[found] != item:
                return False
            if at > begin and index.item_sessions[at - 1] >= session:
                return False
            if index.item_positions[at] != index.last_positions[found]:
                return False
    return True


REMEMBERED = 100_000
"""Default number of sessions that a model keeps, the most recent ones."""


@dataclass(frozen=True, eq=False)
class SessionMemory:
    """The most recent training sessions of one model; of times only the end of each session is kept.

    >>> memory = SessionMemory.of(Sessions.of([["a", "b"], ["b", "c"], ["a", "c"]]), limit=2)
    >>> memory.sessions.n_sessions, memory.session_id(0), memory.session_id(2)
    (2, 1, None)
    """

    sessions: Sessions  # in the model's vocabulary, by the time of their last click, which all their clicks have

    @classmethod
    def of(cls, sessions: Sessions, limit: int = REMEMBERED, *, keep_ids: bool = False) -> "SessionMemory":
        """The last ``limit`` sessions, at least 1, without the times of their clicks; numbered unless ids are kept."""
        limit = checked("limit", limit, Count)
        kept = sessions.select(newest_first(sessions)[:limit][::-1])
        memory = cls(replace(kept, times=np.repeat(kept.ends, kept.lengths), weights=None))
        return memory if keep_ids else memory.numbered()

    def numbered(self) -> "SessionMemory":
        """The same sessions with numbers from 0, oldest first, instead of their raw ids."""
        numbers = pl.Series("session_id", np.arange(self.sessions.n_sessions))
        return SessionMemory(replace(self.sessions, session_ids=numbers))

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, vocabulary: Vocabulary) -> "SessionMemory":
        """The memory that `to_frame` gave."""
        clicks = frame["items"]
        items = clicks.explode().cast(pl.Int32)  # numbers that are too large are an error
        if not len(frame) or items.null_count() or frame["end"].null_count() or frame["end"].dtype != pl.Int64:
            raise DataError("expected sessions with clicks and an end, found others")
        lengths = clicks.list.len().to_numpy().astype(np.int64)
        return cls(
            Sessions(
                items=items.to_numpy(),
                offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
                times=np.repeat(frame["end"].to_numpy(), lengths),
                vocabulary=vocabulary,
                session_ids=frame["session_id"],
            )
        )

    def to_frame(self) -> pl.DataFrame:
        """One row for each session, for a file: session_id, end (microseconds since 1970 UTC) and items (indices)."""
        sessions = self.sessions
        clicks = arrow.LargeListArray.from_arrays(sessions.offsets, arrow.array(sessions.items))
        return pl.DataFrame(
            {"session_id": sessions.session_ids, "end": sessions.ends, "items": pl.Series("items", clicks)}
        )

    @cached_property
    def index(self) -> SessionIndex:
        """The sessions of each item; sessions are numbered by recency, 0 the most recent."""
        return build_index(self.sessions, idf_factor=0.0)

    def session_id(self, number: int) -> RawId | None:
        """Id of a session by its number, which is the same in the index of all training sessions; None: older."""
        n_sessions = self.sessions.n_sessions
        return self.sessions.session_ids[n_sessions - 1 - number] if number < n_sessions else None

"""Training sessions by recency and the sessions of each item, for session-kNN and for explanations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.options import Count, checked
from nearnext.recommenders.stored import require_array, require_offsets
from nearnext.types import FloatArray, IndexArray, Int64Array, RawId

MOST_POSITION, LATEST = 1 << 24, 1 << 62
"""The greatest position in a session, and time in microseconds, of a stored index."""


class SessionIndex(NamedTuple):
    """Training sessions by recency, and the sessions of each item."""

    item_offsets: Int64Array  # sessions of item i are at item_offsets[i]..item_offsets[i + 1]: [I + 2]
    item_sessions: IndexArray  # session numbers, most recent first: [P]
    item_positions: IndexArray  # position of the last click on the item in that session, from 1: [P]
    session_offsets: Int64Array  # items of session s are at session_offsets[s]..session_offsets[s + 1]: [S + 1]
    session_items: IndexArray  # distinct items of each session: [P]
    last_positions: IndexArray  # position of the last click on that item in its session, from 1: [P]
    ends: Int64Array  # time of each session's last click, microseconds: [S]
    item_weights: FloatArray  # factor of a vote for each item, 1 + λ · idf: [I + 1]
    idf: FloatArray  # log(sessions / clicks on the item): [I + 1]


def newest_first(sessions: Sessions) -> Int64Array:
    """Positions of the sessions by recency of their last click; of equal ones the later in the log comes first: [S].

    >>> newest_first(Sessions.of([["a"], ["b"], ["c"]], starts=[0, 5, 5])).tolist()
    [2, 1, 0]
    """
    return np.lexsort((-np.arange(sessions.n_sessions), -sessions.ends))


def build_index(sessions: Sessions, idf_factor: float) -> SessionIndex:
    """Training sessions numbered by recency of their last click, with the sessions of each item.

    idf is log(sessions / clicks), which session-rec counts in clicks rather than sessions; 0 for items without clicks.
    """
    n_sessions, n_items = sessions.n_sessions, sessions.n_items
    by_recency = newest_first(sessions)
    number = np.empty(n_sessions, dtype=np.int64)
    number[by_recency] = np.arange(n_sessions)
    session_of = number[sessions.session_of_event()]
    position = np.arange(sessions.n_events) - np.repeat(sessions.offsets[:-1], sessions.lengths) + 1
    # The last click of each (session, item) pair: sorted by pair and position, it closes its run.
    order = np.lexsort((position, sessions.items, session_of))
    pair_session, pair_item = session_of[order], sessions.items[order]
    closes = np.ones(len(order), dtype=np.bool_)
    closes[:-1] = (np.diff(pair_session) != 0) | (np.diff(pair_item) != 0)
    pair_session, pair_item, pair_position = pair_session[closes], pair_item[closes], position[order][closes]
    by_item = np.argsort(pair_item, kind="stable")
    counts = sessions.item_counts()
    clicked = np.flatnonzero(counts[1:]) + 1
    idf = np.zeros(n_items + 1)
    idf[clicked] = np.log(n_sessions / counts[clicked])
    return SessionIndex(
        item_offsets=np.searchsorted(pair_item[by_item], np.arange(n_items + 2)).astype(np.int64),
        item_sessions=pair_session[by_item].astype(np.int32),
        item_positions=pair_position.astype(np.int32)[by_item],
        session_offsets=np.searchsorted(pair_session, np.arange(n_sessions + 1)).astype(np.int64),
        session_items=pair_item.astype(np.int32),
        last_positions=pair_position.astype(np.int32),
        ends=sessions.ends[by_recency],
        item_weights=1.0 + idf_factor * idf,
        idf=idf,
    )


def stored_arrays(index: SessionIndex) -> dict[str, FloatArray | IndexArray | Int64Array]:
    """The arrays from which `stored_index` makes the index again, by name."""
    return {name: array for name, array in index._asdict().items() if name != "item_positions"}


def stored_index(arrays: Mapping[str, Any], n_items: int) -> SessionIndex:
    """The index whose `stored_arrays` are given.

    >>> index = build_index(Sessions.of([["a", "b"], ["b"]]), 0.0)
    >>> stored_index(stored_arrays(index), n_items=2).item_positions.tolist() == index.item_positions.tolist()
    True
    """
    n_pairs, n_sessions = len(arrays["session_items"]), len(arrays["ends"])
    items = require_array("items of sessions", arrays["session_items"], np.int32, (n_pairs,), 0, n_items)
    offsets = require_offsets("offsets of sessions", arrays["session_offsets"], n_sessions, n_pairs)
    positions = require_array("positions", arrays["last_positions"], np.int32, (n_pairs,), 1, MOST_POSITION)
    ends = require_array("ends of sessions", arrays["ends"], np.int64, (n_sessions,), -LATEST, LATEST)
    by_item = np.argsort(items, kind="stable")
    index = SessionIndex(
        item_offsets=require_offsets("offsets of items", arrays["item_offsets"], n_items + 1, n_pairs),
        item_sessions=require_array("sessions of items", arrays["item_sessions"], np.int32, (n_pairs,)),
        item_positions=positions[by_item],
        session_offsets=offsets,
        session_items=items,
        last_positions=positions,
        ends=ends,
        item_weights=require_array("weights of items", arrays["item_weights"], np.float64, (n_items + 1,)),
        idf=require_array("idf", arrays["idf"], np.float64, (n_items + 1,)),
    )
    session = np.repeat(np.arange(n_sessions), np.diff(offsets))
    if not (
        n_sessions > 0
        and np.all(np.diff(ends) <= 0)
        and np.all(np.diff(session * (n_items + 1) + items) > 0)
        and np.array_equal(index.item_sessions, session[by_item])
        and np.array_equal(index.item_offsets, np.searchsorted(items[by_item], np.arange(n_items + 2)))
    ):
        raise DataError("expected sessions by recency with the sessions of each item, found others")
    return index


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
        memory = cls(replace(kept, times=np.repeat(kept.ends, kept.lengths)))
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

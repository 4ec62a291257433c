"""Training sessions by recency, and the sessions of each item: what session-kNN looks neighbours up in."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.types import FloatArray, IndexArray, Int64Array

__all__ = ["SessionIndex", "build_index", "newest_first", "stored_arrays", "stored_index"]


class SessionIndex(NamedTuple):
    """Training sessions by recency, and the sessions of each item.

    Attributes:
        item_offsets: sessions of item i are at item_offsets[i]..item_offsets[i + 1]: [I + 2].
        item_sessions: session numbers, most recent first: [P].
        item_positions: position of the last click on the item in that session, from 1: [P].
        session_offsets: items of session s are at session_offsets[s]..session_offsets[s + 1]: [S + 1].
        session_items: distinct items of each session: [P].
        last_positions: position of the last click on that item in its session, from 1: [P].
        ends: time of each session's last click, microseconds: [S].
        item_weights: factor of a vote for each item, 1 + λ · idf: [I + 1].
        idf: log(sessions / clicks on the item): [I + 1].
    """

    item_offsets: Int64Array
    item_sessions: IndexArray
    item_positions: IndexArray
    session_offsets: Int64Array
    session_items: IndexArray
    last_positions: IndexArray
    ends: Int64Array
    item_weights: FloatArray
    idf: FloatArray


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


def stored_index(arrays: Mapping[str, Any]) -> SessionIndex:
    """The index whose `stored_arrays` are given."""
    by_item = np.argsort(arrays["session_items"], kind="stable")
    return SessionIndex(**arrays, item_positions=arrays["last_positions"][by_item])

"""Training sessions that a model keeps in order to show which of them a session resembles."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.options import Count, checked
from nearnext.recommenders.session_index import SessionIndex, build_index, newest_first
from nearnext.types import RawId

__all__ = ["REMEMBERED", "SessionMemory"]

REMEMBERED = 100_000
"""Default number of sessions that a model keeps, the most recent ones."""


@dataclass(frozen=True, eq=False)
class SessionMemory:
    """The most recent training sessions of one model; of times only the end of each session is kept.

    Attributes:
        sessions: in the model's vocabulary, by the time of their last click, which all their clicks have.

    >>> memory = SessionMemory.of(Sessions.of([["a", "b"], ["b", "c"], ["a", "c"]]), limit=2)
    >>> memory.sessions.n_sessions, memory.session_id(0), memory.session_id(2)
    (2, 1, None)
    """

    sessions: Sessions

    @classmethod
    def of(cls, sessions: Sessions, limit: int = REMEMBERED, *, keep_ids: bool = False) -> "SessionMemory":
        """The last ``limit`` sessions, at least 1, without the times of their clicks; numbered unless ids are kept.

        Raises:
            ConfigError: a limit below 1.
        """
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
        """The memory that `to_frame` gave.

        Raises:
            DataError: clicks on items that the vocabulary lacks, or a session without clicks.
        """
        clicks = frame["items"]
        lengths = clicks.list.len().to_numpy().astype(np.int64)
        return cls(
            Sessions(
                items=clicks.explode().to_numpy().astype(np.int32),
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

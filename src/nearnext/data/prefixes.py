"""Prefixes: what is given when a recommendation is asked for, as views into one array of clicks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearnext.data.blocks import spans
from nearnext.data.raw import indices
from nearnext.data.sessions import Sessions, require_sessions
from nearnext.types import IndexArray, Int64Array, Rows


@dataclass(frozen=True, eq=False)
class Prefixes:
    """B beginnings of sessions; prefix b is ``items[starts[b]:ends[b]]``, oldest click first. Read-only views.

    Attributes:
        items: item index of each click, 0 where unknown: [E], shared, not copied.
        starts: first click of each prefix: [B].
        ends: one past the last click of each prefix: [B].
        times: time of each prefix's last click, microseconds since 1970 UTC: [B].

    >>> sessions = Sessions.of([["a", "b", "c"], ["b", "c"]])
    >>> prefixes = Prefixes.every(sessions)
    >>> len(prefixes), prefixes.lengths.tolist()
    (3, [1, 2, 1])
    """

    items: IndexArray
    starts: Int64Array
    ends: Int64Array
    times: Int64Array

    def __post_init__(self) -> None:
        for name in ("items", "starts", "ends", "times"):
            view = getattr(self, name).view()
            view.flags.writeable = False  # always, so that compiled code meets one type of array
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Int64Array:
        """Clicks of each prefix, unknown ones included: [B]."""
        return self.ends - self.starts

    @classmethod
    def every(cls, sessions: Sessions) -> "Prefixes":
        """Every proper prefix of every session, in order: no click after ``ends`` is part of a prefix.

        If only some clicks are to be predicted, the prefixes are those right before them.
        """
        require_sessions("sessions", sessions)
        lengths = sessions.lengths - 1
        first = np.repeat(sessions.offsets[:-1], lengths)
        ends = spans(sessions.offsets[:-1] + 1, lengths)
        if sessions.targets is not None:
            predicted = sessions.targets[ends]
            first, ends = first[predicted], ends[predicted]
        return cls(sessions.items, first, ends, sessions.times[ends - 1])

    @classmethod
    def of(cls, clicks: Sequence[IndexArray], time: int | Sequence[int] = 0) -> "Prefixes":
        """Prefixes from arrays of item indices, asked for at one time or each at its own (microseconds)."""
        clicks = [_indices(one) for one in clicks]
        times = np.full(len(clicks), time, dtype=np.int64)
        if len(clicks) == 1:  # as a service asks, where a few calls less are felt
            (only,) = clicks
            ends = np.array([len(only)], dtype=np.int64)
            start = np.zeros(1, dtype=np.int64)
            return cls(only.astype(np.int32, casting="same_kind", copy=False), start, ends, times)
        lengths = np.array([len(prefix) for prefix in clicks], dtype=np.int64)
        ends = lengths.cumsum()
        items = np.concatenate(clicks, dtype=np.int32, casting="same_kind") if clicks else np.zeros(0, np.int32)
        return cls(items, ends - lengths, ends, times)

    def slice(self, begin: int, end: int) -> "Prefixes":
        """Prefixes begin..end − 1, sharing the clicks."""
        return Prefixes(self.items, self.starts[begin:end], self.ends[begin:end], self.times[begin:end])

    def take(self, rows: Rows) -> "Prefixes":
        """The prefixes of some rows, in that order, sharing the clicks: [n].

        >>> Prefixes.every(Sessions.of([["a", "b", "c", "d"]])).take([2, 0]).lengths.tolist()
        [3, 1]
        """
        return Prefixes(self.items, self.starts[rows], self.ends[rows], self.times[rows])


def _indices(clicks: Any) -> IndexArray:
    """Item indices of one prefix; they are compared with a vocabulary when they are ranked."""
    if getattr(clicks, "dtype", None) == np.int32 and clicks.ndim == 1:
        return clicks
    most = int(np.iinfo(np.int32).max)
    return indices("item indices", clicks, 0, most, "make them with vocabulary.encode(ids)").astype(np.int32)

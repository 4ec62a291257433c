"""Filters of sessions and items: length and support, once each as in the paper, or to the fixed point."""

from dataclasses import astuple, dataclass
from functools import partial
from operator import add
from typing import Literal, NamedTuple, Protocol

import numpy as np

from nearnext.data.blocks import in_blocks
from nearnext.data.sessions import Sessions, require_sessions
from nearnext.options import Count, options, require_type
from nearnext.processes import ONE_PROCESS, Executor
from nearnext.progress import track
from nearnext.types import BoolArray, Int64Array


@options
class Filter:
    """Which sessions and items are used.

    Attributes:
        min_length: shortest session kept, clicks (1 keeps all).
        min_support: fewest clicks of an item that is kept (1 keeps all).
        mode: ``paper``: length, support, length, once each (Paper: §5); ``iterated``: repeated until nothing changes.
        max_length: the last clicks of a session that are kept, or None for all; no session is dropped for its length.

    Raises:
        ConfigError: a number below 1, or an unknown mode.

    >>> Filter(min_length=2, min_support=5)
    Filter(min_length=2, min_support=5, mode='paper', max_length=None)
    """

    min_length: Count = 2
    min_support: Count = 1
    mode: Literal["paper", "iterated"] = "paper"
    max_length: Count | None = None


@dataclass(frozen=True)
class FilterReport:
    """What a filter took away: sessions too short, clicks on rare items, and what precedes the last clicks."""

    short_sessions: int = 0
    rare_clicks: int = 0
    cut_sessions: int = 0
    cut_clicks: int = 0

    def __add__(self, other: "FilterReport") -> "FilterReport":
        return FilterReport(*map(add, astuple(self), astuple(other)))


class Parts(Protocol):
    """Sessions in replaceable parts that share a vocabulary: a list, or files."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: int, /) -> Sessions: ...
    def __setitem__(self, part: int, sessions: Sessions, /) -> None: ...


def keep_last_clicks(sessions: Sessions, max_length: int) -> Sessions:
    """Sessions with at most ``max_length`` clicks, the last ones."""
    if sessions.lengths.max(initial=0) <= max_length:
        return sessions
    from_end = (np.repeat(part.offsets[1:], part.lengths) - np.arange(part.n_events) for part in sessions.parts())
    return sessions.keep_events(np.concatenate([clicks <= max_length for clicks in from_end]))


def apply_filter(sessions: Sessions, chosen: Filter) -> tuple[Sessions, FilterReport]:
    """The sessions that a filter keeps, by new start time and in the old vocabulary, and counts of what it removed.

    Deviation: the authors' code drops sessions longer than the cap, test sessions included; here the last clicks stay.

    >>> kept, report = apply_filter(Sessions.of([["a", "b"], ["a"], ["a", "b"]]), Filter(min_length=2))
    >>> kept.n_sessions, report.short_sessions
    (2, 1)
    """
    require_sessions("sessions", sessions)
    require_type("filter", chosen, Filter, "make it with Filter(min_length=2, min_support=5)")
    long_enough, report = by_length(sessions, chosen)
    parts = [long_enough]
    report += by_support(parts, long_enough.item_counts(), chosen)
    kept, starts = parts[0], parts[0].starts
    in_order = np.all(starts[1:] >= starts[:-1])
    return kept if in_order else kept.select(np.argsort(starts, kind="stable")), report


def by_length(sessions: Sessions, chosen: Filter) -> tuple[Sessions, FilterReport]:
    """Truncate sessions to their last clicks and drop short ones; also returns counts of what was removed."""
    cut = np.maximum(sessions.lengths - (chosen.max_length or sessions.n_events), 0)
    last = keep_last_clicks(sessions, chosen.max_length) if cut.any() and chosen.max_length else sessions
    kept = last.select(last.lengths >= chosen.min_length)
    return kept, FilterReport(sessions.n_sessions - kept.n_sessions, 0, int(np.count_nonzero(cut)), int(cut.sum()))


def by_support(parts: Parts, counts: Int64Array, chosen: Filter, executor: Executor = ONE_PROCESS) -> FilterReport:
    """Drop clicks on rare items, then short sessions, once or until nothing changes; returns the counts removed.

    ``counts``: clicks of each item in all parts, updated in place: [I + 1]. The executor's workers filter parts.
    """
    report = FilterReport()
    while not (supported := (counts >= chosen.min_support) | (counts == 0)).all():
        counts[:] = 0
        with track("filtering", len(parts), "parts") as advance:
            for taken, left in executor.map(partial(_filtered, parts, supported, chosen.min_length), range(len(parts))):
                report += taken
                left.add_to(counts)
                advance(1)
        if chosen.mode == "paper":
            break
    return report


def _filtered(parts: Parts, supported: BoolArray, min_length: int, number: int) -> tuple[FilterReport, "Counts"]:
    """Filter a part; returns the counts removed, and the clicks left."""
    sessions = parts[number]
    masks = [supported[items] for items in in_blocks(sessions.items)]
    frequent = np.concatenate([*masks, np.zeros(0, np.bool_)])
    long_enough = sessions.lengths_of(frequent) >= min_length
    kept = sessions.keep_events(frequent & np.repeat(long_enough, sessions.lengths))
    if kept.n_events < sessions.n_events:
        parts[number] = kept
    taken = FilterReport(sessions.n_sessions - kept.n_sessions, int(np.count_nonzero(~frequent)))
    return taken, Counts.of(kept)


class Counts(NamedTuple):
    """Items that sessions have, and the clicks of each: [n], [n]."""

    items: Int64Array
    clicks: Int64Array

    @classmethod
    def of(cls, sessions: Sessions) -> "Counts":
        """The counts of these sessions."""
        counts = sessions.item_counts()
        items = np.flatnonzero(counts)
        return cls(items, counts[items])

    def add_to(self, counts: Int64Array) -> None:
        """Add to the clicks of all items, in place: [I + 1]."""
        counts[self.items] += self.clicks

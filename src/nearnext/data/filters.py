"""Filters of sessions and items: length and support, once each as in the paper, or to the fixed point."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nearnext.data.blocks import in_blocks
from nearnext.data.sessions import Sessions, require_sessions
from nearnext.options import Count, options, require_type
from nearnext.types import Int64Array


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


def keep_last_clicks(sessions: Sessions, max_length: int) -> Sessions:
    """Sessions with at most ``max_length`` clicks, the last ones, in order of their new start."""
    if sessions.lengths.max(initial=0) <= max_length:
        return sessions
    kept = np.concatenate([_clicks_from_end(part) <= max_length for part in sessions.parts()])
    sessions = sessions.keep_events(kept)
    return sessions.select(np.argsort(sessions.starts, kind="stable"))


def _clicks_from_end(sessions: Sessions) -> Int64Array:
    """Number of each click in its session, counted from 1 at the last one: [E]."""
    return np.repeat(sessions.offsets[1:], sessions.lengths) - np.arange(sessions.n_events)


def _drop_rare(sessions: Sessions, min_support: int) -> Sessions:
    counts = sessions.item_counts()
    supported = (counts >= min_support) | (counts == 0)
    if supported.all():
        return sessions
    return sessions.keep_events(np.concatenate([supported[items] for items in in_blocks(sessions.items)]))


def _drop_short(sessions: Sessions, min_length: int) -> Sessions:
    return sessions.select(sessions.lengths >= min_length)


def apply_filter(sessions: Sessions, chosen: Filter) -> tuple[Sessions, FilterReport]:
    """The sessions that a filter leaves, in their old vocabulary, and what it took away.

    Deviation: the authors' code drops sessions longer than the cap, test sessions included; here the last clicks stay.

    >>> kept, report = apply_filter(Sessions.of([["a", "b"], ["a"], ["a", "b"]]), Filter(min_length=2))
    >>> kept.n_sessions, report.short_sessions
    (2, 1)
    """
    require_sessions("sessions", sessions)
    require_type("filter", chosen, Filter, "make it with Filter(min_length=2, min_support=5)")
    before = sessions
    cut = np.zeros(0, np.int64)
    if chosen.max_length is not None:
        cut = np.maximum(sessions.lengths - chosen.max_length, 0)
        sessions = keep_last_clicks(sessions, chosen.max_length)
    n_cut = sessions.n_events
    short_clicks = 0
    while True:
        size = sessions.n_events
        long_enough = _drop_short(sessions, chosen.min_length)
        supported = _drop_rare(long_enough, chosen.min_support)
        sessions = _drop_short(supported, chosen.min_length)
        short_clicks += size - long_enough.n_events + supported.n_events - sessions.n_events
        if chosen.mode == "paper" or sessions.n_events == size:
            break
    return sessions, FilterReport(
        short_sessions=before.n_sessions - sessions.n_sessions,
        rare_clicks=n_cut - sessions.n_events - short_clicks,
        cut_sessions=int(np.count_nonzero(cut)),
        cut_clicks=int(cut.sum()),
    )

"""Clicks that a log has several times: under several event types, or in rows that repeat exactly."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from operator import add
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.sessions import Sessions
from nearnext.types import BoolArray

COMMON = 0.005
"""Least share of clicks that repeat under another event type, or exactly, which a note names."""

REUSED = 0.05
"""Least share of sessions that continue after a long pause which a note names."""

EventCodes = NDArray[np.uint8]
"""Event types as numbers."""


@dataclass(frozen=True)
class Repeats:
    """How clicks that repeat the item of the click before them were counted.

    Attributes:
        clicks: clicks of the log, all of them.
        repeats: those that repeat the item of the click before them in their session.
        across_types: those of them that stand in a run of clicks on one item with several event types.
        left_out: repeats that were not counted.
        exact: rows with the session, item, time and event type of an earlier row.
        sessions: sessions of the log.
        reused: sessions of one id that go on after a pause longer than the gap that ends sessions without ids.
        shared: sessions of one id with clicks of several users.
    """

    clicks: int = 0
    repeats: int = 0
    across_types: int = 0
    left_out: int = 0
    exact: int = 0
    sessions: int = 0
    reused: int = 0
    shared: int = 0

    def __add__(self, other: "Repeats") -> "Repeats":
        return Repeats(*map(add, astuple(self), astuple(other)))

    def facts(self, event_types: Mapping[str, int]) -> dict[str, Any]:
        """All of it as plain data, with the note."""
        return {**asdict(self), "note": self.note(event_types)}

    def note(self, event_types: Mapping[str, int]) -> str:
        """What has to be said of them before any figure, with the options that change it; nothing where they are rare.

        ``event_types``: rows of each event type that is used, the most frequent first.
        """
        common = max(1, COMMON * self.clicks)
        notes: list[str] = []
        if self.shared:
            notes.append(
                f"{self.shared:,} of {self.sessions:,} session ids have clicks of several users, which are read as one "
                "session; to cut sessions per user instead, map the users' column to user with columns (--column)"
            )
        if self.reused >= max(1, REUSED * self.sessions):
            notes.append(
                f"{self.reused:,} of {self.sessions:,} sessions go on after a pause longer than gap (--gap, 30 minutes "
                "by default): their ids are used again, or are those of users; to cut them at pauses, map their column "
                "to user with columns (--column)"
            )
        if self.exact >= common:
            notes.append(
                f"{self.exact:,} clicks ({self.exact / self.clicks:.1%}) repeat an earlier row exactly (same session, "
                "item and time), as after a double import"
                + (
                    "; they are not counted, as collapse_repeats=True (--collapse-repeats) asks"
                    if self.left_out >= max(self.exact, self.across_types + 1)
                    else ", and are counted, which makes every figure too high; remove the copies, or read the log "
                    "with collapse_repeats=True (--collapse-repeats)"
                )
            )
        if self.across_types >= common:
            notes.append(self._types_note(event_types))
        return "; ".join(notes)

    def _types_note(self, event_types: Mapping[str, int]) -> str:
        first = next(iter(event_types), "view")
        one_type = f"events=[{first!r}] (--events {shlex.quote(first)})"
        said = (
            f"{self.across_types:,} clicks ({self.across_types / self.clicks:.1%}) repeat the click before them under "
            f"another event type ({', '.join(event_types)})"
        )
        if self.left_out == 0:
            return (
                f"{said} and are counted: one click counts several times, which makes every figure too high; leave out "
                f"collapse_repeats=False (--keep-repeats), or read {one_type} alone"
            )
        if self.left_out > self.across_types:
            return (
                f"{said}; like all clicks on the item of the click before, they are not counted, as "
                "collapse_repeats=True (--collapse-repeats) asks"
            )
        return (
            f"{said}: they count as one click; {one_type} uses one type, collapse_repeats=False (--keep-repeats) "
            "counts every row"
        )


def repeat_notes(reading: Sequence[Mapping[str, Any]]) -> list[str]:
    """The notes of several logs, on event types and repeats, from the reports of how they were read."""
    empty: Mapping[str, Any] = {}
    return list(
        dict.fromkeys(  # one log may be both parts
            f"{report.get('source')}: {note}"
            for report in reading
            for note in (*report.get("notes", ()), (report.get("repeats") or empty).get("note"))
            if note
        )
    )


def merge_repeats(
    sessions: Sessions, codes: EventCodes | None, collapse_repeats: bool | None
) -> tuple[Sessions, Repeats]:
    """Sessions whose repeated clicks are counted as asked in `sessionise`, and what was found.

    ``codes``: the event type of each click, None where all are of one: [E].

    >>> merged, found = merge_repeats(Sessions.of([["a", "a", "b", "b"]]), np.array([0, 1, 0, 0], np.uint8), None)
    >>> merged.raw(0), found.across_types
    (['a', 'b', 'b'], 1)
    """
    again = _again(sessions)
    across = again & _mixed_runs(again, codes) if codes is not None else np.zeros_like(again)
    exact = _exact(sessions, codes)
    absorbed = {True: again, False: np.zeros_like(again), None: across}[collapse_repeats]
    merged = _with_values_of_runs(sessions, absorbed)
    if collapse_repeats:
        merged = merged.keep_events(~exact) if exact.any() else merged
        merged = merged.keep_events(~_again(merged)) if again.any() or exact.any() else merged
    elif absorbed.any():
        merged = merged.keep_events(~absorbed)
    n_dropped = sessions.n_events - merged.n_events
    return merged, Repeats(sessions.n_events, int(again.sum()), int(across.sum()), n_dropped, int(exact.sum()))


def _with_values_of_runs(sessions: Sessions, absorbed: BoolArray) -> Sessions:
    """Clicks that stand for absorbed ones: to be predicted if any is, with the largest weight and the rarest type."""
    firsts, highest = np.flatnonzero(~absorbed), dict[str, Any]()
    for name, values in sessions.per_click().items():
        if name in ("targets", "weights", "types") and absorbed.any():
            highest[name] = values.copy()
            highest[name][firsts] = np.maximum.reduceat(values, firsts)
    return replace(sessions, **highest) if highest else sessions


def _again(sessions: Sessions) -> BoolArray:
    """Clicks on the item of the click before them in their session: [E]."""
    again = np.zeros(sessions.n_events, np.bool_)
    again[1:] = sessions.items[1:] == sessions.items[:-1]
    again[sessions.offsets[:-1]] = False
    return again


def _exact(sessions: Sessions, codes: EventCodes | None) -> BoolArray:
    """Clicks with the session, item, time and event type of an earlier click: [E]."""
    same = np.zeros(sessions.n_events, np.bool_)
    same[1:] = sessions.times[1:] == sessions.times[:-1]
    same[sessions.offsets[:-1]] = False
    tied = np.flatnonzero(same | np.append(same[1:], np.zeros(min(1, len(same)), np.bool_)))
    if len(tied):
        rows = {"moment": np.cumsum(~same)[tied], "item": sessions.items[tied]}
        rows |= {} if codes is None else {"type": codes[tied]}
        same[tied] = pl.DataFrame(rows).select(~pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
    return same


def _mixed_runs(again: BoolArray, codes: EventCodes) -> BoolArray:
    """Clicks of runs, each a click and its repeats, that have several event types: [E]."""
    run = np.cumsum(~again) - 1
    mixed = np.zeros(len(again), np.bool_)
    mixed[run[1:][again[1:] & (codes[1:] != codes[:-1])]] = True
    return mixed[run]

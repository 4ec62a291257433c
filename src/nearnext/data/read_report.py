"""How a log was read, as plain data."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ReadReport:
    """What was read, and how it was understood.

    Attributes:
        source: the log as it was named.
        layout: the recognised layout.
        columns: the column of each role.
        time_unit: how times were written, with shares where there are several ways.
        rows: rows of the log, blank lines not counted; ``used`` became events, ``rejected`` not, by reason.
        event_types: rows of each event type, selected or not; empty without such a column.
        repeats: how clicks that repeat the one before them were counted, once sessions are cut.
        changed: how many values were read otherwise than written, by kind, such as blanks around ids.
        left_out: what the folder or glob holds and was not read.
        notes: what has to be known of the event types and of rows that cannot be used before any figure.
        events: event types that were asked for; None: all.
        collapse_repeats: how clicks that repeat the one before them were asked to be counted, see `sessionise`.
    """

    source: str
    layout: str
    columns: dict[str, str]
    time_unit: str
    rows: int
    used: int
    rejected: dict[str, int]
    event_types: dict[str, int]
    repeats: dict[str, Any] = field(default_factory=dict[str, Any])
    changed: dict[str, int] = field(default_factory=dict[str, int])
    left_out: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    events: list[str] | None = None
    collapse_repeats: bool | None = None

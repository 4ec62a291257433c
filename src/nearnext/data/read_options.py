"""The options of reading a log, checked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from nearnext.data.event_weights import checked_weights, event_key
from nearnext.data.layouts import LAYOUTS, checked_columns, plain
from nearnext.data.times import Clock
from nearnext.errors import ConfigError
from nearnext.options import checked, path_of


class ReadKeywords(TypedDict, total=False):
    """The options of `read_events` as keywords of the functions that read a log for another purpose."""

    columns: Mapping[str, str] | None
    layout: str | None
    time_unit: str | None
    events: Sequence[str] | None
    quoting: bool
    strict: bool
    rejects: str | Path | None
    target: Sequence[str] | None
    weights: Mapping[str, float] | None


@dataclass(frozen=True)
class ReadOptions:
    """How a log is read: the options of `read_events`, checked."""

    columns: Mapping[str, str] | None = None
    layout: str | None = None
    time_unit: str | None = None
    events: Iterable[str] | None = None
    quoting: bool = True
    strict: bool = False
    rejects: str | Path | None = None
    target: Iterable[str] | None = None
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for name, value in {
            "quoting": checked("quoting", self.quoting, bool),
            "strict": checked("strict", self.strict, bool),
            "columns": checked_columns(self.columns),
            "layout": _layout_name(self.layout),
            "time_unit": Clock(self.time_unit).unit,
            "events": _event_types(self.events),
            "target": _event_types(self.target),
            "weights": checked_weights(self.weights),
            "rejects": None if self.rejects is None else path_of("rejects", self.rejects),
        }.items():
            object.__setattr__(self, name, value)
        keys = set(map(event_key, self.events or ()))
        for what, named in (("predict", self.target), ("weigh", self.weights)):
            if self.events and (missing := [one for one in named or () if event_key(one) not in keys]):
                left_out = ", ".join(sorted(missing))
                raise ConfigError(f"expected to read the events to {what}, found {left_out} not among events; add it")
        if self.weights and "weight" in (self.columns or {}):
            raise ConfigError("expected weights by event type or in a column, found both; leave one out")

    def used(self, event_types: Mapping[str, int]) -> dict[str, int]:
        """Rows of each event type, for the types that are used."""
        keys = set(map(event_key, self.events or event_types))
        return {kind: rows for kind, rows in event_types.items() if event_key(kind) in keys}


def _layout_name(layout: str | None) -> str | None:
    names = {plain(name): shown for name, shown in LAYOUTS.items()}
    if layout is not None and plain(str(layout)) not in names:
        raise ConfigError(f"unknown layout '{layout}'; known: {', '.join(LAYOUTS)}")
    return names[plain(layout)] if layout is not None else None


def _event_types(events: object) -> frozenset[str] | None:
    if events is None:
        return None
    found = (
        list(cast("Iterable[object]", events)) if isinstance(events, Iterable) and not isinstance(events, str) else []
    )
    if not found or not all(isinstance(word, str) and word.strip() for word in found):
        raise ConfigError(f"expected a list of event types, found {events!r}; give texts, or leave it out to use all")
    return frozenset(map(str, found))

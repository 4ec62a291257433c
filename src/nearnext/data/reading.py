"""One pass over a log: which rows of each chunk are usable events; the others are counted and written to a file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.chunks import WHOLE, Chunk, FrameReader, LogReader, Rejected
from nearnext.data.event_weights import event_key, weights_in
from nearnext.data.ids import IdColumn, user_codes
from nearnext.data.layouts import BY_NAME, Layout, Role
from nearnext.data.read_report import ReadReport
from nearnext.data.rejects import RejectsFile
from nearnext.data.times import Clock
from nearnext.errors import DataError
from nearnext.types import BoolArray

ADVICE = {
    "unparsable time": "write times as numbers or as 2024-01-31T09:30:00",
    "not valid UTF-8": "convert it to UTF-8",
}
"""What to do where a reason concerns most of a log of which no row can be used."""

LISTED = 12
"""Names that a message lists."""

MANY = 0.05
"""Least share of rows that cannot be used which a note names before any figure."""


NO_TYPE = "(none)"
"""The event type of rows without one, in a log with event types."""

OTHER_FILES = 255
"""The event type of events of files without event types, in a log that has others; and of the 255th type on."""


class Reading:
    """One pass over a log, chunk by chunk: what has been detected and counted so far.

    Rejected rows are counted by reason; the first is kept in words, and all are written to ``rejects``, if given.
    """

    def __init__(
        self,
        clock: Clock,
        events: frozenset[str] | None,
        target: frozenset[str] | None,
        weights: Mapping[str, float] | None,
        rejects: RejectsFile | None = None,
    ) -> None:
        self._clock = clock
        self._events, self._target, self._weights = events, target, weights
        self._rejects = rejects or None
        self._rejected: Counter[str] = Counter()
        self.first: str | None = None
        self._layouts: dict[str, None] = {}
        self._columns: dict[Role, str] = {}
        self._key: Role = "session"
        self._ids = {role: IdColumn(role) for role in ("session", "user", "item")}
        self.rows = 0
        self.reached = WHOLE  # where the last span has ended
        self._used = 0
        self._event_types: Counter[str] = Counter()
        self._types: dict[str, str] = {}  # the first spelling of each event type
        self.event_codes: dict[str, int] = {}
        self._typed: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()

    def decided(self) -> dict[str, Any]:
        """What the rows so far have decided for all later ones."""
        return {
            "clock": (self._clock.unit, self._clock.calendar),
            "text": {role: ids.text for role, ids in self._ids.items()},
            "types": (dict(self._types), dict(self.event_codes)),
            "layout": (self._key, self._columns),
        }

    def ahead(self) -> "Reading":
        """The same decisions, and nothing counted yet: for rows that come later."""
        later = Reading(Clock(self._clock.unit), self._events, self._target, self._weights)
        later._decide(self)
        return later

    def _decide(self, other: "Reading") -> None:
        self._clock.unit, self._clock.calendar = other._clock.unit, other._clock.calendar
        for role, ids in self._ids.items():
            ids.text = other._ids[role].text
        self._types, self.event_codes = dict(other._types), dict(other.event_codes)
        self._key, self._columns = other._key, other._columns

    def follow(self, later: "Reading") -> None:
        """Take what was decided and counted in the rows that come next."""
        self._decide(later)
        for mine, more in zip(self._counters(), later._counters(), strict=True):
            mine.update(more)
        self._layouts |= later._layouts
        self.first = self.first or later.first
        self.rows += later.rows
        self.reached = later.reached
        self._used += later._used

    def _counters(self) -> list[Counter[str]]:
        of_ids = (ids.changed for ids in self._ids.values())
        return [self._clock.kinds, self._rejected, self._event_types, self._typed, self._changed, *of_ids]

    def enter(self, reader: LogReader, layout: Layout) -> None:
        """Turn to the next file; a DataError where it tells events by sessions and an earlier one by users."""
        key: Role = "session" if "session" in layout.columns else "user"
        if self._columns and key != self._key:
            raise DataError(
                f"{reader.where} tells events by {key}, the files before it by {self._key}; read them apart, or map "
                "the columns"
            )
        if (self._events or self._target or self._weights) and "event" not in layout.columns:
            raise DataError(
                f"{reader.where}: no event column to select types from; map it, e.g. event=COLUMN, or name none"
            )
        frame = layout.name == BY_NAME and isinstance(reader, FrameReader)
        self._key = key
        self._layouts["frame" if frame else layout.name] = None
        self._columns = self._columns or layout.columns

    def usable(self, chunk: Chunk, reader: LogReader) -> pl.DataFrame:
        """The events of a chunk of that file; the rows that are none are counted."""
        try:
            return self._usable(chunk, reader)
        except DataError as error:
            raise DataError(f"{reader.where}: {error}") from error

    def _usable(self, chunk: Chunk, reader: LogReader) -> pl.DataFrame:
        frame = chunk.frame
        words = self._event_words(frame)
        selected = self._selected(words, frame.height)
        times = self._clock.read(frame["time"], frame["date"] if "date" in frame.columns else None)
        columns = [self._ids[role] for role in (self._key, "item")]
        ids = [column.read(frame[column.name], untyped=reader.untyped) for column in columns]
        checks = [
            *chunk.faults,
            *(fault for _, faults in ids for fault in faults),
            ("missing time", times.missing),
            ("unparsable time", times.unparsable),
            ("time out of range", times.out_of_range),
        ]
        weights = None
        if "weight" in frame.columns:
            weights, wrong = weights_in(frame["weight"])
            checks.append(("weight is no number of 0 to 10^9", wrong))
        codes = np.zeros(frame.height, np.uint8)
        for code, (_, wrong) in enumerate(checks, 1):
            if wrong.any():
                codes[wrong & selected & (codes == 0)] = code
        self._reject(chunk, reader, codes, [reason for reason, _ in checks])
        kept = selected & (codes == 0)
        self._changed.update(chunk.changed)
        self.rows += frame.height + len(chunk.rejected)
        self._used += int(np.count_nonzero(kept))
        owners, items = (
            column.settle(_kept(raw, kept), untyped=reader.untyped)
            for column, (raw, _) in zip(columns, ids, strict=True)
        )
        times_kept = pl.Series("time", times.micros if kept.all() else times.micros[kept])
        events = [owners.alias(f"{self._key}_id"), items.alias("item_id"), times_kept]
        words = None if words is None else _kept(words, kept)
        if words is not None and (self._events is None or len(self._events) > 1):
            events.append(self._event_codes(words))
        if words is not None and self._target is not None:
            events.append(words.is_in(self._spelled(self._target)).alias("target"))
        if words is not None and self._weights is not None:
            by_type = dict(zip(self._spelled(self._weights), self._weights.values(), strict=True))
            of_types = words.replace_strict(by_type, default=1.0, return_dtype=pl.Float64)
            events.append(of_types.alias("weight"))
        elif weights is not None:
            events.append(_kept(weights, kept).alias("weight"))
        if self._key == "session" and "user" in frame.columns:
            events.append(user_codes(_kept(frame["user"], kept)).alias("user"))
        return pl.DataFrame(events)

    def _reject(self, chunk: Chunk, reader: LogReader, codes: NDArray[np.uint8], reasons: Sequence[str]) -> None:
        """Count the rejected rows of a chunk and write them by line; ``codes``: 0, or the number of a reason: [n]."""
        self._rejected.update(rejected.reason for rejected in chunk.rejected)
        counts = np.bincount(codes, minlength=len(reasons) + 1)[1:].tolist()
        for reason, count in zip(reasons, counts, strict=True):
            self._rejected[reason] += count
        if self._rejects is None and self.first is not None:
            return
        found = np.flatnonzero(codes)[: None if self._rejects is not None else 1]
        rows = [Rejected(int(chunk.lines[row]), reasons[int(codes[row]) - 1], chunk.text(int(row))) for row in found]
        rows = sorted([*chunk.rejected, *rows], key=lambda row: row.line)
        if rows and self.first is None:
            place = "line" if reader.unit == "bytes" else "row"
            self.first = f"{reader.where} {place} {rows[0].line}: {rows[0].reason}"
        if self._rejects is not None:
            self._rejects.write(reader.where, rows)

    def _event_words(self, frame: pl.DataFrame) -> pl.Series | None:
        """The event type of each row, in its first spelling in the log; None where the log has none: [n]."""
        if "event" not in frame.columns:
            return None
        if frame["event"].dtype.is_nested():
            raise DataError(f"expected words as event types, found values of type {frame['event'].dtype}")
        words = frame["event"].cast(pl.String).fill_null("").replace("", NO_TYPE)
        respelled = {
            word: first
            for word in words.unique(maintain_order=True).to_list()
            if (first := self._types.setdefault(event_key(word), word.strip() or NO_TYPE)) != word
        }
        if not respelled:
            return words
        self._changed["other spelling of an event type"] += int(words.is_in(list(respelled)).sum())
        return words.replace(respelled)

    def _spelled(self, types: Iterable[str]) -> list[str]:
        """Event types that were asked for, as the log spells them."""
        return [self._types.get(event_key(name), name) for name in types]

    def _event_codes(self, words: pl.Series) -> pl.Series:
        """Event types as numbers, the same in every chunk; from the 255th on they share one: [n]."""
        counts = words.value_counts()
        self._typed.update(dict(counts.iter_rows()))
        for word in counts.to_series().sort().to_list():
            self.event_codes.setdefault(word, min(len(self.event_codes), OTHER_FILES))
        return words.replace_strict(self.event_codes, return_dtype=pl.UInt8).alias("event")

    def named_types(self) -> dict[str, int]:
        """The number of each type of used events, the most frequent first; empty if some have none of their own."""
        if self._typed.total() < self._used or OTHER_FILES in self.event_codes.values():
            return {}
        codes = self.event_codes
        return {word: codes[word] for word in sorted(codes, key=lambda word: (-self._typed[word], codes[word]))}

    def _selected(self, words: pl.Series | None, n: int) -> BoolArray:
        """Rows of the event types to use, which are counted: [n]."""
        if words is not None:
            self._event_types.update(dict(words.value_counts().iter_rows()))
            if self._events is not None:
                return words.is_in(self._spelled(self._events)).to_numpy()
        return np.ones(n, np.bool_)

    def _missing(self, types: Iterable[str]) -> list[str]:
        """Event types that were asked for and the log lacks."""
        return sorted(name for name in types if event_key(name) not in self._types)

    def report(self, source: str, left_out: Sequence[str], *, strict: bool) -> ReadReport:
        """What was read; a DataError where nothing can be used, or where a row cannot and ``strict`` is given."""
        rejected = {reason: count for reason, count in self._rejected.most_common() if count}
        described = ", ".join(f"{reason} {count:,}" for reason, count in rejected.items())
        types = dict(sorted(self._event_types.items(), key=lambda pair: (-pair[1], pair[0])))
        if self.rows == 0:
            raise DataError(f"{source} has no events: it is empty or has a header only; give a log with clicks")
        unusable = sum(rejected.values())
        lost = f"{unusable:,} of {self.rows:,} rows cannot be used ({described}), first {self.first}"
        if strict and self.first is not None:
            raise DataError(f"{source}: {lost}; correct them or read without strict")
        if self._used == 0 and self._events is not None and not rejected:
            raise DataError(
                f"{source}: no event is of type {', '.join(sorted(self._events))}; found types "
                f"{', '.join(list(types)[:LISTED])}"
            )
        if self._used == 0:
            advice = ADVICE.get(next(iter(rejected), ""), "check the columns and the time unit")
            raise DataError(
                f"{source}: none of {self.rows:,} rows can be used ({described}), first {self.first}; {advice}"
            )
        for option, named in (("weights", self._weights), ("target", self._target)):
            if missing := self._missing(named or ()):
                raise DataError(
                    f"{source}: no event is of type {', '.join(missing)}, which {option} names; found types "
                    f"{', '.join(list(types)[:LISTED])}"
                )
        lacking, listed = self._missing(self._events or ()), ", ".join(sorted(types)[:LISTED])
        return ReadReport(
            source=source,
            layout=" and ".join(self._layouts) or "none",
            columns={str(role): name for role, name in self._columns.items()},
            time_unit=self._clock.detected,
            rows=self.rows,
            used=self._used,
            rejected=rejected,
            event_types=types,
            changed=dict(sum((ids.changed for ids in self._ids.values()), self._changed)),
            left_out=list(left_out),
            events=sorted(self._events) if self._events else None,
            notes=[
                *([f"no event is of type {', '.join(lacking)}; found types {listed}"] * bool(lacking)),
                *(
                    [lost + "; rejects (--rejects) keeps them in a file" * (self._rejects is None)]
                    * (unusable >= MANY * self.rows)
                ),
            ],
        )


def _kept(column: pl.Series, kept: BoolArray) -> pl.Series:
    return column if kept.all() else column.filter(pl.Series(kept))

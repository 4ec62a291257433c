"""The reader of JSONL: one object per line, an event, or a session with a list of its events."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from operator import itemgetter
from typing import Any, cast

import numpy as np
import orjson
import polars as pl

from nearnext.data.chunks import (
    ID_ROLES,
    NOT_UTF8,
    SPAN_BLOCKS,
    WHOLE,
    Chunk,
    Rejected,
    Span,
    not_an_id,
    spans_of,
)
from nearnext.data.files import BLOCK, LogFile, blocks
from nearnext.data.ids import series_of
from nearnext.data.layouts import Layout, Role, recognise
from nearnext.errors import DataError
from nearnext.types import BoolArray, Int64Array

HEAD = 64
"""Blocks of a MiB in which the columns have to be."""

DEEPEST = 64
"""Levels of objects inside objects in which columns are looked for."""

JsonObject = dict[str, Any]


class JsonLinesReader:
    """A JSONL file, read in blocks of whole lines: every line is one row or one rejected row, whatever it carries.

    Only where the item or the time is inside a list of objects, such as ``events`` in OTTO, is that list spread out:
    its fields are columns with names such as ``events.aid``, and the fields next to it hold for each of its objects.
    Fields of an object inside a line have such names too (``user.id``).
    """

    unit = "bytes"
    untyped = False
    nested: Sequence[str] = ()

    def __init__(self, file: LogFile, mapped: Mapping[Role, str], block: int = 0) -> None:
        self._log = file
        self._mapped = mapped
        self._block = block or BLOCK
        self.where = str(file.path)
        self.work = file.size
        self.first_row: list[str] = []
        self.reached = WHOLE
        self._list: str | None = None
        self.names = self._find_names()

    def _find_names(self) -> list[str]:
        """Columns that tell the roles, of the first lines, or of as many as it takes."""
        names: dict[str, None] = {}
        for body, _ in islice(blocks(self._log, len(self._log.sample), universal_newlines=False), HEAD):
            head = [row for line in body.split(b"\n") if (row := json_object(line)) is not None]
            names |= dict.fromkeys(_names(head))
            flat = [name for name in names if "[]" not in name]
            for chosen in (None, *dict.fromkeys(name.rpartition("[]")[0] for name in names if "[]" in name)):
                inside = [name.replace("[]", "") for name in names if chosen and name.startswith(f"{chosen}[]")]
                for outside in ([name for name in flat if "." not in name], flat):
                    if self._recognised([*outside, *inside]):
                        self._list = chosen
                        return [*outside, *inside]
        if not names:
            raise DataError(
                f"{self.where} looks like JSONL, but no line of it is a JSON object; write one object per line"
            )
        return [name.replace("[]", "") for name in names]

    def _recognised(self, names: Sequence[str]) -> Layout | None:
        with suppress(DataError):
            return recognise(self.where, names, [], self._mapped, None)
        return None

    def spans(self) -> list[Span]:
        """Several blocks each; one span if the file is compressed."""
        return [WHOLE] if self._log.compression else spans_of(self.work, SPAN_BLOCKS * self._block)

    def chunks(self, columns: Mapping[Role, str], span: Span = WHOLE) -> Iterator[Chunk]:
        """The events, by block; positions are lines from 1."""
        first = span.lines + 1
        for body, work in blocks(self._log, self._block, span.begin, span.end, universal_newlines=False):
            lines = body.split(b"\n")
            if not lines[-1]:
                lines.pop()
            yield self._chunk(body, lines, first, columns, work)
            first += len(lines)
        self.reached = Span(lines=first - 1)

    def _chunk(self, body: bytes, lines: Sequence[bytes], first: int, columns: Mapping[Role, str], work: int) -> Chunk:
        parsed = _loaded(lines)
        owners, rejected = cast("list[JsonObject]", parsed), list[Rejected]()
        rows, place = owners, np.arange(len(parsed))
        if self._list is not None or None in parsed:
            rows, owners, numbers = list[JsonObject](), list[JsonObject](), list[int]()
            for number, row in enumerate(parsed):
                events = [] if row is None else [row] if self._list is None else _events(row, self._list)
                if row is not None and events:
                    rows += events
                    owners += [row] * len(events)
                    numbers += [number] * len(events)
                elif row is not None or lines[number].strip():
                    rejected.append(_refused(first + number, lines[number], row, self._list))
            place = np.array(numbers, np.int64)
        self._check_late_names(owners, columns, first)
        values: dict[Role, pl.Series] = {}
        faults: list[tuple[str, BoolArray]] = []
        inside = "" if self._list is None else f"{self._list}."
        for role, name in columns.items():
            found = _column(name.removeprefix(inside), rows) if name.startswith(inside) else _column(name, owners)
            twice = self._twice(name, body, lines, place, found)
            if twice.any():
                faults.append((f"{role} given twice", twice))
            values[role], foreign = series_of(found)
            if role in ID_ROLES and foreign.any() and self._list is None:
                numbered = zip(found, cast("list[int]", place.tolist()), strict=True)
                values[role], foreign = series_of([_exact(value, name, lines[line]) for value, line in numbered])
            if role in ID_ROLES and foreign.any():
                faults.append((not_an_id(role), foreign))
        frame = pl.DataFrame([column.alias(role) for role, column in values.items()])
        return Chunk(
            frame, place + first, lambda row: self._text(lines[int(place[row])], rows[row]), work, rejected, faults
        )

    def _check_late_names(self, owners: list[JsonObject], columns: Mapping[Role, str], first: int) -> None:
        """Stops where names that the first lines lack would have made another layout of the log."""
        late = set[str]().union(*owners) - set(self.names) - {self._list}
        layout = self._recognised([*self.names, *sorted(late)]) if late else None
        if layout is not None and layout.columns != columns:
            new = ", ".join(sorted(late & set(layout.columns.values())))
            raise DataError(
                f"{self.where}: the column {new} is not in the first lines but from line {first} on; map the columns, "
                "e.g. session=COLUMN"
            )

    def _twice(
        self, name: str, body: bytes, lines: Sequence[bytes], place: Int64Array, found: Sequence[object]
    ) -> BoolArray:
        """Rows whose line gives a key twice, so that it has no one value: [n]."""
        key = f'"{name}"'.encode()
        twice = np.zeros(len(found), np.bool_)
        if self._list is None and body.count(key) > len(found) - found.count(None):
            numbers: list[int] = place.tolist()
            twice[:] = [lines[line].count(key) > 1 and _repeats(lines[line], name) for line in numbers]
        return twice

    def _text(self, line: bytes, event: JsonObject) -> str:
        if self._list is None:
            return line.decode(errors="backslashreplace")
        return orjson.dumps((json_object(line) or {}) | {self._list: [event]}).decode()


def _loaded(lines: Sequence[bytes]) -> list[JsonObject | None]:
    """The object of each line, None where it is none."""
    try:
        found: list[JsonObject | None] = list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return [json_object(line) for line in lines]
    return found if set(map(type, found)) <= {dict} else [row if isinstance(row, dict) else None for row in found]


def json_object(line: bytes) -> JsonObject | None:
    """The object of a line, as every reader of JSONL sees it; None where it is none."""
    value: object = None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        if b"NaN" in line or b"Infinity" in line:  # Python and pandas write such numbers, which JSON lacks
            with suppress(ValueError, TypeError, RecursionError):
                value = orjson.loads(orjson.dumps(json.loads(line)))
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _names(rows: Iterable[JsonObject], prefix: str = "") -> Iterator[str]:
    """The names of all fields; those of objects in a list are marked: ``events[].aid``."""
    for row in rows:
        for key, value in row.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict) and prefix.count(".") < DEEPEST:
                yield from _names([cast("JsonObject", value)], f"{prefix}{key}.")
            elif isinstance(value, list) and not prefix:
                events = [event for event in cast("list[JsonObject]", value) if type(event) is dict]
                yield from _names(events, f"{key}[].")


def _column(name: str, rows: Sequence[JsonObject]) -> list[object]:
    """The values of a field; a name with dots that no row has itself is a path into objects."""
    with suppress(KeyError):
        return list(map(itemgetter(name), rows))
    key, dot, path = name.partition(".")
    if not dot or any(name in row for row in rows):
        return [row.get(name) for row in rows]
    inner = [row.get(key) for row in rows]
    return _column(path, [cast("JsonObject", value) if isinstance(value, dict) else {} for value in inner])


def _events(row: JsonObject, key: str) -> list[JsonObject] | None:
    """The list of events of a session; an absent or null one is empty, anything else is malformed."""
    events: object = row.get(key)
    if events is None:
        return []
    found = cast("list[JsonObject]", events)
    return found if isinstance(events, list) and all(type(event) is dict for event in found) else None


def _exact(value: object, name: str, line: bytes) -> object:
    """A whole number of more than 64 bits as it is written; the parser gives the nearest float."""
    if isinstance(value, float) and abs(value) >= 1 << 53:
        with suppress(RecursionError):  # Python reads a line nested less deeply than the parser
            return _column(name, [json.loads(line)])[0]
    return value


def _repeats(line: bytes, key: str) -> bool:
    """Whether a line gives a key twice; a line that is nested too deeply to see that counts as one that does."""
    try:
        pairs: list[tuple[str, object]] = json.loads(line, object_pairs_hook=list)
    except RecursionError:
        return True
    return [name for name, _ in pairs].count(key) > 1


def _refused(number: int, line: bytes, row: JsonObject | None, events: str | None) -> Rejected:
    text = line.decode(errors="backslashreplace")
    if row is not None and events is not None and _events(row, events) == []:
        return Rejected(number, f"no {events} in the line", text)
    return Rejected(number, "malformed JSON" if text.encode() == line else NOT_UTF8, text)

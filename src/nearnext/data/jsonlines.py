"""The reader of JSONL: one object per line, an event, or a session with a list of its events."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import orjson
import polars as pl

from nearnext.data.chunks import ID_ROLES, Chunk, Rejected, not_an_id
from nearnext.data.files import ByteSource, LogFile
from nearnext.data.ids import series_of
from nearnext.data.layouts import Role
from nearnext.errors import DataError
from nearnext.types import BoolArray, Int64Array

__all__ = ["JsonLinesReader"]

BLOCK = 1 << 24
HEAD = 100
"""Objects at the beginning of a file that tell its columns."""

JsonObject = dict[str, Any]


class JsonLinesReader:
    """A JSONL file, read in blocks of whole lines.

    A list of objects inside each object, such as ``events`` in OTTO, is spread out: its fields are columns with names
    such as ``events.aid``, and the fields beside the list hold for each of its objects.

    Raises:
        DataError: no line near the beginning is a JSON object.
    """

    unit = "bytes"
    untyped = False

    def __init__(self, file: LogFile, block: int = BLOCK) -> None:
        self._log = file
        self._block = block
        self.where = str(file.path)
        self.work = file.size
        self.first_row: list[str] = []
        head = self._head()
        self._nested = next((key for row in head for key, value in row.items() if _is_list_of_objects(value)), None)
        beside = dict.fromkeys(key for row in head for key in row if key != self._nested)
        inside = dict.fromkeys(
            f"{self._nested}.{key}" for row in head for event in _events(row, self._nested) or () for key in event
        )
        self.names = [*beside, *inside]

    def _head(self) -> list[JsonObject]:
        for lines, _ in self._lines():
            if head := list(islice((row for line in lines if (row := _loads(line)) is not None), HEAD)):
                return head
        raise DataError(f"{self.where} looks like JSONL, but no line of it is a JSON object; write one object per line")

    def _lines(self) -> Iterator[tuple[list[bytes], int]]:
        """Whole lines by block, with the bytes of the file that they took."""
        rest: list[bytes] = []
        position = 0
        with ByteSource(self._log.path, self._log.compression) as source:
            source.read(3 if self._log.sample.startswith(b"\xef\xbb\xbf") else 0)
            while block := source.read(self._block):
                body, newline, tail = block.rpartition(b"\n")
                if newline:
                    yield b"".join([*rest, body]).split(b"\n"), source.position - position
                    rest, position = [], source.position
                rest.append(tail)
            if any(rest):
                yield [b"".join(rest)], source.position - position

    def chunks(self, columns: Mapping[Role, str]) -> Iterator[Chunk]:
        """The events, by block; positions are lines from 1."""
        first = 1
        for lines, work in self._lines():
            yield self._chunk(lines, first, columns, work)
            first += len(lines)

    def _chunk(self, lines: Sequence[bytes], first: int, columns: Mapping[Role, str], work: int) -> Chunk:
        objects: list[JsonObject] = []
        numbers: list[int] = []
        rejected: list[Rejected] = []
        for number, line in enumerate(lines, first):
            row = _loads(line)
            if row is not None and (self._nested is None or _events(row, self._nested) is not None):
                objects.append(row)
                numbers.append(number)
            elif line.strip():
                rejected.append(_malformed(number, line))
        rows, owner = self._spread(objects)
        values: dict[Role, pl.Series] = {}
        faults: list[tuple[str, BoolArray]] = []
        for role, name in columns.items():
            values[role], foreign = self._column(name, objects, rows, owner)
            if role in ID_ROLES and foreign.any():
                faults.append((not_an_id(role), foreign))
        return Chunk(
            frame=pl.DataFrame([column.alias(role) for role, column in values.items()]),
            lines=np.asarray(numbers, np.int64)[owner],
            text=lambda row: orjson.dumps(self._whole(objects[int(owner[row])], rows[row])).decode(),
            work=work,
            rejected=rejected,
            faults=faults,
        )

    def _spread(self, objects: list[JsonObject]) -> tuple[list[JsonObject], Int64Array]:
        """The events, and the position of the object that each is part of."""
        if self._nested is None:
            return objects, np.arange(len(objects))
        lists = [_events(row, self._nested) or [] for row in objects]
        return [event for events in lists for event in events], np.repeat(np.arange(len(lists)), list(map(len, lists)))

    def _column(
        self, name: str, objects: list[JsonObject], rows: list[JsonObject], owner: Int64Array
    ) -> tuple[pl.Series, BoolArray]:
        if self._nested is None:
            return series_of([row.get(name) for row in rows])
        if name.startswith(f"{self._nested}."):
            key = name.removeprefix(f"{self._nested}.")
            return series_of([row.get(key) for row in rows])
        beside, foreign = series_of([row.get(name) for row in objects])
        return beside.gather(owner), foreign[owner]

    def _whole(self, row: JsonObject, event: JsonObject) -> JsonObject:
        return row | {self._nested: [event]} if self._nested else row


def _loads(line: bytes) -> JsonObject | None:
    try:
        value: object = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and bool(cast("list[object]", value)) and isinstance(value[0], dict)


def _events(row: JsonObject, key: str | None) -> list[JsonObject] | None:
    """The list of events of a session; an absent or null one is empty, anything else is malformed."""
    events: object = row.get(key) if key is not None else None
    if events is None:
        return []
    if not isinstance(events, list):
        return None
    found = cast("list[object]", events)
    return cast("list[JsonObject]", found) if all(isinstance(event, dict) for event in found) else None


def _malformed(number: int, line: bytes) -> Rejected:
    try:
        return Rejected(number, "malformed JSON", line.decode())
    except UnicodeDecodeError:
        return Rejected(number, "not valid UTF-8", line.decode(errors="backslashreplace"))

"""The live catalogue: what was added, removed or went out of stock since training, in one file that processes share.

A change is on the disk before it is confirmed, and every process reads it before its next answer. A file that was
removed is written again, from what the processes know, with the next change.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from nearnext.errors import DataError
from nearnext.serving.catalogue_file import MAX_TOUCHES, Change, Opened, apply, exists, reopened
from nearnext.types import RawId

CONTEXT = 15
"""Clicks before a click on a new item that are kept of each such session."""

PAUSE = 1.0
"""Seconds after which a file that could not be read is tried again."""

log = logging.getLogger(__name__)
ids_of = msgspec.json.Decoder(list[RawId]).decode
attributes_of = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass
class Entry:
    """What the catalogue holds about an item."""

    available: bool = True
    like: tuple[RawId, ...] = ()
    touches: list[tuple[RawId, ...]] = field(default_factory=list[tuple[RawId, ...]])
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    life: tuple[int, int] = (0, 0)  # changes with each put and delete

    def says_the_same_as(self, other: "Entry | None") -> bool:
        """Whether two entries differ in their lives at most."""
        return other is not None and replace(self, life=other.life) == other


class Catalogue:
    """Catalogue changes in a file that several processes share.

    One thread reads (`refresh`, ``entries``); any thread may write, after a `refresh`.
    """

    def __init__(self, path: Path) -> None:
        self.entries: dict[RawId, Entry] = {}
        self._path = path.resolve()
        self._writing = threading.Lock()
        self._writer: Opened | None = None
        self._reader: Opened | None = None
        self._version, self._number, self._generation = -1, 0, 0
        self._trouble, self._retry_at = "", 0.0
        try:
            with self._writing, self._transaction(durable=False):
                pass
        except (OSError, sqlite3.Error) as error:
            log.warning("catalogue changes cannot be written to %s (%s)", path, error)
        try:
            self._refreshed()
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"cannot read {path}: {error}; choose another catalogue with --catalogue") from error

    def write(self, change: Change, *, durable: bool = True) -> None:
        """Write a change; it counts from the next `refresh` of any process. It may wait for the disk."""
        try:
            with self._writing:
                while True:
                    with self._transaction(durable=durable) as writer:
                        apply(writer.database, change)
                    if exists(self._path) and writer.is_current(self._path):
                        break  # it is not in a file that was removed meanwhile
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(
                f"cannot write {self._path}: {reason}; free some space, or choose another with --catalogue"
            ) from error
        self._retry_at = 0.0

    def touch(self, item: RawId, clicks: list[RawId]) -> None:
        """Note that a session with these clicks, oldest first, went on to a new item; nothing once there is enough."""
        entry = self.entries.get(item)
        if clicks and entry and entry.available and len(entry.touches) < MAX_TOUCHES:
            self.write(Change("touch", item, clicks=clicks[-CONTEXT:]), durable=False)

    def refresh(self) -> list[RawId]:
        """Take in what has changed in the file since the last call; gives the items it was about.

        What cannot be read changes nothing, and is logged once.
        """
        if self._trouble and time.monotonic() < self._retry_at:
            return []
        try:
            changed = self._refreshed()
        except (OSError, sqlite3.Error, DataError) as error:
            self._retry_at = time.monotonic() + PAUSE
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.error("%s cannot be read (%s); its last known state is used", self._path, error)
            return []
        if self._trouble:
            self._trouble = ""
            log.info("%s can be read again", self._path)
        return changed

    def close(self) -> None:
        """Close the file."""
        with self._writing:
            for one in filter(None, (self._reader, self._writer)):
                one.database.close()
            self._reader = self._writer = None

    def _refreshed(self) -> list[RawId]:
        if self._reader is not None and self._reader.is_current(self._path):
            return self._news(self._reader.database)
        try:
            return self._another_file() if exists(self._path) else []
        except FileNotFoundError:
            return []  # it is gone already, and what was known still counts

    def _another_file(self) -> list[RawId]:
        """All that another file says; gives the items of which it says something else."""
        self._reader = reopened(self._path, self._reader)
        self._version, self._number, self._generation = -1, 0, self._generation + 1
        before, entries = self.entries, dict[RawId, Entry]()
        try:
            self._news(self._reader.database, entries)
        except BaseException:
            self._reader.database.close()
            self._reader = None
            raise
        self.entries = {
            item: before[item] if entry.says_the_same_as(before.get(item)) else entry for item, entry in entries.items()
        }
        return [item for item in before | self.entries if self.entries.get(item) is not before.get(item)]

    def _news(self, database: sqlite3.Connection, entries: dict[RawId, Entry] | None = None) -> list[RawId]:
        """Take in what is new in a file; gives the items it was about."""
        version = database.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return []
        entries = self.entries if entries is None else entries
        self._number, changed = read(database, entries, self._number, self._generation)
        self._version = version
        return changed

    @contextmanager
    def _transaction(self, *, durable: bool) -> Generator[Opened]:
        """A transaction on the file that is there now; it is made where there is none."""
        if self._writer is None or not exists(self._path) or not self._writer.is_current(self._path):
            self._writer = reopened(self._path, self._writer, self._known(self._writer))
        database = self._writer.database
        database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        database.execute("BEGIN IMMEDIATE")
        try:
            yield self._writer
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        if durable:
            with suppress(sqlite3.Error):  # it only makes a copy of the file alone complete
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _known(self, former: Opened | None) -> Generator[Change]:
        """The changes that lead to what a removed file says now, where that cannot be read to what is known of it."""
        entries, found, reader = dict(self.entries), dict[RawId, Entry](), self._reader
        if former and reader and former.identity == reader.identity:
            with suppress(sqlite3.Error):
                read(former.database, found)
                entries = found
        for item, entry in entries.items():
            yield Change("put", item, clicks=list(entry.like), attributes=entry.attributes)
            for clicks in list(entry.touches):
                yield Change("touch", item, clicks=list(clicks))
            if not entry.available:
                yield Change("put", item, available=False)


def read(
    database: sqlite3.Connection, entries: dict[RawId, Entry], since: int = 0, generation: int = 0
) -> tuple[int, list[RawId]]:
    """Take the changes since a number into entries; gives the number of the last one, and the items."""
    database.execute("BEGIN")
    try:
        items = database.execute("SELECT * FROM item WHERE number > ?", [since]).fetchall()
        query = "SELECT id, clicks FROM touch WHERE number > :since"
        query += " OR id IN (SELECT id FROM item WHERE number > :since) ORDER BY number"
        touches = database.execute(query, {"since": since}).fetchall()
        last = database.execute("SELECT number FROM last_change").fetchone()[0]
    finally:
        database.execute("ROLLBACK")
    for item, available, alike, number, *attributes in items:  # files of earlier versions have no attributes
        known = attributes_of(attributes[0]) if attributes else {}
        entries[item] = Entry(bool(available), tuple(ids_of(alike)), [], known, (generation, number))
    for item, clicks in touches:
        entries[item].touches.append(tuple(ids_of(clicks)))
    return last, list(dict.fromkeys(row[0] for row in items + touches))

"""The SQLite file (WAL mode) of the catalogue, created atomically."""

import os
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from nearnext.atomic import exclusive_folder
from nearnext.errors import DataError
from nearnext.types import RawId

MAX_TOUCHES = 256
"""Sessions of a new item that are kept: enough for a mean, and then training should take over."""

BUSY = 5.0
"""Seconds that a change waits for those of other processes."""

APPLICATION = 0x6E6E6361
"""Number in the file's header that says that it is one of ours."""

SCHEMA = """
CREATE TABLE last_change (number INTEGER NOT NULL);
INSERT INTO last_change VALUES (0);
CREATE TABLE item (id BLOB PRIMARY KEY, available INTEGER NOT NULL, alike TEXT NOT NULL, number INTEGER NOT NULL,
    attributes TEXT NOT NULL DEFAULT '{}') WITHOUT ROWID;
CREATE INDEX item_number ON item (number);
CREATE TABLE touch (number INTEGER PRIMARY KEY, id BLOB NOT NULL, clicks TEXT NOT NULL);
CREATE INDEX touch_id ON touch (id);
"""
"""Ids keep their type: a column of type BLOB holds integers and texts as they are."""

PUT = """
INSERT INTO item VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET available = excluded.available,
    alike = iif(excluded.alike = '[]', alike, excluded.alike), number = excluded.number,
    attributes = iif(excluded.attributes = '{}', attributes, excluded.attributes)
"""
TOUCH = """
INSERT INTO touch SELECT :number, :id, :clicks WHERE EXISTS (SELECT 1 FROM item WHERE id = :id AND available)
    AND (SELECT count(*) FROM touch WHERE id = :id) < :most
"""


class Change(msgspec.Struct, omit_defaults=True):
    """One change."""

    op: Literal["put", "delete", "touch"]
    item: RawId
    available: bool = True
    clicks: list[RawId] = []  # known items that it is like (put), or clicked before it in a session (touch)
    attributes: dict[str, Any] = {}


class Opened(NamedTuple):
    """A connection, the device and inode of its file, and the inode of the memory that SQLite shares next to it."""

    database: sqlite3.Connection
    identity: tuple[int, int]
    shared: int

    def is_current(self, path: Path) -> bool:
        """Whether its file is the one that is there; one that was removed still says what it said."""
        try:
            found = os.stat(path)  # noqa: PTH116 - every request asks this
        except FileNotFoundError:
            return True
        return (found.st_dev, found.st_ino) == self.identity


def apply(database: sqlite3.Connection, change: Change) -> None:
    """Take a change into an open transaction."""
    database.execute("UPDATE last_change SET number = number + 1")
    number = database.execute("SELECT number FROM last_change").fetchone()[0]
    clicks = msgspec.json.encode(change.clicks).decode()
    if change.op == "touch":
        given = {"number": number, "id": change.item, "clicks": clicks, "most": MAX_TOUCHES}
        database.execute(TOUCH, given)
    elif change.op == "put":
        attributes = msgspec.json.encode(change.attributes).decode()
        database.execute(PUT, [change.item, change.available, clicks, number, attributes])
    else:
        database.execute("INSERT OR REPLACE INTO item VALUES (?, 0, '[]', ?, '{}')", [change.item, number])
        database.execute("DELETE FROM touch WHERE id = ?", [change.item])


def exists(path: Path) -> bool:
    """Whether something is there; an empty file counts as none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return found.st_size > 0 or not stat.S_ISREG(found.st_mode)


def reopened(path: Path, former: Opened | None, known: Iterable[Change] | None = None) -> Opened:
    """Connect to the file that is there now, and close the former connection; to read, it need not be writable.

    To write (``known``), a file is made of the known changes where there is none. The folder is locked meanwhile: where
    one file takes the place of another, SQLite could open the one with the write-ahead log of the other.
    """
    if known is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_folder(path.parent):
        if known is not None and not exists(path):
            _make(path, known)
        # No other file has the inode of memory that is open; what SQLite kept next to this one would spoil another.
        left = former is not None and former.shared == _inode(_beside(path, "-shm")) != 0
        if former is not None and left and not former.is_current(path):
            _remove_shared(path)
        found = _opened(path, reading=known is None)
        if former is not None:
            former.database.close()
        return found


def _make(path: Path, known: Iterable[Change]) -> None:
    unfinished = path.with_name(path.name + ".part")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")  # now, while no other process has it open
        database.executescript(f"BEGIN; PRAGMA application_id = {APPLICATION};{SCHEMA}")
        for change in known:
            apply(database, change)
        database.execute("COMMIT")
    _remove_shared(path)
    unfinished.replace(path)


def _opened(path: Path, *, reading: bool) -> Opened:
    """A connection to the file.

    SQLite alone opens the file: a process that closes it in another way loses the locks of all its connections
    (https://www.sqlite.org/howtocorrupt.html, 2.2), and the next process that ends takes changes away with it.
    """
    identity, alone = _identity(path), False
    try:
        database = _connected(path, "mode=rw")
    except sqlite3.OperationalError:
        if not reading:
            raise
        database, alone = _connected(path, "immutable=1"), True
    found = Opened(database, identity, 0 if alone else _inode(_beside(path, "-shm")))
    if not found.is_current(path):
        database.close()
        raise DataError(f"{path} was replaced while it was opened; try again")
    if not reading and not any(row[1] == "attributes" for row in database.execute("PRAGMA table_info(item)")):
        database.execute("ALTER TABLE item ADD COLUMN attributes TEXT NOT NULL DEFAULT '{}'")  # an earlier version's
    return found


def _connected(path: Path, query: str) -> sqlite3.Connection:
    url = f"{path.as_uri()}?{query}"
    database = sqlite3.connect(url, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise DataError(f"{path} is a database of another program; choose another with --catalogue")
    except BaseException as error:
        database.close()
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise DataError(f"{path} is no catalogue of nearnext; choose another with --catalogue") from error
        raise
    return database


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path} is no file; choose another catalogue with --catalogue")
    return found.st_dev, found.st_ino


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _inode(path: Path) -> int:
    """The inode of a file; 0 where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _remove_shared(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        _beside(path, suffix).unlink(missing_ok=True)

"""The live catalogue: what was added, removed or went out of stock since training, on disk before it counts.

All worker processes append to one file and read what the others appended; a change counts once it is read back. A line
is a checksum and a JSON object, written by one call. A line whose writer was killed half-way, or had no room on the
disk, fails its checksum and was never confirmed to anybody; the next writer begins a new line.
"""

import logging
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from nearnext.errors import DataError
from nearnext.types import RawId

__all__ = ["Catalogue", "Change", "Entry"]

MAX_TOUCHES = 256
"""Sessions of a new item that are kept: enough for a mean, and then training should take over."""

CONTEXT = 15
"""Clicks before a click on a new item that are kept of each such session."""

log = logging.getLogger(__name__)


class Change(msgspec.Struct, omit_defaults=True):
    """One line of the file.

    Attributes:
        op: what happened to the item.
        item: its id.
        available: whether it may be recommended, of ``put``.
        clicks: the known items that it is like, of ``put``; what the session clicked before it, of ``touch``.
    """

    op: Literal["put", "delete", "touch"]
    item: RawId
    available: bool = True
    clicks: list[RawId] = []


@dataclass
class Entry:
    """What is known of an item beside the model.

    Attributes:
        available: whether it may be recommended.
        like: known items that it is like.
        touches: clicks of sessions just before they clicked it, oldest session first.
        life: which of the item's lives it is: it rises with each ``put`` and ``delete``.
    """

    available: bool = True
    like: tuple[RawId, ...] = ()
    touches: list[tuple[RawId, ...]] = field(default_factory=list[tuple[RawId, ...]])
    life: int = 0


class Catalogue:
    """Catalogue changes in a file that several processes share.

    Args:
        path: the file, made where it is missing. A file that cannot be written is read all the same.

    Raises:
        DataError: the file can be neither made nor read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one, other = Catalogue(Path(folder, "changes")), Catalogue(Path(folder, "changes"))
    ...     one.write(Change("delete", "sku-1"))
    ...     other.refresh(), other.entries["sku-1"].available
    (['sku-1'], False)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[RawId, Entry] = {}
        self.writable = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._sync_folder()
        except OSError as error:
            try:
                self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._file = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                raise DataError(
                    f"cannot read the catalogue {path}: {error.strerror}; choose another with --catalogue"
                ) from error
            self.writable = False
            log.warning("catalogue changes cannot be written to %s (%s)", path, error.strerror)
        self._position = 0
        self.refresh()
        self._torn = self._position < os.fstat(self._file).st_size

    def write(self, change: Change, *, durable: bool = True) -> None:
        """Append a change; it counts from the next `refresh` of any process.

        Args:
            change: what happened.
            durable: whether it must be on the disk before this returns; otherwise it only survives the process.

        Raises:
            DataError: it could not be written, and does not count.
        """
        if not self.writable:
            raise DataError(f"catalogue changes cannot be written to {self.path}; choose another with --catalogue")
        text = msgspec.json.encode(change)
        line = b"%s%08x %s\n" % (b"\n" if self._torn else b"", zlib.crc32(text), text)
        try:
            written = os.write(self._file, line)
            self._torn = written < len(line)
            if not self._torn and durable:
                os.fdatasync(self._file)
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror}; free some space") from error
        if self._torn:
            raise DataError(f"cannot write {self.path}: no space left; free some space")

    def refresh(self) -> list[RawId]:
        """Take in what has been appended since the last call; gives the items it was about."""
        size = os.fstat(self._file).st_size
        if size == self._position:
            return []
        if size < self._position:
            log.warning("%s became shorter; the catalogue is read anew", self.path)
            known = list(self.entries)
            self.entries.clear()
            self._position = 0
            return [*known, *self.refresh()]
        text = os.pread(self._file, size - self._position, self._position)
        whole = text.rfind(b"\n") + 1
        self._position += whole
        changes = [change for line in text[:whole].split(b"\n") if line and (change := _parsed(line, self.path))]
        return [change.item for change in changes if self._apply(change)]

    def touch(self, item: RawId, clicks: list[RawId]) -> None:
        """Note that a session with these clicks, oldest first, went on to a new item; nothing once there is enough.

        Raises:
            DataError: it could not be written.
        """
        entry = self.entries.get(item)
        if clicks and entry and entry.available and len(entry.touches) < MAX_TOUCHES:
            self.write(Change("touch", item, clicks=clicks[-CONTEXT:]), durable=False)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _apply(self, change: Change) -> bool:
        entry = self.entries.setdefault(change.item, Entry())
        if change.op == "touch":
            if len(entry.touches) == MAX_TOUCHES:
                return False
            entry.touches.append(tuple(change.clicks))
            return True
        entry.life += 1
        entry.available = change.op == "put" and change.available
        if change.op == "delete":
            entry.like, entry.touches = (), []
        elif change.clicks:
            entry.like = tuple(change.clicks)
        return True

    def _sync_folder(self) -> None:
        """A new file is only there after a power failure if its folder is on the disk as well."""
        folder = os.open(self.path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _parsed(line: bytes, path: Path) -> Change | None:
    checksum, _, text = line.partition(b" ")
    if checksum == b"%08x" % zlib.crc32(text):
        try:
            return msgspec.json.decode(text, type=Change)
        except msgspec.MsgspecError:
            pass
    log.warning("%s: a line is incomplete or damaged and was left out", path)
    return None

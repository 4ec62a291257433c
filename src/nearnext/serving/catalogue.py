"""The live catalogue: what was added, removed or went out of stock since training, on disk before it counts.

All worker processes append to one file and read what the others appended; a change counts once it is read back. What
later changes have made void is left out as soon as it is most of the file.
"""

import logging
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal

import msgspec

from nearnext.errors import DataError
from nearnext.serving.journal import Journal
from nearnext.types import RawId

__all__ = ["Catalogue", "Change", "Entry"]

MAX_TOUCHES = 256
"""Sessions of a new item that are kept: enough for a mean, and then training should take over."""

CONTEXT = 15
"""Clicks before a click on a new item that are kept of each such session."""

VOID = 1000
"""Lines without effect that are not worth writing the file anew."""

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
        life: which of the item's lives it is: a new number with each ``put`` and ``delete``.
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
        self.entries: dict[RawId, Entry] = {}
        self._lives = count(1)
        self._n_lines, self._worth_a_look = 0, VOID
        try:
            self._journal = Journal(path)
        except DataError as error:
            raise DataError(f"{error}; choose another catalogue with --catalogue") from error
        self.refresh()

    @property
    def writable(self) -> bool:
        """Whether changes can be written."""
        return self._journal.writable

    def write(self, change: Change, *, durable: bool = True) -> None:
        """Append a change; it counts from the next `refresh` of any process.

        Args:
            change: what happened.
            durable: whether it must be on the disk before this returns; otherwise it only survives the process.

        Raises:
            DataError: it could not be written, and does not count.
        """
        if not self.writable:
            raise DataError(
                f"catalogue changes cannot be written to {self._journal.path}; choose another with --catalogue"
            )
        self._journal.append(msgspec.json.encode(change), durable=durable)

    def refresh(self) -> list[RawId]:
        """Take in what has changed in the file since the last call; gives the items it was about."""
        changed = self._refreshed()
        if self._n_lines > self._worth_a_look:
            changed += self._compacted()
        return changed

    def _refreshed(self) -> list[RawId]:
        news = self._journal.read()
        if not news.anew:
            return self._take(news.texts)
        before, self.entries, self._n_lines = self.entries, {}, 0
        self._take(news.texts)
        return [item for item in before | self.entries if not self._goes_on(item, before.get(item))]

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
        self._journal.close()

    def _take(self, texts: list[bytes]) -> list[RawId]:
        self._n_lines += len(texts)
        changes = [change for text in texts if (change := self._parsed(text))]
        return [change.item for change in changes if self._apply(change)]

    def _apply(self, change: Change) -> bool:
        entry = self.entries.setdefault(change.item, Entry())
        if change.op == "touch":
            if len(entry.touches) == MAX_TOUCHES:
                return False
            entry.touches.append(tuple(change.clicks))
            return True
        entry.life = next(self._lives)
        entry.available = change.op == "put" and change.available
        if change.op == "delete":
            entry.like, entry.touches = (), []
        elif change.clicks:
            entry.like = tuple(change.clicks)
        return True

    def _goes_on(self, item: RawId, before: Entry | None) -> bool:
        """Whether an item is what it was in a file that was read before; its life goes on if only sessions joined."""
        entry = self.entries.get(item)
        if entry is None or before is None or (entry.available, entry.like) != (before.available, before.like):
            return False
        if entry.touches[: len(before.touches)] != before.touches:
            return False
        entry.life = before.life
        return len(entry.touches) == len(before.touches)

    def _compacted(self) -> list[RawId]:
        """The file written anew if most of it is void, unless others write to it right now; what changed meanwhile."""
        n_live = self._n_live()
        worth_it = n_live + max(VOID, n_live)
        self._worth_a_look = max(worth_it, self._n_lines + VOID)
        if self._n_lines <= worth_it:
            return []
        with self._journal.alone() as alone:
            if not alone:
                return []
            changed, n_lines = self._refreshed(), self._n_lines
            try:
                self._journal.replace(map(msgspec.json.encode, self._live()))
            except OSError as error:
                log.warning("%s stays as long as it is (%s)", self._journal.path, error.strerror)
                return changed
        self._n_lines = self._n_live()
        self._worth_a_look = self._n_lines + max(VOID, self._n_lines)
        log.info("%s: of %d lines %d are left", self._journal.path, n_lines, self._n_lines)
        return changed

    def _n_live(self) -> int:
        return sum(1 + len(entry.touches) for entry in self.entries.values())

    def _live(self) -> Generator[Change]:
        """The changes that lead to what there is now."""
        for item, entry in self.entries.items():
            yield Change("put", item, entry.available, list(entry.like))
            for clicks in entry.touches:
                yield Change("touch", item, clicks=list(clicks))

    def _parsed(self, text: bytes) -> Change | None:
        try:
            return msgspec.json.decode(text, type=Change)
        except msgspec.MsgspecError:
            log.warning("%s: a line is no change and was left out", self._journal.path)
            return None

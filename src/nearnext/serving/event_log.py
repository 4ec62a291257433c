"""The event log: what was clicked and shown, as segments that ``nearnext fit`` reads back; a session erased from it.

Clicks are directly in the folder, so that it is a click log itself; what was shown is in ``shown`` below it.
Each process writes segments of its own. A line is written by one call before the request is answered.
"""

import errno
import fcntl
import logging
import os
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from nearnext.atomic import flock, made_folder, whole_file
from nearnext.data.ids import Foreign, plain_id, tidy_text
from nearnext.data.jsonlines import json_object
from nearnext.errors import DataError
from nearnext.types import RawId

SEGMENT_BYTES = 64 << 20

NEW_SEGMENT = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
"""How a segment is opened; also to be read, which shared locks need on NFS."""

SHOWN = "shown"
"""Folder below the clicks for what was shown."""

log = logging.getLogger(__name__)


class Segments:
    """Lines of one kind, in files of bounded size.

    A file that was removed or replaced is left for a new one, in the folder that is made again where it is gone.
    """

    def __init__(self, folder: Path, kind: str, lost: Callable[[int], None], size: int = SEGMENT_BYTES) -> None:
        self._folder, self._kind, self._lost, self._size = folder, kind, lost, size
        self._number = 0
        self._file, self._path = -1, folder
        self._unsynced = False
        self._failing = False
        made_folder(folder, "make", "choose another with --event-log")
        if not os.access(folder, os.W_OK):
            raise DataError(f"cannot write to {folder}: permission denied; choose another with --event-log")

    def append(self, lines: bytes) -> bool:
        """Write one or more whole lines, the last without its end; False if they could not be written."""
        data = lines + b"\n"
        try:
            begin = self._room_for(len(data))
            try:
                written = os.write(self._file, data)
                if written < len(data):
                    os.ftruncate(self._file, begin)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                flock(self._file, fcntl.LOCK_UN)
        except OSError as error:
            self._failed(error, lines.count(b"\n") + 1)
            return False
        self._unsynced = True
        if self._failing:
            self._failing = False
            log.info("the event log can be written again")
        return True

    def unsynced(self) -> list[int]:
        """Copies of the descriptors that were written to since the last call, to be synced and closed."""
        written, self._unsynced = self._unsynced, False
        return [os.dup(self._file)] if written and self._file >= 0 else []

    def close(self) -> None:
        """Close the current file; the next line begins another."""
        if self._file >= 0:
            sync(self.unsynced())
            os.close(self._file)
            self._file = -1

    def _room_for(self, n_bytes: int) -> int:
        """Make sure that a file with room is open and locked; gives the position that is written next."""
        if self._file >= 0:
            if self._is_ours() and (not (size := os.fstat(self._file).st_size) or size + n_bytes <= self._size):
                return size
            self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        while self._file < 0:
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            self._number += 1
            self._path = self._folder / f"{self._kind}-{moment}-{os.getpid()}-{self._number}.jsonl"
            with suppress(FileExistsError):  # of a process with the same number, in another container
                self._file = os.open(self._path, NEW_SEGMENT, 0o640)
        flock(self._file, fcntl.LOCK_SH)
        return 0

    def _is_ours(self) -> bool:
        """Whether the open file is still at its path, and nobody erases lines of it; it is locked then."""
        try:
            flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        return _is_at(self._path, self._file)

    def _failed(self, error: OSError, n_lines: int) -> None:
        self._lost(n_lines)
        if not self._failing:
            self._failing = True
            log.error("the event log cannot be written (%s); events are lost until it can", error.strerror)


def _is_at(path: Path, file: int) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))  # noqa: PTH116 - every line of a log asks this
    except OSError:
        return False


def sync(files: list[int]) -> None:
    """Bring files to the disk, where they also outlast the machine, and close them."""
    for file in files:
        try:
            os.fdatasync(file)
        except OSError as error:
            log.warning("the event log cannot be brought to the disk (%s)", error.strerror)
        finally:
            os.close(file)


class EventLogWriter:
    """The event log of one process; ``lost`` is called with the number of lines that could not be written."""

    def __init__(self, folder: Path, lost: Callable[[int], None] = lambda _: None) -> None:
        self._clicks = Segments(folder, "clicks", lost)
        self._shown = Segments(folder / SHOWN, "shown", lost)

    def clicked(
        self, session: str, items: Sequence[RawId], time: float | None = None, event: str | None = None
    ) -> bool:
        """Note clicks of a session, by default now; False if they could not be written."""
        rest = {"timestamp": _now() if time is None else time} | ({} if event is None else {"event": event})
        lines = [msgspec.json.encode({"session_id": session, "item_id": item, **rest}) for item in items]
        return self._clicks.append(b"\n".join(lines))

    def shown(self, session: str, items: Sequence[RawId], model: str) -> bool:
        """Note which items a session was shown, and by which model; False if it could not be written."""
        line = msgspec.json.encode({"session_id": session, "items": items, "model": model, "timestamp": _now()})
        return self._shown.append(line)

    def unsynced(self) -> Callable[[], None]:
        """What brings to the disk what was written until now; any thread may call it, once."""
        files = self._clicks.unsynced() + self._shown.unsynced()
        return lambda: sync(files)

    def close(self) -> None:
        """Close all files."""
        self._clicks.close()
        self._shown.close()


def _now() -> float:
    return round(time.time(), 6)


class Erased(NamedTuple):
    """What was erased, and what could not be searched.

    Attributes:
        lines: lines that were erased.
        files: files that they were in.
        unread: lines of each file of which the session cannot be read.
        unsearched: files and folders that are no segments.
    """

    lines: int
    files: int
    unread: dict[Path, int]
    unsearched: list[Path]


def forget_session(folder: Path, session: str) -> Erased:
    """Erase all lines of a session from the segments of an event log: what it clicked, and what it was shown.

    Each segment is replaced in one step; one that has no other lines is removed.
    """
    try:
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder; name the one that serve was given with --event-log")
        searched = [part for part in (folder, folder / SHOWN) if part.is_dir()]
        found = [one for part in searched for one in sorted(part.iterdir()) if one not in searched]
        segments = [file for file in found if file.suffix == ".jsonl" and file.is_file()]
        counts = [_erased(file, session) for file in segments]
    except OSError as error:
        raise DataError(f"cannot erase from {folder}: {error.strerror}; some lines may still be there") from error
    erased = [n_erased for n_erased, _ in counts]
    unread = {file: n_unread for file, (_, n_unread) in zip(segments, counts, strict=True) if n_unread}
    return Erased(sum(erased), sum(map(bool, erased)), unread, [one for one in found if one not in segments])


def _erased(path: Path, session: str) -> tuple[int, int]:
    """How many lines of a segment were erased, and of how many the session cannot be read."""
    while True:
        try:
            segment = path.open("r+b" if os.access(path, os.W_OK) else "rb")  # exclusive locks need the first on NFS
        except FileNotFoundError:
            return 0, 0
        with segment:
            flock(segment.fileno(), fcntl.LOCK_EX)  # a writer begins another segment meanwhile
            if _is_at(path, segment.fileno()):
                return _rewritten(path, segment, session)
        # Another process that erases has replaced it: what it left is read.


def _rewritten(path: Path, segment: BinaryIO, session: str) -> tuple[int, int]:
    lines = segment.read().splitlines(keepends=True)
    owners = [_session_of(line) for line in lines]
    kept = [line for line, owner in zip(lines, owners, strict=True) if owner != tidy_text(session)]
    if len(kept) < len(lines):
        with whole_file(path) as unfinished, unfinished.open("wb") as file:
            os.fchmod(file.fileno(), os.fstat(segment.fileno()).st_mode & 0o777)
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        if not any(map(bytes.strip, kept)):
            path.unlink()
    unread = sum(owner is None and bool(line.strip()) for line, owner in zip(lines, owners, strict=True))
    return len(lines) - len(kept), unread


def _session_of(line: bytes) -> str | None:
    """The session of a line, as a fit reads it: segments may hold lines that other programs wrote."""
    found = plain_id((json_object(line.removeprefix(BOM_UTF8)) or {}).get("session_id"))
    return None if found is None or isinstance(found, Foreign) else tidy_text(str(found))

"""The event log: what was clicked and what was shown, as segments that ``nearnext fit`` reads back.

Clicks lie directly in the folder, so that it is a click log as it stands; what was shown lies in ``shown`` below it.
Each process writes segments of its own. A line is written by one call before the request is answered.
"""

import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nearnext.errors import DataError
from nearnext.types import RawId

__all__ = ["EventLogWriter", "Segments"]

SEGMENT_BYTES = 64 << 20

log = logging.getLogger(__name__)


class Segments:
    """Lines of one kind, in files of bounded size; a file that could not take a line is completed or left.

    Args:
        folder: made where it is missing.
        kind: first part of the files' names.
        size: bytes after which a new file begins.

    Raises:
        DataError: the folder cannot be made or written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     segments = Segments(Path(folder), "clicks")
    ...     segments.append(b'{"session_id":"s"}'), [file.read_text().split() for file in Path(folder).iterdir()]
    (True, [['{"session_id":"s"}']])
    """

    def __init__(self, folder: Path, kind: str, size: int = SEGMENT_BYTES) -> None:
        self._folder, self._kind, self._size = folder, kind, size
        self._number = 0
        self._file = -1
        self._unsynced = False
        self._failing = False
        self.lost = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot make {folder}: {error.strerror}; choose another with --event-log") from error
        if not os.access(folder, os.W_OK):
            raise DataError(f"cannot write to {folder}: permission denied; choose another with --event-log")

    def append(self, lines: bytes) -> bool:
        """Write one or more whole lines, the last without its end; False if they could not be written."""
        data = lines + b"\n"
        try:
            begin = self._place(len(data))
            written = os.write(self._file, data)
            if written < len(data):
                os.ftruncate(self._file, begin)
                raise OSError(0, "no space left")
        except OSError as error:
            self._failed(error, lines.count(b"\n") + 1)
            return False
        self._unsynced = True
        if self._failing:
            self._failing = False
            log.info("the event log can be written again")
        return True

    def sync(self) -> None:
        """Bring what was written to the disk, where it also outlasts the machine."""
        if self._unsynced and self._file >= 0:
            self._unsynced = False
            try:
                os.fdatasync(self._file)
            except OSError as error:
                log.warning("the event log cannot be brought to the disk (%s)", error.strerror)

    def close(self) -> None:
        """Close the current file."""
        if self._file >= 0:
            self.sync()
            os.close(self._file)
            self._file = -1

    def _place(self, n_bytes: int) -> int:
        """Make sure that a file with room is open; gives the place that is written next."""
        if self._file >= 0:
            place = os.fstat(self._file).st_size
            if not place or place + n_bytes <= self._size:
                return place
            self.close()
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self._number += 1
        name = f"{self._kind}-{moment}-{os.getpid()}-{self._number}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._folder / name, flags, 0o640)
        return os.fstat(self._file).st_size

    def _failed(self, error: OSError, n_lines: int) -> None:
        self.lost += n_lines
        if not self._failing:
            self._failing = True
            log.error("the event log cannot be written (%s); events are lost until it can", error.strerror)


class EventLogWriter:
    """The event log of one process.

    Args:
        folder: made where it is missing.

    Raises:
        DataError: the folder cannot be made or written.

    >>> import tempfile
    >>> from nearnext.data.sessionise import read_sessions
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = EventLogWriter(Path(folder))
    ...     writer.clicked("s", ["a", "b"], time=1.4e9)
    ...     writer.shown("s", ["c"], "v1")
    ...     read_sessions(folder).raw(0)
    True
    True
    ['a', 'b']
    """

    def __init__(self, folder: Path) -> None:
        self._clicks = Segments(folder, "clicks")
        self._shown = Segments(folder / "shown", "shown")

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._clicks.lost + self._shown.lost

    def clicked(self, session: str, items: Sequence[RawId], time: float | None = None) -> bool:
        """Note clicks of a session, by default now; False if they could not be written."""
        moment = _now() if time is None else time
        lines = [msgspec.json.encode({"session_id": session, "item_id": item, "timestamp": moment}) for item in items]
        return self._clicks.append(b"\n".join(lines))

    def shown(self, session: str, items: Sequence[RawId], model: str) -> bool:
        """Note which items a session was shown, and by which model; False if it could not be written."""
        line = msgspec.json.encode({"session_id": session, "items": items, "model": model, "timestamp": _now()})
        return self._shown.append(line)

    def sync(self) -> None:
        """Bring what was written to the disk."""
        self._clicks.sync()
        self._shown.sync()

    def close(self) -> None:
        """Close all files."""
        self._clicks.close()
        self._shown.close()


def _now() -> float:
    return round(time.time(), 6)

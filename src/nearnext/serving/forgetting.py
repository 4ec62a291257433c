"""A session erased from an event log, also while a service writes to it."""

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from nearnext.atomic import flock, whole_file
from nearnext.data.ids import tidy_text
from nearnext.errors import DataError
from nearnext.serving.event_log import SHOWN
from nearnext.types import RawId


class _Line(msgspec.Struct):
    session_id: RawId


class Erased(NamedTuple):
    """How many lines of how many files were erased, and which files and folders in the folder were not searched."""

    lines: int
    files: int
    unsearched: list[Path]


def forget_session(folder: Path, session: str) -> Erased:
    """Erase all lines of a session from the segments of an event log: what it clicked, and what it was shown.

    Each segment is replaced in one step; one that has no other lines is removed.

    Raises:
        DataError: the folder cannot be read, or a segment not be written.

    >>> import tempfile
    >>> from nearnext.serving.event_log import EventLogWriter
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = EventLogWriter(Path(folder))
    ...     _ = writer.clicked("s1", ["a", "b"]), writer.clicked("s2", ["a"]), writer.shown("s1", ["c"], "v1")
    ...     writer.close()
    ...     forget_session(Path(folder), "s1")[:2], forget_session(Path(folder), "s1")[:2]
    ((3, 2), (0, 0))
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
    return Erased(sum(counts), sum(map(bool, counts)), [one for one in found if one not in segments])


def _erased(path: Path, session: str) -> int:
    with path.open("rb") as segment:
        flock(segment.fileno(), fcntl.LOCK_EX)  # a writer begins another segment meanwhile
        lines = segment.read().splitlines(keepends=True)
        kept = [line for line in lines if not _is_of(line, session)]
        if len(kept) < len(lines):
            with whole_file(path) as unfinished, unfinished.open("wb") as file:
                os.fchmod(file.fileno(), os.fstat(segment.fileno()).st_mode & 0o777)
                file.writelines(kept)
                file.flush()
                os.fsync(file.fileno())
            if not any(map(bytes.strip, kept)):
                path.unlink()
    return len(lines) - len(kept)


def _is_of(line: bytes, session: str) -> bool:
    """Whether a line is of the session; ids that reading a log makes one are one here too."""
    try:
        return tidy_text(str(msgspec.json.decode(line, type=_Line).session_id)) == tidy_text(session)
    except msgspec.MsgspecError:
        return False

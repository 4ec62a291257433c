"""A file of lines that several processes append to and read at once, and that any of them may write anew.

A line is a checksum and a text, written by one call. A line whose writer was killed half-way, or had no room on the
disk, fails its checksum and was never confirmed to anybody; the next writer begins a new line. Who writes the file anew
has it for itself meanwhile, and puts the new file in the old one's place in one step; the others see that by its inode.
"""

import errno
import fcntl
import logging
import os
import threading
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from nearnext.errors import DataError

__all__ = ["Journal", "News"]

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""Errors of a file system without locks; there nobody can have a file for itself, and nobody need fear that."""

log = logging.getLogger(__name__)


class News(NamedTuple):
    """What was read.

    Attributes:
        anew: whether another file lies there now: what was read before does not count any more.
        texts: of the lines that were not read before, oldest first.
    """

    anew: bool
    texts: list[bytes]


NOTHING = News(anew=False, texts=[])


class Journal:
    """Lines that processes share. One thread reads; any may append.

    Args:
        path: the file, made where it is missing. A file that cannot be written is read all the same.

    Attributes:
        path: the file, links followed.
        writable: whether lines can be appended.

    Raises:
        DataError: the file can be neither made nor read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one, other = Journal(Path(folder, "lines")), Journal(Path(folder, "lines"))
    ...     one.append(b"first")
    ...     with one.alone() as alone:
    ...         one.replace([b"second"])
    ...     alone, other.read()
    (True, News(anew=True, texts=[b'second']))
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.writable = True
        self._appending = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writing = self._opened()
        except OSError as error:
            self.writable = False
            log.warning("%s cannot be written (%s)", path, error.strerror)
        try:
            reading = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            reading = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        self._begin(reading, 0)

    def read(self) -> News:
        """The lines since the last call."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - every request asks this
        except OSError:
            found = os.fstat(self._reading)  # a file that is gone says what it said
        anew = False
        if (found.st_dev, found.st_ino) != self._identity:
            anew = self._follow()
            found = os.fstat(self._reading)
        size = found.st_size
        if size == self._position:
            return News(anew, []) if anew else NOTHING
        if size < self._position:
            log.warning("%s became shorter and is read anew", self.path)
            self._position, anew = 0, True
        data = os.pread(self._reading, size - self._position, self._position)
        whole = data.rfind(b"\n") + 1
        self._position += whole
        texts = [text for line in data[:whole].split(b"\n") if line and (text := self._text(line)) is not None]
        return News(anew, texts)

    def append(self, text: bytes, *, durable: bool = True) -> None:
        """A line more; it counts from the next `read` of any process.

        Args:
            text: without a line break.
            durable: whether it must be on the disk before this returns; otherwise it only survives the process.

        Raises:
            DataError: it could not be written, and does not count.
        """
        if not self.writable:
            raise DataError(f"{self.path} cannot be written")
        try:
            with self._appending, self._current() as file:
                line = b"\n" * self._torn + _line(text)
                written = os.write(file, line)
                self._torn = written < len(line)
                if self._torn:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                own = os.dup(file) if durable else -1  # another thread may follow to a new file, and close this one
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror}; free some space") from error
        if durable:
            try:
                os.fdatasync(own)
            except OSError as error:
                raise DataError(f"cannot write {self.path}: {error.strerror}; free some space") from error
            finally:
                os.close(own)

    @contextmanager
    def alone(self) -> Generator[bool]:
        """A time in which nobody else appends or replaces; it gives False where that cannot be had at once."""
        if not self.writable:
            yield False
            return
        with self._appending:
            file = self._writing
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            try:
                yield self._is_current(file)
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
                if file != self._writing:  # it was replaced
                    os.close(file)

    def replace(self, texts: Iterable[bytes]) -> None:
        """These lines instead of all, in one step; only while `alone`, and after everything was read.

        Raises:
            OSError: the new file cannot be written, and the old one stays; or the folder cannot be brought to the disk.
        """
        before = os.fstat(self._writing)
        unfinished = self.path.with_name(self.path.name + ".part")
        file = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(file, "wb", closefd=False) as writer:
                writer.writelines(map(_line, texts))
            os.fchown(file, before.st_uid, before.st_gid)
            os.fchmod(file, before.st_mode & 0o777)
            os.fsync(file)
            reading = os.open(unfinished, os.O_RDONLY | os.O_CLOEXEC)
            unfinished.replace(self.path)
        except OSError:
            os.close(file)
            unfinished.unlink(missing_ok=True)
            raise
        os.close(self._reading)
        self._begin(reading, os.fstat(file).st_size)
        self._writing, self._torn = file, False
        self._sync_folder()

    def close(self) -> None:
        """Close the file."""
        os.close(self._reading)
        if self.writable:
            os.close(self._writing)

    def _begin(self, reading: int, position: int) -> None:
        """Read this file from now on."""
        found = os.fstat(reading)
        self._reading, self._position, self._identity = reading, position, (found.st_dev, found.st_ino)

    def _follow(self) -> bool:
        """Whether the file that lies there now is read from now on; one that cannot be opened is not."""
        try:
            reading = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        os.close(self._reading)
        self._begin(reading, 0)
        return True

    @contextmanager
    def _current(self) -> Generator[int]:
        """The file that lies there now, which nobody replaces meanwhile."""
        while True:
            with _shared(self._writing):
                if self._is_current(self._writing):
                    yield self._writing
                    return
            file = self._opened()
            os.close(self._writing)
            self._writing = file

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False

    def _opened(self) -> int:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._sync_folder()
            size = os.fstat(file).st_size
            self._torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        except OSError:
            os.close(file)
            raise
        return file

    def _sync_folder(self) -> None:
        """A new file is only there after a power failure if its folder is on the disk as well."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _text(self, line: bytes) -> bytes | None:
        checksum, _, text = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(text):
            return text
        log.warning("%s: a line is incomplete or damaged and was left out", self.path)
        return None


@contextmanager
def _shared(file: int) -> Generator[None]:
    """A time in which nobody has the file for itself."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        locked = True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        locked = False
    try:
        yield
    finally:
        if locked:
            fcntl.flock(file, fcntl.LOCK_UN)


def _line(text: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(text), text)

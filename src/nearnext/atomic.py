"""Files and folders that are written whole or not at all."""

import ctypes
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from nearnext.errors import ArtifactError, ConfigError, DataError

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""Errors of a file system without locks."""

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Arguments of Linux's renameat2: relative to the current folder; swap the two names."""

NEW, OLD = "new", "old"
"""What the scratch folder next to a target holds: what is being written, and what it replaces."""


def has_utf8_name(path: Path) -> bool:
    """Whether the absolute path is valid UTF-8: pyarrow and polars open no other."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_special(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket: written to, and never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def whole_file(path: str | Path) -> Generator[Path]:
    """A place next to ``path`` to write to; on success it becomes ``path``, otherwise what was there stays.

    A link stays a link: the file that it leads to is written. A device or a pipe is written directly.
    """
    path = Path(path)
    try:
        if is_special(path):
            yield path
            return
        target = Path(os.path.realpath(path))
        with scratch_path(target) as fresh:
            fresh.touch()
            yield fresh
            fresh.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {path}: {reason}; choose a writable folder with space") from error


def made_folder(folder: str | Path, purpose: str, remedy: str = "choose another folder") -> Path:
    """A folder, made where it is missing; `ConfigError` where it cannot be, such as ``cannot keep runs in FOLDER``."""
    if not has_utf8_name(Path(folder)):
        raise ConfigError(f"cannot {purpose} {folder}: its path is not UTF-8; {remedy}")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot {purpose} {folder}: {error.strerror or error}; {remedy}") from error
    return Path(folder)


@contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """A folder next to ``path`` to write to; on success it becomes ``path``, otherwise what was there stays.

    What writers that were killed have left next to it is removed, and what they were about to replace is put back.

    Raises:
        OSError: it cannot be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_folder(Path(folder, "notes")) as unfinished:
    ...         _ = (unfinished / "note.txt").write_text("done")
    ...     Path(folder, "notes", "note.txt").read_text()
    'done'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch_path(path) as fresh:
        fresh.mkdir()
        yield fresh
        _sync(*fresh.rglob("*"), fresh)
        _publish(fresh, path)
        _sync(path.parent)


@contextmanager
def scratch_path(path: Path) -> Generator[Path]:
    """The name of something new in a folder next to a path, removed at the end; those of killed writers are removed."""
    if not has_utf8_name(path):
        raise OSError(errno.EILSEQ, "its path is not UTF-8")
    _clean_up(path)
    with ExitStack() as stack:
        scratch: Path | None = None
        while scratch is None or not scratch.exists():  # another writer may remove it before it is locked
            scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
            with suppress(FileNotFoundError):
                stack.enter_context(exclusive_folder(scratch))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        yield scratch / NEW


@contextmanager
def exclusive_folder(folder: Path, *, wait: bool = True) -> Generator[bool]:
    """Hold the lock of a folder, which a process loses when it ends; False where the file system has none."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    finally:
        os.close(lock)


def lock_of_run(file: Path, used: Path) -> TextIO:
    """A lock file, opened and locked for one run; closing it, or the end of the process, gives the lock back.

    Args:
        file: the lock file; it and its folder are made where they are missing.
        used: what the run writes to, for messages.

    Raises:
        ArtifactError: another run holds the lock, or the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("w")
    except OSError as error:
        raise ArtifactError(f"cannot use {used}: {error.strerror or error}; choose a path to write to") from error
    try:
        flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ArtifactError(f"another run is using {used}; wait for it or choose another path") from error
    return lock


def flock(file: int, how: int) -> bool:
    """Lock or unlock a file as `fcntl.flock` does; False on a file system without locks."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def _publish(fresh: Path, path: Path) -> None:
    """Put a folder in the place of another; readers find one or the other, where the system can exchange names."""
    while True:
        there = path.exists()
        try:
            if not there:
                fresh.rename(path)
            elif not _exchange(fresh, path):
                _replace(fresh, path)
        except OSError:
            if path.exists() == there:
                raise
        else:
            return
        # Another writer put a folder there, or took one away, between the question and the renaming.


def _replace(fresh: Path, path: Path) -> None:
    old = fresh.with_name(OLD)
    path.rename(old)
    try:
        fresh.rename(path)
    except OSError:
        with suppress(FileNotFoundError):
            old.rename(path)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    rename = c_function("renameat2")
    if rename is None:
        return False
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
        return False
    raise OSError(code, os.strerror(code), str(other))


def c_function(name: str) -> Any:
    """A function of the C library; None where it has none of this name, or cannot be reached, as on Windows."""
    try:
        return getattr(ctypes.CDLL(None, use_errno=True), name, None)
    except (OSError, TypeError):
        return None


def _sync(*paths: Path) -> None:
    """Bring files and folders to the disk."""
    for path in paths:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _clean_up(path: Path) -> None:
    """Remove the scratch folders of dead writers of this path."""
    ours = re.compile(re.escape(f".{path.name}.") + "[a-z0-9_]{8}")
    for scratch in [entry for entry in path.parent.iterdir() if ours.fullmatch(entry.name) and entry.is_dir()]:
        with suppress(OSError):  # another process writes there now, or it is not ours to remove
            if not {entry.name for entry in scratch.iterdir()} <= {NEW, OLD}:
                continue
            with exclusive_folder(scratch, wait=False) as locked:
                if not locked:
                    continue
                if not path.exists() and (scratch / OLD).exists():
                    (scratch / OLD).rename(path)
                shutil.rmtree(scratch)

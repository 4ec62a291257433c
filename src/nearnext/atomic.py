"""Files and folders that are written whole or not at all."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from nearnext.errors import DataError

__all__ = ["is_special", "whole_file", "whole_folder"]

NEW, OLD = "new", "old"
"""What the scratch folder beside a target holds: what is being written, and what it replaces."""


def is_special(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket: written to, and never replaced.

    >>> is_special(Path(os.devnull)), is_special(Path("no-such-file"))
    (True, False)
    """
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def whole_file(path: str | Path) -> Generator[Path]:
    """A place next to ``path`` to write to; on success it becomes ``path``, otherwise what was there stays.

    A link stays a link: the file that it leads to is written. A device or a pipe is written directly.

    Raises:
        DataError: the path cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(f"{folder}/note.txt") as unfinished:
    ...         _ = unfinished.write_text("done")
    ...     Path(f"{folder}/note.txt").read_text()
    'done'
    """
    path, special = Path(path), is_special(Path(path))
    target = path if special else Path(os.path.realpath(path))
    unfinished = path if special else target.with_name(target.name + ".part")
    try:
        yield unfinished
        if not special:
            unfinished.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {path}: {reason}; choose a writable folder with space") from error
    finally:
        if not special:
            unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """A folder beside ``path`` to write to; on success it becomes ``path``, otherwise what was there stays.

    What writers that were killed have left beside it is removed, and what they were about to replace is put back.

    Raises:
        OSError: it cannot be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_folder(Path(folder, "notes")) as unfinished:
    ...         _ = (unfinished / "note.txt").write_text("done")
    ...     Path(folder, "notes", "note.txt").read_text()
    'done'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(path)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    lock = os.open(scratch, os.O_RDONLY)  # held while this process lives: others leave its scratch folder alone
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (scratch / NEW).mkdir()
        yield scratch / NEW
        if path.exists():
            path.rename(scratch / OLD)
        try:
            (scratch / NEW).rename(path)
        except OSError:
            with suppress(FileNotFoundError):
                (scratch / OLD).rename(path)
            raise
    finally:
        os.close(lock)
        shutil.rmtree(scratch, ignore_errors=True)


def _clean_up(path: Path) -> None:
    """Remove the scratch folders of dead writers of this path."""
    ours = re.compile(re.escape(f".{path.name}.") + "[a-z0-9_]{8}")
    for scratch in [entry for entry in path.parent.iterdir() if ours.fullmatch(entry.name) and entry.is_dir()]:
        if not {entry.name for entry in scratch.iterdir()} <= {NEW, OLD}:
            continue
        lock = os.open(scratch, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists() and (scratch / OLD).exists():
                (scratch / OLD).rename(path)
            shutil.rmtree(scratch)
        except OSError:  # another process writes there now, or it is not ours to remove
            continue
        finally:
            os.close(lock)

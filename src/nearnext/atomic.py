"""Files that are written whole or not at all."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from nearnext.errors import DataError

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: str | Path) -> Generator[Path]:
    """A place beside ``path`` to write to; on success it becomes ``path``, otherwise what was there stays.

    Raises:
        DataError: the path cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(f"{folder}/note.txt") as unfinished:
    ...         _ = unfinished.write_text("done")
    ...     Path(f"{folder}/note.txt").read_text()
    'done'
    """
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {path}: {reason}; choose a writable folder with space") from error
    finally:
        unfinished.unlink(missing_ok=True)

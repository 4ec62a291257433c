"""The file of rows of a log that cannot be used."""

import csv
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nearnext.data.chunks import Rejected
from nearnext.errors import DataError


class RejectsFile(ExitStack):
    """Writes rejected rows as CSV, if a file is named, in a ``with`` statement."""

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._path = path
        self._writer: Any = None

    def __bool__(self) -> bool:
        return self._path is not None

    def __enter__(self) -> "RejectsFile":
        if self._path is not None:
            with self._writing():
                self._writer = csv.writer(self.enter_context(self._path.open("w", encoding="utf-8", newline="")))
                self._writer.writerow(["file", "line", "reason", "text"])
        return self

    def __exit__(self, *error: Any) -> None:
        with self._writing():
            super().__exit__(*error)

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"cannot write rejected rows to {self._path}: {error.strerror}; name a file that can be written"
            ) from error

    def write(self, where: str, rows: Iterable[Rejected]) -> None:
        """Append rows of one source."""
        with self._writing():
            self._writer.writerows((where, row.line, row.reason, row.text) for row in rows)

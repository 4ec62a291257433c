"""Rows that cannot be used: counted by reason, and written aside with their place in the log."""

import csv
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from nearnext.data.chunks import Rejected
from nearnext.errors import DataError

__all__ = ["Rejects"]


class Rejects:
    """The rejected rows of a log.

    Attributes:
        counts: rejected rows by reason.
        first: the first rejected row in words, None while there is none.

    Raises:
        DataError: the file to write them to cannot be written.

    >>> with Rejects(None) as rejects:
    ...     rejects.add("clicks.csv line", [Rejected(7, "missing time", "1,2,")])
    >>> dict(rejects.counts), rejects.first
    ({'missing time': 1}, 'clicks.csv line 7: missing time')
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.first: str | None = None
        self._open = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> "Rejects":
        if self.path is not None:
            try:
                file = self._open.enter_context(self.path.open("w", encoding="utf-8", newline=""))
            except OSError as error:
                raise DataError(
                    f"cannot write rejected rows to {self.path}: {error.strerror}; name a file that can be written"
                ) from error
            self._writer = csv.writer(file)
            self._writer.writerow(["file", "line", "reason", "text"])
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def wanted(self) -> bool:
        """Whether the rows are written aside, so that their text is needed."""
        return self.path is not None

    def count(self, reason: str, rows: int) -> None:
        """Counts rows that need not be written."""
        if rows:
            self.counts[reason] += rows

    def note_first(self, where: str, line: int, reason: str) -> None:
        """Remembers the first rejected row; ``where`` is the source and what its positions are."""
        self.first = self.first or f"{where} {line}: {reason}"

    def add(self, where: str, rejected: Iterable[Rejected]) -> None:
        """Counts and writes rejected rows, in order of their lines."""
        for row in rejected:
            self.count(row.reason, row.rows)
            self.note_first(where, row.line, row.reason)
            if self._writer is not None:
                file = where.rsplit(" ", 1)[0]
                self._writer.writerow([file, row.line, row.reason, row.text])

    def described(self) -> str:
        """The counts in words, the most frequent reason first."""
        return ", ".join(f"{reason} {count:,}" for reason, count in self.counts.most_common())

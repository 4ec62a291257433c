"""Rows that cannot be used: counted by reason, and written aside with their place in the log."""

import csv
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearnext.data.chunks import Chunk, Rejected
from nearnext.errors import DataError


class Rejects:
    """The rejected rows of a log.

    Attributes:
        counts: rejected rows by reason.
        first: the first rejected row in words, None while there is none.

    Raises:
        DataError: the file to write them to cannot be written.

    >>> import polars as pl
    >>> frame = pl.DataFrame()
    >>> with Rejects(None) as rejects:
    ...     chunk = Chunk(frame, np.zeros(0), str, 8, [Rejected(7, "wrong column count", "1,2,")])
    ...     rejects.add("clicks.csv", "line", chunk, np.zeros(0, np.uint8), [])
    >>> rejects.described(), rejects.first
    ('wrong column count 1', 'clicks.csv line 7: wrong column count')
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.first: str | None = None
        self._open = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> "Rejects":
        if self.path is not None:
            with self._writing():
                file = self._open.enter_context(self.path.open("w", encoding="utf-8", newline=""))
                self._writer = csv.writer(file)
                self._writer.writerow(["file", "line", "reason", "text"])
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._writing():
            self._open.close()

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"cannot write rejected rows to {self.path}: {error.strerror}; name a file that can be written"
            ) from error

    def add(self, source: str, place: str, chunk: Chunk, codes: NDArray[np.uint8], reasons: Sequence[str]) -> None:
        """Counts the rejected rows of a chunk, and writes them in order of their lines.

        Args:
            source: the file or frame.
            place: what positions in it are: ``line`` or ``row``.
            chunk: the rows.
            codes: for each row of its frame, 0 or the number of a reason: [n].
            reasons: reasons 1, 2, ...
        """
        for rejected in chunk.rejected:
            self.counts[rejected.reason] += rejected.rows
        for code, count in enumerate(np.bincount(codes, minlength=len(reasons) + 1)[1:].tolist()):
            self.counts[reasons[code]] += count
        if self._writer is None and self.first is not None:
            return
        found = np.flatnonzero(codes) if self._writer is not None else np.flatnonzero(codes)[:1]
        rows = [Rejected(int(chunk.lines[row]), reasons[int(codes[row]) - 1], chunk.text(int(row))) for row in found]
        rows = sorted([*chunk.rejected, *rows], key=lambda row: row.line)
        if rows and self.first is None:
            self.first = f"{source} {place} {rows[0].line}: {rows[0].reason}"
        if self._writer is not None:
            with self._writing():
                self._writer.writerows((source, row.line, row.reason, row.text) for row in rows)

    def described(self) -> str:
        """The counts in words, the most frequent reason first."""
        return ", ".join(f"{reason} {count:,}" for reason, count in self.counts.most_common() if count)

"""Events of a log spread over temporary files so that each session or user is in one of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow_ipc
from nearnext.data.ids import canonical_integers
from nearnext.data.imprint import GOLDEN
from nearnext.data.sessionise import group
from nearnext.types import Int64Array


class Partition(NamedTuple):
    """The events of one partition: in files, or in memory."""

    files: list[Path]  # one for each type of the columns
    only: list[pl.DataFrame]
    text: list[str]  # columns that are text somewhere in the log

    def loaded(self) -> "Partition":
        """The partition in memory; its files are gone afterwards."""
        return Partition([], self.events(), self.text)

    def events(self) -> list[pl.DataFrame]:
        """All events in one frame, in the order of the log, or none; the files are gone afterwards."""
        parts = [*self.only, *map(pl.read_ipc_stream, self.files)]
        for file in self.files:
            file.unlink()
        text = pl.col(self.text).cast(pl.String)
        return [pl.concat([part.with_columns(text) for part in parts], how="diagonal").sort("row")] if parts else []


class Partitions:
    """A folder of ``n`` partitions of events, each in the order of the log; a single one stays in memory.

    Text that spells an integer is spread like that integer: ids may begin as integers and go on as strings. Column
    ``row`` numbers the events of the log.
    """

    def __init__(self, folder: Path, n: int) -> None:
        self._folder = folder
        self.n = n
        self._writers: dict[tuple[int, str], Any] = {}
        self._text: set[str] = set()
        self._only: list[pl.DataFrame] = []
        self._n_rows = 0

    def add(self, chunk: pl.DataFrame) -> None:
        """Spreads a chunk of events by its first column."""
        chunk = chunk.with_columns(row=pl.int_range(self._n_rows, self._n_rows + chunk.height, dtype=pl.Int64))
        self._n_rows += chunk.height
        self._text |= {name for name, dtype in chunk.schema.items() if dtype == pl.String}
        if self.n == 1:
            self._only.append(chunk)
            return
        order, offsets = group(_partition_of(chunk.to_series(0), self.n), self.n)
        spread: pl.DataFrame = chunk[order]
        for partition in np.flatnonzero(np.diff(offsets)).tolist():
            begin, end = int(offsets[partition]), int(offsets[partition + 1])
            self._write(partition, spread[begin:end])

    def _write(self, partition: int, events: pl.DataFrame) -> None:
        table = cast("Any", events).to_arrow(compat_level=pl.CompatLevel.oldest())
        kinds = "-".join(str(dtype) for dtype in events.dtypes)
        key = (partition, kinds)
        if key not in self._writers:
            path = self._folder / f"events-{partition}-{kinds}.arrow"
            self._writers[key] = arrow_ipc.new_stream(str(path), table.schema)
        self._writers[key].write_table(table)

    def close(self) -> None:
        """Ends writing."""
        for writer in self._writers.values():
            writer.close()

    def __iter__(self) -> Iterator[Partition]:
        """Each partition once."""
        files = [list[Path]() for _ in range(self.n)]
        for number, kinds in self._writers:
            files[number].append(self._folder / f"events-{number}-{kinds}.arrow")
        only, self._only = self._only, []
        return (Partition(found, only, sorted(self._text)) for found in files)


def _partition_of(keys: pl.Series, n: int) -> Any:
    """A partition for each key, the same for an integer and for the text that spells it: [n]."""
    if keys.dtype == pl.String:
        numbers = canonical_integers(keys)
        hashed = keys.hash(seed=0).to_numpy() % np.uint64(n)
        known = numbers.is_not_null().to_numpy()
        return np.where(known, _spread(numbers.fill_null(0).to_numpy(), n), hashed).astype(np.int32)
    return _spread(keys.to_numpy(), n).astype(np.int32)


def _spread(keys: Int64Array, n: int) -> Any:
    return ((keys.view(np.uint64) * GOLDEN) >> np.uint64(32)) % np.uint64(n)

"""Events of a log spread over temporary files so that each session or user is in one partition."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow, arrow_ipc
from nearnext.data.events import same_types
from nearnext.data.ids import canonical_integers
from nearnext.data.imprint import GOLDEN
from nearnext.data.sessionise import encode, group
from nearnext.data.vocabulary import joined_ids
from nearnext.types import Int64Array

WAITING = 1 << 20
"""Item ids, at least, that are numbered together: each time, all earlier ones are hashed again."""


class Spread(NamedTuple):
    """Consecutive events of a log in a file, a record batch for each partition, with positions in ``items``."""

    file: Path
    items: pl.Series
    height: int
    text: bool  # whether their sessions or users are texts


def spread(chunks: Sequence[pl.DataFrame], file: Path, n: int) -> Spread:
    """Write chunks of events, by the partition of their first column; ``row`` is the position of each.

    Text that spells an integer is spread like that integer: ids may begin as integers and go on as strings.
    """
    events = pl.concat(same_types(chunks), how="diagonal")
    owners = events.to_series(0)
    codes, items = encode(events["item_id"])
    order, offsets = group(_partition_of(owners, n), n)
    events = events.with_columns(pl.Series("item_id", codes))[order].with_columns(pl.Series("row", order))
    table = cast("Any", events).to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    batch = table.to_batches()[0]
    with arrow_ipc.new_file(str(file), batch.schema) as writer:
        for begin, length in zip(offsets[:-1].tolist(), np.diff(offsets).tolist(), strict=True):
            writer.write_batch(batch.slice(begin, length))
    return Spread(file, items, events.height, owners.dtype == pl.String)


class Partition(NamedTuple):
    """The events of one partition: in files, or in memory."""

    number: int
    files: Sequence[tuple[Path, int]]  # each with the number of its first event in the log
    text: bool  # whether some sessions or users of the log are texts
    only: Sequence[pl.DataFrame] = ()

    def loaded(self) -> "Partition":
        """The partition in memory."""
        return self._replace(files=(), only=self.events())

    def events(self) -> list[pl.DataFrame]:
        """All events in the order of the log, with numbers of items from 0, and of the log's events (``row``)."""
        found = list(self.only)
        for file, first in self.files:
            batch = arrow_ipc.open_file(arrow.memory_map(str(file))).get_batch(self.number)
            if batch.num_rows:
                events = cast("Any", pl).from_arrow(batch)
                numbers = np.load(_numbers(file))
                items = pl.Series("item_id", numbers[events["item_id"].to_numpy()])
                events = events.with_columns(items, pl.col("row").cast(pl.Int64) + first)
                found.append(events.with_columns(pl.first().cast(pl.String)) if self.text else events)
        return found


class Partitions:
    """``n`` partitions of the events of a log, each in its order, and the ids of all items, in no order."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.items = pl.Series("item_id", [], pl.Int64)
        self._files: list[tuple[Path, int]] = []
        self._waiting: list[Spread] = []
        self._n_waiting = 0
        self._text = False
        self._n_rows = 0

    def add(self, events: Spread) -> None:
        """Append the next events of the log."""
        self._files.append((events.file, self._n_rows))
        self._n_rows += events.height
        self._text |= events.text
        self._waiting.append(events)
        self._n_waiting += len(events.items)
        if self._n_waiting > max(WAITING, len(self.items)):
            self.number_items()

    def number_items(self) -> None:
        """Number the items that are not numbered yet."""
        begin = len(self.items)
        numbers, self.items = encode(joined_ids(self.items, *(events.items for events in self._waiting)))
        for events in self._waiting:
            end = begin + len(events.items)
            np.save(_numbers(events.file), numbers[begin:end])
            begin = end
        self._waiting, self._n_waiting = [], 0

    def remove(self) -> None:
        """Delete the files."""
        for file, _ in self._files:
            file.unlink()

    def __iter__(self) -> Iterator[Partition]:
        """Each partition."""
        return (Partition(number, self._files, self._text) for number in range(self.n))


def _numbers(file: Path) -> Path:
    return file.with_suffix(".npy")


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

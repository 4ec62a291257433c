"""Sessions in parts on disk, more of them than memory holds, in an order that does not depend on the parts."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from nearnext.data.arrow import arrow, arrow_ipc
from nearnext.data.blocks import BLOCK
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.types import Int64Array

SAMPLED = 64
"""One session in this many is sampled to find times that divide a log evenly."""


class Block(NamedTuple):
    """Sessions that start from ``begin`` to before ``end``, and how many sessions and clicks come before them."""

    begin: int
    end: int
    sessions: int
    clicks: int


class StoredSessions:
    """Sessions in parts on disk, with items by their positions, from 0, in one vocabulary."""

    def __init__(self, folder: Path, n_items: int) -> None:
        self._folder = folder
        self._n_items = n_items
        self.parts: list[int] = []

    def store(self, part: int, sessions: Sessions, keys: pl.DataFrame) -> None:
        """Write a part; session ids are rows of ``keys``: session_id, and begun and row, which break ties of starts.

        ``begun`` is the start of a session before any filter, ``row`` the first event that the log has of it.
        """
        write_frame(keys, self._file(part, "keys"))
        self._write(part, sessions)

    def __len__(self) -> int:
        return len(self.parts)

    def __setitem__(self, position: int, sessions: Sessions) -> None:
        """Writes a part again."""
        self._write(self.parts[position], sessions)

    def __getitem__(self, position: int) -> Sessions:
        """A part; session ids are rows of its keys."""
        stored = self._open(self.parts[position])
        return stored.sessions(0, stored.owners.height, numbers(self._n_items))

    def blocks(self) -> tuple[list[Block], Block]:
        """All sessions in blocks of about `BLOCK` clicks, in order; and the end, whose counts are the totals."""
        parts = [self._open(part) for part in self.parts]
        starts = [part.owners["start"].to_numpy() for part in parts]
        edges = _edges(starts, -(-sum(part.clicks.height for part in parts) // BLOCK))
        before = [np.searchsorted(moments, edges) for moments in starts]
        firsts = [np.append(part.owners["begin"].to_numpy(), part.clicks.height) for part in parts]
        sessions = np.sum(before, axis=0).tolist()
        clicks = np.sum([first[at] for first, at in zip(firsts, before, strict=True)], axis=0).tolist()
        found = list(map(Block, edges, [*edges[1:], edges[-1]], sessions, clicks))
        return [one for one, after in pairwise(found) if one.sessions < after.sessions], found[-1]

    def in_order(self, blocks: Iterable[Block]) -> Iterator[Sessions]:
        """The sessions of blocks by start, begun and row, with their own ids."""
        parts = [self._open(part) for part in self.parts]
        starts = [part.owners["start"].to_numpy() for part in parts]
        for block in blocks:
            found = list[tuple[_Stored, Sessions]]()
            for part, moments in zip(parts, starts, strict=True):
                first, last = np.searchsorted(moments, (block.begin, block.end)).tolist()
                if first < last:
                    found.append((part, part.sessions(first, last, numbers(self._n_items))))
            yield _merged(found)

    def arrays(self) -> list[str]:
        """Names of the arrays of clicks."""
        return self._open(self.parts[0]).clicks.columns

    def _write(self, part: int, sessions: Sessions) -> None:
        keys = read_frame(self._file(part, "keys"))[sessions.session_ids.to_numpy()]
        if not _is_ordered(sessions, keys):
            sessions = sessions.select(_order(sessions, keys))
        owners = {"key": sessions.session_ids, "start": sessions.starts, "begin": sessions.offsets[:-1]}
        write_frame(pl.DataFrame(owners), self._file(part, "sessions"))
        write_frame(pl.DataFrame(sessions.per_click()), self._file(part, "clicks"))

    def _open(self, part: int) -> "_Stored":
        return _Stored(*(read_frame(self._file(part, kind)) for kind in ("sessions", "clicks", "keys")))

    def _file(self, part: int, kind: str) -> Path:
        return self._folder / f"sessions-{part}-{kind}.arrow"


@lru_cache(maxsize=1)
def numbers(n: int) -> Vocabulary:
    """A vocabulary of the numbers from 0 to n − 1."""
    return Vocabulary(pl.int_range(n, dtype=pl.Int64, eager=True).alias("item_id"))


class _Stored(NamedTuple):
    """A part on disk."""

    owners: pl.DataFrame
    clicks: pl.DataFrame
    keys: pl.DataFrame

    def sessions(self, begin: int, end: int, vocabulary: Vocabulary) -> Sessions:
        """Sessions begin..end − 1."""
        n_clicks, begins = self.clicks.height, self.owners["begin"]
        last = int(begins[end]) if end < len(begins) else n_clicks
        offsets = np.append(begins[begin:end].to_numpy(), last)
        clicks = self.clicks[int(offsets[0]) : last]
        per_click: dict[str, Any] = {name: clicks[name].to_numpy() for name in clicks.columns}
        return Sessions(
            **per_click, offsets=offsets - offsets[0], vocabulary=vocabulary, session_ids=self.owners["key"][begin:end]
        )


def _order(sessions: Sessions, keys: pl.DataFrame) -> Int64Array:
    """Positions of sessions, each with its key, in their order."""
    return np.lexsort((keys["row"].to_numpy(), keys["begun"].to_numpy(), sessions.starts))


def _is_ordered(sessions: Sessions, keys: pl.DataFrame) -> bool:
    """Whether sessions, each with its key, are in their order."""
    later = np.zeros(max(sessions.n_sessions - 1, 0), np.bool_)
    for values in (keys["row"].to_numpy(), keys["begun"].to_numpy(), sessions.starts):
        later = (values[1:] > values[:-1]) | (later & (values[1:] == values[:-1]))
    return bool(later.all())


def _merged(found: Sequence[tuple[_Stored, Sessions]]) -> Sessions:
    """Sessions of several parts as one, in order, with their own ids."""
    keys = pl.concat([part.keys[sessions.session_ids.to_numpy()] for part, sessions in found])
    lengths = np.concatenate([sessions.lengths for _, sessions in found])
    clicks = [sessions.per_click() for _, sessions in found]
    per_click: dict[str, Any] = {name: np.concatenate([part[name] for part in clicks]) for name in clicks[0]}
    joined = Sessions(
        **per_click,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        vocabulary=found[0][1].vocabulary,
        session_ids=keys["session_id"],
    )
    return joined.select(_order(joined, keys))


def _edges(starts: Sequence[Int64Array], n_blocks: int) -> list[int]:
    """Times that divide the sessions evenly; the first and the last enclose all of them."""
    sample = np.sort(np.concatenate([moments[::SAMPLED] for moments in starts]))
    inner = sample[np.arange(1, n_blocks) * len(sample) // max(n_blocks, 1)]
    first, last = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    return [int(first), *np.unique(inner).tolist(), int(last)]


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a memory-mappable frame, also over a file that is mapped."""
    unfinished = path.with_name(f"{path.name}.new")
    table = cast("Any", frame).to_arrow(compat_level=pl.CompatLevel.newest()).combine_chunks()
    with arrow_ipc.new_file(str(unfinished), table.schema) as writer:
        writer.write_table(table)
    unfinished.replace(path)


def read_frame(path: Path) -> pl.DataFrame:
    """Memory-map a frame."""
    table = arrow_ipc.open_file(arrow.memory_map(str(path))).read_all()
    return cast("Any", pl).from_arrow(table, rechunk=False)

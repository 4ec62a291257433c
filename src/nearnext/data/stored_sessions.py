"""Sessions in parts on disk, filtered part by part and then sorted together."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
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


class StoredSessions:
    """Sessions in parts on disk, in one vocabulary that grows with each part; the order does not depend on the parts.

    ``counts``: clicks of each item in all parts when they were added: [I + 1].
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._n = 0
        self.vocabulary = Vocabulary.of([])
        self.counts: Int64Array = np.zeros(1, np.int64)

    def add(self, sessions: Sessions, keys: pl.DataFrame) -> None:
        """Append a part; session ids are rows of ``keys``: session_id, and begun and row, which break ties of starts.

        ``begun`` is the start of a session before any filter, ``row`` the first event that the log has of it.
        """
        known = self.vocabulary.ids if self._n else sessions.vocabulary.ids.clear()
        new = sessions.vocabulary.ids.filter(~sessions.vocabulary.ids.is_in(known.implode()))
        self.vocabulary = Vocabulary(pl.concat([known, new]))
        sessions = sessions.with_vocabulary(self.vocabulary)
        self.counts = np.append(self.counts, np.zeros(len(new), np.int64)) + sessions.item_counts()
        write_frame(keys, self._file(self._n, "keys"))
        self._n += 1
        self[self._n - 1] = sessions

    def __len__(self) -> int:
        return self._n

    def __setitem__(self, part: int, sessions: Sessions) -> None:
        """Writes a part without its vocabulary, in order."""
        sessions = sessions.select(_order(sessions, read_frame(self._file(part, "keys"))))
        owners = {"key": sessions.session_ids, "start": sessions.starts, "begin": sessions.offsets[:-1]}
        write_frame(pl.DataFrame(owners), self._file(part, "sessions"))
        write_frame(pl.DataFrame(sessions.per_click()), self._file(part, "clicks"))

    def __getitem__(self, part: int) -> Sessions:
        """A part in the whole vocabulary; session ids are rows of its keys."""
        stored = self._open(part)
        return stored.sessions(0, stored.owners.height, self.vocabulary)

    def in_order(self) -> Iterator[Sessions]:
        """All sessions by start, begun and row, about a block of clicks at a time, with their own ids."""
        parts = [self._open(part) for part in range(self._n)]
        starts = [part.owners["start"].to_numpy() for part in parts]
        for begin, end in pairwise(_edges(starts, -(-int(self.counts.sum()) // BLOCK))):
            found = list[tuple[_Stored, Sessions]]()
            for part, moments in zip(parts, starts, strict=True):
                first, last = np.searchsorted(moments, (begin, end)).tolist()
                if first < last:
                    found.append((part, part.sessions(first, last, self.vocabulary)))
            if found:
                yield _merged(found)

    def _open(self, part: int) -> "_Stored":
        return _Stored(*(read_frame(self._file(part, kind)) for kind in ("sessions", "clicks", "keys")))

    def _file(self, part: int, kind: str) -> Path:
        return self._folder / f"sessions-{part}-{kind}.arrow"


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
        return Sessions(
            **{name: clicks[name].to_numpy() for name in clicks.columns},
            offsets=offsets - offsets[0],
            vocabulary=vocabulary,
            session_ids=self.owners["key"][begin:end],
        )


def _order(sessions: Sessions, keys: pl.DataFrame) -> Int64Array:
    """Positions of sessions in their order; their ids are rows of the keys."""
    keys = keys[sessions.session_ids.to_numpy()]
    return np.lexsort((keys["row"].to_numpy(), keys["begun"].to_numpy(), sessions.starts))


def _merged(found: Sequence[tuple[_Stored, Sessions]]) -> Sessions:
    """Sessions of several parts as one, in order, with their own ids."""
    keys = pl.concat([part.keys[sessions.session_ids.to_numpy()] for part, sessions in found])
    lengths = np.concatenate([sessions.lengths for _, sessions in found])
    clicks = [sessions.per_click() for _, sessions in found]
    joined = Sessions(
        **{name: np.concatenate([part[name] for part in clicks]) for name in clicks[0]},
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        vocabulary=found[0][1].vocabulary,
        session_ids=pl.Series("key", np.arange(keys.height)),
    )
    order = _order(joined, keys)
    return replace(joined.select(order), session_ids=keys["session_id"].gather(order))


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

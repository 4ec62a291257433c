"""A prepared log: a folder of session arrays that readers memory-map, so that it can be larger than memory.

The folder holds the items (int32) and times (int64) of all clicks and the offsets of sessions (int64), little-endian,
the raw ids of items and sessions as Arrow files, and ``prepared.json``: 12 bytes per click, one more where clicks have
event types, 8 bytes and an id per session.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.arrow import arrow, arrow_ipc
from nearnext.data.blocks import BLOCK, in_blocks
from nearnext.data.reading import ReadReport
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.forks import require_polars
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
        per_click: dict[str, Any] = {name: clicks[name].to_numpy() for name in clicks.columns}
        return Sessions(
            **per_click, offsets=offsets - offsets[0], vocabulary=vocabulary, session_ids=self.owners["key"][begin:end]
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
    per_click: dict[str, Any] = {name: np.concatenate([part[name] for part in clicks]) for name in clicks[0]}
    joined = Sessions(
        **per_click,
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


SCHEMA, WITH_TARGETS, WITH_WEIGHTS, WITH_TYPES = 1, 2, 3, 4
"""Versions of the layout: without further arrays of clicks, with those to predict, with weights, with event types."""

MANIFEST, ITEMS, TIMES, OFFSETS = "prepared.json", "items.bin", "times.bin", "offsets.bin"
FURTHER = {"targets": ("targets.bin", "?"), "weights": ("weights.bin", "<f8"), "types": ("types.bin", "|u1")}
"""File and type of arrays that not every log has."""
VOCABULARY, SESSION_IDS = "vocabulary.arrow", "session_ids.arrow"


def is_prepared(source: object) -> bool:
    """Whether a log is a prepared one."""
    return isinstance(source, str | Path) and (Path(source) / MANIFEST).is_file()


def open_prepared(folder: str | Path) -> tuple[Sessions, ReadReport]:
    """Memory-map the sessions of a prepared log; also returns how the log was read.

    Raises:
        DataError: it is damaged, or of a later nearnext.
    """
    require_polars("opening a prepared log")
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        schema = manifest["schema"]
        if schema not in range(SCHEMA, WITH_TYPES + 1):
            raise DataError(f"{folder} has schema {schema}, this nearnext reads {WITH_TYPES}; prepare it again")
        vocabulary = Vocabulary(_ids(folder / VOCABULARY).rechunk())
        sessions = _mapped(folder, ITEMS, manifest["sessions"], manifest["events"], vocabulary)
        sessions = _with_further(sessions, folder, manifest.get("further", ["targets"] * (schema == WITH_TARGETS)))
        sessions = replace(sessions, event_types=tuple(manifest.get("event_types", ())))
        return sessions, ReadReport(**manifest["read"])
    except (OSError, ValueError, KeyError, TypeError, arrow.ArrowException) as error:
        raise DataError(f"{folder} is damaged ({error}); prepare the log again") from error


def _mapped(folder: Path, items: str, n_sessions: int, n_events: int, vocabulary: Vocabulary) -> Sessions:
    return Sessions(
        items=_array(folder / items, "<i4", n_events),
        offsets=_array(folder / OFFSETS, "<i8", n_sessions + 1),
        times=_array(folder / TIMES, "<i8", n_events),
        vocabulary=vocabulary,
        session_ids=_ids(folder / SESSION_IDS),
    )


def _with_further(sessions: Sessions, folder: Path, names: Sequence[str]) -> Sessions:
    files = {name: FURTHER[name] for name in names}
    return replace(
        sessions, **{name: _array(folder / file, dtype, sessions.n_events) for name, (file, dtype) in files.items()}
    )


def _array(path: Path, dtype: str, length: int) -> NDArray[Any]:
    array = np.asarray(np.memmap(path, dtype, mode="r"))
    if len(array) != length:
        raise ValueError(f"expected {length:,} numbers in {path.name}, found {len(array):,}")
    return array


def _ids(path: Path) -> pl.Series:
    return read_frame(path).to_series()


def write_prepared(parts: Iterable[Sessions], folder: Path, read: ReadReport, event_types: Sequence[str] = ()) -> int:
    """Write sessions part by part, in order and in one vocabulary of known items; returns their number.

    The vocabulary written is that of `Sessions.reindexed`; ``event_types`` name the types of all parts.
    """
    given = "given.bin"  # items in the vocabulary of the parts, until all are counted
    n_sessions = n_events = 0
    vocabulary = Vocabulary.of([])
    with ExitStack() as stack:
        items, times, offsets = (stack.enter_context((folder / name).open("wb")) for name in (given, TIMES, OFFSETS))
        files: dict[str, Any] = {}
        ids = stack.enter_context(_IdWriter(folder / SESSION_IDS))
        offsets.write(np.zeros(1, "<i8").tobytes())
        for part in parts:
            items.write(part.items.astype("<i4", copy=False).tobytes())
            times.write(part.times.astype("<i8", copy=False).tobytes())
            for name in FURTHER.keys() & part.per_click().keys():
                file, dtype = FURTHER[name]
                files[name] = files.get(name) or stack.enter_context((folder / file).open("wb"))
                files[name].write(getattr(part, name).astype(dtype, copy=False).tobytes())
            offsets.write((part.offsets[1:] + n_events).astype("<i8", copy=False).tobytes())
            ids.write(part.session_ids)
            n_sessions, n_events, vocabulary = n_sessions + part.n_sessions, n_events + part.n_events, part.vocabulary
    further = sorted(files)
    sessions = _with_further(_mapped(folder, given, n_sessions, n_events, vocabulary), folder, further)
    order = sessions.by_popularity()
    new_index = np.zeros(sessions.n_items + 1, "<i4")
    new_index[order] = np.arange(1, len(order) + 1)
    with (folder / ITEMS).open("wb") as items, _IdWriter(folder / VOCABULARY) as ids:
        for block in in_blocks(sessions.items):
            items.write(new_index[block].tobytes())
        ids.write(vocabulary.ids.gather(order - 1))
    (folder / given).unlink()
    versions = {"targets": WITH_TARGETS, "weights": WITH_WEIGHTS, "types": WITH_TYPES}
    schema = max([SCHEMA, *(versions[name] for name in further)])
    facts: dict[str, Any] = {"further": further} if further else {}
    facts |= {"event_types": list(event_types)} if "types" in files else {}
    facts |= {"schema": schema, "sessions": n_sessions, "events": n_events, "items": len(order), "read": asdict(read)}
    (folder / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    return n_sessions


class _IdWriter(ExitStack):
    """Write ids part by part as a memory-mappable Arrow file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._writer: Any = None

    def write(self, ids: pl.Series) -> None:
        table = cast("Any", ids.to_frame()).to_arrow(compat_level=pl.CompatLevel.newest())
        if self._writer is None:
            self._writer = self.enter_context(arrow_ipc.new_file(str(self._path), table.schema))
        self._writer.write_table(table)

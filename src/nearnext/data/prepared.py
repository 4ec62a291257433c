"""A prepared log: a folder of session arrays that readers memory-map, so that it can be larger than memory.

The folder holds the items (int32) and times (int64) of all clicks and the offsets of sessions (int64), little-endian,
the raw ids of items and sessions as Arrow files, and ``prepared.json``: 12 bytes per click, 8 bytes and an id per
session.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.arrow import arrow, arrow_ipc
from nearnext.data.blocks import in_blocks
from nearnext.data.reading import ReadReport
from nearnext.data.sessions import Sessions
from nearnext.data.stored_sessions import read_frame
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.forks import require_polars

SCHEMA, WITH_TARGETS, WITH_WEIGHTS = 1, 2, 3
"""Versions of the folder's layout: without further arrays of clicks, with those to predict, and with weights."""

MANIFEST, ITEMS, TIMES, OFFSETS = "prepared.json", "items.bin", "times.bin", "offsets.bin"
FURTHER = {"targets": ("targets.bin", "?"), "weights": ("weights.bin", "<f8")}
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
        if schema not in (SCHEMA, WITH_TARGETS, WITH_WEIGHTS):
            raise DataError(f"{folder} has schema {schema}, this nearnext reads {WITH_WEIGHTS}; prepare it again")
        vocabulary = Vocabulary(_ids(folder / VOCABULARY).rechunk())
        sessions = _mapped(folder, ITEMS, manifest["sessions"], manifest["events"], vocabulary)
        sessions = _with_further(sessions, folder, manifest.get("further", ["targets"] * (schema == WITH_TARGETS)))
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


def write_prepared(parts: Iterable[Sessions], folder: Path, read: ReadReport) -> int:
    """Write sessions part by part, in order and in one vocabulary of known items; returns their number.

    The vocabulary written is that of `Sessions.reindexed`.
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
    schema = WITH_WEIGHTS if "weights" in files else WITH_TARGETS if files else SCHEMA
    facts: dict[str, Any] = {"further": further} if further else {}
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

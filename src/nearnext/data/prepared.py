"""A prepared log: a folder of session arrays that readers memory-map, so that it can be larger than memory.

The folder holds the items (int32) and times (int64) of all clicks and the offsets of sessions (int64), little-endian,
the raw ids of items and sessions as Arrow files, and ``prepared.json``: 12 bytes per click, one more where clicks have
event types, 8 bytes and an id per session.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.arrow import arrow, arrow_ipc
from nearnext.data.blocks import in_blocks
from nearnext.data.reading import ReadReport
from nearnext.data.sessions import Sessions
from nearnext.data.stored import Block, StoredSessions, read_frame
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.forks import require_polars
from nearnext.processes import ONE_PROCESS, Executor
from nearnext.progress import track

GROUPS = 64
"""Tasks of writing, at most; each opens all parts."""

SCHEMA, WITH_TARGETS, WITH_WEIGHTS, WITH_TYPES = 1, 2, 3, 4
"""Versions of the layout: without further arrays of clicks, with those to predict, with weights, with event types."""

MANIFEST, ITEMS, TIMES, OFFSETS = "prepared.json", "items.bin", "times.bin", "offsets.bin"
FURTHER = {"targets": ("targets.bin", "?"), "weights": ("weights.bin", "<f8"), "types": ("types.bin", "|u1")}
"""File and type of arrays that not every log has."""
GIVEN = "given.bin"
"""Items by their positions in another vocabulary, until all are counted."""
FILES = {"items": (GIVEN, "<i4"), "times": (TIMES, "<i8"), **FURTHER}
VOCABULARY, SESSION_IDS = "vocabulary.arrow", "session_ids.arrow"


def is_prepared(source: object) -> bool:
    """Whether a log is a prepared one; False if the path cannot be read."""
    try:
        return isinstance(source, str | Path) and (Path(source) / MANIFEST).is_file()
    except OSError:
        return False


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


def write_prepared(
    stored: StoredSessions,
    ids: pl.Series,
    folder: Path,
    read: ReadReport,
    event_types: Sequence[str] = (),
    executor: Executor = ONE_PROCESS,
) -> int:
    """Write sessions in order; returns their number. ``ids``: of the items, of which some may have no clicks.

    The vocabulary written is that of `Sessions.reindexed`; ``event_types`` name the types of all parts.
    """
    blocks, total = stored.blocks()
    further = sorted(FURTHER.keys() & stored.arrays())
    for name in (GIVEN, TIMES, OFFSETS, *(FURTHER[name][0] for name in further)):
        (folder / name).touch()
    _put(folder / OFFSETS, "<i8", 0, np.zeros(1, np.int64))
    size = -(-len(blocks) // GROUPS)
    groups = [blocks[at : at + size] for at in range(0, len(blocks), size)]
    with _IdWriter(folder / SESSION_IDS) as session_ids, track("writing", len(groups), "parts") as advance:
        for written in executor.map(partial(_write_blocks, stored, folder), groups):
            for batch in arrow_ipc.open_file(arrow.memory_map(str(written))).read_all().to_batches():
                session_ids.append(batch)
            written.unlink()
            advance(1)
    sessions = _with_further(_mapped(folder, GIVEN, total.sessions, total.clicks, Vocabulary(ids)), folder, further)
    order = sessions.by_popularity()
    new_index = np.zeros(sessions.n_items + 1, "<i4")
    new_index[order] = np.arange(1, len(order) + 1)
    with (folder / ITEMS).open("wb") as items, _IdWriter(folder / VOCABULARY) as item_ids:
        for block in in_blocks(sessions.items):
            items.write(new_index[block].tobytes())
        item_ids.write(ids.gather(order - 1))
    (folder / GIVEN).unlink()
    versions = {"targets": WITH_TARGETS, "weights": WITH_WEIGHTS, "types": WITH_TYPES}
    schema = max([SCHEMA, *(versions[name] for name in further)])
    facts: dict[str, Any] = {"further": further} if further else {}
    facts |= {"event_types": list(event_types)} if "types" in further else {}
    facts |= {"schema": schema, "sessions": total.sessions, "events": total.clicks, "items": len(order)}
    facts |= {"read": asdict(read)}
    (folder / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    return total.sessions


def _write_blocks(stored: StoredSessions, folder: Path, blocks: Sequence[Block]) -> Path:
    """Write the clicks of blocks to their positions in the files; the ids of the sessions are in the file returned."""
    path = folder / f"ids-{blocks[0].sessions}.arrow"
    with _IdWriter(path) as ids:
        for block, part in zip(blocks, stored.in_order(blocks), strict=True):
            for name, array in part.per_click().items():
                file, dtype = FILES[name]
                _put(folder / file, dtype, block.clicks, array)
            _put(folder / OFFSETS, "<i8", block.sessions + 1, part.offsets[1:] + block.clicks)
            ids.write(part.session_ids)
    return path


def _put(path: Path, dtype: str, position: int, array: NDArray[Any]) -> None:
    """Write numbers into a file from a position on, which counts numbers."""
    with path.open("r+b") as file:
        file.seek(position * np.dtype(dtype).itemsize)
        file.write(array.astype(dtype, copy=False).data)


class _IdWriter(ExitStack):
    """Write ids part by part as a memory-mappable Arrow file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._writer: Any = None

    def write(self, ids: pl.Series) -> None:
        for batch in cast("Any", ids.to_frame()).to_arrow(compat_level=pl.CompatLevel.newest()).to_batches():
            self.append(batch)

    def append(self, batch: Any) -> None:
        """Write ids that are in Arrow's form."""
        if self._writer is None:
            self._writer = self.enter_context(arrow_ipc.new_file(str(self._path), batch.schema))
        self._writer.write_batch(batch)

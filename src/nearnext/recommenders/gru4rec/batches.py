"""Session-parallel mini-batches, and the distinct items of a step."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.sessions import Sessions
from nearnext.types import IndexArray, Int64Array, ScoreArray

__all__ = ["ColumnFinder", "Columns", "Step", "n_pairs", "session_parallel"]


class Step(NamedTuple):
    """One click of each of B sessions and the click that follows it.

    Attributes:
        slots: which slot of the mini-batch each session occupies, rising: [B].
        begun: positions in ``slots`` of the sessions that begin with this click.
        inputs: item index of the click: [B].
        targets: item index of the next click: [B].
    """

    slots: Int64Array
    begun: Int64Array
    inputs: IndexArray
    targets: IndexArray


def session_parallel(sessions: Sessions, batch_size: int, least: int = 1) -> Iterator[Step]:
    """Steps through all sessions: each occupies a slot until it ends, then the next one by start takes over.

    Sessions of one click have nothing to predict and are left out. Reference: Hidasi et al. 2016, §3.1.1.

    Args:
        sessions: in order of their start, items known.
        batch_size: number of slots.
        least: stop when fewer slots than this are still occupied.

    >>> sessions = Sessions.of([["a", "b", "c"], ["c", "b"], ["b", "a"]])
    >>> [(step.slots.tolist(), step.begun.tolist()) for step in session_parallel(sessions, batch_size=2)]
    [([0, 1], [0, 1]), ([0, 1], [1])]
    """
    long_enough = np.flatnonzero(sessions.lengths > 1)
    firsts, lasts = sessions.offsets[long_enough], sessions.offsets[long_enough + 1] - 1
    entered = min(batch_size, len(long_enough))
    slots = begun = np.arange(entered)
    click: Int64Array = firsts[:entered].copy()
    last: Int64Array = lasts[:entered].copy()
    while len(slots) >= max(least, 1):
        yield Step(slots, begun, sessions.items[click], sessions.items[click + 1])
        click += 1
        ended = np.flatnonzero(click == last)
        begun = ended[: len(long_enough) - entered]
        if len(ended):
            arriving = slice(entered, entered + len(begun))
            click[begun], last[begun] = firsts[arriving], lasts[arriving]
            entered += len(begun)
            left = ended[len(begun) :]
            slots, click, last = np.delete(slots, left), np.delete(click, left), np.delete(last, left)


def n_pairs(sessions: Sessions) -> int:
    """Number of clicks that another one follows, which is what an epoch learns from.

    >>> n_pairs(Sessions.of([["a", "b", "c"], ["c"]]))
    2
    """
    return sessions.n_events - sessions.n_sessions


class Columns(NamedTuple):
    """The U distinct items that a step scores, each a column however often it occurs.

    Attributes:
        items: item index of each column: [U].
        input_at: column of each input: [B]; empty where inputs have a table of their own.
        target_at: column of each target: [B].
        as_target: how often each column is a target of the step: [U].
        as_sample: how often each column is an extra negative: [U].
    """

    items: Int64Array
    input_at: Int64Array
    target_at: Int64Array
    as_target: ScoreArray
    as_sample: ScoreArray


class ColumnFinder:
    """Distinct items of one step after another, with scratch memory [I + 1] used by one thread.

    >>> inputs, targets, samples = (np.array(items, np.int32) for items in ([7, 8], [8, 8], [3]))
    >>> columns = ColumnFinder(9).columns(inputs, targets, samples)
    >>> columns.items.tolist(), columns.input_at.tolist(), columns.target_at.tolist()
    ([8, 3, 7], [2, 0], [0, 0])
    >>> columns.as_target.tolist(), columns.as_sample.tolist()
    ([2.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    """

    def __init__(self, n_items: int) -> None:
        self._column_of = np.full(n_items + 1, -1, dtype=np.int64)

    def distinct(self, items: IndexArray) -> tuple[Int64Array, Int64Array]:
        """Distinct items by first appearance [U], and the place of each item among them [n]."""
        return _distinct(items, self._column_of)

    def columns(self, inputs: IndexArray, targets: IndexArray, samples: IndexArray) -> Columns:
        """The columns shared by inputs [B], targets [B] and extra negatives [N] of a step."""
        items, at = self.distinct(np.concatenate([targets, samples, inputs]))
        n_targets, n_scored = len(targets), len(targets) + len(samples)
        return Columns(
            items=items,
            input_at=at[n_scored:],
            target_at=at[:n_targets],
            as_target=np.bincount(at[:n_targets], minlength=len(items)).astype(np.float32),
            as_sample=np.bincount(at[n_targets:n_scored], minlength=len(items)).astype(np.float32),
        )


@compiled()
def _distinct(items: IndexArray, column_of: Int64Array) -> tuple[Int64Array, Int64Array]:
    distinct = np.empty(len(items), dtype=np.int64)
    at = np.empty(len(items), dtype=np.int64)
    n_distinct = 0
    for position in range(len(items)):
        item = items[position]
        if column_of[item] < 0:
            column_of[item] = n_distinct
            distinct[n_distinct] = item
            n_distinct += 1
        at[position] = column_of[item]
    for column in range(n_distinct):
        column_of[distinct[column]] = -1
    return distinct[:n_distinct].copy(), at

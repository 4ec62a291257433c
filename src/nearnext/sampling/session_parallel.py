"""Session-parallel mini-batches: each slot reads one session click by click, then the next one."""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.types import IndexArray, Int64Array

__all__ = ["Step", "n_pairs", "n_steps", "session_parallel"]


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
    """Number of clicks that another one follows, which is what an epoch learns from."""
    return sessions.n_events - sessions.n_sessions


def n_steps(sessions: Sessions, batch_size: int, least: int = 1) -> int:
    """Number of steps that `session_parallel` gives."""
    pairs = [length - 1 for length in sessions.lengths.tolist() if length > 1]
    ends = sorted(pairs[:batch_size])
    for more in pairs[batch_size:]:
        heapq.heapreplace(ends, ends[0] + more)
    longest, least = sorted(ends, reverse=True), max(least, 1)
    return longest[least - 1] if len(longest) >= least else 0

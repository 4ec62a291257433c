"""Batches in the order of the log: windows that hold every prefix, and session-parallel steps."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearnext.data.sessions import Sessions
from nearnext.types import FloatArray, IndexArray, Int64Array

T = TypeVar("T", bound=np.generic)

POOL = 25
"""Batches that are sorted by length together, so that a batch has little padding."""

MANY, MIXED, BLOCK = 1 << 21, 1 << 20, 1 << 12
"""Windows up to which all are shuffled together. Of more, random blocks of so many consecutive ones are, MIXED windows
at a time: so a mapped log is read block by block, and the order takes no memory that grows with it."""


@dataclass(frozen=True, eq=False)
class PrefixWindows:
    """What a step reads of each session: its last clicks, and for a long one the clicks before them likewise.

    >>> windows = PrefixWindows.of(Sessions.of([["a", "b", "c"], ["c"]]), max_length=15)
    >>> [windows.read(windows.items, rows).tolist() for rows in windows.rows(8, np.random.default_rng(0))]
    [[[2, 3, 1]]]
    """

    items: IndexArray  # item index of each click of the log: [E]
    begins: Int64Array  # first click of each window: [W]
    lengths: Int64Array  # clicks of each window, at least 2: [W]

    @classmethod
    def of(cls, sessions: Sessions, max_length: int) -> "PrefixWindows":
        """The windows of sessions whose prefixes are at most ``max_length`` long."""
        width = max_length + 1  # max_length prefixes need one more click
        begins, ends = sessions.offsets[:-1], sessions.offsets[1:]
        found_begins, found_ends = list[Int64Array](), list[Int64Array]()
        while len(begins):
            first = np.maximum(begins, ends - width)
            found_begins.append(first)
            found_ends.append(ends)
            # Windows overlap by half: a click in front of one has its context in the next.
            earlier = first + width // 2
            more = (first > begins) & (earlier - begins > 1)
            begins, ends = begins[more], earlier[more]
        begins, ends = np.concatenate(found_begins), np.concatenate(found_ends)
        kept = ends - begins > 1
        return cls(sessions.items, begins[kept], (ends - begins)[kept])

    def rows(self, size: int, rng: np.random.Generator, start_batch: int = 0) -> Iterator[Int64Array]:
        """Numbers of the windows of each batch from ``start_batch`` on, in random order: [B].

        A batch has about ``size`` next items, whatever the length of its windows: as the loss is their mean, each
        counts alike in training.
        """
        for pool in self._pools(rng):
            batches = self._batches(pool[rng.permutation(len(pool))], self._n_batches(len(pool), size))
            numbers = rng.permutation(len(batches))
            for number in numbers[start_batch:]:
                yield batches[int(number)]
            start_batch = max(start_batch - len(batches), 0)

    def n_batches(self, size: int) -> int:
        """Number of batches of about so many next items."""
        n = len(self.begins)
        if n <= MANY:
            return self._n_batches(n, size)
        pools, rest = divmod(n, MIXED)
        return pools * self._n_batches(MIXED, size) + (self._n_batches(rest, size) if rest else 0)

    def _n_batches(self, n_windows: int, size: int) -> int:
        """Number of batches of windows that are as long as the average: it is the same in every epoch."""
        return min(n_windows, math.ceil(n_windows * float((self.lengths - 1).mean()) / size))

    def _batches(self, windows: Int64Array, n: int) -> list[Int64Array]:
        """The windows in n batches of about equally many next items; POOL of them are sorted by length together."""

        def along(windows: Int64Array) -> FloatArray:  # where the middle of each window is, in batches
            next_items = self.lengths[windows] - 1
            return (np.cumsum(next_items) - next_items / 2) * (n / next_items.sum())

        windows = windows[np.lexsort((self.lengths[windows], along(windows) // POOL))]
        least = np.arange(1, n)  # each batch has at least one window
        beyond = np.maximum.accumulate(np.maximum(np.searchsorted(along(windows), least) - least, 0))
        return np.split(windows, np.minimum(beyond, len(windows) - n) + least)

    def _pools(self, rng: np.random.Generator) -> Iterator[Int64Array]:
        """Windows that are shuffled together: all of them, or random blocks of a large log."""
        n = len(self.begins)
        if n <= MANY:
            yield np.arange(n)
            return
        # The last block, which may be shorter, comes last: pools are as long in every epoch.
        blocks = np.append(rng.permutation(n // BLOCK), n // BLOCK) * BLOCK
        for first in range(0, len(blocks), MIXED // BLOCK):
            windows = blocks[first : first + MIXED // BLOCK, None] + np.arange(BLOCK)
            pool = windows[windows < n]
            if len(pool):
                yield pool

    def read(self, values: NDArray[T], rows: Int64Array) -> NDArray[T]:
        """Values [E] of the clicks of windows, padded with 0 at the right: [B, T]."""
        steps = np.arange(int(self.lengths[rows].max()))
        real = steps < self.lengths[rows, None]
        found = np.zeros(real.shape, dtype=values.dtype)
        found[real] = values[(self.begins[rows, None] + steps)[real]]
        return found


class Step(NamedTuple):
    """One click of each of B sessions and the click that follows it."""

    slots: Int64Array  # which slot of the mini-batch each session occupies, rising: [B]
    begun: Int64Array  # positions in ``slots`` of the sessions that begin with this click
    inputs: IndexArray  # item index of the click: [B]
    targets: IndexArray  # item index of the next click: [B]
    at: Int64Array  # position of the next click in the log: [B]


def session_parallel(sessions: Sessions, batch_size: int, least: int = 1) -> Iterator[Step]:
    """Steps through all sessions: each occupies a slot until it ends, then the next one by start takes over.

    Items are known. Sessions of one click have nothing to predict and are left out; the end is where fewer than
    ``least`` slots are occupied. Reference: Hidasi et al. 2016, §3.1.1.
    """
    long_enough = np.flatnonzero(sessions.lengths > 1)
    firsts, lasts = sessions.offsets[long_enough], sessions.offsets[long_enough + 1] - 1
    entered = min(batch_size, len(long_enough))
    slots = begun = np.arange(entered)
    click: Int64Array = firsts[:entered].copy()
    last: Int64Array = lasts[:entered].copy()
    while len(slots) >= max(least, 1):
        yield Step(slots, begun, sessions.items[click], sessions.items[click + 1], click + 1)
        click += 1
        ended = np.flatnonzero(click == last)
        begun = ended[: len(long_enough) - entered]
        if len(ended):
            arriving = slice(entered, entered + len(begun))
            click[begun], last[begun] = firsts[arriving], lasts[arriving]
            entered += len(begun)
        if len(left := ended[len(begun) :]):
            slots, click, last = np.delete(slots, left), np.delete(click, left), np.delete(last, left)


def n_steps(sessions: Sessions, batch_size: int, least: int = 1) -> int:
    """Number of steps that `session_parallel` gives."""
    pairs = [length - 1 for length in sessions.lengths.tolist() if length > 1]
    ends = sorted(pairs[:batch_size])
    for more in pairs[batch_size:]:
        heapq.heapreplace(ends, ends[0] + more)
    longest, least = sorted(ends, reverse=True), max(least, 1)
    return longest[least - 1] if len(longest) >= least else 0

"""Windows of clicks from which one pass of an encoder learns every prefix of a session."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.types import IndexArray, Int64Array

__all__ = ["PrefixWindows"]

POOL = 25
"""Batches that are sorted by length together, so that a batch has little padding."""


@dataclass(frozen=True, eq=False)
class PrefixWindows:
    """What a step reads of each session: its last clicks, and for a long one the clicks before them likewise.

    Attributes:
        items: item index of each click of the log: [E].
        begins: first click of each window: [W].
        lengths: clicks of each window, at least 2: [W].

    >>> windows = PrefixWindows.of(Sessions.of([["a", "b", "c"], ["c"]]), max_length=15)
    >>> [batch.tolist() for batch in windows.batches(8, np.random.default_rng(0))]
    [[[2, 3, 1]]]
    """

    items: IndexArray
    begins: Int64Array
    lengths: Int64Array

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

    def batches(self, size: int, rng: np.random.Generator, start_batch: int = 0) -> Iterator[IndexArray]:
        """Clicks of each batch from ``start_batch`` on, padded with 0 at the right, in random order: [B, T]."""
        order = rng.permutation(len(self.begins))
        batches = list[Int64Array]()
        for begin in range(0, len(order), size * POOL):
            pool = order[begin : begin + size * POOL]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches.extend(pool[at : at + size] for at in range(0, len(pool), size))
        for number in rng.permutation(len(batches))[start_batch:]:
            rows = batches[int(number)]
            steps = np.arange(int(self.lengths[rows].max()))
            real = steps < self.lengths[rows, None]
            clicks = np.zeros(real.shape, dtype=np.int32)
            clicks[real] = self.items[(self.begins[rows, None] + steps)[real]]
            yield clicks

"""Counts of pairs of clicks in sessions, block by block of items, and the table of weighted rules made of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from nearnext.compiled import compiled
from nearnext.data.sessions import Sessions
from nearnext.types import FloatArray, IndexArray, Int64Array

PAIRS = 8_000_000
"""Approximate number of click pairs counted per block."""


@dataclass(frozen=True, eq=False)
class RuleTable:
    """Weighted rules from each item, strongest first, equal ones in the order of the index."""

    offsets: Int64Array  # rules of item i are at offsets[i]..offsets[i + 1]: [I + 2]
    items: IndexArray  # item that is recommended: [R]
    weights: FloatArray  # weight of each rule, positive: [R]

    @classmethod
    def of(cls, blocks: Iterable[Any], pruning: int) -> "RuleTable":
        """Rules from sparse weights of consecutive items, [n, I + 1] each, at most ``pruning`` per item (0: all)."""
        lengths, items, weights = list[Int64Array](), list[IndexArray](), list[FloatArray]()
        for matrix in blocks:
            matrix.sum_duplicates()
            indptr = np.asarray(matrix.indptr, dtype=np.int64)
            found = np.asarray(matrix.indices, dtype=np.int32)
            weighed = np.asarray(matrix.data, dtype=np.float64)
            n_rows = len(indptr) - 1
            source = np.repeat(np.arange(n_rows), np.diff(indptr))
            order = np.lexsort((found, -weighed.astype(np.float32), source))
            kept = order[weighed[order] > 0]
            if pruning:
                first = np.searchsorted(source[kept], np.arange(n_rows))
                kept = kept[np.arange(len(kept)) - first[source[kept]] < pruning]
            lengths.append(np.bincount(source[kept], minlength=n_rows))
            items.append(found[kept])
            weights.append(weighed[kept])
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
        return cls(offsets, np.concatenate(items), np.concatenate(weights))


def _ranges(pairs: Int64Array | FloatArray, share: float) -> list[tuple[int, int]]:
    """Ranges of items with about ``share · PAIRS`` pairs, at least one item each; pairs of each item: [I + 1]."""
    groups = np.cumsum(pairs) // (share * PAIRS)
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(pairs)]
    return list(pairwise(edges))


def ordered_pairs(sessions: Sessions, weights: FloatArray, share: float) -> Iterator[Any]:
    """Weight of "b after a": sum over all pairs at distance i of weights[i − 1] times the weight of the click on b.

    Blocks of rows of [I + 1, I + 1].
    """
    counts = sessions.item_counts()
    for low, high in _ranges(counts * len(weights), share):
        sources, followers, steps = _pairs(sessions.items, sessions.offsets, len(weights), low, high)
        targets = sessions.items[followers]
        shape = (high - low, len(counts))
        total: Any = sparse.csr_array(shape, dtype=np.float64)
        for step, weight in enumerate(weights, start=1):
            pair = steps == step
            if weight and pair.any():
                values = np.full(np.count_nonzero(pair), weight)
                if sessions.weights is not None:
                    values *= sessions.weights[followers[pair]]
                total = total + sparse.csr_array((values, (sources[pair], targets[pair])), shape=shape)
        yield total


@compiled()
def _pairs(
    items: IndexArray, offsets: Int64Array, most: int, low: int, high: int
) -> tuple[IndexArray, Int64Array, IndexArray]:
    """Items low..high − 1 of clicks, from 0, positions of the clicks up to ``most`` steps later, and the steps: [P]."""
    n = 0
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        for click in range(offsets[session], end):
            if low <= items[click] < high:
                n += min(most, end - 1 - click)
    sources, followers, steps = np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n, np.int32)
    n = 0
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        for click in range(offsets[session], end):
            if low <= items[click] < high:
                for later in range(click + 1, min(click + most + 1, end)):
                    sources[n], followers[n], steps[n] = items[click] - low, later, later - click
                    n += 1
    return sources, followers, steps


def click_sums(sessions: Sessions, values: FloatArray) -> Any:
    """Sum of the values [E] of each session's clicks on each item: sparse [S, I + 1]."""
    clicks: Any = sparse.csr_array(
        (values.copy(), sessions.items.copy(), sessions.offsets.copy()),
        shape=(sessions.n_sessions, sessions.n_items + 1),
    )
    clicks.sum_duplicates()
    return clicks


def session_pairs(clicks: Any, weighed: Any, totals: Int64Array | FloatArray, share: float) -> Iterator[Any]:
    """Weights of the clicks on b together with those on a, each pair of clicks once: blocks of rows of [I + 1, I + 1].

    ``clicks`` and ``weighed`` are the clicks of sessions on items and their weights, ``totals`` their sums [I + 1].
    """
    of_item = clicks.T.tocsr()
    n_pairs = np.bincount(clicks.indices, np.repeat(np.diff(clicks.indptr), np.diff(clicks.indptr)), len(totals))
    for low, high in _ranges(n_pairs, share):
        pairs = of_item[low:high] @ weighed
        pairs.setdiag(pairs.diagonal(low) - totals[low:high], low)
        yield pairs.tocsr()

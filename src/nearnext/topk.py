"""Top-k selection in compiled code; of equal scores the smaller item index, the more popular item, comes first."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nearnext.compiled import compiled
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

Number = TypeVar("Number", bound=np.generic)

CHUNK = 64
"""Scores that are compared together: most chunks are skipped by their maximum, which takes a few instructions."""


def ranks_of(targets: IndexArray, items: IndexArray) -> Int64Array:
    """Rank of each list's target [B] among its items [B, k], from 1; 0 where the list lacks it, or it is unknown: [B].

    >>> ranks_of(np.array([7, 4, 0], np.int32), np.array([[4, 7], [4, 7], [4, 0]], np.int32)).tolist()
    [2, 1, 0]
    """
    found = (items == targets[:, np.newaxis]) & (items > 0)
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def no_lists(n: int, k: int) -> tuple[IndexArray, ScoreArray, IndexArray]:
    """Items and scores of n lists of k, and how many entries each has, all 0 so far: [n, k], [n, k], [n]."""
    return np.zeros((n, k), np.int32), np.zeros((n, k), np.float32), np.zeros(n, np.int32)


@compiled()
def insert(item: int | np.int64, score: np.float32, n_listed: int, items: IndexArray, scores: ScoreArray) -> int:
    """Insert an item into a ranked list in place if it is among the k best; returns the length of the list.

    >>> items, scores = np.array([4, 7], np.int32), np.array([0.5, 0.25], np.float32)
    >>> insert(9, np.float32(0.5), 2, items, scores), items.tolist()
    (2, [4, 9])
    """
    slot = n_listed
    if n_listed == len(items):
        slot -= 1
        if score < scores[slot] or (score == scores[slot] and item > items[slot]):
            return n_listed
    while slot > 0 and (scores[slot - 1] < score or (scores[slot - 1] == score and items[slot - 1] > item)):
        items[slot] = items[slot - 1]
        scores[slot] = scores[slot - 1]
        slot -= 1
    items[slot] = item
    scores[slot] = score
    return min(n_listed + 1, len(items))


@compiled()
def best_scored(
    candidates: IndexArray, n_candidates: int, scores: FloatArray, items: IndexArray, values: ScoreArray
) -> int:
    """Write the k candidates of the highest positive scores into ``items`` and ``values``; returns how many.

    Scores are compared as 32-bit floats, so that the order in which a sum was taken cannot decide a tie.

    Candidates are distinct item indices [n], scores of each index [I + 1]; ``items`` and ``values`` receive the
    list, best first: [k].

    >>> items, values = np.zeros(2, np.int32), np.zeros(2, np.float32)
    >>> scores = np.array([0.0, 0.5, 0.9, 0.5])
    >>> best_scored(np.array([3, 1, 2], np.int32), 3, scores, items, values), items.tolist()
    (2, [2, 1])
    """
    n_listed = 0
    for position in range(n_candidates):
        value = np.float32(scores[candidates[position]])
        if value > 0:
            n_listed = insert(np.int64(candidates[position]), value, n_listed, items, values)
    return n_listed


@compiled()
def best_columns(values: ScoreArray, admissible: BoolArray, items: IndexArray, scores: ScoreArray) -> int:
    """Write the k admissible items of the highest scores above −∞ into ``items`` and ``scores``; returns how many.

    Values are the score of item j + 1 at j [I], ``admissible`` is by index [I + 1]; lists are [k].

    >>> items, scores = np.zeros(2, np.int32), np.zeros(2, np.float32)
    >>> best_columns(np.array([0.5, 0.9, 0.7], np.float32), np.array([0, 1, 0, 1], np.bool_), items, scores)
    2
    >>> items.tolist()
    [3, 1]
    """
    n_listed = 0
    for begin in range(0, len(values), CHUNK):
        chunk = values[begin : begin + CHUNK]
        if n_listed == len(items) and _highest(chunk) <= scores[n_listed - 1]:
            continue
        for at in range(len(chunk)):
            if admissible[begin + at + 1] and chunk[at] > -np.inf:
                n_listed = insert(begin + at + 1, chunk[at], n_listed, items, scores)
    return n_listed


@compiled()
def near_best(values: ScoreArray, k: int, margin: float, highest: ScoreArray, near: IndexArray) -> int:
    """Write the positions whose value is at most ``margin`` below the k-th highest into ``near``; returns how many.

    All values above −∞ count if there are fewer than k of them.

    Values are −∞ where an item may not be listed [I]; ``highest`` is scratch memory [⌈I / CHUNK⌉]; ``near`` receives
    positions in rising order [I].

    >>> near, highest = np.empty(4, np.int32), np.empty(1, np.float32)
    >>> n_near = near_best(np.array([0.1, 0.9, 0.8, 0.2], np.float32), 1, 0.15, highest, near)
    >>> near[:n_near].tolist()
    [1, 2]
    """
    for chunk in range(len(highest)):
        highest[chunk] = _highest(values[chunk * CHUNK : (chunk + 1) * CHUNK])
    least = np.float32(_kth_highest(values, highest, k) - margin)
    n_near = 0
    for chunk in range(len(highest)):
        if highest[chunk] < least:
            continue
        for position in range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(values))):
            near[n_near] = position
            n_near += values[position] >= least and values[position] > -np.inf
    return n_near


@compiled(fastmath={"nnan", "nsz", "reassoc"})
def _highest(values: ScoreArray) -> np.float32:
    highest = values[0]
    for position in range(1, len(values)):
        highest = max(highest, values[position])
    return highest


@compiled()
def _kth_highest(values: ScoreArray, highest: ScoreArray, k: int) -> np.float32:
    """The k-th highest value above −∞, −∞ if there are fewer; ``highest`` has the maximum of each chunk."""
    # k chunks have a maximum of at least the bound, so the k-th highest value is not below it.
    bound = kth_smallest(highest.copy(), len(highest) - k) if len(highest) > k else np.float32(-np.inf)
    kept, n_kept = np.empty(len(values), dtype=np.float32), 0
    for chunk in range(len(highest)):
        if highest[chunk] < bound:
            continue
        for position in range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(values))):
            if values[position] >= bound and values[position] > -np.inf:
                kept[n_kept] = values[position]
                n_kept += 1
    return kth_smallest(kept[:n_kept], n_kept - k) if n_kept >= k else np.float32(-np.inf)


@compiled()
def kth_smallest(values: NDArray[Number], k: int) -> Number:
    """The k-th smallest value, from 0; the values are reordered. ``np.partition`` takes ten times as long to compile.

    Values are without NaN, at least one: [n].

    >>> int(kth_smallest(np.array([7, 3, 9, 3, 5]), 2))
    5
    """
    low, high = 0, len(values) - 1
    while low < high:
        middle, first, last = values[(low + high) // 2], values[low], values[high]
        pivot = max(min(first, last), min(max(first, last), middle))
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if k <= right:
            high = right
        elif k >= left:
            low = left
        else:
            break
    return values[k]


@compiled()
def exclude_clicks(clicks: IndexArray, starts: Int64Array, ends: Int64Array, values: ScoreArray, first: int) -> None:
    """Set the scores of the items of each prefix to −∞.

    Clicks [E], 0 where unknown, of prefixes from ``starts`` to ``ends`` [B]; values [B, n] of item ``first`` + j + 1 in
    column j.
    """
    for row in range(len(starts)):
        for position in range(starts[row], ends[row]):
            column = clicks[position] - 1 - first
            if clicks[position] > 0 and 0 <= column < values.shape[1]:
                values[row, column] = -np.inf


@compiled()
def fill_from_popularity(
    items: IndexArray,
    own: IndexArray,
    admissible: BoolArray,
    clicks: IndexArray,
    starts: Int64Array,
    ends: Int64Array,
    exclude_seen: bool,
) -> None:
    """Complete short lists in place with the most popular admissible items, which is the order of the index.

    Lists [B, k] have the length ``own`` [B]; ``admissible`` is by item index [I + 1]; clicks [E], 0 where unknown, are
    those of prefixes from ``starts`` to ``ends`` [B], which ``exclude_seen`` leaves out.
    """
    n_lists, k = items.shape
    if (own >= k).all():
        return
    taken = np.zeros(len(admissible), dtype=np.int64)
    for row in range(n_lists):
        filled = own[row]
        if filled == k:
            continue
        for position in range(filled):
            taken[items[row, position]] = row + 1
        if exclude_seen:
            for position in range(starts[row], ends[row]):
                taken[clicks[position]] = row + 1
        for item in range(1, len(admissible)):
            if filled == k:
                break
            if admissible[item] and taken[item] != row + 1:
                items[row, filled] = item
                filled += 1

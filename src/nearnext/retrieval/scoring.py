"""Exact scores of items in 64 bits, and lists by them."""

import numpy as np

from nearnext.compiled import compiled
from nearnext.topk import CHUNK, insert, near_best
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

COSINE, EUCLIDEAN, SQUARED = range(3)
"""Kinds of scores, in the order of `DISTANCES`."""


@compiled()
def best_among(
    candidates: Int64Array,
    query: ScoreArray,
    vectors: ScoreArray,
    kind: int,
    admissible: BoolArray,
    clicks: IndexArray,
    items: IndexArray,
    scores: ScoreArray,
) -> int:
    """Write the best of ascending item indices; returns how many."""
    rows, n_rows = np.empty(len(candidates), dtype=np.int32), 0
    for item in candidates:
        if admissible[item] and not (clicks == item).any():
            rows[n_rows] = item - 1
            n_rows += 1
    return _rank(rows[:n_rows], query, vectors, kind, 0, items, scores)


@compiled()
def put_best(
    proposed: ScoreArray,
    first: int,
    queries: ScoreArray,
    vectors: ScoreArray,
    kind: int,
    rounding: FloatArray,
    items: IndexArray,
    scores: ScoreArray,
    found: IndexArray,
) -> None:
    """Merge the k best of a block of items, from row ``first`` on, into the lists; −∞ in ``proposed`` excludes."""
    highest = np.empty(-(-proposed.shape[1] // CHUNK), dtype=np.float32)
    near = np.empty(proposed.shape[1], dtype=np.int32)
    for row in range(len(proposed)):
        n_near = near_best(proposed[row], items.shape[1], 2.0 * rounding[row], highest, near)
        near[:n_near] += first
        found[row] = _rank(near[:n_near], queries[row], vectors, kind, found[row], items[row], scores[row])


@compiled()
def _rank(
    near: IndexArray,
    query: ScoreArray,
    vectors: ScoreArray,
    kind: int,
    n_listed: int,
    items: IndexArray,
    scores: ScoreArray,
) -> int:
    """Put the items of the rows ``near`` into a list by exact score; returns how many it then has."""
    last = len(near) - 1
    for begin in range(0, len(near), 4):
        one, two, three, four = (
            near[begin],
            near[min(begin + 1, last)],
            near[min(begin + 2, last)],
            near[min(begin + 3, last)],
        )
        four_scores = _four_scores(query, vectors[one], vectors[two], vectors[three], vectors[four], kind)
        for at in range(min(4, len(near) - begin)):
            n_listed = insert(int(near[begin + at] + 1), four_scores[at], n_listed, items, scores)
    return n_listed


@compiled()
def _four_scores(
    query: ScoreArray, one: ScoreArray, two: ScoreArray, three: ScoreArray, four: ScoreArray, kind: int
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Scores of four items in 64 bits, term by term in the order of the dimensions, rounded once.

    Four sums are independent, so they take as long as one.
    """
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for at in range(len(query)):
        value = np.float64(query[at])
        if kind == COSINE:
            a += value * np.float64(one[at])
            b += value * np.float64(two[at])
            c += value * np.float64(three[at])
            d += value * np.float64(four[at])
        else:
            a += (value - np.float64(one[at])) ** 2
            b += (value - np.float64(two[at])) ** 2
            c += (value - np.float64(three[at])) ** 2
            d += (value - np.float64(four[at])) ** 2
    return _read(a, kind), _read(b, kind), _read(c, kind), _read(d, kind)


@compiled()
def _read(total: float, kind: int) -> np.float32:
    """The score of a sum of products or of squared differences."""
    if kind == COSINE:
        return np.float32(min(max(1.0 + total, 0.0), 2.0))
    return np.float32(-total) if kind == SQUARED else np.float32(-np.sqrt(total))

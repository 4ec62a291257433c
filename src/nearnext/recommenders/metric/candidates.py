"""Candidates for a session's list: items near to the session, and those that other methods vote for, side by side.

Each candidate is described by figures that compare it with the best candidate of its own list, so that they mean the
same on every log: how much farther it is than the nearest item, its share of each method's best score, whether and how
recently the session has clicked it, and how popular it is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.types import IndexArray, Int64Array, ScoreArray

__all__ = [
    "OWN_FIGURES",
    "Candidates",
    "Lists",
    "collect",
    "figure_names",
    "targets_among",
]

OWN_FIGURES = ("nearness", "seen", "recency", "repeats", "popularity", "length", "best cosine")
"""Figures of a candidate that do not come from a voting method; the last two are the same for the whole session."""

PER_VOTER = ("share", "log share", "best share")
"""Figures that each voting method adds: score over the list's best, logarithm of score over the list's sum, and how
much of the sum the best one has, which is the same for the whole session."""

LEAST = 1e-3
"""Added to a share before its logarithm: that of an item outside the list."""


def figure_names(voters: Sequence[str]) -> tuple[str, ...]:
    """Names of a candidate's figures, in their order: [F].

    >>> figure_names(["sr"])[-3:]
    ('sr share', 'sr log share', 'sr best share')
    """
    return (*OWN_FIGURES, *(f"{voter} {figure}" for voter in voters for figure in PER_VOTER))


class Lists(NamedTuple):
    """One method's lists for B prefixes, as far as the method itself scored them, or those of several methods.

    Attributes:
        items: item indices, best first, 0 after the end of a list: [B, K], of V methods [V, B, K].
        scores: their scores, falling, at least 0: likewise.
    """

    items: IndexArray
    scores: ScoreArray


class Candidates(NamedTuple):
    """Candidates of B prefixes, one after the other.

    Attributes:
        offsets: where each prefix's candidates begin, and the end of the last: [B + 1].
        items: item indices, each once for a prefix: [C].
        figures: what describes them, see `figure_names`: [C, F].
    """

    offsets: Int64Array
    items: IndexArray
    figures: ScoreArray


def collect(
    prefixes: Prefixes,
    near: Lists,
    sessions: ScoreArray,
    vectors: ScoreArray,
    votes: Lists,
    popularity: ScoreArray,
    temperature: float,
    places: IndexArray,
) -> Candidates:
    """Everything that any list proposes, with its figures.

    Args:
        prefixes: item indices of the catalogue: [B].
        near: the nearest items, scores 1 + cosine.
        sessions: session embeddings of length 1, or 0 for a session that has none: [B, D].
        vectors: item embedding of item j + 1 in row j: [I, D].
        votes: the lists of each voting method: [V, B, K].
        popularity: logarithm of one more than each item's clicks: [I + 1].
        temperature: of the cosine: that far apart, one item is e times as probable as another.
        places: scratch memory of this thread, zeros before and after: [I + 1].

    >>> near = Lists(np.array([[2, 1]], np.int32), np.array([[2.0, 1.0]], np.float32))
    >>> items = np.eye(2, dtype=np.float32)
    >>> votes = Lists(np.array([[[1, 0]]], np.int32), np.array([[[5.0, 0.0]]], np.float32))
    >>> session, places = Prefixes.of([np.array([2], np.int32)]), np.zeros(3, np.int32)
    >>> found = collect(session, near, items[1:], items, votes, np.zeros(3, np.float32), 0.5, places)
    >>> found.items.tolist(), found.figures[:, 0].tolist(), found.figures[:, -3].tolist()
    ([2, 1], [0.0, -2.0], [0.0, 1.0])
    """
    n_voters, _, n_voted = votes.items.shape
    most = len(prefixes) * (near.items.shape[1] + n_voters * n_voted)
    items = np.empty(most, dtype=np.int32)
    figures = np.empty((most, len(OWN_FIGURES) + len(PER_VOTER) * n_voters), dtype=np.float32)
    offsets = np.zeros(len(prefixes) + 1, dtype=np.int64)
    _collect(
        prefixes.items, prefixes.starts, prefixes.ends, near.items, near.scores, sessions, vectors, votes.items,
        votes.scores, popularity, temperature, places, items, figures, offsets,
    )  # fmt: skip
    return Candidates(offsets, items[: offsets[-1]], figures[: offsets[-1]])


@compiled()
def _collect(
    clicks: IndexArray,
    starts: Int64Array,
    ends: Int64Array,
    near: IndexArray,
    near_scores: ScoreArray,
    sessions: ScoreArray,
    vectors: ScoreArray,
    voted: IndexArray,
    scored: ScoreArray,
    popularity: ScoreArray,
    temperature: float,
    place_of: IndexArray,
    items: IndexArray,
    figures: ScoreArray,
    offsets: Int64Array,
) -> None:
    """Candidates and figures of all prefixes, one after the other; ``place_of`` [I + 1] is 0 before and after."""
    for row in range(len(starts)):
        begin = offsets[row]
        n = _list(near[row], 0, place_of, items[begin:])
        for voter in range(len(voted)):
            n = _list(voted[voter, row], n, place_of, items[begin:])
        end = offsets[row + 1] = begin + n
        best_cosine = np.float64(near_scores[row, 0]) - 1.0 if near[row, 0] > 0 else 0.0
        length = np.log(max(ends[row] - starts[row], 1))
        for place in range(begin, end):
            item = items[place]
            figure = figures[place]
            figure[:] = 0.0
            figure[0] = (_product(sessions[row], vectors[item - 1]) - best_cosine) / temperature
            figure[4] = popularity[item]
            figure[5] = length
            figure[6] = best_cosine
        _add_clicks(clicks[starts[row] : ends[row]], place_of, figures[begin:end])
        for voter in range(len(voted)):
            _add_votes(voted[voter, row], scored[voter, row], place_of, figures[begin:end], 7 + 3 * voter)
        for place in range(begin, end):
            place_of[items[place]] = 0


@compiled(fastmath={"reassoc", "contract"})
def _product(one: ScoreArray, other: ScoreArray) -> float:
    """Inner product in 64 bits, in whatever order is fast: it depends on nothing but the two."""
    total = 0.0
    for place in range(len(one)):
        total += np.float64(one[place]) * np.float64(other[place])
    return total


@compiled()
def _list(proposed: IndexArray, n: int, place_of: IndexArray, items: IndexArray) -> int:
    """The proposed items that are not yet listed, added behind the first ``n``; gives how many are listed then."""
    for item in proposed:
        if item > 0 and place_of[item] == 0:
            items[n] = item
            n += 1
            place_of[item] = n
    return n


@compiled()
def _add_clicks(clicks: IndexArray, place_of: IndexArray, figures: ScoreArray) -> None:
    """Whether, how recently and how often the session has clicked a candidate."""
    for position in range(len(clicks)):
        place = place_of[clicks[position]] - 1
        if clicks[position] > 0 and place >= 0:
            figure = figures[place]
            figure[1] = 1.0
            figure[2] = 1.0 / (len(clicks) - position)
            figure[3] += 1.0
    for place in range(len(figures)):
        figures[place, 3] = np.log(max(figures[place, 3], np.float32(1.0)))


@compiled()
def _add_votes(voted: IndexArray, scored: ScoreArray, place_of: IndexArray, figures: ScoreArray, column: int) -> None:
    total, best = 0.0, 0.0
    for place in range(len(voted)):
        if voted[place] > 0:
            total += np.float64(scored[place])
            best = max(best, np.float64(scored[place]))
    for place in range(len(figures)):
        figures[place, column + 1] = np.log(LEAST)
        figures[place, column + 2] = best / total if total > 0 else 0.0
    if total > 0:
        for place in range(len(voted)):
            if voted[place] > 0:
                figure = figures[place_of[voted[place]] - 1]
                figure[column] = scored[place] / best
                figure[column + 1] = np.log(scored[place] / total + LEAST)


def targets_among(candidates: Candidates, targets: IndexArray) -> Int64Array:
    """Place of each prefix's next item among its candidates, −1 where it is not there: [B].

    >>> found = Candidates(np.array([0, 2, 3]), np.array([5, 7, 5], np.int32), np.zeros((3, 1), np.float32))
    >>> targets_among(found, np.array([7, 7], np.int32)).tolist()
    [1, -1]
    """
    owner = np.repeat(np.arange(len(targets)), np.diff(candidates.offsets))
    hit = np.flatnonzero((candidates.items == targets[owner]) & (targets[owner] > 0))
    places = np.full(len(targets), -1, dtype=np.int64)
    places[owner[hit]] = hit - candidates.offsets[owner[hit]]
    return places

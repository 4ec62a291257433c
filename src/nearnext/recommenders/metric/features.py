"""Features of the candidates for a session's list.

Features compare a candidate with the best one of the same session, so that they mean the same on every log: how much
farther it is than the nearest item, its share of each voter's best score, whether and how recently the session has
clicked it, and how popular it is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.types import IndexArray, Int64Array, ScoreArray

FEATURES = ("nearness", "seen", "recency", "repeats", "popularity", "length", "best cosine")
"""Features that no voter gives; the last two are the same for all candidates of a session."""

VOTER_FEATURES = ("share", "log share", "best share")
"""Features of each voter: score over the best score, logarithm of score over the sum of scores, and best score over
the sum, which is the same for all candidates of a session."""

LEAST = 1e-3
"""Added to a share before its logarithm: that of an item outside the list."""


def feature_names(voters: Sequence[str]) -> tuple[str, ...]:
    """Names of the features in their order: [F].

    >>> feature_names(["sr"])[-3:]
    ('sr share', 'sr log share', 'sr best share')
    """
    return (*FEATURES, *(f"{voter} {feature}" for voter in voters for feature in VOTER_FEATURES))


class Lists(NamedTuple):
    """Lists of one voter, or of V voters, for B prefixes, without what is filled from popularity.

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
        features: what describes them, see `feature_names`: [C, F].
    """

    offsets: Int64Array
    items: IndexArray
    features: ScoreArray


def collect(
    prefixes: Prefixes,
    near: Lists,
    sessions: ScoreArray,
    vectors: ScoreArray,
    votes: Lists,
    popularity: ScoreArray,
    temperature: float,
    positions: IndexArray,
) -> Candidates:
    """The union of all lists, each candidate with its features.

    Args:
        prefixes: item indices of the catalogue: [B].
        near: the nearest items, scores 1 + cosine.
        sessions: session embeddings of length 1, or 0 for a session that has none: [B, D].
        vectors: item embedding of item j + 1 in row j: [I, D].
        votes: the lists of each voter: [V, B, K].
        popularity: logarithm of one more than each item's clicks: [I + 1].
        temperature: of the cosine: that far apart, one item is e times as probable as another.
        positions: scratch memory of this thread, zeros before and after: [I + 1].

    >>> near = Lists(np.array([[2, 1]], np.int32), np.array([[2.0, 1.0]], np.float32))
    >>> items = np.eye(2, dtype=np.float32)
    >>> votes = Lists(np.array([[[1, 0]]], np.int32), np.array([[[5.0, 0.0]]], np.float32))
    >>> session, positions = Prefixes.of([np.array([2], np.int32)]), np.zeros(3, np.int32)
    >>> found = collect(session, near, items[1:], items, votes, np.zeros(3, np.float32), 0.5, positions)
    >>> found.items.tolist(), found.features[:, 0].tolist(), found.features[:, -3].tolist()
    ([2, 1], [0.0, -2.0], [0.0, 1.0])
    """
    n_voters, _, n_voted = votes.items.shape
    most = len(prefixes) * (near.items.shape[1] + n_voters * n_voted)
    items = np.empty(most, dtype=np.int32)
    features = np.empty((most, len(FEATURES) + len(VOTER_FEATURES) * n_voters), dtype=np.float32)
    offsets = np.zeros(len(prefixes) + 1, dtype=np.int64)
    _collect(
        prefixes.items, prefixes.starts, prefixes.ends, near.items, near.scores, sessions, vectors, votes.items,
        votes.scores, popularity, temperature, positions, items, features, offsets,
    )  # fmt: skip
    return Candidates(offsets, items[: offsets[-1]], features[: offsets[-1]])


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
    position_of: IndexArray,
    items: IndexArray,
    features: ScoreArray,
    offsets: Int64Array,
) -> None:
    """Candidates and features of all prefixes, one after the other; ``position_of`` [I + 1] is 0 before and after."""
    for row in range(len(starts)):
        begin = offsets[row]
        n = _append(near[row], 0, position_of, items[begin:])
        for voter in range(len(voted)):
            n = _append(voted[voter, row], n, position_of, items[begin:])
        end = offsets[row + 1] = begin + n
        best_cosine = np.float64(near_scores[row, 0]) - 1.0 if near[row, 0] > 0 else 0.0
        length = np.log(max(ends[row] - starts[row], 1))
        for position in range(begin, end):
            item = items[position]
            feature = features[position]
            feature[:] = 0.0
            feature[0] = (_product(sessions[row], vectors[item - 1]) - best_cosine) / temperature
            feature[4] = popularity[item]
            feature[5] = length
            feature[6] = best_cosine
        _add_clicks(clicks[starts[row] : ends[row]], position_of, features[begin:end])
        for voter in range(len(voted)):
            _add_votes(voted[voter, row], scored[voter, row], position_of, features[begin:end], 7 + 3 * voter)
        for position in range(begin, end):
            position_of[items[position]] = 0


@compiled(fastmath={"reassoc", "contract"})
def _product(one: ScoreArray, other: ScoreArray) -> float:
    """Inner product in 64 bits, in whatever order is fast: it depends on nothing but the two."""
    total = 0.0
    for position in range(len(one)):
        total += np.float64(one[position]) * np.float64(other[position])
    return total


@compiled()
def _append(found: IndexArray, n: int, position_of: IndexArray, items: IndexArray) -> int:
    """Append the found items that are new to the first ``n``; returns the new number."""
    for item in found:
        if item > 0 and position_of[item] == 0:
            items[n] = item
            n += 1
            position_of[item] = n
    return n


@compiled()
def _add_clicks(clicks: IndexArray, position_of: IndexArray, features: ScoreArray) -> None:
    """Whether, how recently and how often the session has clicked a candidate."""
    for click in range(len(clicks)):
        position = position_of[clicks[click]] - 1
        if clicks[click] > 0 and position >= 0:
            feature = features[position]
            feature[1] = 1.0
            feature[2] = 1.0 / (len(clicks) - click)
            feature[3] += 1.0
    for position in range(len(features)):
        features[position, 3] = np.log(max(features[position, 3], np.float32(1.0)))


@compiled()
def _add_votes(
    voted: IndexArray, scored: ScoreArray, position_of: IndexArray, features: ScoreArray, column: int
) -> None:
    total, best = 0.0, 0.0
    for position in range(len(voted)):
        if voted[position] > 0:
            total += np.float64(scored[position])
            best = max(best, np.float64(scored[position]))
    for position in range(len(features)):
        features[position, column + 1] = np.log(LEAST)
        features[position, column + 2] = best / total if total > 0 else 0.0
    if total > 0:
        for position in range(len(voted)):
            if voted[position] > 0:
                feature = features[position_of[voted[position]] - 1]
                feature[column] = scored[position] / best
                feature[column + 1] = np.log(scored[position] / total + LEAST)


def targets_among(candidates: Candidates, targets: IndexArray) -> Int64Array:
    """Position of each prefix's next item among its candidates, −1 where it is missing: [B].

    >>> found = Candidates(np.array([0, 2, 3]), np.array([5, 7, 5], np.int32), np.zeros((3, 1), np.float32))
    >>> targets_among(found, np.array([7, 7], np.int32)).tolist()
    [1, -1]
    """
    owner = np.repeat(np.arange(len(targets)), np.diff(candidates.offsets))
    hit = np.flatnonzero((candidates.items == targets[owner]) & (targets[owner] > 0))
    positions = np.full(len(targets), -1, dtype=np.int64)
    positions[owner[hit]] = hit - candidates.offsets[owner[hit]]
    return positions

"""Features of the candidates for a session's list.

Features compare a candidate with the best one of the same session, so that they mean the same on every log: how much
farther it is than the nearest item, its share of each voter's best score, whether and how recently the session has
clicked it, and how popular it is. Further groups say how the session repeats itself, and what is known of the item.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.metric.statistics import ITEM_FEATURES, OWN_FEATURES, SESSION_FEATURES, add_own, add_session
from nearnext.types import BoolArray, IndexArray, Int64Array, ScoreArray

FEATURES = ("nearness", "seen", "recency", "repeats", "popularity", "length", "best cosine")
"""Features that no voter gives; the last two are the same for all candidates of a session."""

VOTER_FEATURES = ("share", "log share", "best share")
"""Features of each voter: score over the best score, logarithm of score over the sum of scores, and best score over
the sum, which is the same for all candidates of a session."""

LAST_FEATURES = {
    "cosine with last": "cosine with the last click",
    "cosine with last but one": "cosine with the click before",
    "popularity of last": "logarithm of one more than the last click's clicks",
    "last rate of last": "share of the last click's clicks that end a session",
    "revisit after last": "share of clicks right after the last click's that are revisits",
}

GROUPS: dict[str, dict[str, str]] = {
    "session": SESSION_FEATURES,
    "own": OWN_FEATURES,
    "last": LAST_FEATURES,
    "item": ITEM_FEATURES,
}
"""Groups of further features by name; each feature has a line that says what it is."""

N_SESSION, N_OWN, N_LAST = len(SESSION_FEATURES), len(OWN_FEATURES), len(LAST_FEATURES)
N_FURTHER = N_SESSION + N_OWN + N_LAST + len(ITEM_FEATURES)
LAST_RATE, REVISIT_AFTER = (list(ITEM_FEATURES).index(name) for name in ("last rate", "revisit after"))
LEAST = 1e-3
"""Added to a share before its logarithm: that of an item outside the list."""


def feature_names(voters: Sequence[str], groups: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the features in their order, those of all groups if there is any: [F].

    >>> feature_names(["sr"])[-3:]
    ('sr share', 'sr log share', 'sr best share')
    >>> len(feature_names(["sr"], ["item"]))
    41
    """
    further = GROUPS.values() if groups else ()
    of_voters = (f"{voter} {feature}" for voter in voters for feature in VOTER_FEATURES)
    return (*FEATURES, *of_voters, *(feature for features in further for feature in features))


def features_used(voters: Sequence[str], groups: Collection[str]) -> BoolArray:
    """Which of the `feature_names` belong to no group or to one of these: [F].

    >>> features_used([], ["session"]).tolist() == [True] * 12 + [False] * 26
    True
    """
    further = [group in groups for group, features in GROUPS.items() for _ in features] if groups else []
    return np.array([True] * len(feature_names(voters)) + further)


class Lists(NamedTuple):
    """Lists of one voter, or of V voters, for B prefixes, without what is filled from popularity."""

    items: IndexArray  # item indices, best first, 0 after the end of a list: [B, K], of V methods [V, B, K]
    scores: ScoreArray  # their scores, falling, at least 0: likewise


class Candidates(NamedTuple):
    """Candidates of B prefixes, one after the other."""

    offsets: Int64Array  # where each prefix's candidates begin, and the end of the last: [B + 1]
    items: IndexArray  # item indices, each once for a prefix: [C]
    features: ScoreArray  # what describes them, see `feature_names`: [C, F]

    def last(self, n: int) -> "Candidates":
        """The candidates of the last n prefixes, or of all if they are fewer."""
        begin = max(0, len(self.offsets) - 1 - n)
        first = self.offsets[begin]
        return Candidates(self.offsets[begin:] - first, self.items[first:], self.features[first:])


class Evidence(NamedTuple):
    """What features are computed from, apart from a session and its lists."""

    vectors: ScoreArray  # item embedding of item j + 1 in row j: [I, D]
    popularity: ScoreArray  # logarithm of one more than each item's clicks: [I + 1]
    items: ScoreArray  # the `ITEM_FEATURES` of each item, [I + 1, 9]; [0, 9]: without the features of any group
    temperature: float  # of the cosine: that far apart, one item is e times as probable as another

    @classmethod
    def of(cls, vectors: ScoreArray, clicks: Int64Array, items: ScoreArray, temperature: float) -> "Evidence":
        """Evidence with clicks of each item index, [I + 1]; an item without clicks has the mean popularity."""
        popularity = np.log1p(clicks).astype(np.float32)
        popularity[1:][clicks[1:] == 0] = popularity[clicks > 0].mean()
        return cls(vectors, popularity, items, temperature)


def collect(
    prefixes: Prefixes, near: Lists, sessions: ScoreArray, votes: Lists, evidence: Evidence, scratch: IndexArray
) -> Candidates:
    """The union of the lists of B prefixes, each candidate with its features.

    ``near`` has scores 1 + cosine, ``votes`` the lists of V voters; ``sessions`` are embeddings of length 1, or 0
    where there is none [B, D]; ``scratch`` is memory of this thread, zeros before and after [2, I + 1].
    """
    n_voters, _, n_voted = votes.items.shape
    most = len(prefixes) * (near.items.shape[1] + n_voters * n_voted)
    n_features = len(FEATURES) + len(VOTER_FEATURES) * n_voters + (N_FURTHER if len(evidence.items) else 0)
    items, features = np.empty(most, dtype=np.int32), np.empty((most, n_features), dtype=np.float32)
    offsets = np.zeros(len(prefixes) + 1, dtype=np.int64)
    clicks = prefixes.items, prefixes.starts, prefixes.ends
    _collect(*clicks, near, sessions, votes, evidence, scratch, items, features, offsets)
    return Candidates(offsets, items[: offsets[-1]], features[: offsets[-1]])


@compiled()
def _collect(
    clicks: IndexArray,
    starts: Int64Array,
    ends: Int64Array,
    near: Lists,
    sessions: ScoreArray,
    votes: Lists,
    evidence: Evidence,
    scratch: IndexArray,
    items: IndexArray,
    features: ScoreArray,
    offsets: Int64Array,
) -> None:
    """Candidates and features of all prefixes, one after the other; ``scratch`` is 0 before and after."""
    position_of, n_named = scratch[0], 7 + 3 * len(votes.items)
    for row in range(len(starts)):
        begin = offsets[row]
        n = _append(near.items[row], 0, position_of, items[begin:])
        for voter in range(len(votes.items)):
            n = _append(votes.items[voter, row], n, position_of, items[begin:])
        end = offsets[row + 1] = begin + n
        best_cosine = np.float64(near.scores[row, 0]) - 1.0 if near.items[row, 0] > 0 else 0.0
        session = clicks[starts[row] : ends[row]]
        length = np.log(max(len(session), 1))
        for position in range(begin, end):
            item = items[position]
            feature = features[position]
            feature[:] = 0.0
            feature[0] = (_product(sessions[row], evidence.vectors[item - 1]) - best_cosine) / evidence.temperature
            feature[4] = evidence.popularity[item]
            feature[5] = length
            feature[6] = best_cosine
        _add_clicks(session, position_of, features[begin:end])
        for voter in range(len(votes.items)):
            voted, scored = votes.items[voter, row], votes.scores[voter, row]
            _add_votes(voted, scored, position_of, features[begin:end], 7 + 3 * voter)
        if len(evidence.items) > 0:
            _add_further(session, items[begin:end], evidence, scratch, features[begin:end, n_named:])
        for position in range(begin, end):
            position_of[items[position]] = 0


@compiled()
def _add_further(
    clicks: IndexArray, items: IndexArray, evidence: Evidence, scratch: IndexArray, features: ScoreArray
) -> None:
    """The groups' features, in the order of `GROUPS`."""
    own, last, item = N_SESSION, N_SESSION + N_OWN, N_SESSION + N_OWN + N_LAST
    if len(clicks) > 0:
        counts, edges = np.empty(len(clicks), dtype=np.int64), np.empty((2, len(clicks)), dtype=np.int64)
        n_distinct = add_session(clicks, scratch[1], counts, edges, features[:, :own])
        add_own(clicks, n_distinct, scratch[0], scratch[1], counts, edges, features[:, own:last])
        _add_last(clicks, items, evidence, features[:, last:item])
    for position in range(len(items)):
        features[position, item:N_FURTHER] = evidence.items[items[position]]


@compiled()
def _add_last(clicks: IndexArray, items: IndexArray, evidence: Evidence, features: ScoreArray) -> None:
    vectors, last, before = evidence.vectors, clicks[-1], clicks[-2] if len(clicks) > 1 else 0
    for position in range(len(items)):
        vector = vectors[items[position] - 1]
        features[position, 0] = _product(vectors[last - 1], vector) if last > 0 else 0.0
        features[position, 1] = _product(vectors[before - 1], vector) if before > 0 else 0.0
        features[position, 2] = evidence.popularity[last]
        features[position, 3] = evidence.items[last, LAST_RATE]
        features[position, 4] = evidence.items[last, REVISIT_AFTER]


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

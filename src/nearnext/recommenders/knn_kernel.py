"""The session-kNN kernel: candidates by shared items, nearest neighbours by similarity, items by votes.

Training sessions are numbered by recency, 0 the most recent, so that every list of sessions is sorted by recency and
"the more recent one" is the smaller number. The work for one prefix touches only sessions that share an item with it.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from nearnext.recommenders.decay import position_weight, step_weight
from nearnext.recommenders.selection import keep_best
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

__all__ = ["SAMPLINGS", "SIMILARITIES", "SessionIndex", "Votes", "rank_by_neighbours"]

SIMILARITIES = ("cosine", "jaccard", "dice", "vec", "binary")
"""Names of the similarities, in the order of their codes; session-rec's ``tanimoto`` is jaccard."""

SAMPLINGS = ("recent", "random", "common")
"""Names of the ways to choose candidate sessions, in the order of their codes."""

_COSINE, _JACCARD, _DICE, _VEC = range(4)
_RECENT, _RANDOM = range(2)


class SessionIndex(NamedTuple):
    """Training sessions by recency, and the sessions of each item.

    Attributes:
        item_offsets: sessions of item i are at item_offsets[i]..item_offsets[i + 1]: [I + 2].
        item_sessions: session numbers, most recent first: [P].
        session_offsets: items of session s are at session_offsets[s]..session_offsets[s + 1]: [S + 1].
        session_items: distinct items of each session: [P].
        last_positions: place of the last click on that item in its session, from 1: [P].
        ends: time of each session's last click, microseconds: [S].
        item_weights: factor of a vote for each item, 1 + λ · idf: [I + 1].
        idf: log(sessions / clicks on the item): [I + 1].
    """

    item_offsets: Int64Array
    item_sessions: IndexArray
    session_offsets: Int64Array
    session_items: IndexArray
    last_positions: IndexArray
    ends: Int64Array
    item_weights: FloatArray
    idf: FloatArray


class Votes(NamedTuple):
    """Options of one session-kNN method, as numbers that the kernel understands.

    ``time_scale`` and ``gap_scale`` are the λ of exp(−age / λ) (microseconds) and exp(−|place difference| / λ)
    (clicks); 0 switches them off. ``score_scale`` is the λ of an exponential score decay, 0: use ``score_decay``.
    """

    k: int
    sample_size: int
    sampling: int
    similarity: int
    decay: int
    decay_scale: float
    score_decay: int
    score_scale: float
    time_scale: float
    gap_scale: float
    weigh_by_idf: bool
    remind: bool
    last_n_clicks: int
    seed: int


@njit(cache=True, nogil=True)
def _mix(value: np.uint64) -> np.uint64:
    """Splitmix64's finaliser: equal inputs give equal, well spread outputs, so that sampling needs no state."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def _sample(
    touched: IndexArray, n_touched: int, overlap: IndexArray, keys: Int64Array, votes: Votes, salt: np.uint64
) -> int:
    """Keep ``sample_size`` candidates at the front of ``touched``: the smallest keys, and keys are distinct."""
    size = votes.sample_size
    if size == 0 or n_touched <= size:
        return n_touched
    for position in range(n_touched):
        session = np.int64(touched[position])
        if votes.sampling == _RECENT:
            keys[position] = session
        elif votes.sampling == _RANDOM:
            spread = np.int64(_mix(np.uint64(session) + salt) >> np.uint64(33))
            keys[position] = (spread << np.int64(32)) | session
        else:
            keys[position] = (np.int64(0x7FFFFFFF - overlap[session]) << np.int64(32)) | session
    threshold = np.partition(keys[:n_touched], size - 1)[size - 1]
    kept = 0
    for position in range(n_touched):
        if keys[position] <= threshold:
            touched[kept] = touched[position]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _similarity(kind: int, shared: float, n_shared: int, squares: float, total: float, size: int, n_items: int) -> float:
    """Similarity of a prefix to a session, from the weights of the shared clicks.

    Args:
        kind: code of the similarity.
        shared: sum of the weights of shared items.
        n_shared: number of shared items.
        squares: sum of the squared weights of the prefix's items.
        total: sum of the weights of the prefix's items.
        size: distinct items of the prefix.
        n_items: distinct items of the session.
    """
    if kind == _COSINE:
        return shared / (math.sqrt(squares) * math.sqrt(n_items))
    if kind == _JACCARD:
        return shared / (total + n_items - shared)
    if kind == _DICE:
        return 2.0 * shared / (total + n_items)
    if kind == _VEC:
        return shared / size
    return 2.0 * n_shared / (2.0 * n_shared + size + n_items)


@njit(cache=True, nogil=True)
def _nearest(touched: IndexArray, n_touched: int, similarities: FloatArray, values: ScoreArray, k: int) -> int:
    """Keep the k nearest candidates at the front of ``touched``; of equal ones the more recent stay."""
    if n_touched <= k:
        return n_touched
    for position in range(n_touched):
        values[position] = similarities[touched[position]]
    threshold = np.partition(values[:n_touched], n_touched - k)[n_touched - k]
    above = 0
    for position in range(n_touched):
        above += values[position] > threshold
    ties = np.empty(n_touched, dtype=np.int32)
    n_ties = 0
    for position in range(n_touched):
        if values[position] == threshold:
            ties[n_ties] = touched[position]
            n_ties += 1
    last = np.partition(ties[:n_ties], k - above - 1)[k - above - 1]
    kept = 0
    for position in range(n_touched):
        session = touched[position]
        if values[position] > threshold or (values[position] == threshold and session <= last):
            touched[kept] = session
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def rank_by_neighbours(
    index: SessionIndex,
    votes: Votes,
    clicks: IndexArray,
    starts: Int64Array,
    ends: Int64Array,
    times: Int64Array,
    admissible: BoolArray,
    exclude_seen: bool,
    items: IndexArray,
    scores: ScoreArray,
    own: IndexArray,
) -> None:
    """Lists of next items for prefixes, by the votes of their nearest training sessions.

    Args:
        index: the training sessions.
        votes: the method's options.
        clicks: clicks of all prefixes, 0 where unknown: [E].
        starts: first click of each prefix: [B].
        ends: one past the last click of each prefix: [B].
        times: time of each prefix's last click, microseconds: [B].
        admissible: which items may be recommended: [I + 1].
        exclude_seen: leave out what the prefix contains.
        items: receives item indices, best first: [B, k].
        scores: receives scores: [B, k].
        own: receives the number of items in each list: [B].
    """
    n_sessions = len(index.ends)
    n_items = len(index.item_offsets) - 1
    similarities = np.zeros(n_sessions)
    overlap = np.zeros(n_sessions, dtype=np.int32)
    nearest_step = np.zeros(n_sessions, dtype=np.int32)
    touched = np.zeros(n_sessions, dtype=np.int32)
    keys = np.zeros(n_sessions, dtype=np.int64)
    values = np.zeros(n_sessions, dtype=np.float32)
    seen = np.zeros(n_items, dtype=np.int64)
    item_scores = np.zeros(n_items)
    candidates = np.zeros(n_items, dtype=np.int32)
    listed = np.zeros(n_items, dtype=np.int64)
    for row in range(len(starts)):
        mark = row + 1
        begin = starts[row]
        if votes.last_n_clicks:
            begin = max(begin, ends[row] - votes.last_n_clicks)
        length = ends[row] - begin
        squares, total, size, n_touched = 0.0, 0.0, 0, 0
        salt = np.uint64(votes.seed)
        for click in range(ends[row] - 1, begin - 1, -1):
            item = clicks[click]
            salt = _mix(salt + np.uint64(item) + np.uint64(0x9E3779B97F4A7C15))
            if item and seen[item] == mark:
                continue
            seen[item] = mark
            weight = position_weight(votes.decay, click - begin + 1, length, votes.decay_scale)
            if votes.weigh_by_idf:
                weight = index.idf[item]
            squares += weight * weight
            total += weight
            size += 1
            if item == 0:
                continue
            first, last = index.item_offsets[item], index.item_offsets[item + 1]
            if votes.sampling == _RECENT and votes.sample_size:
                # A session among the most recent of all candidates is among the most recent of each of its items.
                last = min(last, first + votes.sample_size)
            for place in range(first, last):
                session = index.item_sessions[place]
                if overlap[session] == 0:
                    touched[n_touched] = session
                    n_touched += 1
                    nearest_step[session] = ends[row] - click
                overlap[session] += 1
                similarities[session] += weight
        n_all = n_touched
        everything = touched[:n_all].copy()
        n_touched = _sample(touched, n_touched, overlap, keys, votes, salt)
        n_kept = 0
        for position in range(n_touched):
            session = touched[position]
            n_own = index.session_offsets[session + 1] - index.session_offsets[session]
            value = _similarity(votes.similarity, similarities[session], overlap[session], squares, total, size, n_own)
            if votes.time_scale > 0:
                value *= math.exp(-(times[row] - index.ends[session]) / votes.time_scale)
            similarities[session] = value
            if value > 0:
                touched[n_kept] = session
                n_kept += 1
        n_kept = _nearest(touched, n_kept, similarities, values, votes.k)
        n_candidates = 0
        for position in range(n_kept):
            session = touched[position]
            first, last = index.session_offsets[session], index.session_offsets[session + 1]
            step = nearest_step[session]
            if votes.score_scale > 0:
                vote = similarities[session] * math.exp((1 - step) / votes.score_scale)
            else:
                vote = similarities[session] * step_weight(votes.score_decay, step)
            anchor = 0
            if votes.gap_scale > 0:
                for place in range(first, last):
                    if seen[index.session_items[place]] == mark:
                        anchor = max(anchor, index.last_positions[place])
            for place in range(first, last):
                item = index.session_items[place]
                if not admissible[item] or (seen[item] == mark and (exclude_seen or not votes.remind)):
                    continue
                score = vote * index.item_weights[item]
                if votes.gap_scale > 0:
                    score *= math.exp(-abs(index.last_positions[place] - anchor) / votes.gap_scale)
                if listed[item] != mark:
                    listed[item] = mark
                    candidates[n_candidates] = item
                    n_candidates += 1
                item_scores[item] += score
        own[row] = keep_best(candidates, n_candidates, item_scores, items[row], scores[row])
        for position in range(n_candidates):
            item_scores[candidates[position]] = 0
        for position in range(n_all):
            similarities[everything[position]] = 0
            overlap[everything[position]] = 0

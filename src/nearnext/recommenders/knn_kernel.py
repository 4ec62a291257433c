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
from nearnext.recommenders.session_index import SessionIndex
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

__all__ = ["SAMPLINGS", "SIMILARITIES", "Votes", "make_scratch", "nearest_sessions", "rank_by_neighbours"]

SIMILARITIES = ("cosine", "jaccard", "dice", "vec", "binary")
"""Names of the similarities, in the order of their codes; session-rec's ``tanimoto`` is jaccard."""

SAMPLINGS = ("recent", "random", "common")
"""Names of the ways to choose candidate sessions, in the order of their codes."""

_COSINE, _JACCARD, _DICE, _VEC = range(4)
_RECENT, _RANDOM = range(2)

WINDOW = 2048
"""Sessions, neighbouring ones by number, that are looked at together: what is noted of them stays in the cache."""

MOST_EXPONENT = 100.0
"""Of the weight of a session that ended after the time asked for."""


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


class Scratch(NamedTuple):
    """Memory of one thread, by session of a window [W], by candidate session [S], or by item [I + 1].

    Attributes:
        shared: sum of the weights of clicks shared with a session of the window: [W].
        overlap: distinct items shared with it, 0 for all before and after: [W].
        step: distance of the most recent shared click, 1 the last: [W].
        anchor: place of that session's last click on a shared item, from 1: [W].
        touched: candidate sessions; the following three say the same of them as the window did: [S].
        similarities: sums of weights, then similarities: [S].
        overlaps: distinct items shared: [S].
        steps: distances of the most recent shared clicks: [S].
        anchors: places of the last clicks on shared items: [S].
        keys: order in which candidates are sampled: [S].
        values: similarities of candidates as 32-bit floats: [S].
        seen: number of the prefix that last contained the item: [I + 1].
        scores: votes for each item: [I + 1].
        candidates: items with votes: [I + 1].
        listed: number of the prefix whose candidates last contained the item: [I + 1].
        ages: exp(−age / λ) of each session, its age at the end of training: [S]; empty where age does not count.
        gap_weights: exp(−gap / λ) of gaps 0, 1, ... up to the longest session; empty where gaps do not count.
    """

    shared: FloatArray
    overlap: IndexArray
    step: IndexArray
    anchor: IndexArray
    touched: IndexArray
    similarities: FloatArray
    overlaps: IndexArray
    steps: IndexArray
    anchors: IndexArray
    keys: Int64Array
    values: ScoreArray
    seen: Int64Array
    scores: FloatArray
    candidates: IndexArray
    listed: Int64Array
    ages: FloatArray
    gap_weights: FloatArray


def make_scratch(index: SessionIndex, votes: Votes) -> Scratch:
    """Scratch memory for one thread that ranks with this index and these options."""
    n_sessions, n_indices = len(index.ends), len(index.item_offsets) - 1
    n_gaps = int(index.last_positions.max(initial=0)) + 1 if votes.gap_scale > 0 else 0
    return Scratch(
        shared=np.zeros(WINDOW),
        overlap=np.zeros(WINDOW, dtype=np.int32),
        step=np.zeros(WINDOW, dtype=np.int32),
        anchor=np.zeros(WINDOW, dtype=np.int32),
        touched=np.zeros(n_sessions, dtype=np.int32),
        similarities=np.zeros(n_sessions),
        overlaps=np.zeros(n_sessions, dtype=np.int32),
        steps=np.zeros(n_sessions, dtype=np.int32),
        anchors=np.zeros(n_sessions, dtype=np.int32),
        keys=np.zeros(n_sessions, dtype=np.int64),
        values=np.zeros(n_sessions, dtype=np.float32),
        seen=np.zeros(n_indices, dtype=np.int64),
        scores=np.zeros(n_indices),
        candidates=np.zeros(n_indices, dtype=np.int32),
        listed=np.zeros(n_indices, dtype=np.int64),
        ages=np.exp((index.ends - index.ends[0]) / votes.time_scale) if votes.time_scale > 0 else np.zeros(0),
        gap_weights=np.exp(-np.arange(n_gaps) / (votes.gap_scale or 1.0)),
    )


class Current(NamedTuple):
    """What the kernel knows of the prefix at hand.

    Attributes:
        mark: number of the prefix, from 1, never used before with the same scratch memory.
        squares: sum of the squared weights of its items.
        total: sum of the weights of its items.
        size: its distinct items, each unknown click as one.
        time: time of its last click, microseconds.
        salt: a number that depends on its clicks alone, for random sampling.
    """

    mark: int
    squares: float
    total: float
    size: int
    time: int
    salt: np.uint64


@njit(cache=True, nogil=True)
def _mix(value: np.uint64) -> np.uint64:
    """Splitmix64's finaliser: equal inputs give equal, well spread outputs, so that sampling needs no state."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def _collect(
    index: SessionIndex, votes: Votes, clicks: IndexArray, begin: int, end: int, mark: int, time: int, scratch: Scratch
) -> tuple[int, Current]:
    """The sessions that share an item with the clicks begin..end − 1; gives how many, and what is known of the prefix.

    A repeated item weighs as its most recent click does.
    """
    squares, total, size, n_lists = 0.0, 0.0, 0, 0
    salt = np.uint64(votes.seed)
    heads, tails = np.empty(end - begin, dtype=np.int64), np.empty(end - begin, dtype=np.int64)
    weights, steps = np.empty(end - begin), np.empty(end - begin, dtype=np.int32)
    for click in range(end - 1, begin - 1, -1):
        item = clicks[click]
        salt = _mix(salt + np.uint64(item) + np.uint64(0x9E3779B97F4A7C15))
        if item and scratch.seen[item] == mark:
            continue
        scratch.seen[item] = mark
        weight = position_weight(votes.decay, click - begin + 1, end - begin, votes.decay_scale)
        if votes.weigh_by_idf:
            weight = float(index.idf[item])
        squares += weight * weight
        total += weight
        size += 1
        if item:
            heads[n_lists], tails[n_lists] = index.item_offsets[item], index.item_offsets[item + 1]
            weights[n_lists], steps[n_lists] = weight, end - click
            n_lists += 1
    n_touched = _merge(index, votes, heads[:n_lists], tails, weights, steps, scratch)
    return n_touched, Current(mark, squares, total, size, time, salt)


@njit(cache=True, nogil=True)
def _merge(
    index: SessionIndex,
    votes: Votes,
    heads: Int64Array,
    tails: Int64Array,
    weights: FloatArray,
    steps: IndexArray,
    scratch: Scratch,
) -> int:
    """Candidates from sorted lists of sessions, window by window; gives how many.

    Where only the most recent candidates count, the first windows that hold enough of them are all that is read.
    """
    enough = votes.sample_size if votes.sampling == _RECENT and votes.sample_size else len(index.ends)
    n_touched = 0
    while n_touched < enough:
        low = len(index.ends)
        for at in range(len(heads)):
            if heads[at] < tails[at]:
                low = min(low, index.item_sessions[heads[at]])
        if low == len(index.ends):
            break
        before = n_touched
        for at in range(len(heads)):
            n_touched = _note(index, votes, low, heads, tails[at], at, weights[at], steps[at], n_touched, scratch)
        for position in range(before, n_touched):
            slot = scratch.touched[position] - low
            scratch.similarities[position] = scratch.shared[slot]
            scratch.overlaps[position] = scratch.overlap[slot]
            scratch.steps[position] = scratch.step[slot]
            scratch.anchors[position] = scratch.anchor[slot]
            scratch.overlap[slot] = 0
    return n_touched


@njit(cache=True, nogil=True)
def _note(
    index: SessionIndex,
    votes: Votes,
    low: int,
    heads: Int64Array,
    tail: int,
    at: int,
    weight: float,
    step: int,
    n_touched: int,
    scratch: Scratch,
) -> int:
    """Note the sessions of one list that lie in the window from ``low`` on; its head moves behind them."""
    head = heads[at]
    while head < tail and index.item_sessions[head] < low + WINDOW:
        slot = index.item_sessions[head] - low
        if scratch.overlap[slot] == 0:
            scratch.touched[n_touched] = index.item_sessions[head]
            n_touched += 1
            scratch.shared[slot], scratch.step[slot], scratch.anchor[slot] = 0.0, step, 0
        scratch.overlap[slot] += 1
        scratch.shared[slot] += weight
        if votes.gap_scale > 0:
            scratch.anchor[slot] = max(scratch.anchor[slot], index.item_positions[head])
        head += 1
    heads[at] = head
    return n_touched


@njit(cache=True, nogil=True)
def _move(scratch: Scratch, position: int, target: int) -> None:
    """Put a candidate to another, earlier place."""
    scratch.touched[target] = scratch.touched[position]
    scratch.similarities[target] = scratch.similarities[position]
    scratch.overlaps[target] = scratch.overlaps[position]
    scratch.steps[target] = scratch.steps[position]
    scratch.anchors[target] = scratch.anchors[position]


@njit(cache=True, nogil=True)
def _sample(votes: Votes, current: Current, n_touched: int, scratch: Scratch) -> int:
    """Keep ``sample_size`` candidates at the front: those with the smallest keys, which are distinct."""
    size = votes.sample_size
    if size == 0 or n_touched <= size:
        return n_touched
    keys = scratch.keys
    for position in range(n_touched):
        session = np.int64(scratch.touched[position])
        if votes.sampling == _RECENT:
            keys[position] = session
        elif votes.sampling == _RANDOM:
            spread = np.int64(_mix(np.uint64(session) + current.salt) >> np.uint64(33))
            keys[position] = (spread << np.int64(32)) | session
        else:
            keys[position] = (np.int64(0x7FFFFFFF - scratch.overlaps[position]) << np.int64(32)) | session
    threshold = np.partition(keys[:n_touched], size - 1)[size - 1]
    kept = 0
    for position in range(n_touched):
        if keys[position] <= threshold:
            _move(scratch, position, kept)
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _similarity(kind: int, current: Current, shared: float, n_shared: int, n_items: int) -> float:
    """Similarity of the prefix to a session of ``n_items`` items, from the summed weights and number of shared ones."""
    if kind == _COSINE:
        length = math.sqrt(current.squares) * math.sqrt(n_items)
        return shared / length if length else 0.0  # of a long session the linear decay may leave no click any weight
    if kind == _JACCARD:
        union = current.total + n_items - shared
        return shared / union if union else 0.0
    if kind == _DICE:
        return 2.0 * shared / (current.total + n_items)
    if kind == _VEC:
        return shared / current.size
    return 2.0 * n_shared / (2.0 * n_shared + current.size + n_items)


@njit(cache=True, nogil=True)
def _weigh(index: SessionIndex, votes: Votes, current: Current, n_touched: int, scratch: Scratch) -> int:
    """Similarities of the candidates, with the decay of age; those above 0 stay at the front."""
    kept = 0
    # Asked for a time long before the sessions', their weights must stay numbers.
    recency = 1.0
    if votes.time_scale > 0:
        recency = math.exp(min((index.ends[0] - current.time) / votes.time_scale, MOST_EXPONENT))
    for position in range(n_touched):
        session, n_items = int(scratch.touched[position]), 0
        if votes.similarity != _VEC:
            n_items = int(index.session_offsets[session + 1] - index.session_offsets[session])
        shared, n_shared = float(scratch.similarities[position]), int(scratch.overlaps[position])
        value = _similarity(votes.similarity, current, shared, n_shared, n_items)
        if votes.time_scale > 0:
            value *= scratch.ages[session] * recency
        if value > 0:
            _move(scratch, position, kept)
            scratch.similarities[kept] = value
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _nearest(votes: Votes, n_touched: int, scratch: Scratch) -> int:
    """Keep the k nearest candidates at the front; of equal ones the more recent stay."""
    k, values, touched = votes.k, scratch.values, scratch.touched
    if n_touched <= k:
        return n_touched
    for position in range(n_touched):
        values[position] = scratch.similarities[position]
    threshold = np.partition(values[:n_touched], n_touched - k)[n_touched - k]
    above, n_ties = 0, 0
    ties = np.empty(n_touched, dtype=np.int32)
    for position in range(n_touched):
        above += values[position] > threshold
        if values[position] == threshold:
            ties[n_ties] = touched[position]
            n_ties += 1
    last = np.partition(ties[:n_ties], k - above - 1)[k - above - 1]
    kept = 0
    for position in range(n_touched):
        if values[position] > threshold or (values[position] == threshold and touched[position] <= last):
            _move(scratch, position, kept)
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def nearest_sessions(
    index: SessionIndex, votes: Votes, clicks: IndexArray, time: int, scratch: Scratch
) -> tuple[IndexArray, FloatArray]:
    """The neighbours that vote for one prefix, in no order, and their similarities to it; fresh scratch memory.

    Args:
        index: the training sessions.
        votes: the method's options.
        clicks: the prefix, 0 where unknown: [T].
        time: of its last click, microseconds.
        scratch: memory that has served no prefix.
    """
    begin = max(0, len(clicks) - votes.last_n_clicks) if votes.last_n_clicks else 0
    n_touched, current = _collect(index, votes, clicks, begin, len(clicks), 1, time, scratch)
    kept = _nearest(votes, _weigh(index, votes, current, _sample(votes, current, n_touched, scratch), scratch), scratch)
    return scratch.touched[:kept].copy(), scratch.similarities[:kept].copy()


@njit(cache=True, nogil=True)
def _vote(
    index: SessionIndex,
    votes: Votes,
    current: Current,
    n_neighbours: int,
    n_steps: int,
    admissible: BoolArray,
    skip_seen: bool,
    scratch: Scratch,
) -> int:
    """Votes of the neighbours at the front for their items; returns how many items have votes.

    ``n_steps`` is the number of clicks of the prefix.
    """
    step_weights = np.empty(n_steps + 1)
    for step in range(1, n_steps + 1):
        step_weights[step] = (
            math.exp((1 - step) / votes.score_scale) if votes.score_scale > 0 else step_weight(votes.score_decay, step)
        )
    n_candidates = 0
    for position in range(n_neighbours):
        session = int(scratch.touched[position])
        vote = scratch.similarities[position] * step_weights[scratch.steps[position]]
        anchor = scratch.anchors[position]
        for place in range(index.session_offsets[session], index.session_offsets[session + 1]):
            item = index.session_items[place]
            score = vote * index.item_weights[item]
            if votes.gap_scale > 0:
                score *= scratch.gap_weights[abs(index.last_positions[place] - anchor)]
            if scratch.listed[item] == current.mark:
                scratch.scores[item] += score
            elif admissible[item] and not (skip_seen and scratch.seen[item] == current.mark):
                scratch.listed[item] = current.mark
                scratch.scores[item] = score
                scratch.candidates[n_candidates] = item
                n_candidates += 1
    return n_candidates


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
    scratch: Scratch,
    first_mark: int,
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
        scratch: this thread's memory.
        first_mark: prefixes that this memory has served before.
        items: receives item indices, best first: [B, k].
        scores: receives scores: [B, k].
        own: receives the number of items in each list: [B].
    """
    for row in range(len(starts)):
        begin = starts[row]
        if votes.last_n_clicks:
            begin = max(begin, ends[row] - votes.last_n_clicks)
        mark = first_mark + row + 1
        n_touched, current = _collect(index, votes, clicks, begin, ends[row], mark, times[row], scratch)
        kept = _sample(votes, current, n_touched, scratch)
        kept = _weigh(index, votes, current, kept, scratch)
        kept = _nearest(votes, kept, scratch)
        skip_seen = exclude_seen or not votes.remind
        n_candidates = _vote(index, votes, current, kept, ends[row] - begin, admissible, skip_seen, scratch)
        own[row] = keep_best(scratch.candidates, n_candidates, scratch.scores, items[row], scores[row])

"""Candidate sessions of session-kNN: training sessions that share an item with a prefix, and what is known of them.

Training sessions are numbered by recency, 0 the most recent, so that every list of sessions is sorted by recency and
"the more recent one" is the smaller number. The work for one prefix touches only sessions that share an item with it.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np

from nearnext.compiled import compiled
from nearnext.recommenders.decay import DECAYS, position_weight
from nearnext.recommenders.session_index import SessionIndex
from nearnext.topk import kth_smallest
from nearnext.types import FloatArray, IndexArray, Int64Array, ScoreArray

Sampling = Literal["recent", "random", "common"]
SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)
"""Names of the ways to choose candidate sessions, in the order of their codes."""

_RECENT, _RANDOM = range(2)

WINDOW = 2048
"""Sessions, neighbouring ones by number, that are looked at together: what is noted of them stays in the cache."""


class Votes(NamedTuple):
    """Options of one session-kNN method, as numbers that the kernel understands.

    ``time_scale`` and ``gap_scale`` are the λ of exp(−age / λ) (microseconds) and exp(−|position difference| / λ)
    (clicks); 0 switches them off. ``score_scale`` is the λ of an exponential score decay, 0: use ``score_decay``.
    """

    k: int
    sample_size: int
    sampling: int
    similarity: int
    decay: int = DECAYS.index("same")
    decay_scale: float = 1.0
    score_decay: int = DECAYS.index("same")
    score_scale: float = 0.0
    time_scale: float = 0.0
    gap_scale: float = 0.0
    weigh_by_idf: bool = False
    remind: bool = True
    last_n_clicks: int = 0
    seed: int = 0


class Notes(NamedTuple):
    """Overlaps of n candidate sessions with the current one."""

    similarities: FloatArray  # sums of the weights of shared clicks, later similarities: [n]
    overlaps: IndexArray  # distinct items shared: [n]
    steps: IndexArray  # distances of the most recent shared clicks, 1 the last: [n]
    anchors: IndexArray  # positions of the sessions' last clicks on shared items, from 1: [n]


class Scratch(NamedTuple):
    """Memory of one thread, by session of a window [W], by candidate session [S], or by item [I + 1]."""

    window: Notes  # of the sessions of the window, overlaps 0 for all before and after: [W]
    touched: IndexArray  # candidate sessions: [S]
    notes: Notes  # of the candidate sessions: [S]
    keys: Int64Array  # order in which candidates are kept: [S]
    values: ScoreArray  # similarities of candidates as 32-bit floats: [S]
    seen: Int64Array  # number of the prefix that last contained the item: [I + 1]
    scores: FloatArray  # votes for each item: [I + 1]
    candidates: IndexArray  # items with votes: [I + 1]
    listed: Int64Array  # number of the prefix whose candidates last contained the item: [I + 1]
    # exp(−age / λ) of each session, its age at the end of training: [S]; empty where age does not count
    ages: FloatArray
    gap_weights: FloatArray  # exp(−gap / λ) of gaps 0, 1, ... up to the longest session; empty where gaps do not count


def make_scratch(index: SessionIndex, votes: Votes) -> Scratch:
    """Scratch memory for one thread that ranks with this index and these options."""
    n_sessions, n_indices = len(index.ends), len(index.item_offsets) - 1
    n_gaps = int(index.last_positions.max(initial=0)) + 1 if votes.gap_scale > 0 else 0
    return Scratch(
        window=_no_notes(WINDOW),
        touched=np.zeros(n_sessions, dtype=np.int32),
        notes=_no_notes(n_sessions),
        keys=np.zeros(n_sessions, dtype=np.int64),
        values=np.zeros(n_sessions, dtype=np.float32),
        seen=np.zeros(n_indices, dtype=np.int64),
        scores=np.zeros(n_indices),
        candidates=np.zeros(n_indices, dtype=np.int32),
        listed=np.zeros(n_indices, dtype=np.int64),
        ages=np.exp((index.ends - index.ends[0]) / votes.time_scale) if votes.time_scale > 0 else np.zeros(0),
        gap_weights=np.exp(-np.arange(n_gaps) / (votes.gap_scale or 1.0)),
    )


def _no_notes(n: int) -> Notes:
    overlaps, steps, anchors = np.zeros((3, n), dtype=np.int32)
    return Notes(np.zeros(n), overlaps, steps, anchors)


class Current(NamedTuple):
    """Properties of the current prefix."""

    mark: int  # number of the prefix, from 1, never used before with the same scratch memory
    squares: float  # sum of the squared weights of its items
    total: float  # sum of the weights of its items
    size: int  # its distinct items, each unknown click as one
    time: int  # time of its last click, microseconds
    salt: np.uint64  # a number that depends on its clicks alone, for random sampling


@compiled()
def _mix(value: np.uint64) -> np.uint64:
    """Splitmix64's finaliser: equal inputs give equal, well spread outputs, so that sampling needs no state."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled()
def collect(
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


@compiled()
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
                low = min(low, int(index.item_sessions[heads[at]]))
        if low == len(index.ends):
            break
        before = n_touched
        for at in range(len(heads)):
            n_touched = _note(index, votes, low, heads, tails[at], at, weights[at], steps[at], n_touched, scratch)
        for position in range(before, n_touched):
            slot = scratch.touched[position] - low
            _copy(scratch.window, slot, scratch.notes, position)
            scratch.window.overlaps[slot] = 0
    return n_touched


@compiled()
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
    """Note the sessions of one list in the window from ``low`` on; its head moves behind them."""
    head, window = heads[at], scratch.window
    while head < tail and index.item_sessions[head] < low + WINDOW:
        slot = index.item_sessions[head] - low
        if window.overlaps[slot] == 0:
            scratch.touched[n_touched] = index.item_sessions[head]
            n_touched += 1
            window.similarities[slot], window.steps[slot], window.anchors[slot] = 0.0, step, 0
        window.overlaps[slot] += 1
        window.similarities[slot] += weight
        if votes.gap_scale > 0:
            window.anchors[slot] = max(window.anchors[slot], index.item_positions[head])
        head += 1
    heads[at] = head
    return n_touched


@compiled()
def move(scratch: Scratch, position: int, target: int) -> None:
    """Move a candidate to another, earlier position."""
    scratch.touched[target] = scratch.touched[position]
    _copy(scratch.notes, position, scratch.notes, target)


@compiled()
def _copy(source: Notes, position: int, target: Notes, to: int) -> None:
    target.similarities[to] = source.similarities[position]
    target.overlaps[to] = source.overlaps[position]
    target.steps[to] = source.steps[position]
    target.anchors[to] = source.anchors[position]


@compiled()
def sample(votes: Votes, current: Current, n_touched: int, scratch: Scratch) -> int:
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
            keys[position] = (np.int64(0x7FFFFFFF - scratch.notes.overlaps[position]) << np.int64(32)) | session
    return keep_first(scratch, n_touched, size)


@compiled()
def keep_first(scratch: Scratch, n_touched: int, n: int) -> int:
    """Move the n candidates with the smallest keys, which are distinct, to the front; returns n."""
    threshold = kth_smallest(scratch.keys[:n_touched].copy(), n - 1)
    kept = 0
    for position in range(n_touched):
        if scratch.keys[position] <= threshold:
            move(scratch, position, kept)
            kept += 1
    return kept

"""The session-kNN kernel: candidate sessions by shared items, nearest neighbours by similarity, items by votes."""

import math
from typing import Literal, get_args

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.recommenders.candidate_sessions import Current, Scratch, Votes, collect, keep_first, move, sample
from nearnext.recommenders.decay import step_weight
from nearnext.recommenders.session_index import SessionIndex
from nearnext.topk import best_scored
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

Similarity = Literal["cosine", "jaccard", "dice", "vec", "binary"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
"""Names of the similarities, in the order of their codes; session-rec's ``tanimoto`` is jaccard."""

_COSINE, _JACCARD, _DICE, _VEC = range(4)

MOST_EXPONENT = 100.0
"""Of the weight of a session that ended after the time asked for."""


@compiled()
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


@compiled()
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
        shared, n_shared = float(scratch.notes.similarities[position]), int(scratch.notes.overlaps[position])
        value = _similarity(votes.similarity, current, shared, n_shared, n_items)
        if votes.time_scale > 0:
            value *= scratch.ages[session] * recency
        if value > 0:
            move(scratch, position, kept)
            scratch.notes.similarities[kept] = value
            kept += 1
    return kept


@compiled()
def _nearest(votes: Votes, n_touched: int, scratch: Scratch) -> int:
    """Keep the k nearest candidates at the front; of equal ones the more recent stay."""
    if n_touched <= votes.k:
        return n_touched
    for position in range(n_touched):
        scratch.values[position] = scratch.notes.similarities[position]
    ordinals = scratch.values[:n_touched].view(np.int32)  # the bits of positive floats are in the order of the floats
    for position in range(n_touched):
        nearness = np.int64(0x7FFFFFFF - ordinals[position]) << np.int64(32)
        scratch.keys[position] = nearness | np.int64(scratch.touched[position])
    return keep_first(scratch, n_touched, votes.k)


@compiled()
def _neighbours(
    index: SessionIndex, votes: Votes, clicks: IndexArray, begin: int, end: int, mark: int, time: int, scratch: Scratch
) -> tuple[int, Current]:
    """The neighbours of clicks begin..end − 1, put to the front; gives how many, and what is known of the prefix."""
    n_touched, current = collect(index, votes, clicks, begin, end, mark, time, scratch)
    n_touched = sample(votes, current, n_touched, scratch)
    n_touched = _weigh(index, votes, current, n_touched, scratch)
    return _nearest(votes, n_touched, scratch), current


def nearest_sessions(
    index: SessionIndex, votes: Votes, prefix: Prefixes, scratch: Scratch
) -> tuple[IndexArray, FloatArray]:
    """The neighbours that vote for one prefix, in no order, and their similarities to it."""
    end, time = int(prefix.ends[0]), int(prefix.times[0])
    begin = max(int(prefix.starts[0]), end - votes.last_n_clicks if votes.last_n_clicks else 0)
    kept, _ = _neighbours(index, votes, prefix.items, begin, end, 1, time, scratch)
    return scratch.touched[:kept].copy(), scratch.notes.similarities[:kept].copy()


@compiled()
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
    n_candidates, weighted = 0, len(index.click_weights) > 0
    for position in range(n_neighbours):
        session = int(scratch.touched[position])
        vote = scratch.notes.similarities[position] * step_weights[scratch.notes.steps[position]]
        anchor = scratch.notes.anchors[position]
        for at in range(index.session_offsets[session], index.session_offsets[session + 1]):
            item = index.session_items[at]
            score = vote * index.item_weights[item]
            if weighted:
                if index.click_weights[at] == 0:
                    continue
                score *= index.click_weights[at]
            if votes.gap_scale > 0:
                score *= scratch.gap_weights[abs(index.last_positions[at] - anchor)]
            if scratch.listed[item] == current.mark:
                scratch.scores[item] += score
            elif admissible[item] and not (skip_seen and scratch.seen[item] == current.mark):
                scratch.listed[item] = current.mark
                scratch.scores[item] = score
                scratch.candidates[n_candidates] = item
                n_candidates += 1
    return n_candidates


@compiled()
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

    Clicks [E], 0 where unknown, of prefixes from ``starts`` to ``ends`` [B], with the times of their last clicks in
    microseconds [B]; ``admissible`` is by item index [I + 1]. ``first_mark`` prefixes were served with this scratch
    memory before. ``items`` and ``scores`` receive the lists [B, k], ``own`` their lengths [B].
    """
    for row in range(len(starts)):
        begin = starts[row]
        if votes.last_n_clicks:
            begin = max(begin, ends[row] - votes.last_n_clicks)
        mark = first_mark + row + 1
        kept, current = _neighbours(index, votes, clicks, begin, ends[row], mark, times[row], scratch)
        skip_seen = exclude_seen or not votes.remind
        n_candidates = _vote(index, votes, current, kept, ends[row] - begin, admissible, skip_seen, scratch)
        own[row] = best_scored(scratch.candidates, n_candidates, scratch.scores, items[row], scores[row])

"""Which re-ranker a metric model uses, decided on held-out sessions.

The re-ranker must beat the order by distance significantly. Trained for probabilities alone it leans towards popular
items, as accurate rankings do, so popularity is discounted step by step until the lists cover as much of the catalogue
as those of session-kNN, as long as that costs almost no accuracy.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.recommenders.metric.candidates import CandidateGenerators, best_candidates
from nearnext.recommenders.metric.cold_factor import HeldOutLists, K
from nearnext.recommenders.metric.features import FEATURES, Candidates, targets_among
from nearnext.recommenders.metric.reranker import Reranker, fit_reranker, steps_for
from nearnext.recommenders.placement import significantly_positive
from nearnext.training.recipe import Recipe
from nearnext.types import FloatArray, Int64Array

HELD_OUT = ("prefixes", "HitRate@20", "MRR@20", "HitRate@20 by distance", "MRR@20 by distance")
"""What is measured of re-ranked lists of held-out sessions, and of lists by distance."""

POPULARITY = FEATURES.index("popularity")
DISCOUNTS = np.linspace(0.0, 0.5, 11)
"""Exponents γ: probabilities are divided by popularity^γ and normalised again."""


def select_reranker(
    generators: CandidateGenerators,
    held_out: Sessions,
    recipe: Callable[[Candidates, Int64Array, int], Recipe[Any]],  # `reranker_recipe` with its options, given the steps
    *,
    steps: int,  # of a fit on the most prefixes
    most_prefixes: int,
    coverage_cost: float,
) -> tuple[Reranker | None, FloatArray, HeldOutLists | None]:
    """The re-ranker, None if its lists are not significantly better than those by distance; `HELD_OUT`; and its lists.

    Each half of the sessions is ranked with weights that were fitted on the other half; the result is fitted on both.
    """
    prefixes = Prefixes.every(held_out)
    prefixes = prefixes.slice(max(0, len(prefixes) - most_prefixes), len(prefixes))
    found = generators.candidates(prefixes)
    positions = targets_among(found, held_out.items[prefixes.ends])
    owners = held_out.session_of_event()[prefixes.ends]
    owners = owners - owners[0]
    halves = [np.where(owners % 2 == half, positions, -1) for half in (0, 1)]
    of_half, of_whole = (steps_for(len(prefixes) // parts, most_prefixes, steps) for parts in (2, 1))
    even, odd = (fit_reranker(recipe(found, half, of_half)) for half in halves)
    ranks = ranks_by_halves((even, odd), found, positions, owners)
    measured = np.array([len(prefixes), *(value for new in ranks for value in (np.mean(new > 0), np.mean(new)))])
    if not significantly_better(*ranks, owners):
        return None, measured, None
    whole = fit_reranker(recipe(found, positions, of_whole))
    enough = generators.items_covered_by_neighbours(prefixes, K)
    chosen = raise_coverage(whole, found, positions, enough, coverage_cost)
    known = np.flatnonzero(generators.clicked).astype(np.int32)
    targets = held_out.items[prefixes.ends]
    return chosen, measured, HeldOutLists.of(prefixes, owners, targets, found, chosen.probabilities, known)


def reciprocal_ranks(scores: FloatArray, candidates: Candidates, positions: Int64Array) -> FloatArray:
    """Reciprocal rank of each prefix's next item among its candidates, 0 beyond rank 20 or without it: [B].

    >>> found = Candidates(np.array([0, 3]), np.array([1, 2, 3], np.int32), np.zeros((3, 1), np.float32))
    >>> reciprocal_ranks(np.array([0.1, 0.9, 0.5]), found, np.array([2])).tolist()
    [0.5]
    """
    result = np.zeros(len(positions))
    counts = np.diff(candidates.offsets)
    owner = np.repeat(np.arange(len(positions)), counts)
    there = positions >= 0
    of_target = np.full(len(positions), np.inf)
    of_target[there] = scores[candidates.offsets[:-1][there] + positions[there]]
    better = np.bincount(owner[scores > of_target[owner]], minlength=len(positions))
    result[there & (better < K)] = 1 / (better[there & (better < K)] + 1)
    return result


def ranks_by_halves(
    halves: tuple[Reranker, Reranker], candidates: Candidates, positions: Int64Array, sessions: Int64Array
) -> tuple[FloatArray, FloatArray]:
    """Reciprocal ranks, each half of the sessions ranked with the weights of the other; and by distance: [B], [B].

    ``positions`` of next items, −1 where missing, and the ``sessions`` of the prefixes are [B].
    """
    owner = np.repeat(np.arange(len(positions)), np.diff(candidates.offsets))
    even, odd = halves
    ranked_by_odd = (sessions % 2 == 0)[owner]
    reranked = np.where(ranked_by_odd, odd.probabilities(candidates), even.probabilities(candidates))
    new = reciprocal_ranks(reranked.astype(np.float64), candidates, positions)
    return new, reciprocal_ranks(candidates.features[:, 0].astype(np.float64), candidates, positions)


def significantly_better(new: FloatArray, old: FloatArray, sessions: Int64Array) -> bool:
    """Whether reciprocal ranks of re-ranked lists are better than those of lists by distance: [B], [B].

    The sum of hits among the first 20 and reciprocal ranks must be higher by more than 2.33 standard deviations, and
    neither of the two may be lower. The deviation is that of the sum if each session's gain had a random sign; with
    fewer than six sessions that change, no gain is large enough. ``sessions`` are those of the prefixes: [B].
    """
    hits = (new > 0).astype(np.float64) - (old > 0)
    gain = np.bincount(sessions, weights=hits + new - old).astype(np.float64)
    return bool(significantly_positive(gain) and hits.sum() >= 0 and (new - old).sum() >= 0)


def discount_popularity(reranker: Reranker, exponent: float) -> Reranker:
    """The re-ranker with every probability divided by popularity^γ.

    >>> weights = np.ones(7, np.float32)
    >>> whole = Reranker(weights, weights, weights, weights[None], weights[:1], weights[:1])
    >>> discount_popularity(whole, 0.25).linear.tolist()
    [1.0, 1.0, 1.0, 1.0, 0.75, 1.0, 1.0]
    """
    linear, scale = reranker.linear.copy(), float(reranker.scale[POPULARITY])
    if scale > 0:  # 0 where all candidates are equally popular
        linear[POPULARITY] -= exponent / scale
    return replace(reranker, linear=linear)


def items_covered(values: FloatArray, candidates: Candidates) -> int:
    """Number of different items in the lists of 20 by the values, at least 0, of the candidates: [C]."""
    n = len(candidates.offsets) - 1
    items, scores = np.zeros((n, K), dtype=np.int32), np.zeros((n, K), dtype=np.float32)
    best_candidates(candidates.offsets, candidates.items, values.astype(np.float32), items, scores)
    return len(np.unique(items[items > 0]))


def raise_coverage(
    reranker: Reranker, candidates: Candidates, positions: Int64Array, enough: int, cost: float
) -> Reranker:
    """The re-ranker with the smallest discount whose lists cover enough items, or else the largest affordable discount.

    A discount is affordable while the sum of hits among the first 20 and reciprocal ranks loses at most its cost.
    """
    probabilities = reranker.probabilities(candidates).astype(np.float64)
    rarity = np.exp(-candidates.features[:, POPULARITY].astype(np.float64))
    chosen, least = 0.0, 0.0
    for exponent in DISCOUNTS.tolist():
        discounted = probabilities * rarity**exponent
        ranks = reciprocal_ranks(discounted, candidates, positions)
        quality = float((ranks + (ranks > 0)).sum())
        if quality < least:
            break
        least = (1 - cost) * quality if exponent == 0 else least
        chosen = exponent
        if items_covered(discounted, candidates) >= enough:
            break
    return discount_popularity(reranker, chosen)

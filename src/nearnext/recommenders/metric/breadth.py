"""How much of the catalogue calibrated lists show: at least what session-kNN shows, where that is nearly free.

A calibration fitted to probabilities alone leans towards popular items, as every accurate ranking does. Of lists that
are as good, those that show more of the catalogue are better for a shop; so popularity is discounted step by step.
"""

from dataclasses import replace

import numpy as np

from nearnext.recommenders.metric.adoption import K, reciprocal_ranks
from nearnext.recommenders.metric.calibration import Calibration
from nearnext.recommenders.metric.candidates import OWN_FIGURES, Candidates
from nearnext.recommenders.metric.lists import best_candidates
from nearnext.types import Int64Array

__all__ = ["broadened", "discounted", "items_shown"]

POPULARITY = OWN_FIGURES.index("popularity")
DISCOUNTS = np.linspace(0.0, 0.5, 11)
"""Exponents γ: probabilities are divided by popularity^γ, before they are made to sum to one again."""


def discounted(calibration: Calibration, exponent: float) -> Calibration:
    """The calibration with every probability divided by popularity^γ.

    >>> weights = np.ones(7, np.float32)
    >>> whole = Calibration(weights, weights, weights, weights[None], weights[:1], weights[:1])
    >>> discounted(whole, 0.25).linear.tolist()
    [1.0, 1.0, 1.0, 1.0, 0.75, 1.0, 1.0]
    """
    linear, scale = calibration.linear.copy(), float(calibration.scale[POPULARITY])
    if scale > 0:  # where all candidates are as popular there is nothing to discount
        linear[POPULARITY] -= exponent / scale
    return replace(calibration, linear=linear)


def items_shown(calibration: Calibration, candidates: Candidates) -> int:
    """How many different items the lists of 20 show."""
    n = len(candidates.offsets) - 1
    items, scores = np.zeros((n, K), dtype=np.int32), np.zeros((n, K), dtype=np.float32)
    best_candidates(candidates.offsets, candidates.items, calibration.probabilities(candidates), items, scores)
    return len(np.unique(items[items > 0]))


def broadened(
    calibration: Calibration, candidates: Candidates, places: Int64Array, enough: int, price: float
) -> Calibration:
    """The calibration with the smallest discount whose lists show enough items, or the largest affordable one.

    A discount is affordable while the sum of hits among the first 20 and reciprocal ranks loses no more than its price.

    Args:
        calibration: fitted to probabilities.
        candidates: of B prefixes of the sessions held out.
        places: of the next items, −1 where not there: [B].
        enough: different items in lists of 20; below it the discount is raised.
        price: share of the sum that may be lost, in [0, 1).
    """
    chosen, least = calibration, 0.0
    for exponent in DISCOUNTS.tolist():
        tried = discounted(calibration, exponent)
        ranks = reciprocal_ranks(tried.probabilities(candidates).astype(np.float64), candidates, places)
        quality = float((ranks + (ranks > 0)).sum())
        if quality < least:
            break
        least = (1 - price) * quality if exponent == 0 else least
        chosen = tried
        if items_shown(tried, candidates) >= enough:
            break
    return chosen

"""Whether calibrated votes are worth having: the same held-out cases, ranked with and without them."""

import numpy as np

from nearnext.recommenders.metric.calibration import Calibration
from nearnext.recommenders.metric.candidates import Candidates
from nearnext.types import FloatArray, Int64Array

__all__ = ["K", "reciprocal_ranks", "significantly_better"]

K = 20
"""Length of the lists that are compared."""

SURE = 2.326
"""Standard deviations that a gain must exceed: p < 0.01, one-sided."""


def reciprocal_ranks(scores: FloatArray, candidates: Candidates, places: Int64Array) -> FloatArray:
    """1 / rank of each prefix's next item among its candidates by score, 0 beyond 20 and where it is not there: [B].

    >>> found = Candidates(np.array([0, 3]), np.array([1, 2, 3], np.int32), np.zeros((3, 1), np.float32))
    >>> reciprocal_ranks(np.array([0.1, 0.9, 0.5]), found, np.array([2])).tolist()
    [0.5]
    """
    result = np.zeros(len(places))
    counts = np.diff(candidates.offsets)
    owner = np.repeat(np.arange(len(places)), counts)
    there = places >= 0
    wanted = np.full(len(places), np.inf)
    wanted[there] = scores[candidates.offsets[:-1][there] + places[there]]
    better = np.bincount(owner[scores > wanted[owner]], minlength=len(places))
    result[there & (better < K)] = 1 / (better[there & (better < K)] + 1)
    return result


def significantly_better(
    halves: tuple[Calibration, Calibration], candidates: Candidates, places: Int64Array, sessions: Int64Array
) -> bool:
    """Whether calibrated lists beat those by distance alone, each half judged by the weights of the other.

    The sum of hits among the first 20 and reciprocal ranks must be higher by more than 2.33 standard deviations, and
    neither of the two may be lower. The deviation is that of the sum if each session's gain had either sign with equal
    chance: where fewer than six sessions change, no gain is large enough, however alike they are.

    Args:
        halves: fitted on the even and on the odd sessions.
        candidates: of B prefixes.
        places: of the next items, −1 where not there: [B].
        sessions: which session each prefix is of: [B].
    """
    owner = np.repeat(np.arange(len(places)), np.diff(candidates.offsets))
    even, odd = halves
    judged_by_odd = (sessions % 2 == 0)[owner]
    calibrated = np.where(judged_by_odd, odd.probabilities(candidates), even.probabilities(candidates))
    new = reciprocal_ranks(calibrated.astype(np.float64), candidates, places)
    old = reciprocal_ranks(candidates.figures[:, 0].astype(np.float64), candidates, places)
    hits = (new > 0).astype(np.float64) - (old > 0)
    gain = np.bincount(sessions, weights=hits + new - old)
    deviation = float(np.sqrt(np.square(gain).sum()))
    return bool(gain.sum() > SURE * deviation and hits.sum() >= 0 and (new - old).sum() >= 0)

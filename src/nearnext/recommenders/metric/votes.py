"""The votes of other methods, calibrated on the sessions held out, where they make lists better."""

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.recommenders.metric.adoption import K, significantly_better
from nearnext.recommenders.metric.breadth import broadened
from nearnext.recommenders.metric.calibration import Calibration, fit_calibration
from nearnext.recommenders.metric.candidates import targets_among
from nearnext.recommenders.metric.proposals import Proposals

__all__ = ["calibrated_votes"]


def calibrated_votes(
    proposals: Proposals,
    held_out: Sessions,
    *,
    most_prefixes: int,
    breadth: float,
    hidden: int,
    steps: int,
    seed: int,
) -> Calibration | None:
    """The calibration of votes; None where lists with it are not significantly better than those by distance.

    Each half of the sessions is judged by weights that were fitted on the other; what is adopted is fitted on both.

    Args:
        proposals: over sessions before those held out.
        held_out: in the same vocabulary.
        most_prefixes: the last prefixes that are learned from, at most.
        breadth: share of hits and reciprocal ranks that may be given for lists as broad as those of session-kNN.
        hidden: hidden units.
        steps: of the fit.
        seed: of weights and order.
    """
    prefixes = Prefixes.every(held_out)
    prefixes = prefixes.slice(max(0, len(prefixes) - most_prefixes), len(prefixes))
    found = proposals.candidates(prefixes)
    places = targets_among(found, held_out.items[prefixes.ends])
    owners = held_out.session_of_event()[prefixes.ends]
    owners = owners - owners[0]
    halves = [np.where(owners % 2 == half, places, -1) for half in (0, 1)]
    even, odd = (fit_calibration(found, half, hidden=hidden, steps=steps, seed=seed) for half in halves)
    if not significantly_better((even, odd), found, places, owners):
        return None
    whole = fit_calibration(found, places, hidden=hidden, steps=steps, seed=seed)
    return broadened(whole, found, places, proposals.items_shown_by_neighbours(prefixes, K), breadth)

"""When two lists are the same: scores may differ by rounding, and the order only where scores are that close.

Libraries of linear algebra add in another order for another processor, batch size or number of threads. Nothing that
goes through one can promise more than this.
"""

import numpy as np

from nearnext.recommenders.ranking import Ranking, Recommendation
from nearnext.types import BoolArray, RawId

ROUNDING = 1e-5
"""How far scores may be apart, as a share of the largest score of the list in magnitude."""


def list_of(ranking: Ranking, row: int) -> Recommendation:
    """One list of a ranking, in item indices, without what is empty at its end."""
    n = int(np.count_nonzero(ranking.items[row]))
    return Recommendation(ranking.items[row, :n].tolist(), ranking.scores[row, :n].tolist(), int(ranking.own[row]), [])


def differing_lists(expected: Ranking, found: Ranking, rtol: float = ROUNDING) -> BoolArray:
    """Which lists of two rankings of one shape are not the same up to rounding: [B]."""
    largest = np.maximum(np.abs(expected.scores), np.abs(found.scores)).max(axis=1, initial=0.0, keepdims=True)
    close = np.abs(expected.scores - found.scores) <= rtol * largest
    differing = (expected.own != found.own) | ~((expected.items == found.items) & close).all(axis=1)
    for row in np.flatnonzero(differing).tolist():
        differing[row] = difference(list_of(expected, row), list_of(found, row), rtol) is not None
    return differing


def difference(expected: Recommendation, found: Recommendation, rtol: float = ROUNDING) -> str | None:
    """The first difference of two lists that rounding does not explain, in words; None where they are the same.

    Scores may differ by ``rtol`` of the largest one. An item may stand elsewhere, or be replaced at the end of the
    list, where its score is that close to those that stand there instead.
    """
    own = expected.own
    if len(expected.items) != len(found.items) or own != found.own:
        return (
            f"{len(found.items)} items, {found.own} of them scored by the method, "
            f"expected {len(expected.items)} and {own}"
        )
    if expected.items[own:] != found.items[own:]:
        return f"filled up with {found.items[own:]}, expected {expected.items[own:]}"
    scores = np.asarray([*expected.scores[:own], *found.scores[:own]], dtype=np.float64)
    tolerance = rtol * float(np.abs(scores[np.isfinite(scores)]).max(initial=0.0))
    for one, other in ((expected, found), (found, expected)):
        score_of = dict(zip(other.items[:own], other.scores[:own], strict=True))
        for rank, item in enumerate(one.items[:own]):
            # What is not in the other list has at most the score of its last item.
            if not abs(one.scores[rank] - score_of.get(item, other.scores[own - 1])) <= tolerance:
                return _misplaced(expected, found, item)
    return None


def _misplaced(expected: Recommendation, found: Recommendation, item: RawId) -> str:
    """What is said of an item whose scores are not close."""
    (has, at), (score, rank) = (
        (one.scores[one.items.index(item)], one.items.index(item) + 1) if item in one.items else (0.0, 0)
        for one in (found, expected)
    )
    if not rank:
        return f"item {item!r} with score {has:.9g} at rank {at} is not expected"
    where = f"expected {score:.9g} at rank {rank}"
    return f"item {item!r} has score {has:.9g} at rank {at}, {where}" if at else f"item {item!r} is missing, {where}"

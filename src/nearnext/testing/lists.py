"""The check that lists are the same up to rounding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nearnext.recommenders.agreement import ROUNDING, ScoredList, difference, list_of
from nearnext.recommenders.ranking import Ranking
from nearnext.types import RawId

__all__ = ["assert_same_lists"]

Answer = Mapping[str, Any]
Lists = Ranking | ScoredList | Answer | Sequence[ScoredList | Answer]


@dataclass(frozen=True)
class _Answer:
    """The list in a JSON answer of the service."""

    items: list[RawId]
    scores: list[float]
    own: int


def assert_same_lists(found: Lists, expected: Lists, rtol: float = ROUNDING) -> None:
    """Pass where two sets of lists are the same up to rounding.

    Scores may differ by ``rtol`` of a list's largest score, and items may be in another order only where their scores
    are that close. How many items the method itself scored, and what was filled in from popularity, must be equal.

    Args:
        found: a `Ranking`, one or several `Recommendation` objects, or answers of the service as parsed JSON with
            ``items``, ``scores`` and ``own``.
        expected: the same in any of these forms, list by list.
        rtol: largest difference of two scores, as a share of the list's largest one.

    Raises:
        AssertionError: a list differs; the message names the list, the item, both scores and both ranks.

    >>> from nearnext.recommenders.recommendation import Recommendation
    >>> one = Recommendation(["a", "b"], [0.5, 0.25], own=2, unknown=[])
    >>> assert_same_lists({"items": ["a", "b"], "scores": [0.5000001, 0.25], "own": 2}, one)
    >>> assert_same_lists(Recommendation(["b", "a"], [0.5, 0.25], own=2, unknown=[]), one)
    Traceback (most recent call last):
    AssertionError: list 0: item 'a' has score 0.25 at rank 2, expected 0.5 at rank 1
    """
    ours, theirs = _lists(found), _lists(expected)
    if len(ours) != len(theirs):
        raise AssertionError(f"{len(ours)} lists, expected {len(theirs)}")
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        reason = difference(other, one, rtol)
        if reason is not None:
            raise AssertionError(f"list {number}: {reason}")


def _lists(lists: Lists) -> list[ScoredList]:
    if isinstance(lists, Ranking):
        return [list_of(lists, row) for row in range(len(lists))]
    if isinstance(lists, Sequence):
        return [_list(one) for one in lists]
    return [_list(lists)]


def _list(one: ScoredList | Answer) -> ScoredList:
    return _Answer(one["items"], one["scores"], one["own"]) if isinstance(one, Mapping) else one

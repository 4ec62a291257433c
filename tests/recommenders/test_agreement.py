"""Lists are the same up to rounding: ties and the end of a list may move, everything else is a difference."""

import numpy as np
import pytest

from nearnext.recommenders.agreement import difference, differing_lists
from nearnext.recommenders.ranking import Ranking, Recommendation
from nearnext.testing import assert_same_lists


def listed(items: str, *scores: float, own: int | None = None) -> Recommendation:
    return Recommendation(list(items), list(scores), len(items) if own is None else own, [])


SAME = [
    (listed("abc", 0.9, 0.5, 0.1), listed("abc", 0.9, 0.5, 0.1)),
    (listed("abc", 0.9, 0.5, 0.1), listed("abc", 0.900004, 0.5, 0.099996)),
    (listed("abc", 0.9, 0.5, 0.499999), listed("acb", 0.9, 0.5, 0.499999)),
    (listed("ab", 0.9, 0.5), listed("ac", 0.9, 0.5)),  # both may be second
    (listed("ab", -1e-9, -2.0), listed("ab", 0.0, -2.0)),
    (listed("abx", 0.9, 0.899999, 0.0, own=2), listed("bax", 0.9, 0.899999, 0.0, own=2)),
    (listed(""), listed("")),
]
OTHER = [
    (listed("ab", 0.9, 0.5), listed("ba", 0.9, 0.5), "item 'a' has score 0.5 at rank 2, expected 0.9 at rank 1"),
    (listed("ab", 0.9, 0.5), listed("ab", 0.9, 0.6), "item 'b' has score 0.6 at rank 2, expected 0.5 at rank 2"),
    (listed("ab", 0.9, 0.5), listed("cb", 0.9, 0.5), "item 'a' is missing, expected 0.9 at rank 1"),
    (listed("bac", 0.9, 0.9, 0.5), listed("bxc", 0.9, 0.9, 0.5), "item 'a' is missing, expected 0.9 at rank 2"),
    (listed("ab", 0.9, 0.5), listed("a", 0.9), "1 items, 1 of them scored by the method, expected 2 and 2"),
    (listed("ab", 0.9, 0.5), listed("ab", 0.9, 0.5, own=1), "2 items, 1 of them"),
    (listed("ab", 0.9, 0.0, own=1), listed("ac", 0.9, 0.0, own=1), r"filled up with \['c'\], expected \['b'\]"),
    (listed("ab", 0.9, 0.5), listed("ab", 0.9, float("nan")), "item 'b' has score nan at rank 2"),
    (listed("aab"[1:], 0.9, 0.5), listed("bb", 0.9, 0.5), "item 'a' is missing"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_rounding_is_no_difference_either_way(one: Recommendation, other: Recommendation):
    assert_same_lists(one, other)
    assert_same_lists(other, one)


@pytest.mark.parametrize(("expected", "found", "message"), OTHER)
def test_everything_else_is_one_and_is_named(expected: Recommendation, found: Recommendation, message: str):
    with pytest.raises(AssertionError, match=message):
        assert_same_lists(found, expected)
    assert difference(found, expected) is not None


def test_the_tolerance_is_what_it_is_asked_to_be():
    one, other = listed("ab", 0.9, 0.5), listed("ba", 0.9, 0.895)
    with pytest.raises(AssertionError):
        assert_same_lists(other, one)
    assert_same_lists(listed("ab", 0.9, 0.505), one, rtol=1e-2)


def test_rows_of_a_ranking_and_answers_of_a_service_are_lists_too():
    scores = np.array([[0.9, 0.5, 0.0], [0.9, 0.0, 0.0], [0.9, 0.5, 0.4]], np.float32)
    own = np.array([2, 1, 3], np.int32)
    one = Ranking(np.array([[3, 1, 0], [2, 4, 0], [1, 2, 3]], np.int32), scores, own)
    other = Ranking(np.array([[3, 1, 0], [2, 5, 0], [3, 2, 1]], np.int32), scores, own)
    assert differing_lists(one, one).tolist() == [False, False, False]
    assert differing_lists(one, other).tolist() == [False, True, True]
    assert_same_lists(
        {"items": [3, 1], "scores": [0.9, 0.5], "own": 2, "model": "x"}, [Recommendation([3, 1], [0.9, 0.5], 2, [])]
    )
    with pytest.raises(AssertionError, match=r"list 1: filled up with \[5\], expected \[4\]"):
        assert_same_lists(other, one)
    with pytest.raises(AssertionError, match="1 lists, expected 3"):
        assert_same_lists([{"items": [], "scores": [], "own": 0}], one)

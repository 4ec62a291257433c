"""Rankings: arrays that fit, and lists without what popularity filled in."""

import numpy as np
import pytest

from nearnext.errors import DataError
from nearnext.recommenders.ranking import Ranking


def ranking(items: list[list[int]], own: list[int]) -> Ranking:
    lists = np.array(items, dtype=np.int32)
    return Ranking(lists, (lists * 0.5).astype(np.float32), np.array(own, dtype=np.int32))


def test_unfilled_lists_end_where_the_method_s_own_items_end() -> None:
    lists = ranking([[4, 2, 1], [3, 1, 2], [1, 2, 0]], own=[1, 3, 0])
    bare = lists.unfilled()
    assert bare.items.tolist() == [[4, 0, 0], [3, 1, 2], [0, 0, 0]]
    assert bare.scores.tolist() == [[2.0, 0, 0], [1.5, 0.5, 1.0], [0, 0, 0]]
    assert bare.own.tolist() == [1, 3, 0]
    assert bare.items.dtype == np.int32
    assert bare.scores.dtype == np.float32
    assert lists.items.tolist() == [[4, 2, 1], [3, 1, 2], [1, 2, 0]]


def test_length_and_k_are_those_of_the_array() -> None:
    lists = ranking([[4, 2, 1], [3, 1, 2]], own=[3, 3])
    assert len(lists) == 2
    assert lists.k == 3


def test_lists_cannot_be_changed() -> None:
    lists = ranking([[1]], own=[1])
    with pytest.raises(ValueError, match="read-only"):
        lists.items[0, 0] = 2


@pytest.mark.parametrize(
    ("items", "scores", "own"),
    [((2, 3), (2, 2), (2,)), ((2, 3), (2, 3), (3,)), ((3,), (3,), (3,)), ((2, 3), (2, 3), (2, 1))],
)
def test_arrays_that_do_not_fit_are_refused(
    items: tuple[int, ...], scores: tuple[int, ...], own: tuple[int, ...]
) -> None:
    with pytest.raises(DataError, match="expected items"):
        Ranking(np.zeros(items, np.int32), np.zeros(scores, np.float32), np.zeros(own, np.int32))

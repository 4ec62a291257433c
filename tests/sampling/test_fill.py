"""What completes a short list of positives."""

from collections import Counter
from typing import get_args

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.sampling import NeighbourPositives, PositiveNegative
from nearnext.sampling.batch import Examples
from nearnext.sampling.positives import Fill, Positives

# Indices: a 1, b 2, c 3, d 4 (in session 0), then e 5, f 6, g 7, h 8.
LOG = Sessions.of([["a", "b", "c", "d"], ["e", "f", "g", "h"]])
NEIGHBOURS = NeighbourPositives.of([[5, 6, 7], []])


def positives(fill: Fill, next_click: int, width: int, seed: int = 0) -> list[int]:
    rule = Positives(LOG, width, fill, NEIGHBOURS)
    items, mask = rule.draw(Examples.at(LOG, np.array([next_click])), np.random.default_rng(seed))
    assert np.array_equal(mask, items > 0)
    return items[0].tolist()


@pytest.mark.parametrize("fill", get_args(Fill))
def test_of_too_many_following_clicks_the_first_are_positives(fill: Fill):
    assert positives(fill, next_click=1, width=2) == [2, 3]


def test_mask_leaves_a_short_list_short():
    assert positives("mask", next_click=2, width=5) == [3, 4, 0, 0, 0]


def test_repeat_goes_through_the_following_clicks_again():
    assert positives("repeat", next_click=2, width=5) == [3, 4, 3, 4, 3]


def test_first_goes_back_to_the_next_click():
    assert positives("first", next_click=2, width=5) == [3, 4, 3, 3, 3]
    assert positives("first", next_click=2, width=1) == [3]


def test_own_goes_back_through_the_prefix_and_then_to_the_next_click():
    assert positives("own", next_click=2, width=3) == [3, 4, 2]
    assert positives("own", next_click=2, width=6) == [3, 4, 2, 1, 3, 3]
    assert positives("own", next_click=7, width=3) == [8, 7, 6]
    assert positives("own", next_click=5, width=3) == [6, 7, 8]


def test_knn_adds_distinct_candidates_of_the_session_after_its_own_clicks():
    items = positives("knn", next_click=2, width=4)
    assert items[:2] == [3, 4]
    assert len(set(items[2:]) & {5, 6, 7}) == 2


def test_knn_masks_what_too_few_candidates_leave():
    assert sorted(positives("knn", next_click=3, width=6)[1:4]) == [5, 6, 7]
    assert positives("knn", next_click=3, width=6)[4:] == [0, 0]
    assert positives("knn", next_click=6, width=4) == [7, 8, 0, 0]


def test_knn_chooses_every_pair_of_candidates_equally_often():
    pairs = Counter(tuple(sorted(positives("knn", 2, 4, seed)[2:])) for seed in range(3000))
    assert set(pairs) == {(5, 6), (5, 7), (6, 7)}
    assert all(abs(count - 1000) < 5 * np.sqrt(3000 * 1 / 3 * 2 / 3) for count in pairs.values())


def test_expected_counts_by_hand():
    # Each of three splits of each session has chance 1/3; of the candidates each is equally likely.
    chances = np.array([0, 1, 1, 1, 0, 1, 1, 1]) / 3
    assert Positives(LOG, 2, "mask").expected_counts(chances)[1:] == pytest.approx(
        [0, 1 / 3, 2 / 3, 2 / 3, 0, 1 / 3, 2 / 3, 2 / 3]
    )
    # Lists of three: bcd, cdc, ddd.
    assert Positives(LOG, 3, "repeat").expected_counts(chances)[1:5] == pytest.approx([0, 1 / 3, 1, 5 / 3])
    # bcd, cdc, ddd by the first of them again; bcd, cdb, dcb by the prefix. Of four: bcda, cdba, dcba.
    assert Positives(LOG, 3, "first").expected_counts(chances)[1:5] == pytest.approx([0, 1 / 3, 1, 5 / 3])
    assert Positives(LOG, 3, "own").expected_counts(chances)[1:5] == pytest.approx([0, 1, 1, 1])
    assert Positives(LOG, 4, "own").expected_counts(chances)[1:5] == pytest.approx([1, 1, 1, 1])
    # Of five: bcdab, cdbac, dcbad.
    assert Positives(LOG, 5, "own").expected_counts(chances)[1:5] == pytest.approx([1, 4 / 3, 4 / 3, 4 / 3])
    # Missing of three: 0, 1, 2; spread over the candidates e, f, g, which the second session also has as clicks.
    expected = Positives(LOG, 3, "knn", NEIGHBOURS).expected_counts(chances)
    assert expected[1:] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1 / 3, 2 / 3, 1, 1])


def test_knn_without_candidates_says_what_to_do():
    with pytest.raises(ConfigError, match="needs neighbour positives, found none; prepare them"):
        PositiveNegative(fill="knn").epoch(LOG, 0, 7, 2)


@pytest.mark.parametrize("other", [NeighbourPositives.of([[5]]), NeighbourPositives.of([[5], [9]])])
def test_candidates_of_another_log_are_refused(other: NeighbourPositives):
    with pytest.raises(DataError, match="expected neighbour positives of 2 sessions over 8 items"):
        PositiveNegative(fill="knn").epoch(LOG, 0, 7, 2, neighbours=other)


@pytest.mark.parametrize(
    ("offsets", "items", "message"),
    [
        ([0, 2, 1], [1], "rise from 0"),
        ([1, 1], [1], "rise from 0"),
        ([0, 2], [1], "rise from 0"),
        ([], [], "rise from 0"),
        ([0, 1], [0], "at least 1, found 0"),
    ],
)
def test_damaged_candidates_are_refused(offsets: list[int], items: list[int], message: str):
    with pytest.raises(DataError, match=message):
        NeighbourPositives(np.array(offsets, dtype=np.int64), np.array(items, dtype=np.int32))


def test_only_knn_needs_neighbours():
    assert PositiveNegative(fill="knn").needs_neighbours
    assert not PositiveNegative(fill="repeat").needs_neighbours

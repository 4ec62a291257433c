"""Metrics per case and over all lists: hand-worked values, and a plain implementation on random rankings."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import (
    CASE_METRICS,
    LIST_METRICS,
    METRIC_DEFINITIONS,
    case_values,
    coverage,
    cutoffs,
    gini,
    metric_names,
    relative_popularity,
)
from nearnext.recommenders.ranking import Ranking

ITEMS = "abcdefgh"
POPULARITY = np.array([0.0, 1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def ranked(*lists: str, places: int = 5) -> Ranking:
    """Lists spelt as letters, ``a`` being item 1."""
    items = np.zeros((len(lists), places), dtype=np.int32)
    for row, letters in zip(items, lists, strict=True):
        row[: len(letters)] = [ITEMS.index(letter) + 1 for letter in letters]
    return Ranking(items, items.astype(np.float32), np.count_nonzero(items, axis=1).astype(np.int32))


def cases_of(*sessions: str) -> Cases:
    """Cases of sessions spelt as letters; letters after ``h`` are unknown."""
    return Cases.of(Sessions.of([list(session) for session in sessions]).with_vocabulary(Vocabulary.of(list(ITEMS))))


def first_case(session: str, letters: str, k: int, places: int = 5) -> dict[str, float]:
    """Values of one list for the case after a session's first click."""
    cases = cases_of(session).take([0])
    values = case_values(ranked(letters, places=places), cases, POPULARITY, [k])
    return dict(zip(CASE_METRICS, values[0].tolist(), strict=True))


def test_next_item_at_rank_three_of_five() -> None:
    # After a come b, c, b: 3 clicks on 2 items. Hits: c at rank 1, b at rank 3.
    assert first_case("abcb", "cdbef", k=5) == pytest.approx(
        {
            "HitRate": 1,
            "MRR": 1 / 3,
            "Precision": 2 / 5,
            "Recall": 2 / 3,
            "MAP": (1 / 5 + 2 / 5) / 3,
            "AP": (1 / 1 + 2 / 3) / 2,
            "Popularity": (0.6 + 0.5 + 0.8 + 0.4 + 0.3) / 5,
        }
    )


def test_only_the_first_k_items_count() -> None:
    assert first_case("abcb", "cdbef", k=2) == pytest.approx(
        {
            "HitRate": 0,
            "MRR": 0,
            "Precision": 1 / 2,
            "Recall": 1 / 3,
            "MAP": (1 / 2) / 3,
            "AP": (1 / 1) / 2,
            "Popularity": (0.6 + 0.5) / 2,
        }
    )


def test_the_paper_s_map_leaves_out_the_last_place() -> None:
    at_three = first_case("abcb", "cdbef", k=3)
    assert at_three["MAP"] == pytest.approx((1 / 3) / 3)
    assert at_three["AP"] == pytest.approx((1 / 1 + 2 / 3) / 2)


@pytest.mark.parametrize("letters", ["bcd", "dbc"])
def test_the_paper_s_map_does_not_see_at_which_rank_a_hit_is(letters: str) -> None:
    assert first_case("abc", letters, k=5)["MAP"] == pytest.approx((1 / 5 + 2 / 5) / 2)


def test_the_paper_s_map_of_a_single_item_is_zero() -> None:
    at_one = first_case("ab", "b", k=1)
    assert at_one["MAP"] == 0
    assert at_one["AP"] == 1


def test_a_perfect_list_reaches_one_but_for_the_paper_s_map() -> None:
    assert first_case("abcd", "bcd", k=3, places=3) == pytest.approx(
        {
            "HitRate": 1,
            "MRR": 1,
            "Precision": 1,
            "Recall": 1,
            "MAP": (1 / 3 + 2 / 3) / 3,
            "AP": 1,
            "Popularity": (0.8 + 0.6 + 0.5) / 3,
        }
    )


def test_a_short_list_still_divides_by_k_except_for_popularity() -> None:
    assert first_case("abc", "cb", k=5) == pytest.approx(
        {
            "HitRate": 1,
            "MRR": 1 / 2,
            "Precision": 2 / 5,
            "Recall": 2 / 2,
            "MAP": (1 / 5 + 2 / 5) / 2,
            "AP": (1 / 1 + 2 / 2) / 2,
            "Popularity": (0.6 + 0.8) / 2,
        }
    )


def test_a_list_that_ends_before_the_last_rank_loses_nothing_in_the_paper_s_map() -> None:
    assert first_case("abcd", "bcd", k=4)["MAP"] == pytest.approx((1 / 4 + 2 / 4 + 3 / 4) / 3)


def test_an_empty_list_scores_zero_everywhere() -> None:
    assert first_case("abc", "", k=5) == dict.fromkeys(CASE_METRICS, 0.0)


def test_an_unknown_target_is_a_miss_and_a_remaining_click() -> None:
    # After a come z (unknown), b, z: 3 clicks, counted as 3 items.
    assert first_case("azbz", "bc", k=2) == pytest.approx(
        {
            "HitRate": 0,
            "MRR": 0,
            "Precision": 1 / 2,
            "Recall": 1 / 3,
            "MAP": (1 / 2) / 3,
            "AP": 1 / 3,
            "Popularity": (0.8 + 0.6) / 2,
        }
    )


def test_items_of_other_sessions_are_no_hits() -> None:
    values = case_values(ranked("cd", "ab"), cases_of("ab", "cd"), POPULARITY, [5])
    assert values[:, :6].tolist() == [[0.0] * 6] * 2


def test_a_catalogue_smaller_than_k_gives_short_lists() -> None:
    cases = Cases.of(Sessions.of([["a", "b"]]))
    ranking = Ranking(np.array([[1, 2]], np.int32), np.ones((1, 2), np.float32), np.array([2], np.int32))
    values = case_values(ranking, cases, np.array([0.0, 1.0, 1.0]), [20])
    assert values[0].tolist() == pytest.approx([1, 1 / 2, 1 / 20, 1 / 1, (1 / 20) / 1, 1 / 2, 1])


def test_columns_go_by_k_then_by_metric() -> None:
    values = case_values(ranked("cdbef"), cases_of("abcb").take([0]), POPULARITY, [5, 2])
    assert metric_names([5, 2]) == (
        *("HitRate@2", "MRR@2", "Precision@2", "Recall@2", "MAP@2", "AP@2", "Popularity@2"),
        *("HitRate@5", "MRR@5", "Precision@5", "Recall@5", "MAP@5", "AP@5", "Popularity@5"),
    )
    expected = [*first_case("abcb", "cdbef", k=2).values(), *first_case("abcb", "cdbef", k=5).values()]
    assert values[0].tolist() == expected


def test_every_metric_is_defined_once() -> None:
    assert tuple(METRIC_DEFINITIONS) == (*CASE_METRICS, *LIST_METRICS)


def plain(letters: str, rest: str, k: int) -> list[float]:
    """Metrics of one list, straight from their definitions, by Python's sets and loops."""
    top = letters[:k]
    named = [f"{letter}{place if letter not in ITEMS else ''}" for place, letter in enumerate(rest)]
    wanted = set(named)
    average_precision = 0.0
    for rank in range(1, len(top) + 1):
        if top[rank - 1] in wanted:
            average_precision += len(set(top[:rank]) & wanted) / rank
    paper_map, recall_before = 0.0, 0.0
    for shown in range(k):
        hits = len(set(letters[:shown]) & wanted)
        paper_map += hits / k * (hits / len(rest) - recall_before)
        recall_before = hits / len(rest)
    return [
        float(rest[0] in top),
        1 / (top.index(rest[0]) + 1) if rest[0] in top else 0.0,
        len(set(top) & wanted) / k,
        len(set(top) & wanted) / len(rest),
        paper_map,
        average_precision / len(wanted),
        sum(float(POPULARITY[ITEMS.index(letter) + 1]) for letter in top) / len(top) if top else 0.0,
    ]


SESSIONS = st.lists(st.text("abcdyz", min_size=2, max_size=9), min_size=1, max_size=5)
LISTS = st.permutations(ITEMS).flatmap(lambda order: st.integers(0, 8).map(lambda n: "".join(order[:n])))


@given(SESSIONS, st.data(), st.lists(st.integers(1, 10), min_size=1, max_size=3))
def test_values_equal_a_plain_implementation(sessions: list[str], data: st.DataObject, ks: list[int]) -> None:
    rests = [session[end:] for session in sessions for end in range(1, len(session))]
    lists = data.draw(st.lists(LISTS, min_size=len(rests), max_size=len(rests)))
    values = case_values(ranked(*lists, places=8), cases_of(*sessions), POPULARITY, ks)
    expected = [
        [value for k in sorted(set(ks)) for value in plain(letters, rest, k)]
        for letters, rest in zip(lists, rests, strict=True)
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)


@given(SESSIONS, st.data())
def test_values_are_between_zero_and_one(sessions: list[str], data: st.DataObject) -> None:
    cases = cases_of(*sessions)
    lists = data.draw(st.lists(LISTS, min_size=len(cases), max_size=len(cases)))
    values = case_values(ranked(*lists, places=8), cases, POPULARITY, [1, 3, 8])
    assert values.min() >= 0
    assert values.max() <= 1


def ranking_of(rows: Sequence[Sequence[int]], own: int | None = None) -> Ranking:
    items = np.array(rows, dtype=np.int32)
    counts = np.count_nonzero(items, axis=1) if own is None else np.full(len(items), own)
    return Ranking(items, items.astype(np.float32), counts.astype(np.int32))


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        (ranking_of([[1, 2], [3, 3]]), "list 1 of the ranking recommends an item twice"),
        (ranking_of([[1, 2], [9, 3]]), r"list 1 of the ranking has an item index outside 0\.\.8"),
        (ranking_of([[-1, 2], [2, 3]]), r"list 0 of the ranking has an item index outside 0\.\.8"),
        (ranking_of([[0, 2], [2, 3]]), "list 0 of the ranking has an item after its end"),
        (ranking_of([[1, 0], [2, 0]], own=2), "list 0 of the ranking has a number of own items"),
        (ranking_of([[1, 2], [2, 1]], own=-1), "list 0 of the ranking has a number of own items"),
        (ranking_of([[1, 2]]), "expected a list for each of 2 cases, found 1"),
        (ranking_of([[1], [2]]), "expected lists of 2 items, found 1"),
    ],
)
def test_lists_that_are_no_rankings_are_refused(ranking: Ranking, message: str) -> None:
    with pytest.raises(DataError, match=message):
        case_values(ranking, cases_of("ab", "cd"), POPULARITY, [2])


@pytest.mark.parametrize("ks", [[], [0], [5, -1]])
def test_list_lengths_below_one_are_refused(ks: list[int]) -> None:
    with pytest.raises(ConfigError, match="of at least 1"):
        cutoffs(ks)


def test_popularity_is_relative_to_the_most_clicked_item() -> None:
    assert relative_popularity(np.array([100, 10, 5, 0])).tolist() == [0, 10 / 10, 5 / 10, 0]


@pytest.mark.parametrize("counts", [[7, 0, 0], [7]])
def test_popularity_without_known_clicks_is_refused(counts: list[int]) -> None:
    with pytest.raises(DataError, match="training clicks on at least one item"):
        relative_popularity(np.array(counts))


def test_coverage_counts_each_item_once_and_not_position_zero() -> None:
    assert coverage(np.array([50, 7, 0, 1, 0, 0])) == 2 / 5
    assert coverage(np.array([50])) == 0


def test_gini_by_hand() -> None:
    # Counts 0, 1, 3: (2·1 − 4)·0 + (2·2 − 4)·1 + (2·3 − 4)·3 = 6, divided by (3 − 1)·4.
    assert gini(np.array([9, 3, 0, 1])) == 6 / 8


@pytest.mark.parametrize("counts", [[0], [5, 3], [5, 0, 0], [0, 4, 4, 4]])
def test_gini_is_zero_where_nothing_is_unequal(counts: list[int]) -> None:
    assert gini(np.array(counts)) == 0


def test_gini_is_one_where_a_single_item_is_recommended() -> None:
    assert gini(np.array([0, 0, 0, 12, 0])) == 1


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30))
def test_gini_equals_the_mean_difference_of_all_pairs(counts: list[int]) -> None:
    total = sum(counts)
    differences = sum(abs(one - other) for one in counts for other in counts)
    expected = differences / (2 * (len(counts) - 1) * total) if total else 0.0
    assert gini(np.array([3, *counts])) == pytest.approx(expected, abs=1e-12)

"""Sums over cases: means per session, per prefix length and over lists, whatever the batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import case_values, relative_popularity
from nearnext.evaluation.sums import PREFIX_BUCKETS, MetricAccumulator, MetricSums, prefix_bucket
from nearnext.recommenders.ranking import Ranking


def random_ranking(n_cases: int, n_items: int, places: int, seed: int = 5) -> Ranking:
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation(n_items)[:places] + 1 for _ in range(n_cases)]).astype(np.int32)
    own = rng.integers(0, items.shape[1] + 1, size=n_cases).astype(np.int32)
    return Ranking(items, np.ones(items.shape, np.float32), own).unfilled()


def part(ranking: Ranking, begin: int, end: int) -> Ranking:
    return Ranking(ranking.items[begin:end], ranking.scores[begin:end], ranking.own[begin:end])


def accumulated(cases: Cases, ranking: Ranking, sizes: list[int], ks: tuple[int, ...] = (1, 3)) -> MetricSums:
    """Sums from batches of the given sizes, the last one repeated."""
    accumulator = MetricAccumulator(cases, np.arange(cases.n_items + 1), ks)
    begin, batch = 0, 0
    while begin < len(cases):
        size = sizes[min(batch, len(sizes) - 1)]
        accumulator.add(part(ranking, begin, begin + size))
        begin, batch = begin + size, batch + 1
    return accumulator.sums()


def shop(seed: int = 3) -> Sessions:
    rng = np.random.default_rng(seed)
    return Sessions.of([rng.integers(1, 9, size=rng.integers(1, 30)).tolist() for _ in range(12)])


def test_means_are_over_cases_and_each_session_keeps_its_sum() -> None:
    # Items a=1, b=2. Cases: a|ba, ab|a, b|a; lists hit the next item in the second and the third.
    cases = Cases.of(Sessions.of([["a", "b", "a"], ["b", "a"]]))
    accumulator = MetricAccumulator(cases, np.array([0, 4, 2]), ks=[1])
    items = np.array([[1], [1], [1]], np.int32)
    accumulator.add(Ranking(items, np.ones((3, 1), np.float32), np.ones(3, np.int32)))
    sums = accumulator.sums()
    names = ("HitRate@1", "MRR@1", "Precision@1", "Recall@1", "MAP@1", "AP@1", "Popularity@1")
    assert sums.names == names
    assert sums.n_cases == 3
    assert sums.session_cases.tolist() == [2, 1]
    assert sums.session_sums.tolist() == [
        [0 + 1, 0 + 1, 1 + 1, 1 / 2 + 1, 0, 1 / 2 + 1, 1 + 1],
        [1, 1, 1, 1, 0, 1, 1],
    ]
    assert sums.values() == pytest.approx(
        dict(zip(names, [2 / 3, 2 / 3, 3 / 3, 2.5 / 3, 0, 2.5 / 3, 3 / 3], strict=True))
        | {"Coverage@1": 1 / 2, "Gini@1": 1.0}
    )


def test_each_prefix_length_has_its_own_sum() -> None:
    cases = Cases.of(Sessions.of([["a", "b", "a"], ["b", "a"]]))
    accumulator = MetricAccumulator(cases, np.array([0, 4, 2]), ks=[1])
    accumulator.add(Ranking(np.ones((3, 1), np.int32), np.ones((3, 1), np.float32), np.ones(3, np.int32)))
    sums = accumulator.sums()
    assert sums.bucket_cases.tolist() == [2, 1, *[0] * 11]
    assert sums.bucket_sums[:, 0].tolist() == [0 + 1, 1, *[0] * 11]


def test_buckets_cover_every_length_in_order() -> None:
    labels = [PREFIX_BUCKETS[bucket] for bucket in prefix_bucket(np.arange(1, 24))]
    assert labels == [*map(str, range(1, 11)), *["11-15"] * 5, *["16-20"] * 5, *["21+"] * 3]


def test_prefix_lengths_are_those_before_the_cut_to_the_longest_prefix() -> None:
    sessions = shop()
    ranking = random_ranking(sessions.n_events - sessions.n_sessions, sessions.n_items, 3)
    whole = accumulated(Cases.of(sessions), ranking, [50])
    cut = accumulated(Cases.of(sessions, max_prefix=2), ranking, [50])
    assert cut.bucket_sums.tolist() == whole.bucket_sums.tolist()
    assert cut.bucket_cases.tolist() == whole.bucket_cases.tolist()


def test_recommended_items_are_counted_within_each_k() -> None:
    cases = Cases.of(Sessions.of([["a", "b", "c"]]))
    accumulator = MetricAccumulator(cases, np.array([0, 1, 1, 1]), ks=[1, 2])
    items = np.array([[1, 0, 0], [1, 3, 2]], np.int32)
    accumulator.add(Ranking(items, np.ones((2, 3), np.float32), np.array([1, 3], np.int32)))
    sums = accumulator.sums()
    assert sums.recommended.tolist() == [[0, 2, 0, 0], [0, 2, 0, 1]]
    assert sums.values()["Coverage@1"] == 1 / 3
    assert sums.values()["Coverage@2"] == 2 / 3
    assert sums.values()["Gini@2"] == pytest.approx((2 * 2 - 4) * 1 / (2 * 3) + (2 * 3 - 4) * 2 / (2 * 3))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_the_size_of_batches_changes_no_bit(sizes: list[int]) -> None:
    cases = Cases.of(shop())
    ranking = random_ranking(len(cases), cases.n_items, 5)
    whole, batched = accumulated(cases, ranking, [len(cases)]), accumulated(cases, ranking, sizes)
    for name in ("session_sums", "session_cases", "bucket_sums", "bucket_cases", "recommended"):
        assert getattr(batched, name).tolist() == getattr(whole, name).tolist()


def test_sums_equal_the_values_of_all_cases() -> None:
    cases = Cases.of(shop())
    ranking = random_ranking(len(cases), cases.n_items, 5)
    values = case_values(ranking, cases, relative_popularity(np.arange(cases.n_items + 1)), (1, 3))
    sums = accumulated(cases, ranking, [7])
    np.testing.assert_allclose(sums.means(), values.mean(axis=0), rtol=1e-12)
    for session in range(cases.n_sessions):
        own = values[cases.session == session]
        np.testing.assert_allclose(sums.session_sums[session], own.sum(axis=0), rtol=1e-12)
        assert sums.session_cases[session] == len(own)
    for bucket in range(len(PREFIX_BUCKETS)):
        own = values[prefix_bucket(cases.prefix_lengths) == bucket]
        np.testing.assert_allclose(sums.bucket_sums[bucket], own.sum(axis=0), rtol=1e-12)


def test_one_session_of_many_clicks_is_evaluated() -> None:
    n_clicks, n_items = 100_000, 5_000
    rng = np.random.default_rng(1)
    sessions = Sessions.of([[*range(n_items), *rng.integers(0, n_items, n_clicks - n_items).tolist()]])
    cases = Cases.of(sessions)
    items = np.tile(np.array([1, 2], np.int32), (len(cases), 1))
    accumulator = MetricAccumulator(cases, sessions.item_counts(), ks=[2])
    lists = Ranking(items, np.ones(items.shape, np.float32), np.full(len(items), 2, np.int32))
    for begin in range(0, len(cases), 1000):
        accumulator.add(part(lists, begin, begin + 1000))
    sums = accumulator.sums()
    position = {item: np.flatnonzero(sessions.items == item) for item in (1, 2)}
    # A list of items 1 and 2 hits wherever the next click is on one of them, that is at each but the first click.
    expected = sum(np.count_nonzero(clicks > 0) for clicks in position.values())
    assert sums.n_cases == n_clicks - 1
    assert sums.session_sums[0, 0] == expected
    # It holds an item of the rest as often as there are prefixes before that item's last click.
    assert sums.session_sums[0, 2] == pytest.approx(sum(int(clicks[-1]) for clicks in position.values()) / 2)
    assert sums.bucket_cases.tolist() == [*[1] * 10, 5, 5, n_clicks - 1 - 20]


def test_missing_lists_are_refused() -> None:
    cases = Cases.of(Sessions.of([["a", "b", "a"]]))
    accumulator = MetricAccumulator(cases, np.array([0, 1, 1]), ks=[1])
    accumulator.add(random_ranking(1, 2, 1))
    with pytest.raises(DataError, match="expected lists for 2 cases, found 1"):
        accumulator.sums()


def test_lists_beyond_the_last_case_are_refused_and_not_counted() -> None:
    cases = Cases.of(Sessions.of([["a", "b", "a"]]))
    accumulator = MetricAccumulator(cases, np.array([0, 1, 1]), ks=[1])
    with pytest.raises(DataError, match="each of 2 cases, found 3"):
        accumulator.add(random_ranking(3, 2, 1))
    accumulator.add(random_ranking(2, 2, 1))
    assert accumulator.sums().n_cases == 2


def test_counts_of_another_catalogue_are_refused() -> None:
    with pytest.raises(DataError, match="training counts of 2 items"):
        MetricAccumulator(Cases.of(Sessions.of([["a", "b"]])), np.array([0, 1]))


def test_list_lengths_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        MetricAccumulator(Cases.of(Sessions.of([["a", "b"]])), np.array([0, 1, 1]), ks=[0])


def test_sums_do_not_change_when_more_is_added_elsewhere() -> None:
    cases = Cases.of(Sessions.of([["a", "b"]]))
    accumulator = MetricAccumulator(cases, np.array([0, 1, 1]), ks=[1])
    accumulator.add(random_ranking(1, 2, 1))
    sums = accumulator.sums()
    with pytest.raises(ValueError, match="read-only"):
        sums.session_sums[0, 0] = 7

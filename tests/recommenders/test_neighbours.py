"""SKNN, VSKNN and VSTAN: hand-worked cases, and equality with the plain implementation of the published algorithms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.errors import ConfigError
from nearnext.recommenders.neighbours import SKNN, VSKNN, VSTAN
from nearnext.recommenders.session_index import build_index, index_arrays, stored_index
from plain_session_knn import PlainIndex, plain_vsknn, plain_vstan

DECAYS = ["same", "div", "linear", "quadratic", "log"]
SIMILARITIES = ["cosine", "jaccard", "dice", "vec", "binary"]

clicks = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=14)


def scores_of(recommender: SKNN | VSKNN | VSTAN, prefix: list[int], time: int = 0) -> dict[int, float]:
    """Scores by raw id, the method's own entries only."""
    indices = recommender.vocabulary.encode(prefix)
    ranking = recommender.rank(Prefixes.of([indices], time), k=20)
    own = int(ranking.own[0])
    raw = recommender.vocabulary.decode(ranking.items[0, :own])
    return {int(item): float(score) for item, score in zip(raw, ranking.scores[0, :own], strict=True)}


def positive(scores: dict[int, float]) -> dict[int, float]:
    return {item: score for item, score in scores.items() if np.float32(score) > 0}


def plain_index(sessions: Sessions) -> PlainIndex:
    raw = [[int(item) for item in sessions.raw(s)] for s in range(sessions.n_sessions)]
    return PlainIndex(raw, (sessions.ends / MICROSECONDS).tolist())


def test_sknn_sums_cosines_of_the_neighbours():
    train = Sessions.of([[1, 2], [1, 2, 3], [4, 5]])
    expected = {1: 1 / math.sqrt(2) + 1 / math.sqrt(3), 2: 1 / math.sqrt(2) + 1 / math.sqrt(3), 3: 1 / math.sqrt(3)}
    assert scores_of(SKNN(k=5).fit(train), [1]) == pytest.approx(expected)


def test_of_equally_similar_sessions_the_more_recent_is_the_neighbour():
    train = Sessions.of([[1, 2], [1, 3]])
    assert set(scores_of(SKNN(k=1).fit(train), [1])) == {1, 3}


def test_only_the_most_recent_sessions_are_sampled():
    train = Sessions.of([[1, 2, 9], [1, 3], [1, 4]])
    assert set(scores_of(SKNN(k=5, sample_size=2).fit(train), [1, 2, 9])) == {1, 3, 4}


def test_common_sampling_prefers_sessions_with_more_shared_items():
    train = Sessions.of([[1, 2, 9], [1, 3], [1, 4]])
    kept = scores_of(SKNN(k=5, sample_size=1, sampling="common").fit(train), [1, 2, 9])
    assert set(kept) == {1, 2, 9}


def test_random_sampling_depends_on_the_session_and_the_seed_alone():
    train = Sessions.of([[1, other] for other in range(2, 60)])
    draws = [set(scores_of(VSKNN(sample_size=5, sampling="random", seed=seed).fit(train), [1])) for seed in range(4)]
    again = set(scores_of(VSKNN(sample_size=5, sampling="random", seed=0).fit(train), [1]))
    assert again == draws[0]
    assert all(len(draw) == 6 for draw in draws)
    assert len({frozenset(draw) for draw in draws}) > 1


def test_vsknn_with_defaults_follows_the_published_formula():
    train = Sessions.of([[1, 2, 3], [2, 4]])
    idf = {1: math.log(2 / 1), 2: math.log(2 / 2), 3: math.log(2 / 1), 4: math.log(2 / 1)}
    older, last = 1 / math.log10(1 + 1.7), 1 / math.log10(0 + 1.7)
    first_session = (older + last) / 2  # shares both clicks of the prefix (1, 2)
    second_session = last / 2
    expected = {
        1: first_session * (1 + 2 * idf[1]),
        2: (first_session + second_session) * (1 + 2 * idf[2]),
        3: first_session * (1 + 2 * idf[3]),
        4: second_session * (1 + 2 * idf[4]),
    }
    assert scores_of(VSKNN().fit(train), [1, 2]) == pytest.approx(expected)


def test_linear_position_weight_is_zero_past_the_tenth_click_as_published():
    train = Sessions.of([[1, 2], [11, 12]])
    prefix = [1, *([3] * 9), 11]
    scores = scores_of(VSKNN(weighting="linear", weighting_score="same", idf_weighting=0).fit(train), prefix)
    assert scores == {}


def test_vstan_weighs_age_gap_and_position():
    day = 86_400
    train = Sessions.of([[1, 2, 3], [1, 4]], starts=[0.0, 2.0 * day])
    method = VSTAN(lambda_spw=2, lambda_snh=5, lambda_inh=1.5, lambda_ipw=3, lambda_idf=0).fit(train)
    now = 3 * day * MICROSECONDS
    ends = [2.0, 2.0 * day + 1]
    near = [1 / math.sqrt(3), 1 / math.sqrt(2)]
    votes = [near[s] * math.exp(-(3 * day - ends[s]) / (5 * day)) for s in (0, 1)]
    expected = {
        1: votes[0] + votes[1],
        2: votes[0] * math.exp(-1 / 1.5),
        3: votes[0] * math.exp(-2 / 1.5),
        4: votes[1] * math.exp(-1 / 1.5),
    }
    assert scores_of(method, [1], now) == pytest.approx(expected)


@settings(max_examples=150, deadline=None)
@given(
    train=clicks,
    prefix=st.lists(st.integers(1, 9), min_size=1, max_size=13),
    k=st.integers(1, 6),
    sample_size=st.integers(0, 6),
    kind=st.sampled_from(SIMILARITIES),
    weighting=st.sampled_from(DECAYS),
    weighting_score=st.sampled_from(DECAYS),
    idf=st.sampled_from([0.0, 1.0, 10.0]),
)
def test_vsknn_equals_the_plain_implementation(
    train: list[list[int]],
    prefix: list[int],
    k: int,
    sample_size: int,
    kind: str,
    weighting: str,
    weighting_score: str,
    idf: float,
):
    sessions = Sessions.of(train)
    known = set(sessions.vocabulary.ids.to_list())
    prefix = [item for item in prefix if item in known] or [train[0][0]]
    method = VSKNN(
        k=k,
        sample_size=sample_size,
        similarity=kind,  # pyright: ignore[reportArgumentType]
        weighting=weighting,  # pyright: ignore[reportArgumentType]
        weighting_score=weighting_score,  # pyright: ignore[reportArgumentType]
        idf_weighting=idf,
    ).fit(sessions)
    expected = plain_vsknn(
        plain_index(sessions),
        prefix,
        k=k,
        sample_size=sample_size,
        kind=kind,
        weighting=weighting,
        weighting_score=weighting_score,
        idf_weighting=idf,
    )
    found = scores_of(method, prefix)
    # A sum that is 0 up to rounding may or may not be positive; every clear score must agree.
    clear = {item for item, score in expected.items() if score > 1e-9}
    assert clear <= set(found)
    assert {item: found[item] for item in clear} == pytest.approx({item: expected[item] for item in clear}, rel=1e-5)


@settings(max_examples=100, deadline=None)
@given(train=clicks, prefix=st.lists(st.integers(1, 9), min_size=1, max_size=9), k=st.integers(1, 6))
def test_vstan_equals_the_plain_implementation(train: list[list[int]], prefix: list[int], k: int):
    sessions = Sessions.of(train)
    known = set(sessions.vocabulary.ids.to_list())
    prefix = [item for item in prefix if item in known] or [train[0][0]]
    now = int(sessions.times.max()) + 86_400 * MICROSECONDS
    expected = plain_vstan(plain_index(sessions), prefix, now / MICROSECONDS, k=k, sample_size=5)
    found = scores_of(VSTAN(k=k, sample_size=5).fit(sessions), prefix, now)
    assert found == pytest.approx(positive(expected), rel=1e-5)


def test_unknown_clicks_keep_their_position_but_vote_for_nothing():
    train = Sessions.of([[1, 2], [3, 4]])
    method = VSKNN(weighting="same", weighting_score="div", idf_weighting=0).fit(train)
    alone, followed = scores_of(method, [1]), scores_of(method, [1, 999])
    assert alone[2] == pytest.approx(1.0)
    assert followed[2] == pytest.approx(0.5 * 0.5)  # half of the clicks are shared, and the shared one is two back


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"k": 0}, "sknn: k must be a whole number of at least 1"),
        ({"sample_size": -1}, "sample_size must be a whole number of at least 0"),
        ({"similarity": "euclid"}, "known: cosine"),
        ({"sampling": "oldest"}, "known: recent"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], reason: str):
    with pytest.raises(ConfigError, match=reason):
        SKNN(**options)  # pyright: ignore[reportArgumentType]


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=5), min_size=1, max_size=25),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(1, 4),
    st.sampled_from([VSKNN, VSTAN, SKNN]),
)
def test_lists_cut_to_the_sessions_that_are_compared_rank_the_same(
    clicks: list[list[int]], prefix: list[int], sample_size: int, method: type[SKNN] | type[VSKNN] | type[VSTAN]
):
    train = Sessions.of(clicks)
    cut = method(k=3, sample_size=sample_size).fit(train)
    whole = method(k=3, sample_size=sample_size).fit(train)
    whole.index = build_index(train, whole._idf)  # pyright: ignore[reportPrivateUsage]
    assert np.diff(cut.index.item_offsets).max() <= sample_size
    assert scores_of(cut, prefix) == scores_of(whole, prefix)
    assert (
        cut.neighbours(cut.vocabulary.encode(prefix))[0].tolist()
        == whole.neighbours(whole.vocabulary.encode(prefix))[0].tolist()
    )
    again = stored_index(index_arrays(cut.index), cut.index.item_offsets.size - 2)
    assert all(np.array_equal(one, other) for one, other in zip(again, cut.index, strict=True))

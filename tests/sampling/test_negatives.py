"""Where negatives come from: their distributions, expected counts, and catalogues that leave little or nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.sampling import (
    EveryPrefix,
    InBatch,
    InversePopularity,
    Negatives,
    NeighbourPositives,
    Popularity,
    PositiveNegative,
    ReversedPopularity,
    Sampler,
    SlidingWindow,
    Uniform,
)
from nearnext.sampling.negatives import Exclude, PerExample, Share

# One session to sample from; single clicks make items 1, 2, 3, 4, 5, 6 clicked 32, 16, 8, 4, 2, 2 times.
CLICKS = {"a": 32, "b": 16, "c": 8, "d": 4, "e": 2, "f": 2}


def counted_log(*session: str) -> Sessions:
    singles = [[item] for item, count in CLICKS.items() for _ in range(count - session.count(item))]
    return Sessions.of([list(session), *singles])


def clicks_of(log: Sessions, session: int) -> list[int]:
    return log.items[log.offsets[session] : log.offsets[session + 1]].tolist()


LAWS: dict[str, tuple[type[PerExample], dict[str, Any], list[float]]] = {
    "uniform": (Uniform, {}, [1, 1, 1, 1, 1, 1]),
    "popularity": (Popularity, {"alpha": 1.0}, [32, 16, 8, 4, 2, 2]),
    "popularity-0.5": (Popularity, {"alpha": 0.5}, [32**0.5, 4, 8**0.5, 2, 2**0.5, 2**0.5]),
    "popularity-0": (Popularity, {"alpha": 0}, [1, 1, 1, 1, 1, 1]),
    "inverse": (InversePopularity, {}, [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1 / 2]),
    "reversed": (ReversedPopularity, {}, [1, 17, 25, 29, 31, 31]),
    "inverse-0.5": (InversePopularity, {"alpha": 0.5}, [32**-0.5, 1 / 4, 8**-0.5, 1 / 2, 2**-0.5, 2**-0.5]),
}
every_law = pytest.mark.parametrize(("law", "options", "weights"), LAWS.values(), ids=LAWS.keys())


@pytest.mark.slow
@every_law
@pytest.mark.parametrize("positive", ["f", "a"], ids=["rare-positive", "popular-positive"])
def test_negatives_follow_their_law_over_what_is_not_excluded(
    law: type[PerExample], options: dict[str, Any], weights: list[float], positive: str
):
    """With the most popular item excluded, more than half of some laws is: their draws are exact, not redrawn."""
    log = counted_log("e", positive)
    size = 20_000
    sampler = PositiveNegative(n_positives=1, negatives=law(n_negatives=size, **options))
    batch = next(sampler.epoch(log, 0, 11, 1))
    excluded = int(log.vocabulary.encode([positive])[0])
    left = np.array([weight * (item != excluded) for item, weight in enumerate(weights, start=1)])
    expected = size * left / left.sum()
    drawn = np.bincount(batch.negatives[0], minlength=7)[1:]
    assert drawn[excluded - 1] == 0
    some = expected > 0
    assert stats.chisquare(drawn[some], expected[some]).pvalue > 0.001
    assert np.exp(batch.log_proposal[0]) == pytest.approx(expected[batch.negatives[0] - 1], rel=1e-5)


def test_a_repeated_click_is_excluded_once():
    # Excluded: b (16 of 64 clicks). Redrawn from the rest, a is expected 100 * 32 / 48 times.
    log = counted_log("e", "b", "b", "b")
    sampler = EveryPrefix(n_positives=3, negatives=Popularity(alpha=1.0, n_negatives=100))
    batch = next(sampler.epoch(log, 0, 7, 8))
    assert np.exp(batch.log_proposal[batch.negatives == 1]) == pytest.approx(100 * 32 / 48, rel=1e-5)


def test_excluding_the_session_leaves_out_the_prefix_and_excluding_positives_does_not():
    log = counted_log("a", "b", "c")
    prefix, positives = {1}, {2, 3}
    cases: list[tuple[Exclude, set[int]]] = [("positives", {1, 4, 5, 6}), ("session", {4, 5, 6})]
    for exclude, allowed in cases:
        sampler = SlidingWindow(window=1, n_positives=1, negatives=Uniform(exclude=exclude, n_negatives=500))
        batch = next(sampler.epoch(log, 0, 7, 8))
        row = batch.prefixes[:, 0].tolist().index(1)
        assert batch.positives[row].tolist() == [2]
        assert set(batch.negatives[row].tolist()) == allowed
        assert not positives & allowed
        assert prefix <= allowed or exclude == "session"


def test_items_without_clicks_are_drawn_uniformly_but_never_by_popularity():
    log = counted_log("a", "b").select(np.arange(2))  # of six known items, two are clicked
    assert set(next(EveryPrefix(negatives=Uniform(n_negatives=200)).epoch(log, 0, 7, 1)).negatives[0]) == {
        1,
        3,
        4,
        5,
        6,
    }
    for negatives in (Popularity(n_negatives=200), InversePopularity(n_negatives=200)):
        assert set(next(EveryPrefix(negatives=negatives).epoch(log, 0, 7, 1)).negatives[0]) == {1}


class TestInBatch:
    log = Sessions.of([["a", "b", "c"], ["c", "d"], ["b", "a"], ["e", "d"]])

    def test_all_positives_of_the_batch_are_shared_and_own_ones_masked(self):
        batch = next(EveryPrefix(negatives=InBatch()).epoch(self.log, 0, 7, 5))
        assert batch.shared
        assert batch.negatives.tolist() == batch.positives.ravel().tolist()
        for row, positive in enumerate(batch.positives[:, 0]):
            later = {int(self.log.vocabulary.encode(["c"])[0])} if batch.sessions[row] == 0 else set()
            expected = [item != positive and item not in later for item in batch.negatives.tolist()]
            assert batch.negative_mask[row].tolist() == expected

    def test_extra_draws_come_after_the_positives_and_follow_popularity(self):
        log = counted_log("a", "b")
        sampler = PositiveNegative(n_positives=2, negatives=InBatch(extra=20_000, alpha=0.5))
        batch = next(sampler.epoch(log, 0, 7, 1))
        assert batch.negatives[:2].tolist() == [2, 0]
        weights = np.sqrt(np.array([32, 16, 8, 4, 2, 2]))
        expected = 20_000 * weights / weights.sum()
        assert stats.chisquare(np.bincount(batch.negatives[2:])[1:], expected).pvalue > 0.001
        assert np.exp(batch.log_proposal[2:]) == pytest.approx(expected[batch.negatives[2:] - 1], rel=1e-5)
        assert np.array_equal(batch.negative_mask[0, 2:], batch.negatives[2:] != 2)

    def test_a_batch_of_one_is_refused_without_extra_draws(self):
        with pytest.raises(ConfigError, match="raise batch_size or ask for extra draws"):
            PositiveNegative(negatives=InBatch()).epoch(self.log, 0, 7, 1)

    def test_a_lone_example_in_the_last_batch_has_no_negatives(self):
        *_, last = PositiveNegative(negatives=InBatch()).epoch(self.log, 0, 7, 3)
        assert len(last) == 1
        assert not last.negative_mask.any()
        assert not last.log_proposal.any()


class TestSharedDraws:
    log = Sessions.of([["a", "b", "c"], ["c", "d"], ["b", "a"], ["e", "d"]])

    @pytest.mark.parametrize("share", ["negatives", "batch"])
    def test_every_example_has_the_draws_of_all_and_its_own_future_is_masked(self, share: Share):
        sampler = PositiveNegative(n_positives=2, negatives=Uniform(n_negatives=3, share=share))
        alone = next(replace(sampler, negatives=Uniform(n_negatives=3)).epoch(self.log, 0, 7, 4))
        batch = next(sampler.epoch(self.log, 0, 7, 4))
        others = alone.positives.ravel().tolist() if share == "batch" else []
        assert batch.shared
        assert batch.negatives.tolist() == others + alone.negatives.ravel().tolist()
        for row, session in enumerate(batch.sessions.tolist()):
            excluded = {0, *clicks_of(self.log, session)[np.count_nonzero(batch.prefixes[row]) :]}
            assert batch.negative_mask[row].tolist() == [item not in excluded for item in batch.negatives.tolist()]

    def test_expected_counts_are_those_of_all_draws_and_of_the_positives_of_others(self):
        # Each of 4 sessions has half a batch of 2 to share: one of the 3 others.
        negatives = Popularity(alpha=1.0, n_negatives=3, share="batch")
        batch = next(PositiveNegative(n_positives=1, negatives=negatives).epoch(self.log, 0, 7, 2))
        clicks = np.array([0, 2, 2, 2, 2, 1])
        positives = np.array([0, 1, 0.5, 0.5, 2, 0])  # b or c, d, a, d
        expected = 6 * clicks / 9 + positives / 3
        assert self.log.vocabulary.ids.to_list() == ["a", "b", "c", "d", "e"]
        assert np.exp(batch.log_proposal) == pytest.approx(expected[batch.negatives], rel=1e-5)

    def test_an_example_without_negatives_of_its_own_has_those_of_others(self):
        log = Sessions.of([["a", "b", "c"], ["a", "b"]])
        negatives = Uniform(n_negatives=2, exclude="session", share="negatives")
        batch = next(PositiveNegative(negatives=negatives).epoch(log, 0, 7, 2))
        whole, other = batch.sessions.tolist().index(0), batch.sessions.tolist().index(1)
        assert not batch.negative_mask[whole].any()
        assert sorted(batch.negatives.tolist()) == [0, 0, 3, 3]
        assert batch.negative_mask[other].sum() == 2


SIMULATED: dict[str, Sampler] = {
    "mask": PositiveNegative(n_positives=3),
    "repeat": PositiveNegative(n_positives=3, fill="repeat"),
    "knn": PositiveNegative(n_positives=3, fill="knn"),
    "own": PositiveNegative(n_positives=3, fill="own"),
    "sliding-window": SlidingWindow(n_positives=3, window=2),
    "every-prefix": EveryPrefix(n_positives=3),
    "every-prefix-by-session": EveryPrefix(n_positives=3, unit="session"),
}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SIMULATED.values(), ids=SIMULATED.keys())
@pytest.mark.parametrize("extra", [0, 5])
def test_shared_negatives_occur_as_often_as_they_are_expected(sampler: Sampler, extra: int):
    """Mean count of each item in the batches of a session that lacks it, over many epochs."""
    log = Sessions.of([["a", "b"], *[["b", "c", "d", "c"], ["d", "e"], ["f", "d", "b"], ["e", "c"], ["c", "f"]]])
    neighbours = NeighbourPositives.of([[], [5, 6], [1, 2], [], [4], [1, 4, 5]])
    sampler = replace(sampler, negatives=InBatch(extra=extra))
    watched = next(s for s in range(6) if log.raw(s) == ["a", "b"])
    batch_size = 3 if not isinstance(sampler, SlidingWindow) else 2
    counts, stated = [], {}
    for epoch in range(1500):
        for batch in sampler.epoch(log, epoch, 5, batch_size, neighbours=neighbours):
            full = len(batch) == batch_size or (isinstance(sampler, EveryPrefix) and sampler.unit == "session")
            if watched in batch.sessions and full:
                counts.append(np.bincount(batch.negatives, minlength=7))
                stated |= dict(zip(batch.negatives.tolist(), np.exp(batch.log_proposal).tolist(), strict=True))
    checked = 0
    for item in set(stated) - {0, *log.vocabulary.encode(["a", "b"]).tolist()}:
        seen = np.array(counts)[:, item]
        assert abs(seen.mean() - stated[item]) < 5 * seen.std() / np.sqrt(len(seen)) + 1e-6
        checked += 1
    assert checked == 4


@pytest.mark.slow
@pytest.mark.parametrize("law", [Uniform, Popularity, InversePopularity, ReversedPopularity])
@pytest.mark.parametrize("exclude", ["positives", "session"])
def test_drawn_negatives_occur_as_often_as_they_are_expected(law: type[PerExample], exclude: Exclude):
    log = Sessions.of([["a", "b", "c", "d"], ["e", "d", "f"], ["g", "a"], ["b", "b", "g"], ["e", "b"]])
    sampler = EveryPrefix(n_positives=2, negatives=law(exclude=exclude, n_negatives=3))
    seen = np.zeros((log.n_events, 8))
    stated = np.zeros((log.n_events, 8))
    epochs = 1500
    for epoch in range(epochs):
        (batch,) = sampler.epoch(log, epoch, 5, 100)
        place = log.offsets[batch.sessions] + np.count_nonzero(batch.prefixes, axis=1)
        np.add.at(seen, (place[:, None], batch.negatives), 1)
        stated[place[:, None], batch.negatives] = np.exp(batch.log_proposal)
    assert np.count_nonzero(stated)
    assert stated.sum(axis=1)[stated.any(axis=1)] == pytest.approx(3, rel=1e-5)
    assert np.all(np.abs(seen / epochs - stated) <= 5 * np.sqrt(stated * 3 / epochs))


class TestExtremeCatalogues:
    drawn = pytest.mark.parametrize("negatives", [Uniform(), Popularity(), InversePopularity()], ids=repr)

    @pytest.mark.parametrize("negatives", [Uniform(), Popularity(), InversePopularity(), InBatch(extra=3)], ids=repr)
    @pytest.mark.parametrize("sampler", [PositiveNegative, SlidingWindow, EveryPrefix])
    def test_one_item_has_no_negatives(self, sampler: type[Sampler], negatives: Negatives):
        with pytest.raises(DataError, match="expected at least 2 items, found 1"):
            sampler(negatives=negatives).epoch(Sessions.of([["a", "a"]]), 0, 7, 2)

    @drawn
    def test_of_two_items_the_other_is_the_negative(self, negatives: Negatives):
        batch = next(PositiveNegative(n_positives=1, negatives=negatives).epoch(Sessions.of([["a", "b"]] * 3), 0, 7, 4))
        assert np.all(batch.negatives == 1)
        assert batch.negative_mask.all()
        assert batch.log_proposal == pytest.approx(np.log(8))

    @drawn
    def test_one_item_left_of_many_is_always_the_negative(self, negatives: Negatives):
        items = [f"i{number}" for number in range(300)]
        log = Sessions.of([["first", *items], *[[item] for item in items for _ in range(20)]])
        batch = next(SlidingWindow(window=1, n_positives=1, negatives=negatives).epoch(log, 0, 7, 300))
        row = batch.prefixes[:, 0].tolist().index(int(log.vocabulary.encode(["first"])[0]))
        assert set(batch.negatives[row].tolist()) == {int(log.vocabulary.encode(["first"])[0])}
        assert batch.log_proposal[row] == pytest.approx(np.log(8), rel=1e-5)

    def test_what_is_left_may_be_less_than_rounding_errors(self):
        # Of three items clicked 2, 1 and 1 times, the last two are left: 2 ** -60 of the popular one's weight each.
        log = Sessions.of([["b", "a"], ["a"], ["c"]])
        batch = next(
            PositiveNegative(n_positives=1, negatives=Popularity(alpha=60, n_negatives=50)).epoch(log, 0, 7, 1)
        )
        assert set(batch.negatives[0].tolist()) == {2, 3}
        assert batch.log_proposal == pytest.approx(np.log(50 / 2), rel=1e-5)

    @drawn
    def test_a_session_of_the_whole_catalogue_is_masked_among_others(self, negatives: Negatives):
        whole = type(negatives)(exclude="session")
        log = Sessions.of([["a", "b", "c"], ["a", "b"]])
        batch = next(PositiveNegative(negatives=whole).epoch(log, 0, 7, 2))
        full = batch.sessions == 0
        assert not batch.negatives[full].any()
        assert not batch.negative_mask[full].any()
        assert not batch.log_proposal[full].any()
        assert np.all(batch.negatives[~full] == int(log.vocabulary.encode(["c"])[0]))

    @pytest.mark.parametrize("negatives", [Uniform, Popularity, InversePopularity, InBatch])
    def test_an_epoch_without_any_negative_says_so(self, negatives: type[Negatives]):
        log = Sessions.of([["a", "b"]] * 3)
        with pytest.raises(DataError, match=r"none of 3 examples has a negative.*more items or exclude less"):
            next(PositiveNegative(negatives=negatives(exclude="session")).epoch(log, 0, 7, 3))


@given(
    clicks=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=7), min_size=1, max_size=8),
    negatives=st.sampled_from([Uniform, Popularity, InversePopularity]),
    exclude=st.sampled_from(["positives", "session"]),
    seed=st.integers(0, 2**70),
)
@settings(max_examples=80, deadline=None)
def test_any_log_gives_permitted_negatives_or_a_clear_error(
    clicks: list[list[int]], negatives: type[PerExample], exclude: Exclude, seed: int
):
    log = Sessions.of(clicks)
    sampler = EveryPrefix(n_positives=2, negatives=negatives(exclude=exclude))
    try:
        (batch,) = sampler.epoch(log, 0, seed, 1000)
    except DataError:
        lone = log.n_items < 2 or log.lengths.max() < 2
        assert lone or exclude == "session" or all(len(set(log.raw(s)[1:])) == log.n_items for s in range(len(clicks)))
        return
    for row, session in enumerate(batch.sessions.tolist()):
        own = log.items[log.offsets[session] : log.offsets[session + 1]].tolist()
        given_clicks = np.count_nonzero(batch.prefixes[row])
        excluded = set(own if exclude == "session" else own[given_clicks:])
        left = set(range(1, log.n_items + 1)) - excluded
        assert set(batch.negatives[row].tolist()) <= (left or {0})
        assert batch.negative_mask[row].all() == bool(left)

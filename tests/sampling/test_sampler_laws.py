"""The laws that every sampler keeps, with every kind of negatives."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.sampling import (
    Batch,
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
from nearnext.sampling.negatives import PerExample
from nearnext.testing import check_sampler

SAMPLERS: dict[str, Sampler] = {
    "positive-negative-mask": PositiveNegative(n_positives=3, max_length=4, fill="mask"),
    "positive-negative-repeat": PositiveNegative(n_positives=3, max_length=4, fill="repeat"),
    "positive-negative-knn": PositiveNegative(n_positives=3, max_length=4, fill="knn"),
    "positive-negative-own": PositiveNegative(n_positives=3, max_length=4, fill="own"),
    "sliding-window": SlidingWindow(n_positives=3, window=4),
    "every-prefix": EveryPrefix(n_positives=3, max_length=4),
    "every-prefix-by-session": EveryPrefix(n_positives=3, max_length=4, unit="session"),
}
NEGATIVES: dict[str, Negatives] = {
    "uniform": Uniform(n_negatives=5),
    "uniform-session": Uniform(n_negatives=5, exclude="session"),
    "popularity": Popularity(n_negatives=5),
    "inverse-popularity": InversePopularity(n_negatives=5),
    "reversed-popularity": ReversedPopularity(n_negatives=5),
    "uniform-shared": Uniform(n_negatives=5, share="negatives"),
    "popularity-batch": Popularity(n_negatives=5, exclude="session", share="batch"),
    "in-batch": InBatch(),
    "in-batch-session": InBatch(exclude="session"),
    "in-batch-extra": InBatch(extra=6),
}
B, P, T = 7, 3, 4

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
every_combination = pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(
            replace(sampler, negatives=negatives),
            id=f"{name}-{kind}",
            # Every sampler and every kind of negatives is in `make quick` once.
            marks=() if kind == "uniform" or name == "every-prefix" else pytest.mark.slow,
        )
        for name, sampler in SAMPLERS.items()
        for kind, negatives in NEGATIVES.items()
    ],
)


def batches(sampler: Sampler, log: Sessions, neighbours: NeighbourPositives, epoch: int = 0, **options: int):
    chosen = {"seed": 7, "batch_size": B} | options
    return list(sampler.epoch(log, epoch, neighbours=neighbours, **chosen))


def arrays(batch: Batch) -> list[np.ndarray]:
    return [array for array in vars(batch).values() if array is not None]  # no weights: all are 1


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(arrays(x), arrays(y), strict=True)
    )


def clicks_of(log: Sessions, session: int) -> list[int]:
    return log.items[log.offsets[session] : log.offsets[session + 1]].tolist()


def known(row: np.ndarray) -> list[int]:
    return row[row > 0].tolist()


def possible_splits(log: Sessions, batch: Batch, row: int) -> list[int]:
    """Points of the session at which the given prefix ends and the given positives begin."""
    clicks, prefix, positives = clicks_of(log, int(batch.sessions[row])), batch.prefixes[row], batch.positives[row]
    return [
        split
        for split in range(1, len(clicks))
        if clicks[max(0, split - T) : split] == known(prefix)
        and clicks[split : split + P] == positives.tolist()[: min(P, len(clicks) - split)]
    ]


@every_combination
def test_the_laws_of_samplers_hold(sampler: Sampler):
    check_sampler(sampler)


@every_combination
def test_shapes_and_types_are_those_of_the_batch(sampler: Sampler, log: Sessions, neighbours: NeighbourPositives):
    for batch in batches(sampler, log, neighbours):
        rows = len(batch)
        match sampler.negatives:
            case InBatch(extra=extra):
                n_negatives, shared = rows * P + extra, True
            case PerExample(share="batch"):
                n_negatives, shared = rows * (P + 5), True
            case PerExample(share="negatives"):
                n_negatives, shared = rows * 5, True
            case _:
                n_negatives, shared = 5, False
        assert batch.shared == shared
        assert batch.prefixes.shape == (rows, T)
        assert batch.positives.shape == batch.positive_mask.shape == (rows, P)
        assert batch.negative_mask.shape == (rows, n_negatives)
        assert batch.negatives.shape == batch.log_proposal.shape == batch.negative_mask.shape[batch.shared :]
        assert [array.dtype for array in arrays(batch)] == [
            np.int64,
            np.int32,
            np.int32,
            np.bool_,
            np.int32,
            np.bool_,
            np.float32,
        ]


@every_sampler
def test_the_last_clicks_before_a_point_are_given_and_the_next_ones_are_positives(
    sampler: Sampler, log: Sessions, neighbours: NeighbourPositives
):
    for epoch in range(3):
        for batch in batches(sampler, log, neighbours, epoch):
            assert all(possible_splits(log, batch, row) for row in range(len(batch)))


@every_combination
def test_no_negative_is_a_positive_or_a_later_click_or_excluded_by_its_session(
    sampler: Sampler, log: Sessions, neighbours: NeighbourPositives
):
    whole = sampler.negatives.exclude == "session"
    for batch in batches(sampler, log, neighbours):
        for row, session in enumerate(batch.sessions.tolist()):
            listed = batch.negatives if batch.shared else batch.negatives[row]
            negatives = set(listed[batch.negative_mask[row]].tolist())
            clicks = clicks_of(log, session)
            future = min((set(clicks[split:]) for split in possible_splits(log, batch, row)), key=len)
            assert not negatives & set(known(batch.positives[row]))
            assert not negatives & (set(clicks) if whole else future)


@every_combination
def test_another_epoch_or_seed_has_another_order_and_other_negatives(
    sampler: Sampler, log: Sessions, neighbours: NeighbourPositives
):
    first = batches(sampler, log, neighbours, 0)
    for other in (batches(sampler, log, neighbours, 1), batches(sampler, log, neighbours, 0, seed=8)):
        assert not np.array_equal(
            np.concatenate([batch.sessions for batch in first]), np.concatenate([batch.sessions for batch in other])
        )
        assert not equal([replace(first[0], sessions=other[0].sessions)], other[:1])


def test_each_epoch_draws_its_own_splits(log: Sessions, neighbours: NeighbourPositives):
    sampler = PositiveNegative(max_length=20)
    lengths = set()
    for epoch in range(40):
        for batch in batches(sampler, log, neighbours, epoch):
            lengths |= set(np.count_nonzero(batch.prefixes[batch.sessions == 3], axis=1).tolist())
    assert log.lengths[3] == 10
    assert lengths == set(range(1, 10))


@pytest.mark.parametrize("batch_size", [1, 7, 100])
@every_combination
def test_resuming_at_any_batch_gives_the_tail(
    sampler: Sampler, batch_size: int, log: Sessions, neighbours: NeighbourPositives
):
    if batch_size == 1 and isinstance(sampler.negatives, InBatch):
        sampler = replace(sampler, negatives=InBatch(extra=4))
    whole = batches(sampler, log, neighbours, batch_size=batch_size)
    for start in {0, 1, 3 % len(whole), len(whole) - 1, len(whole)}:
        tail = batches(sampler, log, neighbours, batch_size=batch_size, start_batch=start)
        assert equal(whole[start:], tail)


def test_resuming_past_several_blocks_gives_the_tail():
    log = Sessions.of([["a", "b", "c"], ["c", "d"]] * 4500)
    for negatives in (Uniform(), InBatch(extra=3)):
        sampler = PositiveNegative(negatives=negatives)
        whole = list(sampler.epoch(log, 0, 7, 600))
        assert sum(len(batch) for batch in whole) == 9000
        for start in (5, 6, 7, 14):
            assert equal(whole[start:], list(sampler.epoch(log, 0, 7, 600, start_batch=start)))


def test_no_two_stretches_of_an_epoch_share_their_draws():
    log = Sessions.of([[f"i{(7 * s + j) % 97}" for j in range(3)] for s in range(9000)])
    negatives = [batch.negatives for batch in PositiveNegative().epoch(log, 0, 7, 64)]
    assert len({rows.tobytes() for rows in negatives}) == len(negatives) == 141
    # Of 512 draws from 97 items, two batches that have nothing in common share about 5 in their places.
    first = negatives[0]
    assert max(np.count_nonzero(first == other) for other in negatives[1:-1]) < 30


@every_sampler
def test_batches_hold_as_many_units_as_asked_and_the_last_what_is_left(
    sampler: Sampler, log: Sessions, neighbours: NeighbourPositives
):
    whole = batches(sampler, log, neighbours)
    assert len(whole) == sampler.n_batches(log, B)
    by_session = isinstance(sampler, EveryPrefix) and sampler.unit == "session"
    units = [len(set(batch.sessions.tolist())) if by_session else len(batch) for batch in whole]
    assert units[:-1] == [B] * (len(whole) - 1)
    assert 1 <= units[-1] <= B


@pytest.mark.parametrize("fill", ["mask", "repeat", "knn", "own"])
def test_positive_negative_takes_every_session_of_two_clicks_once(
    fill: str, log: Sessions, neighbours: NeighbourPositives
):
    sampler = replace(SAMPLERS[f"positive-negative-{fill}"])
    seen = np.concatenate([batch.sessions for batch in batches(sampler, log, neighbours)])
    assert sorted(seen.tolist()) == np.flatnonzero(log.lengths >= 2).tolist()


def test_without_overlaps_an_example_waits_that_shares_a_positive_with_an_earlier_one_of_its_batch(log: Sessions):
    sampler = PositiveNegative(n_positives=3, max_length=4, fill="own", negatives=Uniform(share="batch"))
    apart = replace(sampler, overlaps=False)
    for all_of_them, kept in zip(sampler.epoch(log, 0, 7, B), apart.epoch(log, 0, 7, B), strict=True):
        taken: set[int] = set()
        expected: list[int] = []
        for row, positives in enumerate(all_of_them.positives.tolist()):
            if not taken & set(positives):
                expected.append(row)
                taken |= set(positives)
        assert kept.sessions.tolist() == all_of_them.sessions[expected].tolist()
        assert np.array_equal(kept.prefixes, all_of_them.prefixes[expected])
        assert np.array_equal(kept.positives, all_of_them.positives[expected])
        assert len(kept.negatives) == len(expected) * (3 + 8)
    assert sum(len(batch) for batch in apart.epoch(log, 0, 7, B)) < np.count_nonzero(log.lengths > 1)
    whole = list(apart.epoch(log, 0, 7, B))
    assert equal(whole[3:], list(apart.epoch(log, 0, 7, B, start_batch=3)))


@pytest.mark.parametrize("unit", ["prefix", "session"])
def test_every_prefix_takes_every_proper_prefix_once(unit: str, log: Sessions, neighbours: NeighbourPositives):
    sampler = replace(SAMPLERS["every-prefix"], unit=unit, max_length=20)
    given = [
        (session, tuple(known(prefix)))
        for batch in batches(sampler, log, neighbours)
        for session, prefix in zip(batch.sessions.tolist(), batch.prefixes, strict=True)
    ]
    expected = [
        (session, tuple(clicks_of(log, session)[:end]))
        for session in range(log.n_sessions)
        for end in range(1, int(log.lengths[session]))
    ]
    assert sorted(given) == sorted(expected)


def test_whole_sessions_keep_their_prefixes_together_and_in_order(log: Sessions, neighbours: NeighbourPositives):
    sampler = replace(SAMPLERS["every-prefix-by-session"], max_length=20)
    for batch in batches(sampler, log, neighbours):
        lengths = np.count_nonzero(batch.prefixes, axis=1)
        begins = [0, *(np.flatnonzero(np.diff(batch.sessions)) + 1).tolist(), len(batch)]
        for begin, end in pairwise(begins):
            assert lengths[begin:end].tolist() == list(range(1, int(log.lengths[batch.sessions[begin]])))

"""Bootstrap over sessions: exact against a plain loop, paired, covering, and Holm's correction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.errors import ConfigError, DataError
from nearnext.evaluation import significance
from nearnext.evaluation.significance import (
    PairedDifference,
    bootstrap,
    corrected,
    holm,
    interval,
    paired,
)
from nearnext.types import FloatArray, Int64Array


def random_sums(n_sessions: int, n_metrics: int, seed: int = 2) -> tuple[FloatArray, Int64Array]:
    rng = np.random.default_rng(seed)
    cases = rng.integers(1, 8, n_sessions)
    return rng.random((n_sessions, n_metrics)) * cases[:, np.newaxis], cases


def test_replicates_equal_a_plain_loop_over_drawn_sessions() -> None:
    sums, cases = random_sums(9, 3)
    replicates = bootstrap(sums, cases, replicates=20, seed=4, window=1)
    rng = np.random.default_rng([4, 1])
    for replicate in replicates:
        total, n_cases = np.zeros(3), 0
        for session in rng.integers(9, size=9):
            total += sums[session]
            n_cases += cases[session]
        np.testing.assert_allclose(replicate, total / n_cases, rtol=1e-12)


def test_the_size_of_chunks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, cases = random_sums(50, 2)
    whole = bootstrap(sums, cases, replicates=33, seed=4)
    monkeypatch.setattr(significance, "_CHUNK_CELLS", 250)
    np.testing.assert_allclose(bootstrap(sums, cases, replicates=33, seed=4), whole, rtol=1e-12)


def test_equal_seeds_draw_equally_and_others_do_not() -> None:
    sums, cases = random_sums(30, 2)
    once = bootstrap(sums, cases, replicates=5, seed=4)
    assert bootstrap(sums, cases, replicates=5, seed=4).tolist() == once.tolist()
    assert not np.any(bootstrap(sums, cases, replicates=5, seed=5) == once)
    assert not np.any(bootstrap(sums, cases, replicates=5, seed=4, window=1) == once)


def test_two_methods_are_drawn_the_same_sessions() -> None:
    sums, cases = random_sums(40, 1)
    better = sums + 0.25 * cases[:, np.newaxis]
    difference = bootstrap(better, cases, seed=1) - bootstrap(sums, cases, seed=1)
    np.testing.assert_allclose(difference, 0.25, rtol=1e-12)


def test_pairing_lowers_the_variance_of_a_difference() -> None:
    sums, cases = random_sums(200, 1)
    other = 0.9 * sums
    same = bootstrap(sums, cases, seed=1) - bootstrap(other, cases, seed=1)
    apart = bootstrap(sums, cases, seed=1) - bootstrap(other, cases, seed=2)
    assert same.var() < 0.05 * apart.var()


def test_the_spread_is_that_of_a_mean_of_sessions() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=(400, 1))
    replicates = bootstrap(values, np.ones(400, np.int64), replicates=4000, seed=1)
    assert replicates.mean() == pytest.approx(values.mean(), abs=0.003)
    assert replicates.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.05)


def test_an_interval_covers_the_true_value_as_often_as_it_says() -> None:
    # Sessions of 1 to 5 cases, each session with its own hit probability, 0.3 on average: cases are not independent.
    rng = np.random.default_rng(8)
    covered = 0
    for trial in range(400):
        cases = rng.integers(1, 6, 150)
        hits = rng.binomial(cases, rng.beta(0.6, 1.4, 150))[:, np.newaxis].astype(np.float64)
        low, high = interval(bootstrap(hits, cases, replicates=200, seed=trial))
        covered += bool(low[0] <= 0.3 <= high[0])
    assert 0.91 <= covered / 400 <= 0.98


def test_one_session_gives_its_own_value_each_time() -> None:
    replicates = bootstrap(np.array([[3.0, 1.0]]), np.array([4]), replicates=10, seed=0)
    assert replicates.tolist() == [[3 / 4, 1 / 4]] * 10
    low, high = interval(replicates)
    assert low.tolist() == high.tolist() == [3 / 4, 1 / 4]


def test_sessions_without_cases_are_never_drawn() -> None:
    sums, cases = random_sums(6, 2)
    padded = np.concatenate([np.zeros((3, 2)), sums, np.zeros((1, 2))])
    padded_cases = np.concatenate([np.zeros(3, np.int64), cases, np.zeros(1, np.int64)])
    expected = bootstrap(sums, cases, replicates=50, seed=3)
    assert bootstrap(padded, padded_cases, replicates=50, seed=3).tolist() == expected.tolist()


def test_many_sessions_are_resampled_in_bounded_memory() -> None:
    replicates = bootstrap(np.ones((300_000, 1)), np.full(300_000, 2), replicates=3, seed=3)
    assert replicates.tolist() == [[0.5]] * 3


def test_inputs_stay_as_they_were() -> None:
    sums, cases = random_sums(6, 2)
    before = sums.tolist(), cases.tolist()
    bootstrap(sums, cases, replicates=5, seed=3)
    assert (sums.tolist(), cases.tolist()) == before


@pytest.mark.parametrize(
    ("sums", "cases"), [((3, 2), (2,)), ((3,), (3,)), ((0, 2), (0,)), ((3, 2), (3,)), ((3, 2), (3, 1))]
)
def test_sums_that_cannot_be_resampled_are_refused(sums: tuple[int, ...], cases: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expected sums \[S, M\]|sessions with cases"):
        bootstrap(np.zeros(sums), np.zeros(cases, np.int64), seed=1)


@pytest.mark.parametrize(("replicates", "seed", "window"), [(0, 1, 0), (10, -1, 0), (10, 1, -1)])
def test_options_out_of_range_are_refused(replicates: int, seed: int, window: int) -> None:
    with pytest.raises(ConfigError, match="at least 1 replicate"):
        bootstrap(np.ones((2, 1)), np.ones(2, np.int64), replicates=replicates, seed=seed, window=window)


def test_an_interval_leaves_out_equal_tails() -> None:
    replicates = np.stack([np.arange(1001.0), -np.arange(1001.0)], axis=1)
    low, high = interval(replicates)
    assert low.tolist() == pytest.approx([25, -975])
    assert high.tolist() == pytest.approx([975, -25])


def test_a_clear_difference_has_the_smallest_p_value() -> None:
    ahead = np.linspace(0.2, 0.3, 999)
    found = paired(ahead, ahead - 0.1, value_a=0.25, value_b=0.15)
    assert found.difference == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)
    assert found.p == 2 * (1 + 0) / (999 + 1)


def test_the_p_value_counts_replicates_on_the_other_side() -> None:
    differences = np.array([0.1] * 90 + [0.0] * 2 + [-0.1] * 7)
    assert paired(differences, np.zeros(99), 0.05, 0.0).p == 2 * (1 + 9) / (99 + 1)
    assert paired(np.zeros(99), differences, 0.0, 0.05).p == 2 * (1 + 9) / (99 + 1)


def test_equal_methods_have_p_one() -> None:
    assert paired(np.ones(50), np.ones(50), 1.0, 1.0) == PairedDifference(difference=0.0, low=0.0, high=0.0, p=1.0)


def test_p_values_of_equal_methods_are_spread_evenly() -> None:
    rng = np.random.default_rng(9)
    ones = np.ones(100, np.int64)
    p_values: list[float] = []
    for trial in range(300):
        one, other = rng.normal(size=(2, 100, 1))
        replicates = bootstrap(np.column_stack([one, other]), ones, replicates=200, seed=trial)
        p_values.append(paired(replicates[:, 0], replicates[:, 1], float(one.mean()), float(other.mean())).p)
    shares = [float(np.mean(np.array(p_values) <= level)) for level in (0.1, 0.5)]
    assert shares == pytest.approx([0.1, 0.5], abs=0.08)


def test_holm_by_hand() -> None:
    # Rising: 0.01 × 4, 0.02 × 3, 0.03 × 2, 0.5 × 1; never falling along the way.
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.5))
def test_holm_rejects_as_the_step_down_procedure(p_values: list[float], alpha: float) -> None:
    rejected: set[int] = set()
    for step, claim in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[claim] * (len(p_values) - step) > alpha:
            break
        rejected.add(claim)
    assert {claim for claim, p in enumerate(holm(p_values)) if p <= alpha} == rejected


def test_more_windows_narrow_the_interval() -> None:
    windows = [
        bootstrap(*random_sums(100, 1, seed=window), replicates=2000, seed=1, window=window) for window in range(4)
    ]
    spread = np.mean([window.std() for window in windows])
    assert np.mean(windows, axis=0).std() == pytest.approx(spread / np.sqrt(4), rel=0.1)


def test_a_difference_that_no_resampling_contradicts_has_a_bound_as_p():
    first, second = np.linspace(0.5, 0.6, 99), np.linspace(0.1, 0.2, 99)
    clear = paired(first, second, 0.55, 0.15)
    assert (clear.p, clear.p_is_bound) == (0.02, True)
    mixed = paired(first, first[::-1], 0.55, 0.55)
    assert not mixed.p_is_bound
    holm_of_both = corrected([mixed, clear, clear])
    assert [each.p_is_bound for each in holm_of_both] == [False, True, True]
    assert [each.p for each in holm_of_both[1:]] == [pytest.approx(0.06)] * 2


def test_a_p_value_that_the_correction_lifts_to_a_bound_is_one():
    bound = PairedDifference(0.1, 0.0, 0.2, 0.01, p_is_bound=True)
    measured = PairedDifference(0.1, 0.0, 0.2, 0.011)
    assert [(each.p, each.p_is_bound) for each in corrected([measured, bound])] == [(0.02, True), (0.02, True)]

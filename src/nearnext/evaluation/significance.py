"""How sure a metric is: intervals and paired differences by bootstrap over sessions, Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nearnext.errors import ConfigError, DataError
from nearnext.types import FloatArray, Int64Array

_CHUNK_CELLS = 4_000_000  # weights held at a time, 32 MB


def bootstrap(sums: FloatArray, cases: Int64Array, *, replicates: int = 1000, seed: int, window: int = 0) -> FloatArray:
    """Means over cases of R resamplings of the sessions, with replacement: [R, M].

    Sessions, not cases, are drawn, because the cases of one session depend on one another; each replicate is the
    ratio of the drawn sessions' sums to their number of cases. The drawing depends on seed, window and the number of
    sessions alone: methods evaluated on the same sessions get the same drawings, which ``paired`` relies on.

    Of each session, ``sums`` has the sum of each metric over its cases [S, M], ``cases`` their number [S], or of those
    that each metric counts [S, M]; sessions without a case are not drawn, and a metric without a case in a resampling
    is NaN there. Each test window has drawings of its own.
    """
    if replicates < 1 or seed < 0 or window < 0:
        raise ConfigError(
            f"expected at least 1 replicate, and seed and window of at least 0, found {replicates}, {seed} and {window}"
        )
    if sums.ndim != 2 or cases.shape not in (sums.shape[:1], sums.shape):  # noqa: PLR2004
        raise DataError(f"expected sums [S, M] and cases [S], found {list(sums.shape)} and {list(cases.shape)}")
    drawn_from = np.any(cases > 0, axis=tuple(range(1, cases.ndim)))
    if not drawn_from.any():
        raise DataError("expected sessions with cases, found none; evaluate sessions of 2 or more clicks")
    if not drawn_from.all():
        sums, cases = sums[drawn_from], cases[drawn_from]
    columns = np.column_stack([sums, cases])
    n_sessions = len(columns)
    rng = np.random.default_rng([seed, window])
    resampled = np.empty((replicates, columns.shape[1]))
    chunk = max(1, _CHUNK_CELLS // n_sessions)
    for begin in range(0, replicates, chunk):
        size = min(chunk, replicates - begin)
        resampled[begin : begin + size] = _draw_counts(rng, size, n_sessions) @ columns
    n_metrics = sums.shape[1]
    return ratios(resampled[:, :n_metrics], resampled[:, n_metrics:])


def ratios(sums: FloatArray, cases: FloatArray) -> FloatArray:
    """Sums divided by numbers of cases, NaN where there is no case."""
    return np.divide(sums, cases, out=np.full(sums.shape, np.nan), where=cases > 0)


def _draw_counts(rng: np.random.Generator, size: int, n_sessions: int) -> FloatArray:
    """How often each session is drawn in each of ``size`` resamplings: [size, S]."""
    # Counting S drawn numbers is many times faster than rng.multinomial, and has the same distribution.
    counts = np.empty((size, n_sessions))
    for row in counts:
        row[:] = np.bincount(rng.integers(n_sessions, size=n_sessions), minlength=n_sessions)
    return counts


def interval(replicates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper end of the 95% percentile interval of each metric: [M] each, for replicates [R, M].

    Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13.
    """
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)  # NaN where a resampling has no case of a metric
    return low, high


@dataclass(frozen=True)
class PairedDifference:
    """How much one method is above another on the same sessions, with its interval and the two-sided p-value.

    ``p_is_bound``: no resampling contradicts the difference: p is the least that so many resamplings can show.
    """

    difference: float
    low: float
    high: float
    p: float
    p_is_bound: bool = False


def paired(replicates_a: FloatArray, replicates_b: FloatArray, value_a: float, value_b: float) -> PairedDifference:
    """Difference a − b of one metric, with interval and p-value from replicates with the same drawings.

    p = min(1, 2 (1 + min(#{a − b ≤ 0}, #{a − b ≥ 0})) / (R + 1)); no p-value is below 2 / (R + 1).
    Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, §4.2 and §5.4. Replicates are [R].

    >>> paired(np.array([0.5, 0.5, 0.5]), np.array([0.25, 0.25, 0.25]), 0.5, 0.25)
    PairedDifference(difference=0.25, low=0.25, high=0.25, p=0.5, p_is_bound=True)
    """
    differences = replicates_a - replicates_b
    low, high = interval(differences[:, np.newaxis])
    extreme = int(min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0)))
    p = min(1.0, 2 * (1 + extreme) / (len(differences) + 1))
    return PairedDifference(value_a - value_b, float(low[0]), float(high[0]), p, p_is_bound=extreme == 0 and p < 1)


def corrected(differences: Sequence[PairedDifference]) -> list[PairedDifference]:
    """The same differences with p-values corrected after Holm; one that rests on a bound is a bound."""
    adjusted = holm([each.p for each in differences])
    # The correction never lets a p-value be below that of a smaller one, which may be a bound.
    bounds = [p for p, each in zip(adjusted, differences, strict=True) if each.p_is_bound]
    return [replace(each, p=p, p_is_bound=p < 1 and p in bounds) for each, p in zip(differences, adjusted, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order: all claims below α together err with probability of at most α.

    Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, 1979.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()

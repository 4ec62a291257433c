"""One method fitted with several seeds: one row per seed, and their mean and standard deviation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nearnext.errors import ConfigError
from nearnext.evaluation.significance import interval
from nearnext.experiments.result import Result, numbers
from nearnext.options import Natural, checked, require_type
from nearnext.recommenders.base import Recommender
from nearnext.types import FloatArray


def seed_numbers(seeds: Iterable[int]) -> tuple[int, ...]:
    """Check that seeds are distinct and at least 0; keeps their order."""
    require_type("seeds", seeds, Iterable, "give for example (7, 8, 9)")
    found = tuple(checked("seed", seed, Natural) for seed in seeds)
    if len(set(found)) < len(found):
        raise ConfigError(f"expected different seeds, found {', '.join(map(str, found))}; give each once")
    return found


def seeds_of(method: Recommender, options: Mapping[str, Any], seeds: Sequence[int]) -> tuple[int | None, ...]:
    """The seeds of a method; None: fitted once, as it is deterministic or no seeds are given."""
    params = method.params() if seeds else {}
    # Session-kNN uses its seed only when it samples sessions at random.
    if "seed" not in params or params.get("sampling", "random") != "random":
        return (None,)
    if "seed" in options:
        raise ConfigError(f"{method.name} has the option seed={options['seed']}, and seeds are given; leave one out")
    return tuple(seeds)


def mean_result(rows: Mapping[int, Result], replicates: FloatArray) -> Result:
    """The mean of a method's rows by seed, as a row of the same shape; the rows themselves are its ``seeds``.

    ``deviation`` is the sample standard deviation of a metric over the seeds (none for one seed); the interval is
    that of the mean over the seeds, by resampling the sessions.

    Args:
        rows: what `method_result` gives, by seed.
        replicates: of the mean over the seeds: [R, M].
    """
    every = list(rows.values())
    low, high = interval(replicates)
    first = every[0]
    metrics = _means([row["metrics"] for row in every])
    # Metrics of all lists together, which have no interval, come last.
    for name, least, most in zip(metrics, numbers(low), numbers(high), strict=False):
        metrics[name] |= {"low": least, "high": most}
    return {
        **first,
        "params": {name: value for name, value in first["params"].items() if name != "seed"},
        "metrics": metrics,
        "unfilled_metrics": _means([row["unfilled_metrics"] for row in every]),
        "fit_seconds": float(np.mean([row["fit_seconds"] for row in every])),
        "cases_per_second": float(np.mean([row["cases_per_second"] for row in every])),
        "peak_rss_mb": max(row["peak_rss_mb"] for row in every),
        "by_prefix_length": [_mean_row(same) for same in zip(*(row["by_prefix_length"] for row in every), strict=True)],
        "windows": [_mean_row(same) for same in zip(*(row["windows"] for row in every), strict=True)],
        "seeds": [{"seed": seed, **row} for seed, row in rows.items()],
    }


def _means(metrics: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in metrics[0]:
        values = [each[name]["value"] for each in metrics]
        known = None not in values
        deviation = float(np.std(values, ddof=1)) if known and len(values) > 1 else None
        mean = float(np.mean(values)) if known else None
        found[name] = {"value": mean, "low": None, "high": None, "deviation": deviation}
    return found


def _mean_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of the values that are figures; counts of cases and names are the same in all rows."""
    return {
        name: float(np.mean([row[name] for row in rows])) if isinstance(value, float) else value
        for name, value in rows[0].items()
    }

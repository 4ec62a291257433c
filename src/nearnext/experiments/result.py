"""The shape of results: plain data that JSON, tables and pages are made of, of one seed or the mean of several."""

import math
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nearnext.artifact import versions
from nearnext.data.leaks import Leaks
from nearnext.data.repeats import repeat_notes
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.errors import ConfigError
from nearnext.evaluation.audit import MethodAudit
from nearnext.evaluation.metrics import CASE_METRICS, definitions
from nearnext.evaluation.protocol import Evaluation
from nearnext.evaluation.significance import corrected, interval, paired, ratios
from nearnext.evaluation.sums import PREFIX_BUCKETS, MetricSums
from nearnext.experiments.plan import PlannedSplit
from nearnext.options import Natural, checked, path_of, require_type
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import method_name
from nearnext.registry import METRICS
from nearnext.shown import Shown, text
from nearnext.types import FloatArray, RawId

Result = dict[str, Any]


class ShownResult(Shown, dict[str, Any]):
    """JSON-ready data that prints as its title, and in a notebook as a table."""

    def __repr__(self: Any) -> str:
        return f"{type(self).__name__}({self.title()})"


class TuningResult(ShownResult):
    """The result of a search of options: JSON-ready data, also as a frame and a notebook table."""

    def to_frame(self) -> pl.DataFrame:
        """One row per trial, the best first: trial, the metric that is tuned, state, seconds, options by name."""
        rows = [
            {"trial": each["number"], self["metric"]: each["figure"], "state": each["state"]}
            | {"seconds": each["seconds"]}
            | {
                name: text(value) if isinstance(value, list | tuple) else value
                for name, value in each["options"].items()
            }
            for each in self["trials"]
        ]
        frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
        return frame.sort(self["metric"], descending=True, nulls_last=True, maintain_order=True)

    def title(self) -> str:
        """What was found."""
        return (
            f"{self['method']}: {self['metric']} {self['best_figure']:.4f}, begun with {self['start_figure']:.4f}, "
            f"{self['used']['trials']:,} trials"
        )


class ComparisonResult(ShownResult):
    """The result of a comparison: JSON-ready data, also as a frame, a report and a notebook table."""

    def to_frame(self) -> pl.DataFrame:
        """One row per method, the best by the first metric first: method, metrics by name, fit_seconds."""
        rows = [
            {"method": method_name(each), **{name: found["value"] for name, found in each["metrics"].items()}}
            | {"fit_seconds": each["fit_seconds"]}
            for each in self["methods"]
        ]
        frame = pl.DataFrame(rows, infer_schema_length=None)
        return frame.sort(f"HitRate@{max(self['protocol']['k'])}", descending=True, maintain_order=True)

    def title(self) -> str:
        """What was measured."""
        return f"{self['protocol']['cases']:,} cases: {self['protocol']['split']}"

    def report(self, path: str | Path) -> Path:
        """Write the HTML page of ``--report``; needs the extra ``report``."""
        import nearnext

        target = path_of("path", path)
        page = nearnext.comparison_page(self, definitions(self["protocol"].get("metrics", ())))
        nearnext.write_report(target, page)
        return target


@dataclass(frozen=True, eq=False)
class Run:
    """One method on one split; ``kept``: the run was made earlier and comes from a store. Memory in MB.

    ``examples`` are its lists for the example cases of the comparison.
    """

    evaluation: Evaluation
    fit_seconds: float
    peak_rss_mb: float
    audit: MethodAudit | None = None
    kept: bool = False
    examples: Sequence[Sequence[RawId]] = ()


def numbers(values: FloatArray) -> list[float | None]:
    """Numbers for a result; None where a metric has no case."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def _mean_values(sums: Sequence[MetricSums]) -> dict[str, float | None]:
    values = [one.values() for one in sums]
    means = [float(np.mean([window[name] for window in values])) for name in values[0]]
    return dict(zip(values[0], numbers(np.array(means)), strict=True))


def method_result(runs: Sequence["Run"], replicates: FloatArray, label: str = "") -> Result:
    """One method's part of a result: metrics with intervals, cost, figures per prefix length."""
    evaluation = runs[0].evaluation
    names = evaluation.filled.names
    low, high = interval(replicates)
    ends = dict(zip(names, zip(numbers(low), numbers(high), strict=True), strict=True))
    metrics = {
        name: {"value": value, "low": ends.get(name, (None, None))[0], "high": ends.get(name, (None, None))[1]}
        for name, value in _mean_values([run.evaluation.filled for run in runs]).items()
    }
    unfilled = _mean_values([run.evaluation.unfilled for run in runs])
    seconds = sum(run.evaluation.seconds for run in runs)
    return {
        "name": evaluation.name,
        **({"label": label} if label else {}),
        "params": evaluation.params,
        "metrics": metrics,
        "unfilled_metrics": {name: {"value": value, "low": None, "high": None} for name, value in unfilled.items()},
        "fit_seconds": sum(run.fit_seconds for run in runs),
        "cases_per_second": sum(run.evaluation.filled.n_cases for run in runs) / max(seconds, 1e-9),
        "peak_rss_mb": max(run.peak_rss_mb for run in runs),
        "by_prefix_length": _by_prefix_length([run.evaluation.filled for run in runs]),
        "windows": [_mean_values([run.evaluation.filled]) for run in runs] if len(runs) > 1 else [],
        **({"examples": [list(one) for one in runs[0].examples]} if runs[0].examples else {}),
        **({"kept": True} if any(run.kept for run in runs) else {}),
    }


def _by_prefix_length(sums: Sequence[MetricSums]) -> list[Result]:
    """Means over all cases of a prefix length, windows pooled; lengths without a case are left out."""
    cases = np.sum([one.bucket_cases for one in sums], axis=0)
    totals = np.sum([one.bucket_sums for one in sums], axis=0)
    means = ratios(totals, np.sum([one.bucket_counts for one in sums], axis=0))
    return [
        {"prefix_length": label, "cases": int(cases[at]), **dict(zip(sums[0].names, numbers(means[at]), strict=True))}
        for at, label in enumerate(PREFIX_BUCKETS)
        if cases[at]
    ]


def significance_result(methods: Sequence[Result], replicates: Mapping[str, FloatArray], k: int) -> list[Result]:
    """For each metric, the best method against every other: paired differences with Holm's correction."""
    names = list(methods[0]["metrics"])  # those of all lists together, which have no replicates, come last
    found: list[Result] = []
    further = [name for name in METRICS if f"{name}@{k}" in names and METRICS[name].best]
    tested = [f"{metric}@{k}" for metric in (*CASE_METRICS, *further) if metric != "Popularity"]
    for name in (name for name in tested if all(each["metrics"][name]["low"] is not None for each in methods)):
        column = names.index(name)
        best = max(methods, key=lambda method: method["metrics"][name]["value"])
        first = replicates[method_name(best)][:, column]
        others = [method for method in methods if method is not best]
        differences = [
            paired(
                first,
                replicates[method_name(other)][:, column],
                best["metrics"][name]["value"],
                other["metrics"][name]["value"],
            )
            for other in others
        ]
        against = [
            {"name": method_name(other), **asdict(difference)}
            for other, difference in zip(others, corrected(differences), strict=True)
        ]
        found.append(
            {
                "metric": name,
                "best": method_name(best),
                "correction": f"Holm, {len(others)} comparisons",
                "against": against,
            }
        )
    return found


def describe_part(sessions: Sessions) -> Result:
    """Size and period of a part, for a result: times as ISO text."""
    first, last = (
        np.datetime_as_string(np.datetime64(int(time) // MICROSECONDS, "s"), timezone="UTC")
        for time in (sessions.times.min(), sessions.times.max())
    )
    return {
        "sessions": sessions.n_sessions,
        "events": sessions.n_events,
        "items": int(np.count_nonzero(sessions.item_counts()[1:])),
        "first": str(first),
        "last": str(last),
    }


def data_result(planned: Sequence[PlannedSplit]) -> Result:
    """Sizes and periods of both parts, of several windows those of the last one, then of each."""
    parts = [
        {
            "train": describe_part(one.split.train),
            "test": describe_part(one.split.test),
            "raw_train_sessions": one.split.raw_train_sessions,
            "train_filter": asdict(one.split.train_filter),
            "unknown_test_clicks": one.split.unknown_clicks,
            "short_test_sessions": one.split.short_test_sessions,
            "overlapping_train_sessions": one.split.overlapping_sessions,
        }
        for one in planned
    ]
    return parts[0] if len(parts) == 1 else {**parts[-1], "windows": parts}


def warning_lines(reading: Sequence[Mapping[str, Any]], leaks: Leaks | None = None) -> list[str]:
    """What has to be read before the figures of a result: leaks of the data, then how events were counted."""
    return [*(leaks.lines() if leaks is not None else ()), *repeat_notes(reading)]


def machine() -> str:
    """The machine in words: system, processor, cores."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def made_by(command: str, begin: float) -> Result:
    """How and where a result was made; ``begin`` is a time of ``time.perf_counter``."""
    spent = time.perf_counter() - begin
    return {"command": command, "duration_seconds": spent, "machine": machine(), "versions": versions()}


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

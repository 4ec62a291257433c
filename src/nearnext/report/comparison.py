"""The result of a comparison as a table of texts and marks, and its finding in words: for terminal and page."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nearnext.errors import ConfigError
from nearnext.recommenders.named import method_name
from nearnext.registry import DEFAULT_METRICS, is_better_when_higher
from nearnext.report.formats import Mark, compact, fixed, marks
from nearnext.shown import shortened

FIRST = ("HitRate", "MRR")
"""The metrics that every summary has, the most important first."""

HALF_WIDTH = "half of the 95% interval"
"""Meaning of ± without seeds."""

SIGNIFICANT, SMALLEST_P = 0.05, 0.001

Lists = Literal["metrics", "unfilled_metrics"]


@dataclass(frozen=True)
class Cell:
    """One value of a table: its text, what follows ± (or nothing), and its mark in the column."""

    text: str
    spread: str = ""
    mark: Mark = ""


@dataclass(frozen=True)
class Row:
    """One method: a cell per metric, then what it costs."""

    name: str
    cells: tuple[Cell, ...]
    fit_seconds: str
    cases_per_second: str
    peak_rss_mb: str


@dataclass(frozen=True)
class ComparisonTable:
    """A comparison at one k, the best method by the first metric on top.

    Attributes:
        k: list length.
        metrics: names without ``@k``.
        asked: those that were asked for besides the default ones.
        rows: the methods.
        spread: what follows ± in the cells.
    """

    k: int
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    spread: str
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What was found on one metric, and how far the first method is ahead (nothing where it shares the first rank)."""

    claim: str
    lead: str = ""


def cutoffs(result: Mapping[str, Any]) -> list[int]:
    """The list lengths k of a result, rising."""
    names = {name for method in result["methods"] for name in _values(method, "metrics")}
    return sorted({int(name.rpartition("@")[2]) for name in names})


def main_cutoff(result: Mapping[str, Any]) -> int:
    """The list length to show, the longest of the result."""
    known = cutoffs(result)
    if not known:
        raise ConfigError(
            "expected a result with at least one method and one metric, found none; compare methods first"
        )
    return known[-1]


def metric_value(method: Mapping[str, Any], metric: str, lists: Lists = "metrics") -> float | None:
    """One metric (with ``@k``) of one method, or None where the result lacks it."""
    return _values(method, lists).get(metric, {}).get("value")


def ordered_methods(result: Mapping[str, Any], metric: str, lists: Lists = "metrics") -> list[Mapping[str, Any]]:
    """The methods by falling metric (with ``@k``); equal ones keep their order, those without it come last."""
    values = [(metric_value(method, metric, lists), method) for method in result["methods"]]
    return [method for _, method in sorted(values, key=lambda each: math.inf if each[0] is None else -each[0])]


def compare_table(result: Mapping[str, Any], k: int, lists: Lists = "metrics") -> ComparisonTable:
    """The comparison at one k, ready to be set in any medium."""
    methods = result["methods"]
    present = {name.rpartition("@")[0] for each in methods for name in _values(each, lists) if name.endswith(f"@{k}")}
    asked: Sequence[str] = result.get("protocol", {}).get("metrics", ())
    ranked = [name for name, higher_is_better in DEFAULT_METRICS.items() if higher_is_better]
    known = (*ranked, *asked, *(name for name in DEFAULT_METRICS if name not in ranked))
    metrics = tuple(name for name in known if name in present) + tuple(sorted(present.difference(known)))
    methods = ordered_methods(result, f"{metrics[0]}@{k}", lists) if metrics else list(methods)
    seeds: Sequence[int] = result.get("protocol", {}).get("seeds", ())
    columns = [
        column_cells(
            [_values(each, lists).get(f"{name}@{k}") for each in methods],
            best=is_better_when_higher(name),
            spread=deviation if seeds else half_width,
        )
        for name in metrics
    ]
    costs = ("fit_seconds", "cases_per_second", "peak_rss_mb")
    rows = [
        Row(method_name(each), tuple(column[at] for column in columns), *(compact(each.get(cost)) for cost in costs))
        for at, each in enumerate(methods)
    ]
    seeded = f"standard deviation over seeds {', '.join(map(str, seeds))}; methods without it draw nothing at random"
    return ComparisonTable(k, metrics, tuple(rows), seeded if seeds else HALF_WIDTH, tuple(asked))


def half_width(found: Mapping[str, Any]) -> str:
    """Half of an interval, or nothing."""
    low, high = found.get("low"), found.get("high")
    return "" if low is None or high is None else fixed((high - low) / 2)


def deviation(found: Mapping[str, Any]) -> str:
    """The standard deviation over seeds, or nothing."""
    return "" if found.get("deviation") is None else fixed(found["deviation"])


def column_cells(
    found: Sequence[Mapping[str, Any] | None],
    *,
    best: bool,
    form: Callable[[float | None], str] = fixed,
    spread: Callable[[Mapping[str, Any]], str] = half_width,
) -> list[Cell]:
    """The cells of a column from value, low and high of each; ``best``: the highest and the second are marked."""
    values = [None if each is None else each["value"] for each in found]
    marked = marks(values if best else [None] * len(values))
    spreads = [spread(each or {}) for each in found]
    return [Cell(form(value), around, mark) for value, around, mark in zip(values, spreads, marked, strict=True)]


def _values(method: Mapping[str, Any], lists: Lists) -> Mapping[str, Mapping[str, Any]]:
    return method.get(lists) or {}


@dataclass(frozen=True)
class Example:
    """One example case: its last clicks, the item that followed, and by method the items it lists, best first."""

    clicks: tuple[str, ...]
    next: str
    lists: tuple[tuple[str, tuple[str, ...]], ...]


def example_cases(result: Mapping[str, Any], methods: Sequence[Mapping[str, Any]]) -> list[Example]:
    """The example cases of a result with the lists of the methods, which may lack them; titles before ids if known."""
    titles: Mapping[str, str] = result.get("titles") or {}

    def named(item: Any) -> str:
        return f"{shortened(titles[text])} ({text})" if (text := str(item)) in titles else text

    cases: Sequence[Mapping[str, Any]] = result.get("examples") or ()
    lists = [(method_name(each), each["examples"]) for each in methods if each.get("examples")]
    return [
        Example(
            tuple(map(named, case["clicks"])),
            named(case["next"]),
            tuple((name, tuple(map(named, each[at]))) for name, each in lists),
        )
        for at, case in enumerate(cases)
    ]


def finding(result: Mapping[str, Any], metrics: Sequence[str] = FIRST) -> list[Finding]:
    """A summary in words: the best method by each metric, its interval and its lead."""
    k = main_cutoff(result)
    names = (f"{metric}@{k}" for metric in metrics)
    ranked = {name: [each for each in ordered_methods(result, name) if name in each["metrics"]] for name in names}
    return [_standing(methods, name, result.get("significance") or []) for name, methods in ranked.items() if methods]


def _standing(methods: Sequence[Mapping[str, Any]], metric: str, tests: Sequence[Mapping[str, Any]]) -> Finding:
    first = methods[0]
    value = first["metrics"][metric]
    reached = f"{metric} {fixed(value['value'])}{_interval(value)}"
    if len(methods) == 1:
        return Finding(f"{method_name(first)} reaches {reached}.")
    tied = [method_name(each) for each in methods if metric_value(each, metric) == value["value"]]
    if len(tied) > 1:
        return Finding(f"{' and '.join(tied)} share the first rank with {reached}.")
    return Finding(f"{method_name(first)} is first with {reached}.", _lead(methods, metric, tests))


def _lead(methods: Sequence[Mapping[str, Any]], metric: str, tests: Sequence[Mapping[str, Any]]) -> str:
    first, second = methods[0], methods[1]
    lead = (metric_value(first, metric) or 0.0) - (metric_value(second, metric) or 0.0)
    text = f"It is {fixed(lead)} ahead of {method_name(second)}"
    found = [test for test in tests if test["metric"] == metric and test["best"] == method_name(first)]
    against = [each for test in found for each in test["against"] if each["name"] == method_name(second)]
    if not against:
        return f"{text}."
    text += _interval(against[0], f", p {p_text(against[0])}{_correction(found[0])}")
    low = against[0].get("low")
    if low is None:
        return f"{text}."
    if low > 0 and (against[0].get("p") or 0.0) < SIGNIFICANT:
        return f"{text}: more than chance explains."
    if low > 0 and against[0].get("p_is_bound"):
        return f"{text}: so few resamplings cannot tell the two apart; ask for more replicates."
    return f"{text}: these test sessions cannot tell the two apart."


def _interval(value: Mapping[str, Any], further: str = "") -> str:
    low, high = value.get("low"), value.get("high")
    return "" if low is None or high is None else f" (95% interval {fixed(low)} to {fixed(high)}{further})"


def p_text(difference: Mapping[str, Any]) -> str:
    """The p-value of a difference; one that is only known to be below a bound is shown so.

    >>> p_text({"p": 0.0123}), p_text({"p": 0.00701, "p_is_bound": True}), p_text({"p": 0.0002})
    ('= 0.012', '< 0.008', '< 0.001')
    """
    value, digits = difference.get("p"), 3
    if value is None:
        return "unknown"
    if difference.get("p_is_bound") or value < SMALLEST_P:
        return f"< {math.ceil(value * 10**digits) / 10**digits:.{digits}f}"
    return f"= {value:.{digits}f}"


def _correction(test: Mapping[str, Any]) -> str:
    return f" after {test['correction'].partition(',')[0]}'s correction" if test.get("correction") else ""

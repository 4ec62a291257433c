"""Reports as one self-contained HTML page: no script, no outside resource, everything from the data escaped."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from nearnext.atomic import whole_file
from nearnext.data.sessions import Sessions
from nearnext.data.statistics import clicks_per_day, length_distribution, recurring_distribution
from nearnext.extras import needed
from nearnext.options import path_of
from nearnext.recommenders.named import method_name
from nearnext.report import figures
from nearnext.report.comparison import (
    FIRST,
    compare_table,
    cutoffs,
    example_cases,
    finding,
    main_cutoff,
    metric_value,
    ordered_methods,
    p_text,
)
from nearnext.report.formats import command_lines, compact, count, duration, fixed, moment, percent, plain
from nearnext.report.tables import reading_rows, statistics_rows, tuned_rows

MANY_UNKNOWN = 0.1
"""Share of test clicks on items that training lacks above which the page advises on such items."""


@dataclass(frozen=True)
class Step:
    """A step in words, with its reason, and its command if there is one."""

    text: str
    command: str = ""


def next_steps(result: Mapping[str, Any]) -> list[Step]:
    """Steps after a comparison by the command ``compare``; none if Python code made it."""
    protocol: Mapping[str, Any] = result.get("protocol") or {}
    command = str(protocol.get("command") or "")
    if not re.match("nearnext (-q |--quiet )*compare ", command):
        return []
    if not result["audit"]["passed"]:
        return [Step("Find out how the test period reaches what is learned, and compare again.", command)]
    return [*_surer(result, command), *_in_use(result)]


def _surer(result: Mapping[str, Any], command: str) -> Iterator[Step]:
    """Steps that make the result more certain."""
    methods, data = result["methods"], result["data"]
    if not any(each.get("tuning") for each in methods):
        yield Step(
            "Every method ran with the options shown above. Give each the same number of trials:", f"{command} --tuned"
        )
    if not result["protocol"].get("seeds") and any("seed" in each["params"] for each in methods):
        yield Step("Some methods draw at random. See how far their figures vary:", f"{command} --seeds 7,8,9")
    if "--metrics" not in command:
        yield Step(
            "See whether rare items are found: HitRate of the most clicked items, and of all others:",
            f"{command} --metrics HeadHitRate,TailHitRate",
        )
    unknown = data.get("unknown_test_clicks", 0) / max(data["test"]["events"], 1)
    if unknown > MANY_UNKNOWN:
        yield Step(
            f"{percent(unknown)} of the test clicks are on items that training lacks. Fit often, for example daily, "
            "and give an item table with --items: metric models place new items by their attributes."
        )


def _in_use(result: Mapping[str, Any]) -> Iterator[Step]:
    """Steps that put the best method to use."""
    best = ordered_methods(result, f"HitRate@{main_cutoff(result)}")[0]
    files = [str(report["source"]) for report in result["data"]["reading"]]
    log = shlex.quote(files[0]) if files else "LOG"
    yield Step(
        f"{method_name(best)} is first. Fit it on the whole log, with the options of reading used here:",
        f"nearnext fit {log} --method {best['name']} --out model",
    )
    yield Step("Serve it, and open http://127.0.0.1:8000 to try it:", "nearnext serve model")


UNGROUPED = ("seed",)
"""Numbers that name something, so that their thousands stay together."""


class Figure(NamedTuple):
    """A figure of a page: the SVG element, a one-line caption, and a longer description for screen readers."""

    svg: str
    caption: str
    description: str


def render_page(template: str, **context: Any) -> str:
    """A page from a template of this package; all texts are escaped."""
    jinja2 = needed("jinja2", "report", "the HTML report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nearnext.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = (command_lines, compact, count, duration, fixed, moment, percent, plain)
    environment.filters.update({form.__name__: form for form in (*formats, method_name, p_text)})
    # The figures are our own SVG, in which matplotlib has escaped every name.
    environment.filters["svg"] = import_module("markupsafe").Markup
    return environment.get_template(template).render(**context)


def result_page(template: str, result: Mapping[str, Any], **context: Any) -> str:
    """A page of a result: what is given, then its warnings, data, audit and protocol."""
    data: Mapping[str, Any] = result.get("data") or {}
    protocol: Mapping[str, Any] = result.get("protocol") or {}
    return render_page(
        template,
        **context,
        warnings=result.get("warnings") or [],
        data=data,
        reading=[reading_rows(report) for report in data.get("reading") or ()],
        further=_fact_rows({key: data[key] for key in data if key not in ("train", "test", "reading")}),
        audit=result.get("audit"),
        protocol=protocol,
        protocol_rows=_fact_rows(protocol),
    )


def _fact_rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of any further facts, nested ones a row each."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = key.replace("_", " ")
        if key.endswith("_seconds"):
            rows.append((name.removesuffix(" seconds"), duration(value)))
        elif isinstance(value, Mapping):
            nested = cast("Mapping[str, Any]", value)
            rows += [(f"{name}: {inner}", text) for inner, text in _fact_rows(nested)]
        elif isinstance(value, int) and not isinstance(value, bool) and key not in UNGROUPED:
            rows.append((name, count(value)))
        else:
            rows.append((name, plain(value)))
    return rows


def comparison_page(result: Mapping[str, Any], definitions: Mapping[str, str] | None = None) -> str:
    """The HTML page of a comparison: finding, table, figures, data, leak audit, and what is needed to repeat it.

    ``definitions`` say what each metric means, by its name without ``@k``; what the result lacks is left out.
    """
    k = main_cutoff(result)
    methods = ordered_methods(result, f"HitRate@{k}")
    unfilled = any(method.get("unfilled_metrics") for method in result["methods"])
    return result_page(
        "comparison.html",
        result,
        k=k,
        methods=methods,
        examples=example_cases(result, methods),
        next_steps=next_steps(result),
        findings=finding(result),
        table=compare_table(result, k),
        unfilled=compare_table(result, k, "unfilled_metrics") if unfilled else None,
        others=[compare_table(result, other) for other in cutoffs(result) if other != k],
        figures=list(_comparison_figures(result, k)),
        significance=result.get("significance") or [],
        differences=_significance_rows(result, k),
        tuning=tuned_rows(result),
        definitions=definitions or {},
    )


def statistics_page(title: str, log: Sessions, result: Mapping[str, Any]) -> str:
    """The HTML page of a log and its statistics: Table 1 and Figure 1, clicks per day, popularity, what was read."""
    table, reading = result["table1"], result["data"]["reading"]
    return render_page(
        "statistics.html",
        title=title,
        warnings=result["warnings"],
        rows=statistics_rows(table),
        chosen=result["protocol"]["filter"],
        taken=table["filter"],
        figures=list(_statistics_figures(log, result)),
        reading=[reading_rows(report) for report in reading],
    )


def write_report(path: str | Path, page: str) -> None:
    """A page written to a file, whole or not at all."""
    with whole_file(path_of("path", path)) as unfinished:
        unfinished.write_bytes(page.encode("utf-8", "replace"))  # a file name may hold what is not Unicode


def _comparison_figures(result: Mapping[str, Any], k: int) -> Iterator[Figure]:
    yield from metric_figures(result, [f"{name}@{k}" for name in FIRST])
    in_order = ordered_methods(result, f"{FIRST[0]}@{k}")  # one order, one colour per method
    for metric in (f"{name}@{k}" for name in FIRST):
        by_length = _by_prefix_length(in_order, metric)
        if by_length:
            caption = f"{metric} by the number of clicks given, with 95% intervals"
            cases = {str(row["prefix_length"]): int(row["cases"]) for row in in_order[0].get("by_prefix_length") or ()}
            yield Figure(figures.prefix_figure(metric, by_length, cases), caption, f"{caption}, one line per method")
    metric = f"{FIRST[0]}@{k}"
    speeds = {
        method_name(each): (float(each["cases_per_second"]), value)
        for each in in_order
        if (value := metric_value(each, metric)) is not None and (each.get("cases_per_second") or 0) > 0
    }
    if speeds:
        caption = f"{metric} against speed: up is more accurate, right is faster"
        points = "; ".join(f"{name} {fixed(value)} at {count(speed)}" for name, (speed, value) in speeds.items())
        yield Figure(figures.speed_figure(metric, speeds), caption, f"{caption} in cases per second. {points}")


def metric_figures(result: Mapping[str, Any], metrics: Sequence[str]) -> Iterator[Figure]:
    """For each metric (with ``@k``) the methods with their intervals, and the same in words."""
    for metric in metrics:
        methods = [each for each in ordered_methods(result, metric) if metric_value(each, metric) is not None]
        found = {method_name(each): each["metrics"][metric] for each in methods}
        if found:
            values = {name: (each["value"], each.get("low"), each.get("high")) for name, each in found.items()}
            described = "; ".join(f"{name} {fixed(value)}" for name, (value, _, _) in values.items())
            caption = f"{metric} of each method with its 95% interval; the band is the interval of the first"
            yield Figure(figures.interval_figure(metric, values), caption, f"{caption}. {described}")


def _by_prefix_length(
    methods: Sequence[Mapping[str, Any]], metric: str
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Value, low and high of each method by prefix length."""
    rows = {method_name(each): each.get("by_prefix_length") or () for each in methods}
    lines = {
        name: {
            str(row["prefix_length"]): (row[metric], *wilson(row[metric], row["cases"]))
            for row in each
            if row.get(metric) is not None
        }
        for name, each in rows.items()
    }
    return {name: line for name, line in lines.items() if line}


def wilson(mean: float, cases: int) -> tuple[float, float]:
    """The 95% interval of a mean of values in [0, 1]: Wilson's of a share of hits, at least as wide for other values.

    At one prefix length a session has one case, so that cases are independent.

    >>> [round(end, 3) for end in wilson(0.5, 96)]
    [0.402, 0.598]
    """
    square = 1.96**2 / cases
    centre = (mean + square / 2) / (1 + square)
    half = (square * (mean * (1 - mean) + square / 4)) ** 0.5 / (1 + square)
    return min(mean, centre - half), max(mean, centre + half)


def _significance_rows(result: Mapping[str, Any], k: int) -> list[tuple[str, list[Any]]]:
    """For each method its difference to the first one on each tested metric, or a word."""
    columns: list[dict[str, Any]] = []
    tests: Sequence[Mapping[str, Any]] = result.get("significance") or ()
    for test in tests:
        against: Sequence[Mapping[str, Any]] = test["against"]
        columns.append({str(test["best"]): "first", **{str(one["name"]): one for one in against}})
    names = map(method_name, ordered_methods(result, f"{FIRST[0]}@{k}"))
    return [(name, [column.get(name, "–") for column in columns]) for name in names]


def _statistics_figures(log: Sessions, result: Mapping[str, Any]) -> Iterator[Figure]:
    before, after = (result["table1"][part]["events"] for part in ("before", "after"))
    kept = {name: np.array(shares) for name, shares in result["figure1"].items()}
    lengths, recurring = {"all sessions": kept["lengths"]}, {"all sessions": kept["recurring"]}
    if before != after:
        lengths = {"before the filter": length_distribution(log), "after the filter": kept["lengths"]}
        recurring = {"before the filter": recurring_distribution(log), "after the filter": kept["recurring"]}
    yield Figure(figures.length_figure(lengths), "Session lengths", "Share of sessions by number of clicks")
    described = "; ".join(f"{name}: {percent(1 - each[0])} of sessions" for name, each in recurring.items())
    caption = "Recurring items: how much of a session returns to items already clicked in it"
    yield Figure(figures.recurring_figure(recurring), caption, f"{caption}. Any return, {described}")
    days, clicks = clicks_per_day(log)
    if len(days):
        described = f"Clicks per day (UTC) before the filter, {count(int(clicks.min()))} to {count(int(clicks.max()))}"
        yield Figure(figures.daily_figure(days, clicks), "Clicks per day (UTC), before the filter", described)
        caption = "Clicks on the most popular items, before the filter"
        yield Figure(figures.popularity_figure(log.item_counts()[1:]), caption, f"{caption}, as a cumulative curve")

"""Tables for the terminal: the comparison of methods, the statistics of a log, what was read."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from nearnext.recommenders.named import method_name
from nearnext.report.comparison import (
    FIRST,
    HALF_WIDTH,
    Cell,
    Lists,
    column_cells,
    compare_table,
    cutoffs,
    deviation,
    half_width,
    main_cutoff,
    ordered_methods,
)
from nearnext.report.formats import WIDEST, compact, count, duration, fixed, moment, percent, plain

MARK_STYLES = {"best": "bold", "second": "underline", "": ""}
COSTS = ("fit s", "cases/s")
LAST_TO_GO = (*COSTS, "Recall", "Precision", "MAP", "Coverage", "AP", "Popularity", "Gini")
"""Columns from the most to the least important, after those that were asked for; a narrow terminal lacks the last."""

WIDE = 150
SEPARATION = 3  # columns of the terminal between two columns of the table


def comparison_table(result: Mapping[str, Any], *, width: int = 120, lists: Lists = "metrics") -> Table:
    """The methods by falling HitRate of the longest lists, per column the best value bold and the second underlined.

    Half the width of each 95% interval is shown from 150 columns on, deviations over seeds always. Columns that do not
    fit are left out, the least important first, and the caption names them.
    """
    comparison = compare_table(result, main_cutoff(result), lists)
    spreads = [cell.spread for row in comparison.rows for cell in row.cells]
    shown_spreads = any(spreads) and (width >= WIDE or comparison.spread != HALF_WIDTH)
    columns = {
        f"{metric}\n@{comparison.k}": [cell_text(row.cells[column], shown_spreads) for row in comparison.rows]
        for column, metric in enumerate(comparison.metrics)
    }
    costs = zip(*([Text(row.fit_seconds), Text(row.cases_per_second)] for row in comparison.rows), strict=True)
    columns |= dict(zip(COSTS, map(list, costs), strict=True))
    ranked = [*FIRST, *comparison.asked, *LAST_TO_GO]
    notes = [f"±: {comparison.spread}"] if shown_spreads else []
    return _methods_table([row.name for row in comparison.rows], columns, width, ranked, notes)


def cutoffs_table(result: Mapping[str, Any], *, width: int = 120) -> Table:
    """HitRate and MRR at every k, the methods in the order of `comparison_table`; those that do not fit are left out.

    The ± parts are those of `comparison_table`, where every width fits.
    """
    spread = deviation if result.get("protocol", {}).get("seeds") else half_width
    methods = ordered_methods(result, f"{FIRST[0]}@{main_cutoff(result)}")
    found = {
        f"{metric}\n@{k}": [each["metrics"].get(f"{metric}@{k}") for each in methods]
        for metric in FIRST
        for k in cutoffs(result)
    }
    columns = {
        name: [cell_text(cell, width >= WIDEST) for cell in column_cells(each, best=True, spread=spread)]
        for name, each in found.items()
    }
    return _methods_table(list(map(method_name, methods)), columns, width)


def main_tables(result: Mapping[str, Any], width: int) -> list[Table]:
    """All metrics at the longest lists; where there are several k, HitRate and MRR at each."""
    at_each = [cutoffs_table(result, width=width)] if len(cutoffs(result)) > 1 else []
    return [comparison_table(result, width=width), *at_each]


def _methods_table(
    names: Sequence[str],
    columns: Mapping[str, Sequence[Text]],
    width: int,
    ranked: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Table:
    """Methods with columns by heading; where not all fit, the first in ``ranked`` stay, and a note says which go."""
    room = width - max(len("method"), *map(len, names)) - SEPARATION
    metrics = {heading: heading.partition("\n")[0] for heading in columns}
    kept: set[str] = set()
    for heading in sorted(columns, key=lambda each: [*ranked, metrics[each]].index(metrics[each])):
        room -= SEPARATION + max(map(len, [*heading.split("\n"), *(cell.plain for cell in columns[heading])]))
        if room < 0 and kept:
            break
        kept.add(heading)
    shown = [heading for heading in columns if heading in kept]
    left_out = [heading.replace("\n", "") for heading in columns if heading not in kept]
    said = [f"not shown at this width: {', '.join(left_out)}"] if left_out else []
    rows = [[name, *(columns[heading][row] for heading in shown)] for row, name in enumerate(names)]
    return framed(["method", *shown], rows, wide=["method"], caption="; ".join([*said, *notes]))


def cell_text(cell: Cell, spreads: bool, *, leading_zero: bool = False) -> Text:
    """The value, by default without its leading zero, and a dimmed ± part."""
    value = cell.text if leading_zero else cell.text.removeprefix("0")
    text = Text.assemble((value, MARK_STYLES[cell.mark]))  # a span, so that padding is not underlined
    if spreads and cell.spread:
        text.append(f" ±{cell.spread.removeprefix('0')}", "dim")
    return text


def framed(
    headings: Sequence[str] = (),
    rows: Iterable[Iterable[str | Text]] = (),
    *,
    wide: Collection[str] = (),
    title: str = "",
    caption: str = "",
    style: str = "",
) -> Table:
    """A table with a line under its head; ``wide`` columns fold, others are numbers. No text is read as markup."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=Text(title) if title else None,
        title_justify="left",
        caption=Text(caption) if caption else None,
        caption_justify="left",
    )
    for heading in headings:
        if heading in wide:
            table.add_column(heading, overflow="fold", style=style)
        else:
            table.add_column(heading, justify="right", no_wrap=True, style=style)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


COUNTED: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("items", "items", count),
    ("sessions", "sessions", count),
    ("events", "events", count),
    ("clicks per session, mean", "mean_length", compact),
    ("clicks per session, median", "median_length", compact),
    ("clicks per session, most", "max_length", count),
    ("sessions of one click", "one_click_sessions", percent),
    ("clicks that return to an item", "recurring_clicks", percent),
    ("sessions with such a click", "recurring_sessions", percent),
    ("clicks on the top 1% of items", "top_1_percent", percent),
    ("clicks on the top 10% of items", "top_10_percent", percent),
    ("Gini index of clicks over items", "gini", compact),
    ("first click", "first_time", moment),
    ("last click", "last_time", moment),
)
"""What statistics of a log count: name, field and form. Paper: Table 1, and more."""


def statistics_rows(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What is counted, after and before preprocessing, as texts."""
    before, after = table["before"], table["after"]
    return [(name, form(after[field]), form(before[field])) for name, field, form in COUNTED]


def statistics_table(result: Mapping[str, Any]) -> Table:
    """The paper's Table 1 for one log, after and (before) preprocessing, with further figures below."""
    chosen, taken = result["protocol"]["filter"], result["table1"]["filter"]
    cap = f", last {chosen['max_length']} clicks of a session" if chosen["max_length"] else ""
    table = framed(
        caption=f"at least {chosen['min_length']} clicks per session and {chosen['min_support']} per item{cap}: "
        f"the filter took {count(taken['short_sessions'])} short sessions and {count(taken['rare_clicks'])} clicks on "
        f"rare items, and cut {count(taken['cut_clicks'])} clicks from {count(taken['cut_sessions'])} long sessions"
    )
    table.add_column("")
    table.add_column("after", justify="right")
    table.add_column("(before)", justify="right", style="dim")
    for number, (name, kept, read) in enumerate(statistics_rows(result["table1"])):
        table.add_row(name, kept, f"({read})", end_section=number == 2)  # noqa: PLR2004 - the paper's three columns
    return table


def reading_table(report: Mapping[str, Any]) -> Table:
    """What was read from one source: layout, columns, time unit, rows used, rows rejected by reason."""
    styles = {True: "yellow", False: ""}
    return facts_table((name, Text(text, styles[name.startswith("rejected:")])) for name, text in reading_rows(report))


def facts_table(rows: Iterable[tuple[str, str | Text]], frame: box.Box | None = None) -> Table:
    """Names and texts, without headings."""
    table = Table(box=frame, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), text if isinstance(text, Text) else Text(text))
    return table


def reading_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same as names and texts; anything further in the report follows as it is."""
    rows: list[tuple[str, str]] = []
    for key, value in report.items():
        name = key.replace("_", " ")
        if key == "repeats" and value:
            rows.append(("repeated clicks", f"{count(value['repeats'])}, of which {count(value['left_out'])} left out"))
            reused = {"several users": value.get("shared"), "a pause longer than the gap": value.get("reused")}
            rows += [(f"session ids with {what}", count(number)) for what, number in reused.items() if number]
        elif key == "rejected":
            rows += [(f"rejected: {reason}", count(number)) for reason, number in value.items()] or [(name, "none")]
        elif isinstance(value, int) and not isinstance(value, bool):
            rows.append((name, count(value)))
        elif value not in (None, {}, []):
            rows.append((name, plain(value)))
    return rows


SHOWN_TRIALS = 5
"""Trials in the table of one method, besides the one that the search began with."""


class TunedRow(NamedTuple):
    """One method: what its tuning cost, and what it brought on the validation period."""

    name: str
    trials: str
    time: str
    start: str
    best: str
    options: str


def tuned_rows(result: Mapping[str, Any]) -> list[TunedRow]:
    """A row for each method of a comparison that was tuned."""
    return [_tuned_row(method_name(each), each["tuning"]) for each in result["methods"] if each.get("tuning")]


def _tuned_row(name: str, tuned: Mapping[str, Any]) -> TunedRow:
    used = tuned["used"]
    others = [f"{count(used[state])} {state}" for state in ("pruned", "failed") if used[state]]
    return TunedRow(
        name=name,
        trials=count(used["trials"]) + (f" ({', '.join(others)})" if others else ""),
        time=duration(used["seconds"]),
        start=fixed(tuned["start_figure"]),
        best=fixed(tuned["best_figure"]),
        options="; ".join(filter(None, (plain(dict(tuned["options"])) if tuned["options"] else "", tuned["note"]))),
    )


def tuning_table(result: Mapping[str, Any]) -> Table:
    """The methods of a tuned comparison: trials, time, and the tuned metric before and after."""
    metric = next((method["tuning"]["metric"] for method in result["methods"] if method.get("tuning")), "")
    headings = ("method", "trials", "time", "before", "tuned", "chosen options")
    return framed(headings, tuned_rows(result), wide=("method", "chosen options"), title=f"validation {metric}")


def trials_table(tuned: Mapping[str, Any]) -> Table:
    """The best trials of one method, and the one that the search began with."""
    names, _, k = tuned["metric"].partition("@")
    parts = [f"{name}@{k}" for name in names.split("+")] if "+" in names else []
    complete = [trial for trial in tuned["trials"] if trial["figure"] is not None]
    shown = sorted(complete, key=lambda trial: (-trial["figure"], trial["number"]))[:SHOWN_TRIALS]
    rows = [
        [
            f"{trial['number']} (start)" if trial["number"] == 0 else str(trial["number"]),
            *(fixed(figure) for figure in (trial["figure"], *(trial["figures"].get(part) for part in parts))),
            compact(trial["seconds"]),
            plain(dict(trial["options"])),
        ]
        for trial in shown + [trial for trial in complete if trial["number"] == 0 and trial not in shown]
    ]
    return framed(["trial", tuned["metric"], *parts, "s", "options"], rows, wide=["options"])


GROUPS = {"cold": "items without clicks", "warm": "the rest"}
"""The kinds of cases of a comparison on items without clicks."""


def cold_table(result: Mapping[str, Any]) -> Table:
    """Hit rates and reciprocal ranks of each method and k on cases of either kind, with half the width of intervals."""
    rows = [
        [method["name"], group, str(k), *(_around(method[group][f"{metric}@{k}"]) for metric in FIRST)]
        for method in result["methods"]
        for group in GROUPS
        for k in result["protocol"]["k"]
    ]
    return framed(["method", "cases", "k", *FIRST], rows, wide=["method"])


def _around(cell: Mapping[str, float]) -> str:
    return f"{fixed(cell['value'])} ±{fixed((cell['high'] - cell['low']) / 2)}"


def cold_findings(result: Mapping[str, Any]) -> list[str]:
    """What attributes do, one sentence for each method, kind of case and metric."""
    return [
        f"{found['method']}, {GROUPS[found['group']]}: {found['metric']} {fixed(found['value'])} against "
        f"{fixed(found['other'])} of {found['against']}, difference {found['difference']:+.4f} "
        f"[{found['low']:+.4f}, {found['high']:+.4f}], p {'<' if found['p_is_bound'] else '='} {found['p']:.4f}"
        for found in result["findings"]
    ]

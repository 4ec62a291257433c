"""Tables for the terminal: the comparison of methods, the statistics of a log, what was read."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from nearnext.data.filters import Filter, FilterReport
from nearnext.data.statistics import LogStatistics
from nearnext.report.comparison import Cell, Comparison, Lists, Row, compare_table, main_cutoff
from nearnext.report.numbers import compact, count, duration, moment, percent, plain

MARK_STYLES = {"best": "bold", "second": "underline", "": ""}
COSTS = ("fit s", "cases/s")
LAST_TO_GO = ("HitRate", "MRR", *COSTS, "Recall", "Precision", "MAP", "Coverage", "AP", "Popularity", "Gini")
"""Columns from the most to the least important: a narrow terminal lacks the last of them."""

WIDE = 150
SEPARATION = 3  # columns of the terminal between two columns of the table


def comparison_table(
    result: Mapping[str, Any], k: int | None = None, *, width: int = 120, lists: Lists = "metrics"
) -> Table:
    """The methods by falling HitRate@k, per column the best value bold and the second underlined.

    Half the width of each 95% interval is shown from 150 columns on. Columns that do not fit are left out, the least
    important first, and the caption names them.
    """
    comparison = compare_table(result, main_cutoff(result, k), lists)
    intervals = width >= WIDE
    columns = _columns(comparison, intervals)
    shown, left_out = _fitting(columns, comparison, width)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption_justify="left",
        caption=_caption(left_out, intervals and lists == "metrics"),
    )
    table.add_column("method", overflow="fold")
    for name in shown:
        heading = name if name in COSTS else f"{name}\n@{comparison.k}"
        table.add_column(heading, justify="right", no_wrap=True)
    for number, row in enumerate(comparison.rows):
        table.add_row(Text(row.name), *(columns[name][number] for name in shown))
    return table


def _columns(comparison: Comparison, intervals: bool) -> dict[str, list[Text]]:
    columns = {
        metric: [_cell(row.cells[column], intervals) for row in comparison.rows]
        for column, metric in enumerate(comparison.metrics)
    }
    costs = [_costs(row) for row in comparison.rows]
    return columns | {name: [each[column] for each in costs] for column, name in enumerate(COSTS)}


def _costs(row: Row) -> tuple[Text, Text]:
    return Text(row.fit_seconds), Text(row.cases_per_second)


def _cell(cell: Cell, intervals: bool) -> Text:
    """The value without its leading zero, and half of its interval in a fainter type."""
    text = Text.assemble((cell.text.removeprefix("0"), MARK_STYLES[cell.mark]))  # a span, lest padding is underlined
    if intervals and cell.half_width:
        text.append(f" ±{cell.half_width.removeprefix('0')}", "dim")
    return text


def _fitting(columns: Mapping[str, Sequence[Text]], comparison: Comparison, width: int) -> tuple[list[str], list[str]]:
    """Names of the columns that fit next to the methods' names, in their order, and of those that do not."""
    room = width - max([len("method"), *(len(row.name) for row in comparison.rows)]) - SEPARATION
    known = [name for name in LAST_TO_GO if name in columns]
    kept: set[str] = set()
    for name in [*known, *(name for name in columns if name not in LAST_TO_GO)]:
        heading = max(len(name), len(f"@{comparison.k}"))
        room -= SEPARATION + max([heading, *(cell.cell_len for cell in columns[name])])
        if room < 0 and kept:
            break
        kept.add(name)
    return [name for name in columns if name in kept], [name for name in columns if name not in kept]


def _caption(left_out: Sequence[str], intervals: bool) -> str | None:
    notes = [] if not left_out else [f"not shown at this width: {', '.join(left_out)}"]
    notes += ["±: half of the 95% interval"] if intervals else []
    return "; ".join(notes) or None


def statistics_rows(before: LogStatistics, after: LogStatistics) -> list[tuple[str, str, str]]:
    """What is counted, after and before preprocessing, as texts. Paper: Table 1, and more."""
    return [
        ("items", count(after.items), count(before.items)),
        ("sessions", count(after.sessions), count(before.sessions)),
        ("events", count(after.events), count(before.events)),
        ("clicks per session, mean", compact(after.mean_length), compact(before.mean_length)),
        ("clicks per session, median", compact(after.median_length), compact(before.median_length)),
        ("clicks per session, most", count(after.max_length), count(before.max_length)),
        ("sessions of one click", percent(after.one_click_sessions), percent(before.one_click_sessions)),
        ("clicks that return to an item", percent(after.recurring_clicks), percent(before.recurring_clicks)),
        ("sessions with such a click", percent(after.recurring_sessions), percent(before.recurring_sessions)),
        ("clicks on the top 1% of items", percent(after.top_1_percent), percent(before.top_1_percent)),
        ("clicks on the top 10% of items", percent(after.top_10_percent), percent(before.top_10_percent)),
        ("Gini index of clicks over items", compact(after.gini), compact(before.gini)),
        ("first click", moment(after.first_time), moment(before.first_time)),
        ("last click", moment(after.last_time), moment(before.last_time)),
    ]


def statistics_table(
    before: LogStatistics, after: LogStatistics, taken: FilterReport | None = None, chosen: Filter | None = None
) -> Table:
    """The paper's Table 1 for one log, after and (before) preprocessing, with further figures below."""
    caption = ""
    if taken is not None:
        if chosen is not None:
            cap = f", last {chosen.max_length} clicks of a session" if chosen.max_length else ""
            caption = f"at least {chosen.min_length} clicks per session and {chosen.min_support} per item{cap}: "
        caption += (
            f"the filter took {count(taken.short_sessions)} short sessions and {count(taken.rare_clicks)} clicks on "
            f"rare items, and cut {count(taken.cut_clicks)} clicks from {count(taken.cut_sessions)} long sessions"
        )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption or None, caption_justify="left")
    table.add_column("")
    table.add_column("after", justify="right")
    table.add_column("(before)", justify="right", style="dim")
    for number, (name, kept, read) in enumerate(statistics_rows(before, after)):
        table.add_row(name, kept, f"({read})", end_section=number == 2)  # noqa: PLR2004 - the paper's three columns
    return table


def reading_table(report: Mapping[str, Any]) -> Table:
    """What was read from one source: layout, columns, time unit, rows used, rows rejected by reason."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, text in reading_rows(report):
        table.add_row(Text(name), Text(text, style="yellow" if name.startswith("rejected:") else ""))
    return table


def reading_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same as names and texts; anything further in the report follows as it is.

    >>> reading_rows({"source": "clicks.csv", "rows": 1234, "used": 1234, "rejected": {}})
    [('source', 'clicks.csv'), ('rows', '1,234'), ('used', '1,234'), ('rejected', 'none')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in report.items():
        name = key.replace("_", " ")
        if key == "repeats" and value:
            rows.append(("repeated clicks", f"{count(value['repeats'])}, of which {count(value['left_out'])} left out"))
        elif key == "rejected":
            rows += [(f"rejected: {reason}", count(number)) for reason, number in value.items()] or [(name, "none")]
        elif isinstance(value, int) and not isinstance(value, bool):
            rows.append((name, count(value)))
        elif value not in (None, {}, []):
            rows.append((name, plain(value)))
    return rows


MB = 1e6


def sizing_rows(sized: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of an estimate."""
    data = sized["data"]
    held = ", ".join(f"{name} {count(size / MB)}" for name, size in sized["memory"].items())
    rows = [
        ("method", str(sized["method"])),
        (
            "learns from",
            f"{count(data['sessions'])} sessions, {count(data['events'])} clicks, {count(data['items'])} items",
        ),
        ("options", plain({name: value for name, value in sized["params"].items() if value not in (None, "")})),
        ("parameters", count(sized["parameters"]) if sized["parameters"] else "none: it counts"),
        ("peak memory", f"{count(sized['peak_bytes'] / MB)} MB: {held}"),
        ("free memory", f"{count(sized['available_bytes'] / MB)} MB, with what this process holds"),
    ]
    if sized["epochs"]:
        steps = f" of {count(sized['steps'])} steps" if sized["steps"] else ""
        rows.append(("epochs", f"up to {count(sized['epochs'])}{steps}"))
    return [*rows, ("time", duration(sized["seconds"])), ("measured", str(sized["basis"]))]


def sizing_table(sized: Mapping[str, Any]) -> Table:
    """The rows of an estimate as a table."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in sizing_rows(sized):
        table.add_row(name, Text(text))
    return table

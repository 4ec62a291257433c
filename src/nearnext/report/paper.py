"""The paper's tables for one log, for the terminal: ours first, then, apart from it, what the paper prints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from nearnext.report import figures
from nearnext.report.comparison import finding, metric_value, ordered_methods
from nearnext.report.html import Figure, fact_rows, listed, metric_figure, render_page
from nearnext.report.numbers import Mark, count, fixed, marks, percent
from nearnext.report.tables import reading_rows

STYLES: Mapping[Mark, str] = {"best": "bold", "second": "underline", "": ""}
BAR = 30
"""Characters of the longest bar next to shares."""

GAP = 3  # columns of the terminal between two columns of a table


def paper_tables(result: Mapping[str, Any], *, width: int = 120) -> list[Table]:
    """The tables of a result of ``nearnext paper``: ours, and then the paper's, marked as such.

    In a column of a metric the best value is bold and the second underlined; half of its 95% interval follows where
    it fits. The paper's columns are set in several tables where they do not fit side by side.
    """
    paper = result["paper"]
    ours = [_ours(table, width) for table in paper["tables"]]
    return ours + [part for table in paper["printed"] for part in _printed(table, paper["source"], width)]


def cell_text(cell: Mapping[str, Any], kind: str) -> str:
    """The value of a cell, without its interval; before preprocessing in brackets where that is known.

    >>> cell_text({"value": 1200, "before": 3000}, "count"), cell_text({"value": 0.25, "before": None}, "share")
    ('1,200 (3,000)', '25.0%')
    """
    form = {"count": count, "share": percent}.get(kind, fixed)
    text = form(cell["value"])
    return text if cell["before"] is None else f"{text} ({form(cell['before'])})"


def half_width(cell: Mapping[str, Any]) -> str:
    """Half of the 95% interval of a cell, or nothing."""
    low, high = cell["low"], cell["high"]
    return "" if low is None or high is None else fixed((high - low) / 2)


def column_marks(table: Mapping[str, Any]) -> list[list[Mark]]:
    """For each row of a table, the mark of each of its cells: the best and the second of columns that have a best one.

    >>> lines = [{"cells": [{"value": 0.5}]}, {"cells": [{"value": 0.6}]}]
    >>> column_marks({"columns": [{"best": True}], "lines": lines})
    [['second'], ['best']]
    """
    lines = table["lines"]
    columns = [
        marks([line["cells"][at]["value"] if column["best"] else None for line in lines])
        for at, column in enumerate(table["columns"])
    ]
    return [[column[row] for column in columns] for row in range(len(lines))]


def printed_heading(table: Mapping[str, Any], source: str) -> str:
    """What stands over figures of the paper, so that nobody takes them for ours."""
    return f"As the paper prints it ({table['source']}), on {table['data']}, not on this log. Source: {source}"


def _ours(table: Mapping[str, Any], width: int) -> Table:
    with_intervals = _rows(table, intervals=True)
    fits = _width([_heading(column) for column in table["columns"]], with_intervals) <= width
    rows = with_intervals if fits else _rows(table, intervals=False)
    notes = list(table["notes"])
    if fits and any(half_width(cell) for line in table["lines"] for cell in line["cells"]):
        notes.append("±: half of the 95% interval")
    drawn = _empty(table["title"], notes)
    for heading in table["headings"]:
        drawn.add_column(heading, overflow="fold")
    for column in table["columns"]:
        drawn.add_column(_heading(column), justify="right", no_wrap=True)
    if [column["kind"] for column in table["columns"]] == ["share"]:
        drawn.add_column("", no_wrap=True)
        rows = [[*row, bar] for row, bar in zip(rows, _bars(table), strict=True)]
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _bars(table: Mapping[str, Any]) -> list[Text]:
    shares = [float(line["cells"][0]["value"]) for line in table["lines"]]
    longest = max(shares, default=0.0) or 1.0
    return [Text("█" * round(BAR * share / longest), "cyan") for share in shares]


def _rows(table: Mapping[str, Any], *, intervals: bool) -> list[list[Text]]:
    kinds = [column["kind"] for column in table["columns"]]
    rows: list[list[Text]] = []
    for line, styles in zip(table["lines"], column_marks(table), strict=True):
        cells = [
            _cell(cell, kind, mark, intervals) for cell, kind, mark in zip(line["cells"], kinds, styles, strict=True)
        ]
        rows.append([*(Text(label) for label in line["labels"]), *cells])
    return rows


def _cell(cell: Mapping[str, Any], kind: str, mark: Mark, intervals: bool) -> Text:
    text = Text.assemble((cell_text(cell, kind), STYLES[mark]))
    if intervals and half_width(cell):
        text.append(f" ±{half_width(cell).removeprefix('0')}", "dim")
    return text


def _heading(column: Mapping[str, Any]) -> str:
    return f"{column['group']}\n{column['heading']}" if column["group"] else str(column["heading"])


def _width(headings: Sequence[str], rows: Sequence[Sequence[Text]]) -> int:
    columns = list(zip(*rows, strict=True))
    widths = [max((cell.cell_len for cell in column), default=0) for column in columns]
    least = [0] * (len(columns) - len(headings)) + [max(map(len, each.split("\n"))) for each in headings]
    return sum(max(pair) + GAP for pair in zip(widths, least, strict=True))


def _printed(table: Mapping[str, Any], source: str, width: int) -> list[Table]:
    columns: list[tuple[str, str]] = list(table["columns"])
    headings = ["\n".join(part for part in column if part) for column in columns]
    rows = [[Text(text) for text in (*labels, *texts)] for labels, texts in table["lines"]]
    groups = dict.fromkeys(group for group, _ in columns)
    whole = _width(headings, rows) <= width
    parts = (
        [range(len(columns))] if whole else [[at for at, each in enumerate(columns) if each[0] == g] for g in groups]
    )
    n_labels = len(table["headings"])
    drawn: list[Table] = []
    for part in parts:
        one = _empty(printed_heading(table, source), table["notes"])
        for heading in table["headings"]:
            one.add_column(heading, overflow="fold", style="dim")
        for at in part:
            one.add_column(headings[at], justify="right", no_wrap=True, style="dim")
        for row in rows:
            one.add_row(*row[:n_labels], *(row[n_labels + at] for at in part))
        drawn.append(one)
    return drawn


def _empty(title: str, notes: Sequence[str]) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=Text(title),
        title_justify="left",
        caption=Text("\n".join(notes)) if notes else None,
        caption_justify="left",
    )


K = 20
SORTED_TABLES = ("Table 2", "Table 3")
"""Tables that say which method is the best."""


def paper_page(result: Mapping[str, Any]) -> str:
    """The page of a result of ``nearnext paper``."""
    paper = result["paper"]
    data: Mapping[str, Any] = result.get("data") or {}
    protocol: Mapping[str, Any] = result.get("protocol") or {}
    ranked = paper["name"] in SORTED_TABLES
    return render_page(
        "paper.html",
        warnings=result.get("warnings") or [],
        name=paper["name"],
        log=paper["log"],
        findings=finding(result, K, ("Recall", "MRR")) if ranked else [],
        marked=any(column["best"] for table in paper["tables"] for column in table["columns"]),
        tables=[_table(table) for table in paper["tables"]],
        printed=[{**table, "title": printed_heading(table, paper["source"])} for table in paper["printed"]],
        tables_first=ranked,
        figures=list(_metric_figures(result)) if ranked else list(_distributions(result)),
        methods=ordered_methods(result, f"Recall@{K}") if result.get("methods") else [],
        data=data,
        reading=[reading_rows(report) for report in listed(data, "reading")],
        further=fact_rows({key: data[key] for key in data if key not in ("train", "test", "reading")}),
        audit=result.get("audit"),
        protocol=protocol,
        protocol_rows=fact_rows(protocol),
    )


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    kinds = [column["kind"] for column in table["columns"]]
    rows = [
        {
            "labels": line["labels"],
            "cells": [
                {"text": cell_text(cell, kind), "half_width": half_width(cell), "mark": mark}
                for cell, kind, mark in zip(line["cells"], kinds, marks, strict=True)
            ],
        }
        for line, marks in zip(table["lines"], column_marks(table), strict=True)
    ]
    return {**table, "rows": rows}


def _metric_figures(result: Mapping[str, Any]) -> Iterator[Figure]:
    for metric in (f"Recall@{K}", f"MRR@{K}"):
        methods = [each for each in ordered_methods(result, metric) if metric_value(each, metric) is not None]
        if methods:
            yield metric_figure(methods, metric)


def _distributions(result: Mapping[str, Any]) -> Iterator[Figure]:
    """Figure 1, where the result holds what it is drawn from."""
    if result["paper"]["name"] != "Figure 1":
        return
    log, drawn = result["paper"]["log"], result["figure1"]
    lengths = figures.length_figure({log: np.array(drawn["lengths"])}, longest=15)
    yield Figure(lengths, "Session lengths", "Share of sessions by number of clicks, as in the table above")
    recurring = figures.recurring_figure({log: np.array(drawn["recurring"])})
    caption = "Recurring items: how much of a session returns to items already clicked in it"
    yield Figure(recurring, caption, f"{caption}, as in the table above")

"""The paper's tables for one log, in the terminal and as a page: ours first, then, apart, what the paper prints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table
from rich.text import Text

from nearnext.report import figures
from nearnext.report.comparison import Cell, column_cells, finding, ordered_methods
from nearnext.report.formats import count, fixed, percent
from nearnext.report.html import Figure, metric_figures, result_page
from nearnext.report.tables import SEPARATION, cell_text, framed

BAR = 30
"""Characters of the longest bar next to shares."""

K = 20
SORTED_TABLES = ("Table 2", "Table 3")
"""Tables that say which method is the best."""


class PaperRow(NamedTuple):
    """A row of a table of this log."""

    labels: Sequence[str]
    cells: Sequence[Cell]


def paper_rows(table: Mapping[str, Any]) -> list[PaperRow]:
    """The rows of a table of this log as texts and marks; what was before preprocessing is in brackets."""
    columns: list[list[Cell]] = []
    for at, column in enumerate(table["columns"]):
        form = {"count": count, "share": percent}.get(column["kind"], fixed)
        found = [line["cells"][at] for line in table["lines"]]
        before = [f" ({form(each['before'])})" if each["before"] is not None else "" for each in found]
        cells = column_cells(found, best=column["best"], form=form)
        columns.append([replace(cell, text=cell.text + more) for cell, more in zip(cells, before, strict=True)])
    return [PaperRow(line["labels"], [each[row] for each in columns]) for row, line in enumerate(table["lines"])]


def paper_tables(result: Mapping[str, Any], *, width: int = 120) -> list[Table]:
    """The tables of a result of ``nearnext paper``: ours, and then the paper's, marked as such.

    In a column of a metric the best value is bold and the second underlined; half of its 95% interval follows where
    it fits. The paper's columns are set in several tables where they do not fit side by side.
    """
    paper = result["paper"]
    ours = [_ours(table, width) for table in paper["tables"]]
    return ours + [part for table in paper["printed"] for part in _printed(table, paper["source"], width)]


def printed_heading(table: Mapping[str, Any], source: str) -> str:
    """The heading of figures that the paper prints, which are not ours."""
    return f"As the paper prints it ({table['source']}), on {table['data']}, not on this log. Source: {source}"


def _ours(table: Mapping[str, Any], width: int) -> Table:
    rows, columns = paper_rows(table), table["columns"]
    headings = [f"{each['group']}\n{each['heading']}" if each["group"] else str(each["heading"]) for each in columns]
    texts = _texts(rows, intervals=True)
    fits = _width(headings, texts) <= width
    notes = list(table["notes"])
    if fits and any(cell.spread for row in rows for cell in row.cells):
        notes.append("±: half of the 95% interval")
    if not fits:
        texts = _texts(rows, intervals=False)
    if [column["kind"] for column in columns] == ["share"]:
        headings.append("")
        texts = [[*row, bar] for row, bar in zip(texts, _bars(table), strict=True)]
    labels = [*table["headings"], *([""] if "" in headings else [])]
    return framed([*table["headings"], *headings], texts, wide=labels, title=table["title"], caption="\n".join(notes))


def _texts(rows: Sequence[PaperRow], *, intervals: bool) -> list[list[Text]]:
    return [
        [*map(Text, row.labels), *(cell_text(cell, intervals, leading_zero=True) for cell in row.cells)] for row in rows
    ]


def _bars(table: Mapping[str, Any]) -> list[Text]:
    shares = [float(line["cells"][0]["value"]) for line in table["lines"]]
    longest = max(shares, default=0.0) or 1.0
    return [Text("█" * round(BAR * share / longest), "cyan") for share in shares]


def _width(headings: Sequence[str], rows: Sequence[Sequence[Text]]) -> int:
    columns = list(zip(*rows, strict=True))
    widths = [max((cell.cell_len for cell in column), default=0) for column in columns]
    least = [0] * (len(columns) - len(headings)) + [max(map(len, each.split("\n"))) for each in headings]
    return sum(max(pair) + SEPARATION for pair in zip(widths, least, strict=True))


def _printed(table: Mapping[str, Any], source: str, width: int) -> Iterator[Table]:
    columns: list[tuple[str, str]] = list(table["columns"])
    headings = ["\n".join(filter(None, column)) for column in columns]
    rows = [[*map(Text, (*labels, *texts))] for labels, texts in table["lines"]]
    parts = [range(len(columns))]
    if _width(headings, rows) > width:
        groups = dict.fromkeys(group for group, _ in columns)
        parts = [[at for at, each in enumerate(columns) if each[0] == group] for group in groups]
    n_labels = len(table["headings"])
    for part in parts:
        yield framed(
            [*table["headings"], *(headings[at] for at in part)],
            ([*row[:n_labels], *(row[n_labels + at] for at in part)] for row in rows),
            wide=table["headings"],
            title=printed_heading(table, source),
            caption="\n".join(table["notes"]),
            style="dim",
        )


def paper_page(result: Mapping[str, Any]) -> str:
    """The page of a result of ``nearnext paper``."""
    paper = result["paper"]
    ranked = paper["name"] in SORTED_TABLES
    return result_page(
        "paper.html",
        result,
        name=paper["name"],
        log=paper["log"],
        findings=finding(result, ("Recall", "MRR")) if ranked else [],
        marked=any(column["best"] for table in paper["tables"] for column in table["columns"]),
        tables=[{**table, "rows": paper_rows(table)} for table in paper["tables"]],
        printed=[{**table, "title": printed_heading(table, paper["source"])} for table in paper["printed"]],
        tables_first=ranked,
        figures=list(metric_figures(result, (f"Recall@{K}", f"MRR@{K}")) if ranked else _distributions(result)),
        methods=ordered_methods(result, f"Recall@{K}") if result.get("methods") else [],
    )


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

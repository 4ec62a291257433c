"""The HTML page of one of the paper's tables: ours with figures, the paper's apart from it, and how to repeat it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nearnext.report import figures
from nearnext.report.comparison import finding, metric_value, ordered_methods
from nearnext.report.html import metric_figure
from nearnext.report.page import Figure, fact_rows, listed, render_page
from nearnext.report.paper import cell_text, column_marks, half_width, printed_heading
from nearnext.report.tables import reading_rows

__all__ = ["paper_page"]

K = 20
SORTED_TABLES = ("Table 2", "Table 3")
"""Tables that say which method is the best."""


def paper_page(result: Mapping[str, Any]) -> str:
    """The page of a result of ``nearnext paper``.

    Args:
        result: what ``nearnext paper ... --json`` writes.

    Raises:
        ConfigError: jinja2 or matplotlib is missing.
    """
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

"""The paper's tables in the terminal and as a page: marks, intervals, and the paper's figures never taken for ours."""

import copy
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearnext.report.paper import paper_page, paper_tables

pytestmark = pytest.mark.slow

Result = dict[str, Any]


def cell(value: float, half: float | None = None, before: float | None = None) -> Result:
    low, high = (None, None) if half is None else (value - half, value + half)
    return {"value": value, "low": low, "high": high, "before": before}


def column(heading: str, kind: str = "metric", group: str = "", best: bool = True) -> Result:
    return {"heading": heading, "kind": kind, "group": group, "metric": f"{heading}@20", "best": best}


def method(label: str, recall: float, mrr: float) -> Result:
    metrics = {
        "Recall@20": {"value": recall, "low": recall - 0.01, "high": recall + 0.01},
        "MRR@20": {"value": mrr, "low": mrr - 0.005, "high": mrr + 0.005},
    }
    return {"name": "sknn", "label": label, "params": {"k": 100}, "metrics": metrics}


@pytest.fixture
def result() -> Result:
    """What ``nearnext paper table2 --json`` writes, for two methods and two columns."""
    table = {
        "title": "Table 2 of clicks",
        "headings": ["Method"],
        "columns": [column("REC"), column("MRR")],
        "lines": [
            {"labels": ["SKNN"], "cells": [cell(0.5, 0.01), cell(0.25, 0.005)]},
            {"labels": ["<VSKNN>"], "cells": [cell(0.4, 0.01), cell(0.3, 0.005)]},
        ],
        "notes": ["QUICK preset"],
    }
    printed = {
        "source": "Table 2",
        "data": "the paper's RSC15/64 and RR/5",
        "headings": ["Method"],
        "columns": [["RSC15/64", "REC"], ["RSC15/64", "MRR"], ["RR/5", "REC"], ["RR/5", "MRR"]],
        "lines": [
            [["SKNN"], ["0.4780", "0.2522", "0.4704", "–"]],
            [["VSKNN"], ["0.5009", "0.2879", "0.4632", "0.3395"]],
        ],
        "notes": [],
    }
    paper = {"name": "Table 2", "log": "clicks", "source": "arXiv:2101.02655", "tables": [table], "printed": [printed]}
    return {
        "paper": paper,
        "methods": [method("SKNN", 0.5, 0.25), method("<VSKNN>", 0.4, 0.3)],
        "protocol": {"preset": "quick", "command": "nearnext paper table2 clicks", "duration_seconds": 1.0, "cases": 7},
        "audit": {"passed": True, "checks": []},
    }


def printed(tables: list[Table], width: int) -> str:
    console = Console(file=StringIO(), width=width, legacy_windows=False)
    for table in tables:
        console.print(table)
    text = console.file
    assert isinstance(text, StringIO)
    return text.getvalue()


def styles(table: Table, at: int) -> list[str]:
    return [
        str(each.spans[0].style) if each.spans else "" for each in table.columns[at].cells if isinstance(each, Text)
    ]


def test_best_is_bold_and_second_underlined(result: Result):
    ours = paper_tables(result)[0]
    assert styles(ours, 1) == ["bold", "underline"]
    assert styles(ours, 2) == ["underline", "bold"]


def test_columns_without_a_best_value_are_not_marked(result: Result):
    result["paper"]["tables"][0]["columns"][0]["best"] = False
    assert styles(paper_tables(result, width=30)[0], 1) == ["", ""]


def test_intervals_are_shown_where_they_fit(result: Result):
    assert "0.5000 ±.0100" in printed(paper_tables(result, width=80), 80)
    narrow = printed(paper_tables(result, width=30), 30)
    assert "±" not in narrow
    assert "0.5000" in narrow


def test_the_papers_figures_are_marked_as_the_papers(result: Result):
    text = " ".join(printed(paper_tables(result, width=120), 120).split())
    ours, theirs = text.split("As the paper prints it (Table 2)")
    assert "0.4780" in theirs
    assert "0.4780" not in ours
    assert "on the paper's RSC15/64 and RR/5, not on this log. Source: arXiv:2101.02655" in theirs


@pytest.mark.parametrize("width", [40, 60])
def test_the_papers_columns_are_set_below_one_another_where_they_do_not_fit(result: Result, width: int):
    tables = paper_tables(result, width=width)
    assert len(tables) == (3 if width == 40 else 2)
    text = printed(tables, width)
    assert max(map(len, text.split("\n"))) <= width
    assert all(number in text for number in ("0.4780", "0.2522", "0.4704", "0.3395"))


def test_shares_have_bars_and_counts_their_value_before():
    shares = {
        "title": "Figure 1",
        "headings": ["clicks"],
        "columns": [column("share of sessions", "share", best=False)],
        "lines": [{"labels": ["2"], "cells": [cell(0.75)]}, {"labels": ["3"], "cells": [cell(0.25)]}],
        "notes": [],
    }
    lines = printed(paper_tables({"paper": {"source": "", "tables": [shares], "printed": []}}), 80).split("\n")
    assert [line.count("█") for line in lines if "%" in line] == [30, 10]
    shares |= {"columns": [column("Items", "count", best=False)]}
    shares |= {"lines": [{"labels": ["RR"], "cells": [cell(17376, before=37000)]}]}
    assert "17,376 (37,000)" in printed(paper_tables({"paper": {"source": "", "tables": [shares], "printed": []}}), 80)


def test_names_are_never_read_as_markup(result: Result):
    result["paper"]["tables"][0]["lines"][0]["labels"] = ["[red]SKNN[/red]"]
    result["paper"]["tables"][0]["title"] = "[red]"
    assert "[red]SKNN[/red]" in printed(paper_tables(result), 120)


def test_the_page_says_who_is_first_and_that_it_was_quick(result: Result):
    page = paper_page(result)
    assert "SKNN is first with Recall@20 0.5000" in page
    assert "&lt;VSKNN&gt; is first with MRR@20 0.3000" in page
    assert "<VSKNN>" not in page
    assert "Quick preset" in page
    assert "nearnext paper table2 clicks" in page
    assert page.count("<svg") == 2
    result["protocol"]["preset"] = "paper"
    assert "Quick preset" not in paper_page(result)


def test_the_page_keeps_the_papers_figures_apart(result: Result):
    ours, theirs = paper_page(result).split('<h2 id="printed">')
    assert "0.4780" in theirs
    assert "0.4780" not in ours
    assert '<td class="best"><span>0.5000</span><small>±0.0100</small>' in ours


def test_a_page_is_not_changed_by_making_it(result: Result):
    before = copy.deepcopy(result)
    assert paper_page(result) == paper_page(result)
    assert result == before


def test_figure_1_is_drawn():
    paper = {"name": "Figure 1", "log": "clicks", "source": "", "tables": [], "printed": []}
    page = paper_page({"paper": paper, "figure1": {"lengths": [0, 0.5, 0.5], "recurring": [1.0] + [0.0] * 10}})
    assert page.count("<svg") == 2
    assert page.index("<svg") < page.index('<h2 id="ours">')


def test_a_failed_audit_is_an_alarm(result: Result):
    result["audit"] = {"passed": False, "checks": [{"name": "x", "passed": False, "detail": "leaks"}]}
    assert "The leak audit failed" in paper_page(result)

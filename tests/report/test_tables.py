from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.experiments.single import statistics_result
from nearnext.report.tables import comparison_table, reading_rows, reading_table, statistics_table


def printed(table: Table, width: int) -> list[str]:
    console = Console(file=StringIO(), width=width, legacy_windows=False)
    console.print(table)
    text = console.file
    assert isinstance(text, StringIO)
    return text.getvalue().rstrip("\n").split("\n")


def styles(table: Table, column: int) -> list[str]:
    cells = table.columns[column].cells
    return [str(cell.spans[0].style) if cell.spans else "" for cell in cells if isinstance(cell, Text)]


def test_best_is_bold_and_second_underlined(result: dict[str, Any]) -> None:
    table = comparison_table(result)
    assert styles(table, 1) == ["bold", "underline", ""]
    assert styles(table, 2) == ["underline", "bold", ""]


def test_equal_values_share_their_place(result: dict[str, Any]) -> None:
    result["methods"][2]["metrics"]["HitRate@20"]["value"] = 0.6
    assert styles(comparison_table(result), 1) == ["bold", "bold", "underline"]


def test_all_columns_fit_120_characters(result: dict[str, Any]) -> None:
    result["methods"][1]["name"] = "sml-textcnn-triplet"
    lines = printed(comparison_table(result, width=120), 120)
    row = next(line for line in lines if "sml-textcnn-triplet" in line)
    assert row.split()[1:] == [".6000", ".3000", ".0600", ".4800", ".0300", ".2000", ".5000", ".0800", "1.25", "12,346"]
    assert max(map(len, lines)) <= 120
    assert "not shown" not in "".join(lines)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_narrow_terminal_loses_columns_by_importance_and_says_which(result: dict[str, Any], width: int) -> None:
    lines = printed(comparison_table(result, width=width), width)
    assert max(map(len, lines)) <= width
    row = next(line for line in lines if line.strip().startswith("vsknn"))
    assert row.split()[1] == ".6000"
    said = " ".join(" ".join(lines).split())
    assert "not shown at this width: " in said
    shown = "".join(lines[:3])
    assert all(name in shown or name in said for name in ("MRR", "Recall", "Popularity", "cases/s"))


def test_intervals_appear_where_there_is_room(result: dict[str, Any]) -> None:
    lines = printed(comparison_table(result, width=150), 150)
    assert max(map(len, lines)) <= 150
    assert any(".6000 ±.0100   .3000 ±.0050" in line for line in lines)
    assert any("±: half of the 95% interval" in line for line in lines)
    assert not any("±" in line for line in printed(comparison_table(result, width=149), 149))


def test_names_are_never_read_as_markup(result: dict[str, Any]) -> None:
    result["methods"][0]["name"] = "[red]pop[/red]"
    assert any("[red]pop[/red]" in line for line in printed(comparison_table(result), 120))
    rows = printed(reading_table({"source": "[bold]x[/bold].csv", "rejected": {"[link]": 3}}), 80)
    assert "[bold]x[/bold].csv" in rows[0]
    assert "[link]" in rows[1]


def test_a_perfect_value_keeps_its_one(result: dict[str, Any]) -> None:
    result["methods"][1]["metrics"]["Coverage@20"]["value"] = 1.0
    assert any("1.0000" in line for line in printed(comparison_table(result), 120))


def test_statistics_are_the_papers_table_and_more() -> None:
    log = Sessions.of([["a", "b"], ["a", "b"], ["c"]])
    lines = printed(statistics_table(statistics_result(log, Filter(min_length=2, min_support=2))), 100)
    cells = [line.split() for line in lines]
    assert ["items", "2", "(3)"] in cells
    assert ["sessions", "2", "(3)"] in cells
    assert ["events", "4", "(5)"] in cells
    assert "the filter took 1 short sessions and 0 clicks on rare items" in " ".join(" ".join(lines).split())


def test_statistics_of_nothing_are_absent_not_wrong() -> None:
    log = Sessions.of([["a", "b"]])
    cells = [line.split() for line in printed(statistics_table(statistics_result(log, Filter(min_support=5))), 100)]
    assert ["items", "0", "(2)"] in cells
    assert ["first", "click", "–", "(1970-01-01", "00:00", "UTC)"] in cells


def test_reading_names_each_reason_of_rejection() -> None:
    report = {
        "source": "a.csv",
        "time_unit": "ms",
        "rows": 1234,
        "strict": True,
        "rejected": {"no id": 2},
        "event_types": {},
    }
    assert reading_rows(report) == [
        ("source", "a.csv"),
        ("time unit", "ms"),
        ("rows", "1,234"),
        ("strict", "yes"),
        ("rejected: no id", "2"),
    ]

"""Tables in the formats of papers and of programs."""

import csv
import io
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from nearnext.errors import ConfigError
from nearnext.report.formats import WIDEST, formatted
from nearnext.report.tables import comparison_table, main_tables


def table() -> Table:
    made = Table("method", "HitRate\n@20", "cases/s", title="T 2", caption="±: half")
    made.add_row(Text("a|b_c"), Text.assemble((".6933", "bold"), (" ±.0058", "dim")), "24,000")
    made.add_row(Text("x&y"), Text.assemble((".3", "underline")), "–")
    return made


def test_markdown_marks_the_best_and_escapes():
    assert formatted([table()], "markdown").splitlines() == [
        "**T 2**",
        "",
        "| method | HitRate@20 | cases/s |",
        "|---|---:|---:|",
        r"| a\|b_c | **.6933** ±.0058 | 24,000 |",
        "| x&y | <u>.3</u> | – |",
        "",
        "±: half",
    ]


def test_latex_is_a_tabular_with_its_signs_escaped():
    assert formatted([table()], "latex").splitlines() == [
        "% T 2",
        "% ±: half",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & HitRate@20 & cases/s \\",
        r"\midrule",
        r"a|b\_c & \textbf{.6933} $\pm$.0058 & 24,000 \\",
        r"x\&y & \underline{.3} & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_csv_has_numbers_as_programs_read_them_and_one_table():
    text = formatted([table(), table()], "csv")
    assert list(csv.reader(io.StringIO(text))) == [
        ["method", "HitRate@20", "HitRate@20 ±", "cases/s"],
        ["a|b_c", "0.6933", "0.0058", "24000"],
        ["x&y", "0.3", "", ""],
    ]


def test_csv_of_several_list_lengths_has_the_columns_of_each(result: dict[str, Any]):
    text = formatted(main_tables(result, WIDEST), "csv")
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == len(result["methods"])
    for method in result["methods"]:
        for name in ("HitRate@5", "HitRate@20", "MRR@5", "MRR@20"):
            found, row = method["metrics"][name], rows[method["name"]]
            assert float(row[name]) == pytest.approx(found["value"], abs=6e-5)
            assert float(row[f"{name} ±"]) == pytest.approx((found["high"] - found["low"]) / 2, abs=6e-5)
    markdown = formatted(main_tables(result, WIDEST), "markdown")
    assert "| method | HitRate@5 " in markdown
    assert formatted([main_tables(result, WIDEST)[0], Table("k", "n")], "csv").splitlines()[0].startswith("method,")


def test_csv_of_numbers_in_parentheses_has_the_numbers_alone():
    made = Table("", "after", "(before)")
    made.add_row("events (all)", "3,006", "(3,245)")
    made.add_row("first click", "–", "(2025-01-01 05:20 UTC)")
    assert list(csv.reader(io.StringIO(formatted([made], "csv")))) == [
        ["", "after", "(before)"],
        ["events (all)", "3006", "3245"],
        ["first click", "", "2025-01-01 05:20 UTC"],
    ]


def test_a_comparison_has_all_its_columns(result: dict[str, Any]):
    rows = list(csv.DictReader(io.StringIO(formatted([comparison_table(result, width=WIDEST)], "csv"))))
    assert [row["method"] for row in rows] == ["vsknn", "markov", "pop"]
    assert float(rows[0]["HitRate@20"]) == pytest.approx(0.6)
    assert float(rows[0]["HitRate@20 ±"]) == pytest.approx(0.01)
    assert {"Coverage@20", "Popularity@20", "fit s", "cases/s"} <= rows[0].keys()


def test_an_unknown_format_names_those_that_are_known():
    with pytest.raises(ConfigError, match="markdown, latex, csv"):
        formatted([table()], "html")

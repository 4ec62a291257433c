"""What tuning found, set in tables."""

from typing import Any

import pytest
from rich.console import Console

from nearnext.report.html import comparison_page
from nearnext.report.tables import trials_table, tuned_rows, tuning_table


def tuned(start: float | None, best: float, options: dict[str, Any], note: str = "", **states: int) -> dict[str, Any]:
    used = {"trials": 7, "complete": 7, "pruned": 0, "failed": 0, "seconds": 90.0, **states}
    facts = {"metric": "MRR@20", "used": used, "start_figure": start, "best_figure": best, "options": options}
    return facts | {"note": note}


def text_of(table: Any) -> str:
    console = Console(width=150)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_each_tuned_method_has_a_row(result: dict[str, Any]):
    result["methods"][1]["tuning"] = tuned(0.25, 0.5, {"k": 9, "layers": [8]}, pruned=2, failed=1)
    result["methods"][0]["tuning"] = tuned(0.125, 0.125, {}, "nothing to tune: it has no options")
    assert [tuple(row) for row in tuned_rows(result)] == [
        ("pop", "7", "1 min 30 s", "0.1250", "0.1250", "nothing to tune: it has no options"),
        ("vsknn", "7 (2 pruned, 1 failed)", "1 min 30 s", "0.2500", "0.5000", "k: 9; layers: 8"),
    ]
    assert "validation MRR@20" in text_of(tuning_table(result))


def test_a_start_that_failed_has_no_figure(result: dict[str, Any]):
    result["methods"][0]["tuning"] = tuned(None, 0.5, {"k": 9})
    assert tuned_rows(result)[0].start == "–"


@pytest.mark.slow
def test_the_page_has_a_section_where_methods_were_tuned_and_none_otherwise(result: dict[str, Any]):
    assert 'id="tuning"' not in comparison_page(result)
    result["methods"][1]["tuning"] = tuned(0.25, 0.5, {"similarity": "<b>"})
    result["protocol"]["tuning"] = "every method gets 7 trials"
    page = comparison_page(result)
    assert 'id="tuning"' in page
    assert "Every method gets 7 trials." in page
    assert "similarity: &lt;b&gt;" in page


def test_the_best_trials_are_shown_and_the_one_to_begin_with():
    trials = [
        {
            "number": n,
            "figure": figure,
            "figures": {"HitRate@5": 0.5, "MRR@5": 0.125},
            "seconds": 1.0,
            "options": {"k": n},
        }
        for n, figure in enumerate([0.1, 0.9, None, 0.8, 0.7, 0.6, 0.5, 0.4])
    ]
    table = trials_table({"metric": "HitRate+MRR@5", "trials": trials})
    shown = [line.strip().split()[0] for line in text_of(table).splitlines() if "k: " in line]
    assert shown == ["1", "3", "4", "5", "6", "0"]
    assert "0 (start)" in text_of(table)
    assert [column.header for column in table.columns] == [
        "trial",
        "HitRate+MRR@5",
        "HitRate@5",
        "MRR@5",
        "s",
        "options",
    ]

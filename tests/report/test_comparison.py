from typing import Any

import pytest

from nearnext.errors import ConfigError
from nearnext.report.comparison import compare_table, finding, main_cutoff, ordered_methods
from nearnext.report.formats import compact, duration, fixed, marks, moment, plain


def test_methods_are_ordered_by_hit_rate_and_columns_by_convention(result: dict[str, Any]) -> None:
    table = compare_table(result, 20)
    assert [row.name for row in table.rows] == ["vsknn", "markov", "pop"]
    assert table.metrics == ("HitRate", "MRR", "Precision", "Recall", "MAP", "AP", "Coverage", "Popularity")
    assert compare_table(result, 5).metrics == ("HitRate", "MRR")


def test_best_and_second_are_marked_in_each_column_of_its_own(result: dict[str, Any]) -> None:
    vsknn, markov, pop = compare_table(result, 20).rows
    assert [row.cells[0].mark for row in (vsknn, markov, pop)] == ["best", "second", ""]
    assert [row.cells[1].mark for row in (vsknn, markov, pop)] == ["second", "best", ""]
    assert [row.cells[-1].mark for row in (vsknn, markov, pop)] == ["", "", ""]  # popularity has no better side


def test_half_width_is_half_of_the_interval(result: dict[str, Any]) -> None:
    first = compare_table(result, 20).rows[0]
    assert (first.cells[0].text, first.cells[0].spread) == ("0.6000", "0.0100")
    assert (first.cells[6].text, first.cells[6].spread) == ("0.5000", "")


def test_unfilled_lists_have_their_own_table(result: dict[str, Any]) -> None:
    table = compare_table(result, 20, "unfilled_metrics")
    assert table.metrics == ("HitRate", "MRR")
    assert table.rows[0].cells[0].text == "0.5800"


def test_a_metric_that_one_method_lacks_is_shown_as_absent(result: dict[str, Any]) -> None:
    del result["methods"][1]["metrics"]["HitRate@20"]
    rows = compare_table(result, 20).rows
    assert [row.name for row in rows] == ["markov", "pop", "vsknn"]
    assert (rows[2].cells[0].text, rows[2].cells[0].mark) == ("–", "")
    assert [each["name"] for each in ordered_methods(result, "HitRate@20")] == ["markov", "pop", "vsknn"]


def test_an_unusual_metric_gets_the_last_column_without_marks(result: dict[str, Any]) -> None:
    for each in result["methods"]:
        each["metrics"]["Novelty@20"] = {"value": 0.5}
    table = compare_table(result, 20)
    assert table.metrics[-1] == "Novelty"
    assert table.rows[0].cells[-1].mark == ""


def test_the_longest_list_is_shown(result: dict[str, Any]) -> None:
    assert main_cutoff(result) == 20
    with pytest.raises(ConfigError, match="at least one method"):
        main_cutoff({"methods": []})


def test_finding_names_the_first_its_interval_and_its_lead(result: dict[str, Any]) -> None:
    hit_rate, mrr = finding(result)
    assert hit_rate.claim == "vsknn is first with HitRate@20 0.6000 (95% interval 0.5900 to 0.6100)."
    assert hit_rate.lead == (
        "It is 0.2000 ahead of markov (95% interval 0.1800 to 0.2200, p = 0.002): more than chance explains."
    )
    assert mrr.claim.startswith("markov is first with MRR@20 0.3100")
    assert mrr.lead.endswith("p = 0.400): these test sessions cannot tell the two apart.")


def test_a_lead_whose_corrected_p_is_large_is_no_lead(result: dict[str, Any]) -> None:
    result["significance"][0]["against"][0]["p"] = 0.06
    assert finding(result)[0].lead.endswith("cannot tell the two apart.")


def test_a_p_value_that_is_a_bound_is_shown_as_one(result: dict[str, Any]) -> None:
    test = result["significance"][0]
    test["correction"] = "Holm, 2 methods"
    test["against"][0] |= {"p": 0.001999, "p_is_bound": True}
    assert "p < 0.002 after Holm's correction): more than chance explains." in finding(result)[0].lead
    test["against"][0]["p"] = 0.0796
    assert finding(result)[0].lead.endswith("cannot tell the two apart; ask for more replicates.")


def test_a_lead_without_a_test_is_stated_without_a_verdict(result: dict[str, Any]) -> None:
    del result["significance"]
    assert finding(result)[0].lead == "It is 0.2000 ahead of markov."


def test_equal_methods_share_the_first_place(result: dict[str, Any]) -> None:
    result["methods"][2]["metrics"]["HitRate@20"] = dict(result["methods"][1]["metrics"]["HitRate@20"])
    found = finding(result)[0]
    assert found.claim.startswith("vsknn and markov share the first rank with HitRate@20 0.6000")
    assert found.lead == ""


def test_marks_look_at_the_digits_that_are_shown() -> None:
    assert marks([0.12341, 0.12339, 0.1]) == ["best", "best", "second"]
    assert marks([0.2, 0.2]) == ["best", "best"]
    assert marks([None, float("nan")]) == ["", ""]


def test_numbers_are_written_for_readers() -> None:
    assert [fixed(1.0), fixed(None), fixed(0.12345)] == ["1.0000", "–", "0.1235"]
    assert [compact(0.0), compact(12_345.6), compact(None)] == ["0.000", "12,346", "–"]
    assert [duration(59.94), duration(61), duration(3_600)] == ["59.9 s", "1 min 1 s", "1 h 0 min"]
    assert moment(0) == "1970-01-01 00:00 UTC"
    assert moment(10**18) == "1000000000000 s since 1970"
    assert plain([]) == plain(None) == plain({}) == "–"
    assert plain({"layers": [3, 0.5], "tied": False}) == "layers: 3, 0.5; tied: no"

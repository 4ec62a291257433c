"""The paper's tables: their layout, their order, the options behind their rows; classical methods stand in."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.paper.lineup import (
    COVERAGE,
    ENCODERS,
    PRESETS,
    TABLE_1,
    TABLE_2,
    TABLE_2_COLUMNS,
    TABLE_2_LINEUP,
    TABLE_3,
    Entry,
    chosen_entries,
    comparison_of,
    table_3_lineup,
)
from nearnext.experiments.paper.tables import (
    coverage_result,
    figure1_result,
    size_notes,
    table1_result,
    table2_result,
    table3_result,
)
from nearnext.experiments.plan import SplitPlan
from nearnext.experiments.result import Result
from nearnext.recommenders.named import make_recommender

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 7 + j * j * (1 + s % 3)) % 97}" for j in range(2 + s % 4)] for s in range(400)])
CLASSICAL = TABLE_2_LINEUP[:5]
VARIANTS = table_3_lineup()
STAND_INS = [
    Entry(each.label, "sknn" if each.label.startswith("RNN") else "vsknn", {"k": 1 + 9 * (at // 2)})
    for at, each in enumerate(VARIANTS)
]


def compared(entries: Sequence[Entry], preset: str = "paper", replicates: int = 50, **options: Any) -> Result:
    result = compare(LOG, comparison=comparison_of(entries, preset, replicates=replicates, **options))
    result["protocol"]["preset"] = preset
    return result


def ours(result: Result) -> dict[str, Any]:
    return result["paper"]["tables"][0]


def first_labels(result: Result) -> list[str]:
    return [line["labels"][0] for line in ours(result)["lines"]]


def test_table_1_counts_after_and_before():
    log = Sessions.of([["a", "b"], ["a", "b"], ["a", "c"], ["d"]])
    result = table1_result(log, Filter(min_length=2, min_support=2), name="clicks")
    (line,) = ours(result)["lines"]
    assert line["labels"] == ("clicks",)
    assert [(cell["value"], cell["before"]) for cell in line["cells"]] == [(2, 4), (2, 4), (4, 7)]
    (printed,) = result["paper"]["printed"]
    assert dict(printed["lines"])[("RSC15/64",)] == ("17K (34K)", "118K (1.7M)", "495K (6.6M)")


def test_figure_1_shares_add_up_and_long_sessions_share_a_class():
    log = Sessions.of([["a", "b"]] * 3 + [[str(item) for item in range(20)]])
    left, right = figure1_result(log, Filter())["paper"]["tables"]
    shares = {line["labels"][0]: line["cells"][0]["value"] for line in left["lines"]}
    assert list(shares) == [*map(str, range(2, 15)), "15+"]
    assert (shares["2"], shares["15+"]) == (0.75, 0.25)
    assert sum(line["cells"][0]["value"] for line in right["lines"]) == pytest.approx(1.0)
    assert "without printing numbers" in " ".join(right["notes"])


@pytest.fixture(scope="module")
def table2() -> Result:
    return table2_result(compared(CLASSICAL), "clicks")


def test_table_2_is_sorted_by_recall(table2: Result):
    recalls = [line["cells"][2]["value"] for line in ours(table2)["lines"]]
    assert recalls == sorted(recalls, reverse=True)
    assert set(first_labels(table2)) == {"POP", "SPOP", "MARKOV-1", "SKNN", "VSKNN"}


def test_table_2_holds_the_figures_of_the_comparison(table2: Result):
    plain = compare(LOG, comparison=Comparison(["pop", "spop", "markov-1", "sknn", "vsknn"], ks=(20,), replicates=50))
    by_name = {method["name"]: method["metrics"] for method in plain["methods"]}
    names = {method["label"]: method["name"] for method in table2["methods"]}
    for line in ours(table2)["lines"]:
        for column, cell in zip(ours(table2)["columns"], line["cells"], strict=True):
            found = by_name[names[line["labels"][0]]][column["metric"]]
            assert (cell["value"], cell["low"], cell["high"]) == (found["value"], found["low"], found["high"])
    assert [column["heading"] for column in ours(table2)["columns"]] == ["MAP", "PREC", "REC", "HR", "MRR"]
    assert [column["metric"] for column in ours(table2)["columns"]] == [
        "MAP@20",
        "Precision@20",
        "Recall@20",
        "HitRate@20",
        "MRR@20",
    ]


def test_the_papers_figures_stand_apart_in_the_same_order(table2: Result):
    (printed,) = table2["paper"]["printed"]
    assert [labels[0] for labels, _ in printed["lines"]] == first_labels(table2)
    assert dict(printed["lines"])[("VSKNN",)] == (*TABLE_2["RSC15/64"]["VSKNN"], *TABLE_2["RR/5"]["VSKNN"])
    assert printed["columns"][0] == ("RSC15/64", "MAP")
    assert printed["columns"][-1] == ("RR/5", "MRR")
    assert "arXiv:2101.02655" in table2["paper"]["source"]


def test_methods_that_the_paper_does_not_print_have_dashes():
    result = table2_result(compared([Entry("SML-TagSpace-NCAS", "pop")]))
    assert result["paper"]["printed"][0]["lines"][0][1] == ("–",) * 10


def test_results_of_tables_are_plain_json(table2: Result):
    assert json.loads(json.dumps(table2, allow_nan=False))["paper"]["name"] == "Table 2"


def test_the_lineup_is_the_papers():
    labels = [entry.label for entry in TABLE_2_LINEUP]
    assert set(TABLE_2["RSC15/64"]) == set(TABLE_2["RR/5"]) == set(labels) - {"SML-TagSpace-NCAS"}
    names = {entry.label: entry.name for entry in TABLE_2_LINEUP}
    assert names["SML-RNN-NCAS"] == "sml-gru-ncas"
    assert names["SML-MaxPool-Triplet"] == "sml-maxpool-triplet"
    assert names["GRU4Rec+"] == "gru4rec"


def test_printed_rows_are_sorted_by_recall_as_in_the_paper():
    for rows in TABLE_2.values():
        recalls = [texts[TABLE_2_COLUMNS.index("REC")] for texts in rows.values()]
        assert recalls == sorted(recalls, reverse=True)
        assert all(len(texts) == len(TABLE_2_COLUMNS) for texts in rows.values())
    assert [texts[0] for texts in TABLE_3.values()] == sorted((texts[0] for texts in TABLE_3.values()), reverse=True)
    assert set(COVERAGE) == set(TABLE_1)


def test_table_3_has_the_papers_seven_rows_for_both_encoders():
    result = table3_result(compared(STAND_INS))
    table = ours(result)
    assert [(column["group"], column["heading"]) for column in table["columns"]] == [
        ("RNN", "REC@20"),
        ("RNN", "MRR@20"),
        ("MaxPool", "REC@20"),
        ("MaxPool", "MRR@20"),
    ]
    assert {line["labels"] for line in table["lines"]} == set(TABLE_3)
    recalls = [line["cells"][0]["value"] for line in table["lines"]]
    assert recalls == sorted(recalls, reverse=True)
    assert len(set(recalls)) > 1
    assert len(result["methods"]) == 14
    assert {method["name"] for method in result["methods"]} == {"sknn", "vsknn"}


def test_cells_of_table_3_are_those_of_their_variant():
    result = table3_result(compared(STAND_INS))
    assert len(ours(result)["lines"]) == 7
    for line in ours(result)["lines"]:
        for encoder, at in (("RNN", 0), ("MaxPool", 2)):
            label = " ".join((encoder, *line["labels"]))
            (method,) = (each for each in result["methods"] if each["label"] == label)
            (entry,) = (each for each in STAND_INS if each.label == label)
            assert method["params"]["k"] == entry.options["k"]
            assert line["cells"][at]["value"] == method["metrics"]["Recall@20"]["value"]
            assert line["cells"][at + 1]["value"] == method["metrics"]["MRR@20"]["value"]
    printed = dict(result["paper"]["printed"][0]["lines"])
    assert printed[("False", "SW", "N-M-S")] == ("0.0022", "0.0006", "0.0525", "0.0191")


def test_the_variants_mean_what_their_labels_say():
    options = {entry.label: entry.options for entry in VARIANTS}
    assert list(options)[::2] == [" ".join(("RNN", *labels)) for labels in TABLE_3]
    assert options["RNN True Pos-Neg N"] == {
        "common_embedding": True,
        "sampler": "positive-negative",
        "margin": 0.0,
        "swap": False,
    }
    assert options["MaxPool False SW N-M-S"] == {
        "common_embedding": False,
        "sampler": "sliding-window",
        "margin": 0.3,
        "swap": True,
    }
    assert {entry.label.split()[0]: entry.name for entry in VARIANTS} == ENCODERS
    assert ENCODERS == {"RNN": "sml-gru-triplet", "MaxPool": "sml-maxpool-triplet"}


def test_coverage_counts_items_of_the_catalogue():
    result = coverage_result(compared(CLASSICAL))
    counts = {line["labels"][0]: line["cells"][0]["value"] for line in ours(result)["lines"]}
    assert counts["POP"] == 20
    assert counts["POP"] < counts["SKNN"] <= result["data"]["train"]["items"]
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert dict(result["paper"]["printed"][0]["lines"])[("RR/5",)] == ("16,334", "19,063", "32K")


def test_presets_reach_trained_methods_only_and_are_named():
    gru4rec, pop = Entry("GRU4Rec+", "gru4rec"), Entry("POP", "pop")
    assert gru4rec.options_in("quick", 11) == {"seed": 11, "epochs": 3}
    assert gru4rec.options_in("paper", 11) == {"seed": 11}
    assert pop.options_in("quick", 11) == {}
    result = table2_result(compared(CLASSICAL[:1], "quick", replicates=20))
    assert result["protocol"]["preset"] == "quick"
    assert any(note.startswith("QUICK preset") for note in ours(result)["notes"])


def test_the_metric_models_are_trained_as_the_preset_says():
    rnn, tagspace = (Entry("", name) for name in ("sml-gru-ncas", "sml-tagspace-ncas"))
    assert rnn.options_in("quick", 3) == {"seed": 3, "preset": "quick"}
    assert rnn.options_in("paper", 3) == {"seed": 3, "preset": "paper"}
    assert make_recommender(tagspace.name, tagspace.options_in("quick", 7)).params()["filters"] == 64
    assert make_recommender(tagspace.name, tagspace.options_in("paper", 7)).params()["filters"] == 1000


def test_rows_of_a_quick_run_are_in_the_papers_order_whatever_their_figures():
    entries = [*CLASSICAL, Entry("GRU4Rec+", "markov-1"), Entry("vstan", "vstan")]
    quick = compared(entries, "quick", replicates=20)
    order = ["VSKNN", "SKNN", "GRU4Rec+", "MARKOV-1", "SPOP", "POP", "vstan"]
    assert first_labels(table2_result(quick)) == first_labels(coverage_result(quick)) == order
    assert ours(table2_result(quick))["title"].endswith("in the order of the paper's RSC15/64")
    labels = [line["labels"] for line in ours(table3_result(compared(STAND_INS, "quick", replicates=20)))["lines"]]
    assert labels == list(TABLE_3)


def test_sizes_are_given_once_where_all_trained_models_share_them():
    methods = [{"name": name, "params": {"dim": 8}} for name in ("a", "b", "c")]
    result = {"protocol": {"preset": "paper"}, "methods": [{"name": "pop", "params": {}}, *methods]}
    assert size_notes(result) == ["preset of the paper's text; every trained model: dimension 8"]
    methods[0]["params"] = {"dim": 4}
    assert size_notes(result) == ["preset of the paper's text; a: dimension 4; b, c: dimension 8"]


def test_every_row_of_every_table_can_be_made():
    for preset in PRESETS:
        for entry in (*TABLE_2_LINEUP, *VARIANTS):
            made = make_recommender(entry.name, entry.options_in(preset, 7))
            assert made.name == entry.name
            assert {option: made.params()[option] for option in entry.options} == entry.options


def test_own_options_overrule_the_preset():
    comparison = comparison_of([Entry("GRU4Rec+", "gru4rec")], "quick", options={"gru4rec": {"epochs": "1"}})
    assert comparison.options["GRU4Rec+"]["epochs"] == "1"


def test_an_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match="unknown preset 'huge'; known: paper, authors"):
        comparison_of(CLASSICAL, "huge")


def test_the_plan_is_followed():
    plan = SplitPlan.parse("last:0.5", chosen=Filter(min_support=3), unknown="drop")
    result = table2_result(compared(CLASSICAL[:1], plan=plan, replicates=20))
    assert result["protocol"]["unknown"] == "drop"
    assert result["data"]["raw_train_sessions"] == 200
    assert result["protocol"]["filter"]["min_support"] == 3


def test_rows_are_chosen_by_either_name_in_the_order_of_the_table():
    chosen = chosen_entries(["vsknn", "Sml-Rnn-Triplet", "pop"])
    assert [entry.label for entry in chosen] == ["POP", "VSKNN", "SML-RNN-Triplet"]
    assert chosen_entries([]) == TABLE_2_LINEUP


def test_any_other_method_is_a_row_after_those_of_the_table():
    chosen = chosen_entries(["VSTAN", "markov", "vstan", "ar", "pop"])
    assert [entry.label for entry in chosen] == ["POP", "MARKOV-1", "vstan", "ar"]
    with pytest.raises(ConfigError, match="unknown method 'magic'"):
        chosen_entries(["magic"])

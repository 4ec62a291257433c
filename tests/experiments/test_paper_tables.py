"""The paper's tables: their layout, their order, the options behind their rows; classical methods stand in."""

import json
from typing import Any

import pytest

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.paper.lineup import TABLE_2_LINEUP, Entry, Experiment, Setting, chosen_entries, size_notes
from nearnext.experiments.paper.printed import COVERAGE, TABLE_1, TABLE_2, TABLE_2_COLUMNS, TABLE_3
from nearnext.experiments.paper.tables import (
    ENCODERS,
    VARIANTS,
    Variant,
    coverage_result,
    figure1_result,
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
SETTING = Setting(replicates=50)
STAND_INS = {"RNN": "sknn", "MaxPool": "vsknn"}
NEIGHBOURS = [Variant(variant.labels, {"k": 1 + 9 * at}) for at, variant in enumerate(VARIANTS)]


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
    return table2_result(Experiment(LOG, setting=SETTING, name="clicks"), CLASSICAL)


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
    result = table2_result(Experiment(LOG, setting=SETTING), [Entry("SML-TagSpace-NCAS", "pop")])
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
    result = table3_result(Experiment(LOG, setting=SETTING), encoders=STAND_INS, variants=NEIGHBOURS)
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
    result = table3_result(Experiment(LOG, setting=SETTING), encoders=STAND_INS, variants=NEIGHBOURS)
    for variant in NEIGHBOURS:
        (line,) = (line for line in ours(result)["lines"] if line["labels"] == variant.labels)
        for encoder, at in (("RNN", 0), ("MaxPool", 2)):
            (method,) = (m for m in result["methods"] if m["label"] == " ".join((encoder, *variant.labels)))
            assert method["params"]["k"] == variant.options["k"]
            assert line["cells"][at]["value"] == method["metrics"]["Recall@20"]["value"]
            assert line["cells"][at + 1]["value"] == method["metrics"]["MRR@20"]["value"]
    printed = dict(result["paper"]["printed"][0]["lines"])
    assert printed[("False", "SW", "N-M-S")] == ("0.0022", "0.0006", "0.0525", "0.0191")


def test_the_variants_mean_what_their_labels_say():
    options = {variant.labels: variant.options for variant in VARIANTS}
    assert list(options) == list(TABLE_3)
    assert options["True", "Pos-Neg", "N"] == {
        "common_embedding": True,
        "sampler": "positive-negative",
        "margin": 0.0,
        "swap": False,
    }
    assert options["False", "SW", "N-M-S"] == {
        "common_embedding": False,
        "sampler": "sliding-window",
        "margin": 0.3,
        "swap": True,
    }
    assert ENCODERS == {"RNN": "sml-gru-triplet", "MaxPool": "sml-maxpool-triplet"}


def test_coverage_counts_items_of_the_catalogue():
    result = coverage_result(Experiment(LOG, setting=SETTING), CLASSICAL)
    counts = {line["labels"][0]: line["cells"][0]["value"] for line in ours(result)["lines"]}
    assert counts["POP"] == 20
    assert counts["POP"] < counts["SKNN"] <= result["data"]["train"]["items"]
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert dict(result["paper"]["printed"][0]["lines"])[("RR/5",)] == ("16,334", "19,063", "32K")


def test_presets_reach_trained_methods_only_and_are_named():
    quick = Setting(preset="quick", seed=11)
    assert quick.options_of(Entry("GRU4Rec+", "gru4rec"))["seed"] == 11
    assert quick.options_of(Entry("GRU4Rec+", "gru4rec"))["epochs"] < 10
    assert "epochs" not in Setting().options_of(Entry("GRU4Rec+", "gru4rec"))
    assert quick.options_of(Entry("POP", "pop")) == {}
    result = table2_result(Experiment(LOG, setting=Setting(preset="quick", replicates=20)), CLASSICAL[:1])
    assert result["protocol"]["preset"] == "quick"
    assert any(note.startswith("QUICK preset") for note in ours(result)["notes"])


def test_the_metric_models_are_trained_as_the_preset_says():
    rnn, tagspace = (Entry("", name) for name in ("sml-gru-ncas", "sml-tagspace-ncas"))
    assert Setting(preset="quick", seed=3).options_of(rnn) == {"seed": 3, "preset": "quick"}
    assert Setting(seed=3).options_of(rnn) == {"seed": 3, "preset": "paper"}
    assert make_recommender(tagspace.name, Setting(preset="quick").options_of(tagspace)).params()["filters"] == 64
    assert make_recommender(tagspace.name, Setting().options_of(tagspace)).params()["filters"] == 1000


def test_sizes_are_given_once_where_all_trained_models_share_them():
    methods = [{"name": name, "params": {"dim": 8}} for name in ("a", "b", "c")]
    result = {"protocol": {"preset": "paper"}, "methods": [{"name": "pop", "params": {}}, *methods]}
    assert size_notes(result) == ["preset of the paper's text; every trained model: dimension 8"]
    methods[0]["params"] = {"dim": 4}
    assert size_notes(result) == ["preset of the paper's text; a: dimension 4; b, c: dimension 8"]


def test_every_row_of_every_table_can_be_made():
    for setting in [Setting(preset=preset) for preset in ("paper", "authors", "tuned", "quick")]:
        for entry in TABLE_2_LINEUP:
            assert make_recommender(entry.name, setting.options_of(entry)).name == entry.name
        for variant in VARIANTS:
            for name in ENCODERS.values():
                params = make_recommender(name, setting.options_of(Entry("", name, variant.options))).params()
                assert {option: params[option] for option in variant.options} == variant.options


def test_own_options_overrule_the_preset():
    setting = Setting(preset="quick", options={"gru4rec": {"epochs": "1"}})
    assert setting.options_of(Entry("GRU4Rec+", "gru4rec"))["epochs"] == "1"


def test_the_plan_is_followed():
    plan = SplitPlan.parse("last:0.5", chosen=Filter(min_support=3), unknown="drop")
    result = table2_result(Experiment(LOG, setting=Setting(plan, replicates=20)), CLASSICAL[:1])
    assert result["protocol"]["unknown"] == "drop"
    assert result["data"]["raw_train_sessions"] == 200
    assert result["protocol"]["filter"]["min_support"] == 3


def test_rows_are_chosen_by_either_name_in_the_order_of_the_table():
    chosen = chosen_entries(TABLE_2_LINEUP, ["vsknn", "Sml-Rnn-Triplet", "pop"])
    assert [entry.label for entry in chosen] == ["POP", "VSKNN", "SML-RNN-Triplet"]
    assert chosen_entries(TABLE_2_LINEUP, []) == TABLE_2_LINEUP


def test_any_other_method_is_a_row_after_those_of_the_table():
    chosen = chosen_entries(TABLE_2_LINEUP, ["VSTAN", "markov", "vstan", "ar", "pop"])
    assert [entry.label for entry in chosen] == ["POP", "MARKOV-1", "vstan", "ar"]
    with pytest.raises(ConfigError, match="unknown method 'magic'"):
        chosen_entries(TABLE_2_LINEUP, ["magic"])

"""How many different items each method recommends, and how mainstream they are. Paper: §5.5."""

from collections.abc import Mapping, Sequence
from typing import Any

from nearnext.experiments.paper.layout import Cell, Column, Line, PaperTable, Printed, metric_cell, with_tables
from nearnext.experiments.paper.lineup import TABLE_2_LINEUP, Entry, Experiment, K, compare_entries, size_notes
from nearnext.experiments.paper.printed import COVERAGE
from nearnext.experiments.result import Result, called


def coverage_result(experiment: Experiment, entries: Sequence[Entry] = TABLE_2_LINEUP) -> Result:
    """A comparison with the counts of the paper's §5.5: unique items recommended by each method, most first.

    Raises:
        NearnextError: as `compare_entries` says.

    >>> from nearnext.data.sessions import Sessions
    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> table = coverage_result(Experiment(log), TABLE_2_LINEUP[:1])["paper"]["tables"][0]
    >>> table["lines"][0]["cells"][0]["value"]
    3
    """
    result = compare_entries(entries, experiment)
    items = result["data"]["train"]["items"]
    lines = [
        Line(
            (called(method),),
            (
                Cell(unique_items(method, items)),
                metric_cell(method, f"Coverage@{K}"),
                metric_cell(method, f"Gini@{K}"),
                metric_cell(method, f"Popularity@{K}"),
                metric_cell(method, f"Recall@{K}"),
            ),
        )
        for method in result["methods"]
    ]
    lines.sort(key=lambda line: -(line.cells[0].value or 0))
    table = PaperTable(
        title=f"Unique items recommended in lists of {K} (§5.5), of {items:,} items of {experiment.name}",
        headings=("Method",),
        columns=(
            Column("unique items", "count"),
            Column("of catalogue", "share", metric=f"Coverage@{K}"),
            Column("Gini", "metric", metric=f"Gini@{K}"),
            Column("popularity", "metric", metric=f"Popularity@{K}"),
            Column("REC", "metric", metric=f"Recall@{K}", best=True),
        ),
        lines=tuple(lines),
        notes=(
            *size_notes(result),
            "unique items, their share and the Gini index are counts over all lists: they have no interval",
        ),
    )
    printed = Printed(
        source="§5.5",
        data="the paper's data sets, a sample run",
        headings=("Dataset",),
        columns=(("", "VSKNN"), ("", "SML"), ("", "items (Table 1)")),
        lines=tuple(((dataset,), texts) for dataset, texts in COVERAGE.items()),
        notes=("the paper does not say which SML method was counted",),
    )
    return with_tables(result, "§5.5", experiment.name, [table], [printed])


def unique_items(method: Mapping[str, Any], items: int) -> int:
    """The number of different items in a method's lists of 20, from its coverage of a catalogue of ``items``.

    >>> unique_items({"metrics": {"Coverage@20": {"value": 0.25}}}, 400)
    100
    """
    return round(method["metrics"][f"Coverage@{K}"]["value"] * items)

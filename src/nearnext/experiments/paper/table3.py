"""Table 3: what common embedding, sampler and the parts of the triplet loss contribute, for two encoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nearnext.experiments.paper.layout import Cell, Column, Line, PaperTable, Printed, metric_cell, with_tables
from nearnext.experiments.paper.lineup import Entry, Experiment, K, compare_entries, size_notes
from nearnext.experiments.paper.printed import TABLE_3
from nearnext.experiments.result import Result, called

HEADINGS = ("Comm. Emb.", "Sampler", "Loss")
METRICS = {"REC@20": f"Recall@{K}", "MRR@20": f"MRR@{K}"}

ENCODERS: Mapping[str, str] = {"RNN": "sml-gru-triplet", "MaxPool": "sml-maxpool-triplet"}
"""Method of each encoder of the table. Paper: §5.2, the RNN has GRU cells."""


@dataclass(frozen=True)
class Variant:
    """One row of the table: its labels, and the options that they stand for."""

    labels: tuple[str, str, str]
    options: Mapping[str, Any]


def _variant(common: bool, sampler: str, loss: str) -> Variant:
    return Variant(
        (str(common), sampler, loss),
        {
            "common_embedding": common,
            "sampler": {"Pos-Neg": "positive-negative", "SW": "sliding-window"}[sampler],
            "margin": 0.3 if "-M" in loss else 0.0,
            "swap": loss.endswith("-S"),
        },
    )


VARIANTS: tuple[Variant, ...] = (
    _variant(True, "Pos-Neg", "N-M"),
    _variant(True, "Pos-Neg", "N"),
    _variant(True, "Pos-Neg", "N-M-S"),
    _variant(False, "Pos-Neg", "N"),
    _variant(False, "Pos-Neg", "N-M"),
    _variant(False, "Pos-Neg", "N-M-S"),
    _variant(False, "SW", "N-M-S"),
)
"""The paper's seven rows, in its order."""


def table3_result(
    experiment: Experiment,
    *,
    encoders: Mapping[str, str] = ENCODERS,
    variants: Sequence[Variant] = VARIANTS,
) -> Result:
    """A comparison with the paper's Table 3: REC@20 and MRR@20 of every variant, sorted by REC of the first encoder.

    Raises:
        NearnextError: as `compare_entries` says.

    >>> from nearnext.data.sessions import Sessions
    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> rows = [Variant(("True", "-", str(k)), {"k": k}) for k in (1, 50)]
    >>> table = table3_result(Experiment(log), encoders={"RNN": "sknn"}, variants=rows)["paper"]["tables"][0]
    >>> [column["heading"] for column in table["columns"]], len(table["lines"])
    (['REC@20', 'MRR@20'], 2)
    """
    entries = [
        Entry(_label(encoder, variant), method, variant.options)
        for variant in variants
        for encoder, method in encoders.items()
    ]
    result = compare_entries(entries, experiment)
    found = {called(method): method for method in result["methods"]}
    lines = [Line(variant.labels, _cells(variant, encoders, found)) for variant in variants]
    lines.sort(key=lambda line: -(line.cells[0].value or 0.0))
    table = PaperTable(
        title=f"Table 3 of {experiment.name}, sorted by REC@{K} of {next(iter(encoders))}",
        headings=HEADINGS,
        columns=tuple(
            Column(heading, "metric", encoder, metric, best=True)
            for encoder in encoders
            for heading, metric in METRICS.items()
        ),
        lines=tuple(lines),
        notes=(
            *size_notes(result),
            "N: L2 normalisation, M: margin 0.3, S: swap; SW: sliding window, Pos-Neg: random split of a session; "
            "RNN: with GRU cells, as in the paper (§5.2)",
        ),
    )
    return with_tables(result, "Table 3", experiment.name, [table], [_printed(lines)])


def _label(encoder: str, variant: Variant) -> str:
    return " ".join((encoder, *variant.labels))


def _cells(variant: Variant, encoders: Mapping[str, str], found: Mapping[str, Any]) -> tuple[Cell, ...]:
    return tuple(
        metric_cell(found[_label(encoder, variant)], metric) for encoder in encoders for metric in METRICS.values()
    )


def _printed(lines: Sequence[Line]) -> Printed:
    printed: Mapping[tuple[str, ...], tuple[str, ...]] = dict(TABLE_3.items())
    return Printed(
        source="Table 3",
        data="the paper's proprietary SI-T",
        headings=HEADINGS,
        columns=tuple((encoder, heading) for encoder in ENCODERS for heading in METRICS),
        lines=tuple((line.labels, printed[line.labels]) for line in lines if line.labels in printed),
        notes=("rows in the order of the table above",),
    )

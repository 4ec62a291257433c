"""Table 2: every method of the paper on one log."""

from collections.abc import Sequence

from nearnext.experiments.paper.layout import Column, Line, PaperTable, Printed, metric_cell, with_tables
from nearnext.experiments.paper.lineup import TABLE_2_LINEUP, Entry, Experiment, K, compare_entries, size_notes
from nearnext.experiments.paper.printed import TABLE_2, TABLE_2_COLUMNS
from nearnext.experiments.result import Result, called

METRICS = dict(zip(TABLE_2_COLUMNS, ("MAP", "Precision", "Recall", "HitRate", "MRR"), strict=True))
SORTED_BY = f"Recall@{K}"
RNN_NOTE = "RNN: with GRU cells, as in the paper (§5.2); here the encoder is called gru"


def table2_result(experiment: Experiment, entries: Sequence[Entry] = TABLE_2_LINEUP) -> Result:
    """A comparison with the paper's Table 2: MAP, PREC, REC, HR and MRR at 20, sorted by REC.

    Raises:
        NearnextError: as `compare_entries` says.

    >>> from nearnext.data.sessions import Sessions
    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> table = table2_result(Experiment(log), TABLE_2_LINEUP[:3])["paper"]["tables"][0]
    >>> [line["labels"][0] for line in table["lines"]], [column["heading"] for column in table["columns"]]
    (['POP', 'SPOP', 'MARKOV-1'], ['MAP', 'PREC', 'REC', 'HR', 'MRR'])
    """
    result = compare_entries(entries, experiment)
    methods = sorted(result["methods"], key=lambda method: -method["metrics"][SORTED_BY]["value"])
    labels = [called(method) for method in methods]
    table = PaperTable(
        title=f"Table 2 of {experiment.name}, lists of {K}, sorted by REC",
        headings=("Method",),
        columns=tuple(
            Column(heading, "metric", metric=f"{metric}@{K}", best=True) for heading, metric in METRICS.items()
        ),
        lines=tuple(
            Line((label,), tuple(metric_cell(method, f"{metric}@{K}") for metric in METRICS.values()))
            for label, method in zip(labels, methods, strict=True)
        ),
        notes=(*size_notes(result), *([RNN_NOTE] if any("-RNN-" in label for label in labels) else [])),
    )
    return with_tables(result, "Table 2", experiment.name, [table], [_printed(labels)])


def _printed(labels: Sequence[str]) -> Printed:
    missing = ("–",) * len(TABLE_2_COLUMNS)
    return Printed(
        source="Table 2",
        data="the paper's RSC15/64 and RR/5",
        headings=("Method",),
        columns=tuple((dataset, heading) for dataset in TABLE_2 for heading in TABLE_2_COLUMNS),
        lines=tuple(
            ((label,), tuple(text for rows in TABLE_2.values() for text in rows.get(label, missing)))
            for label in labels
        ),
        notes=("rows in the order of the table above; –: not in the paper, or not legible in the copy used",),
    )

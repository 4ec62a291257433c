"""Tables 1 to 3, Figure 1 and the counts of §5.5 for any log, as plain data: ours, and apart from them the paper's.

Tables 2, 3 and §5.5 are made from the result of a comparison of their rows, see `paper.lineup`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.data.statistics import RECURRING_BINS
from nearnext.experiments.paper.lineup import COVERAGE, ENCODERS, PRESETS, TABLE_1, TABLE_2, TABLE_2_COLUMNS, TABLE_3, K
from nearnext.experiments.result import Result
from nearnext.experiments.single import statistics_result
from nearnext.recommenders.named import method_name

PAPER = "Twardowski, Zawistowski, Zaborowski, Metric Learning for Session-based Recommendations, arXiv:2101.02655"
"""Where the figures marked as the paper's are from."""

COUNTED = ("items", "sessions", "events")

LONGEST = 15
"""Longer sessions share the last class of Figure 1; the paper's models see 15 clicks."""

NOT_PRINTED = "the paper draws its Figure 1 without printing numbers: there are none to compare with"
RNN_NOTE = "RNN: with GRU cells, as in the paper (§5.2); here the encoder is called gru"

SIZES: Mapping[str, str] = {
    "dim": "dimension",
    "filters": "filters",
    "epochs": "epochs at most",
    "batch_size": "batches of",
    "n_sample": "extra negatives",
}
"""Options that tell how large a trained method is, and how long it trains."""

TABLE_2_METRICS = dict(zip(TABLE_2_COLUMNS, ("MAP", "Precision", "Recall", "HitRate", "MRR"), strict=True))
TABLE_3_METRICS = {"REC@20": f"Recall@{K}", "MRR@20": f"MRR@{K}"}
TABLE_3_HEADINGS = ("Comm. Emb.", "Sampler", "Loss")
COVERAGE_METRICS = {"of catalogue": "Coverage", "Gini": "Gini", "popularity": "Popularity", "REC": "Recall"}

Row = tuple[tuple[str, ...], Sequence[Result]]
"""The labels of a row, and its cells."""


def _column(heading: str, kind: str, metric: str = "", *, group: str = "", best: bool = False) -> Result:
    """A column of a ``metric`` or ``share`` in [0, 1], or of a ``count``; ``best``: the highest value is marked."""
    return {"heading": heading, "kind": kind, "group": group, "metric": metric, "best": best}


def _cell(value: float | None, low: float | None = None, high: float | None = None, before: Any = None) -> Result:
    """A value with its 95% interval, or the same before preprocessing."""
    return {"value": value, "low": low, "high": high, "before": before}


def _metric_cell(method: Mapping[str, Any], metric: str) -> Result:
    return _cell(*(method["metrics"][metric][part] for part in ("value", "low", "high")))


def _table(
    title: str, headings: Sequence[str], columns: Iterable[Result], rows: Iterable[Row], notes: Sequence[str] = ()
) -> Result:
    lines = [{"labels": labels, "cells": cells} for labels, cells in rows]
    return {"title": title, "headings": headings, "columns": list(columns), "lines": lines, "notes": list(notes)}


def _printed(
    source: str,
    data: str,
    headings: Sequence[str],
    columns: Iterable[tuple[str, str]],
    lines: Iterable[tuple[tuple[str, ...], tuple[str, ...]]],
    note: str = "",
) -> Result:
    """What the paper prints, as texts; columns have a group and a heading, lines labels and texts."""
    own = {"source": source, "data": data, "headings": headings}
    return {**own, "columns": list(columns), "lines": list(lines), "notes": [note] if note else []}


def _with_tables(result: Result, name: str, log: str, tables: list[Result], printed: Sequence[Result] = ()) -> Result:
    paper = {"name": name, "log": log, "source": PAPER, "tables": tables, "printed": list(printed)}
    return {**result, "paper": paper}


def table1_result(log: Sessions, chosen: Filter, *, name: str = "log", **context: Any) -> Result:
    """The statistics of a log with the paper's Table 1. The filter sees the whole log: nothing is predicted here."""
    result = statistics_result(log, chosen, **context)
    before, after = result["table1"]["before"], result["table1"]["after"]
    table = _table(
        f"Table 1 of {name}: after and (before) preprocessing",
        ["Dataset"],
        [_column(what.capitalize(), "count") for what in COUNTED],
        [((name,), [_cell(after[what], before=before[what]) for what in COUNTED])],
        [_filter_note(chosen)],
    )
    columns = [("", what.capitalize()) for what in COUNTED]
    lines = [((dataset,), texts) for dataset, texts in TABLE_1.items()]
    printed = _printed("Table 1", "the paper's data sets", ["Dataset"], columns, lines)
    return _with_tables(result, "Table 1", name, [table], [printed])


def figure1_result(log: Sessions, chosen: Filter, *, name: str = "log", **context: Any) -> Result:
    """The statistics of a log with the paper's Figure 1 as two tables, of the filtered log."""
    result = statistics_result(log, chosen, **context)
    lengths, recurring = result["figure1"]["lengths"], result["figure1"]["recurring"]
    last = min(LONGEST, len(lengths) - 1)
    shares = {str(length): lengths[length] for length in range(chosen.min_length, last)}
    shares[f"{last}+" if len(lengths) > last + 1 else str(last)] = sum(lengths[last:])
    columns = [_column("share of sessions", "share")]
    left = _table(
        f"Figure 1 (left) of {name}: session length",
        ["clicks"],
        columns,
        [((label,), [_cell(share)]) for label, share in shares.items()],
    )
    right = _table(
        f"Figure 1 (right) of {name}: recurring items",
        ["share of a session's clicks that return to an item"],
        columns,
        [((label,), [_cell(share)]) for label, share in zip(RECURRING_BINS, recurring, strict=True)],
        [_filter_note(chosen), NOT_PRINTED],
    )
    return _with_tables(result, "Figure 1", name, [left, right])


def _filter_note(chosen: Filter) -> str:
    least = f"sessions of at least {chosen.min_length} clicks, items of at least {chosen.min_support} clicks"
    text = f"{least} in the whole log"
    return f"{text}, of each session the last {chosen.max_length} clicks" if chosen.max_length else text


def size_notes(result: Result) -> list[str]:
    """Which preset was run, and how large the trained methods are in it."""
    by_size: dict[str, list[str]] = {}
    for method in result["methods"]:
        params = method["params"]
        sizes = [f"{what} {params[name]}" for name, what in SIZES.items() if name in params]
        if sizes:
            by_size.setdefault(", ".join(sizes), []).append(method_name(method))
    many = len(by_size) == 1 and len(next(iter(by_size.values()))) > 2  # noqa: PLR2004 - two fit a line
    notes = [f"{'every trained model' if many else ', '.join(labels)}: {sizes}" for sizes, labels in by_size.items()]
    return ["; ".join([PRESETS[result["protocol"]["preset"]], *notes])]


def _is_quick(result: Result) -> bool:
    """Whether the methods are too small to be ranked by their own figures."""
    return result["protocol"]["preset"] == "quick"


def _ranked(result: Result, metric: str) -> list[Result]:
    """The methods by a falling metric; of a quick run in the order of the paper's RSC15/64, which it may not change."""
    order = list(TABLE_2["RSC15/64"])

    def rank(method: Result) -> float:
        if _is_quick(result):
            return order.index(method_name(method)) if method_name(method) in order else len(order)
        return -float(method["metrics"][metric]["value"])

    return sorted(result["methods"], key=rank)


def table2_result(result: Result, name: str = "log") -> Result:
    """A comparison with the paper's Table 2: MAP, PREC, REC, HR and MRR at 20, sorted by REC."""
    methods = _ranked(result, f"Recall@{K}")
    metrics = {heading: f"{metric}@{K}" for heading, metric in TABLE_2_METRICS.items()}
    labels = [method_name(method) for method in methods]
    order = "in the order of the paper's RSC15/64" if _is_quick(result) else "sorted by REC"
    table = _table(
        f"Table 2 of {name}, lists of {K}, {order}",
        ["Method"],
        [_column(heading, "metric", metric, best=True) for heading, metric in metrics.items()],
        [((method_name(method),), [_metric_cell(method, metric) for metric in metrics.values()]) for method in methods],
        [*size_notes(result), *([RNN_NOTE] if any("-RNN-" in label for label in labels) else [])],
    )
    missing = ("–",) * len(metrics)
    printed = _printed(
        "Table 2",
        "the paper's RSC15/64 and RR/5",
        ["Method"],
        [(dataset, heading) for dataset in TABLE_2 for heading in TABLE_2_COLUMNS],
        [((each,), tuple(text for rows in TABLE_2.values() for text in rows.get(each, missing))) for each in labels],
        "rows in the order of the table above; –: not in the paper, or not legible in the copy used",
    )
    return _with_tables(result, "Table 2", name, [table], [printed])


def table3_result(result: Result, name: str = "log") -> Result:
    """A comparison with the paper's Table 3: REC@20 and MRR@20 of every variant, sorted by REC of the first encoder."""
    found = {tuple(method_name(method).split(" ", 3)): method for method in result["methods"]}
    encoders = list(dict.fromkeys(encoder for encoder, *_ in found))
    columns = [(encoder, heading, metric) for encoder in encoders for heading, metric in TABLE_3_METRICS.items()]
    lines = [
        (labels, [_metric_cell(found[encoder, *labels], metric) for encoder, _, metric in columns])
        for labels in dict.fromkeys((common, sampler, loss) for _, common, sampler, loss in found)
    ]
    if not _is_quick(result):
        lines.sort(key=lambda line: -(line[1][0]["value"] or 0.0))
    order = "in the paper's order" if _is_quick(result) else f"sorted by REC@{K} of {encoders[0]}"
    note = "N: L2 normalisation, M: margin 0.3, S: swap; SW: sliding window, Pos-Neg: random split of a session; "
    table = _table(
        f"Table 3 of {name}, {order}",
        TABLE_3_HEADINGS,
        [_column(heading, "metric", metric, group=encoder, best=True) for encoder, heading, metric in columns],
        lines,
        [*size_notes(result), f"{note}RNN: with GRU cells, as in the paper (§5.2)"],
    )
    printed = _printed(
        "Table 3",
        "the paper's proprietary SI-T",
        TABLE_3_HEADINGS,
        [(encoder, heading) for encoder in ENCODERS for heading in TABLE_3_METRICS],
        [(labels, TABLE_3[labels]) for labels, _ in lines],
        "rows in the order of the table above",
    )
    return _with_tables(result, "Table 3", name, [table], [printed])


def coverage_result(result: Result, name: str = "log") -> Result:
    """A comparison with the counts of the paper's §5.5: unique items recommended by each method, most first."""
    items = result["data"]["train"]["items"]
    metrics = {heading: f"{metric}@{K}" for heading, metric in COVERAGE_METRICS.items()}
    kinds = {"of catalogue": "share"}
    table = _table(
        f"Unique items recommended in lists of {K} (§5.5), of {items:,} items of {name}",
        ["Method"],
        [
            _column("unique items", "count"),
            *(_column(each, kinds.get(each, "metric"), metric, best=each == "REC") for each, metric in metrics.items()),
        ],
        [
            (
                (method_name(method),),
                [
                    _cell(round(method["metrics"][f"Coverage@{K}"]["value"] * items)),
                    *(_metric_cell(method, metric) for metric in metrics.values()),
                ],
            )
            for method in _ranked(result, f"Coverage@{K}")
        ],
        [
            *size_notes(result),
            "unique items, their share and the Gini index are counts over all lists: they have no interval",
        ],
    )
    printed = _printed(
        "§5.5",
        "the paper's data sets, a sample run",
        ["Dataset"],
        [("", "VSKNN"), ("", "SML"), ("", "items (Table 1)")],
        [((dataset,), texts) for dataset, texts in COVERAGE.items()],
        "the paper does not say which SML method was counted",
    )
    return _with_tables(result, "§5.5", name, [table], [printed])

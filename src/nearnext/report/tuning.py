"""What tuning found, as rows and tables: of the methods of a comparison, and of the trials of one method."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from nearnext.report.comparison import method_name
from nearnext.report.numbers import compact, count, duration, fixed, plain

SHOWN_TRIALS = 5
"""Trials in the table of one method, besides the one that the search began with."""


class TunedRow(NamedTuple):
    """One method: what its tuning cost, and what it brought on the validation period."""

    name: str
    trials: str
    time: str
    start: str
    best: str
    options: str


def tuned_rows(result: Mapping[str, Any]) -> list[TunedRow]:
    """A row for each method of a comparison that was tuned."""
    return [_row(method_name(method), method["tuning"]) for method in result["methods"] if method.get("tuning")]


def _row(name: str, tuned: Mapping[str, Any]) -> TunedRow:
    used = tuned["used"]
    others = [f"{count(used[state])} {state}" for state in ("pruned", "failed") if used[state]]
    return TunedRow(
        name=name,
        trials=count(used["trials"]) + (f" ({', '.join(others)})" if others else ""),
        time=duration(used["seconds"]),
        start=fixed(tuned["start_figure"]),
        best=fixed(tuned["best_figure"]),
        options="; ".join(filter(None, (plain(dict(tuned["options"])) if tuned["options"] else "", tuned["note"]))),
    )


def tuning_table(result: Mapping[str, Any]) -> Table:
    """The methods of a tuned comparison: trials, time, and the tuned metric before and after."""
    metric = next((method["tuning"]["metric"] for method in result["methods"] if method.get("tuning")), "")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"validation {metric}", title_justify="left")
    table.add_column("method", overflow="fold")
    for heading in ("trials", "time", "before", "tuned"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("chosen options", overflow="fold")
    for row in tuned_rows(result):
        table.add_row(*(Text(text) for text in row))
    return table


def trials_table(tuned: Mapping[str, Any]) -> Table:
    """The best trials of one method, and the one that the search began with."""
    metric = str(tuned["metric"])
    names, _, k = metric.partition("@")
    parts = [f"{name}@{k}" for name in names.split("+")]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("trial", metric, *(parts if len(parts) > 1 else ()), "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("options", overflow="fold")
    for trial in _shown(tuned["trials"]):
        named = f"{trial['number']} (start)" if trial["number"] == 0 else str(trial["number"])
        figures = [fixed(trial["figures"].get(part)) for part in (parts if len(parts) > 1 else ())]
        row = (named, fixed(trial["figure"]), *figures, compact(trial["seconds"]), plain(dict(trial["options"])))
        table.add_row(*(Text(text) for text in row))
    return table


def _shown(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    complete = [trial for trial in trials if trial["figure"] is not None]
    best = sorted(complete, key=lambda trial: (-trial["figure"], trial["number"]))[:SHOWN_TRIALS]
    return best + [trial for trial in complete if trial["number"] == 0 and trial not in best]

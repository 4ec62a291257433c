"""Figure 1: how long sessions are, and how much of a session returns to items already clicked in it."""

from collections.abc import Mapping
from typing import Any

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.data.statistics import RECURRING_BINS
from nearnext.experiments.paper.layout import Cell, Column, Line, PaperTable, with_tables
from nearnext.experiments.paper.table1 import filter_note
from nearnext.experiments.result import Result
from nearnext.experiments.single import statistics_result

LONGEST = 15
"""Longer sessions share the last class; the paper's models see 15 clicks."""

NOT_PRINTED = "the paper draws its Figure 1 without printing numbers: there are none to show beside these"


def figure1_result(
    log: Sessions, chosen: Filter, *, name: str = "log", reading: Mapping[str, Any] | None = None, command: str = ""
) -> Result:
    """The statistics of a log with the paper's Figure 1 as two tables, of the filtered log.

    >>> log = Sessions.of([["a", "b", "a", "a"], ["a", "b"]])
    >>> left, right = figure1_result(log, Filter())["paper"]["tables"]
    >>> [(line["labels"], line["cells"][0]["value"]) for line in left["lines"]]
    [(('2',), 0.5), (('3',), 0.0), (('4',), 0.5)]
    >>> right["lines"][0]["cells"][0]["value"]
    0.5
    """
    result = statistics_result(log, chosen, reading=reading, command=command)
    lengths, recurring = result["figure1"]["lengths"], result["figure1"]["recurring"]
    last = min(LONGEST, len(lengths) - 1)
    shares = {str(length): lengths[length] for length in range(chosen.min_length, last)}
    shares[f"{last}+" if len(lengths) > last + 1 else str(last)] = sum(lengths[last:])
    columns = (Column("share of sessions", "share"),)
    left = PaperTable(
        title=f"Figure 1 (left) of {name}: session length",
        headings=("clicks",),
        columns=columns,
        lines=tuple(Line((label,), (Cell(share),)) for label, share in shares.items()),
    )
    right = PaperTable(
        title=f"Figure 1 (right) of {name}: recurring items",
        headings=("share of a session's clicks that return to an item",),
        columns=columns,
        lines=tuple(Line((label,), (Cell(share),)) for label, share in zip(RECURRING_BINS, recurring, strict=True)),
        notes=(filter_note(chosen), NOT_PRINTED),
    )
    return with_tables(result, "Figure 1", name, [left, right], [])

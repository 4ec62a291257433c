"""Table 1: items, sessions and events of a log, after and (before) preprocessing."""

from collections.abc import Mapping
from typing import Any

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.experiments.paper.layout import Cell, Column, Line, PaperTable, Printed, with_tables
from nearnext.experiments.paper.printed import TABLE_1
from nearnext.experiments.result import Result
from nearnext.experiments.single import statistics_result

COUNTED = ("items", "sessions", "events")


def table1_result(
    log: Sessions, chosen: Filter, *, name: str = "log", reading: Mapping[str, Any] | None = None, command: str = ""
) -> Result:
    """The statistics of a log with the paper's Table 1. The filter sees the whole log: nothing is predicted here.

    >>> log = Sessions.of([["a", "b"], ["a", "b"], ["c"]])
    >>> row = table1_result(log, Filter(min_length=2))["paper"]["tables"][0]["lines"][0]
    >>> [(cell["value"], cell["before"]) for cell in row["cells"]]
    [(2, 3), (2, 3), (4, 5)]
    """
    result = statistics_result(log, chosen, reading=reading, command=command)
    before, after = result["table1"]["before"], result["table1"]["after"]
    table = PaperTable(
        title=f"Table 1 of {name}: after and (before) preprocessing",
        headings=("Dataset",),
        columns=tuple(Column(what.capitalize(), "count") for what in COUNTED),
        lines=(Line((name,), tuple(Cell(after[what], before=before[what]) for what in COUNTED)),),
        notes=(filter_note(chosen),),
    )
    printed = Printed(
        source="Table 1",
        data="the paper's data sets",
        headings=("Dataset",),
        columns=tuple(("", what.capitalize()) for what in COUNTED),
        lines=tuple(((dataset,), texts) for dataset, texts in TABLE_1.items()),
    )
    return with_tables(result, "Table 1", name, [table], [printed])


def filter_note(chosen: Filter) -> str:
    """The filter of the whole log in words.

    >>> filter_note(Filter(min_length=2, min_support=5))
    'sessions of at least 2 clicks, items of at least 5 clicks in the whole log'
    """
    least = f"sessions of at least {chosen.min_length} clicks, items of at least {chosen.min_support} clicks"
    text = f"{least} in the whole log"
    return f"{text}, of each session the last {chosen.max_length} clicks" if chosen.max_length else text

"""A table as the paper lays it out, as plain values: ours, and what the paper prints, apart from one another."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nearnext.experiments.result import Result

PAPER = "Twardowski, Zawistowski, Zaborowski, Metric Learning for Session-based Recommendations, arXiv:2101.02655"
"""Where the figures marked as the paper's are from."""


@dataclass(frozen=True)
class Column:
    """One column of values.

    Attributes:
        heading: as in the paper, such as ``REC``.
        kind: ``metric`` and ``share`` are in [0, 1], ``count`` is a whole number.
        group: what several columns share, such as the encoder.
        metric: the metric's name here, such as ``Recall@20``.
        best: whether the highest value is the best one.
    """

    heading: str
    kind: Literal["metric", "share", "count"]
    group: str = ""
    metric: str = ""
    best: bool = False


@dataclass(frozen=True)
class Cell:
    """One value, with its 95% interval where it has one, and the same before preprocessing where that is shown."""

    value: float | None
    low: float | None = None
    high: float | None = None
    before: float | None = None


@dataclass(frozen=True)
class Line:
    """One row: its labels, and a cell per column."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Printed:
    """Figures that the paper prints, as printed; never of the log at hand.

    Attributes:
        source: the table or section.
        data: the paper's data sets that they are of.
        headings: of the labels.
        columns: group and heading of each column.
        lines: labels and texts of each row, ``–`` where the paper has no figure.
        notes: what a reader must know of them.
    """

    source: str
    data: str
    headings: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    lines: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PaperTable:
    """A table of this log in the paper's layout.

    Attributes:
        title: what it shows.
        headings: of the labels.
        columns: of the values.
        lines: rows in the order in which they are shown.
        notes: what a reader must know of them.
    """

    title: str
    headings: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def metric_cell(method: Mapping[str, Any] | None, metric: str) -> Cell:
    """One metric of one method of a comparison, with its interval; empty where there is none.

    >>> metric_cell({"metrics": {"MRR@20": {"value": 0.5, "low": 0.4, "high": 0.6}}}, "MRR@20")
    Cell(value=0.5, low=0.4, high=0.6, before=None)
    """
    found = (method or {}).get("metrics", {}).get(metric)
    return Cell(None) if found is None else Cell(found["value"], found["low"], found["high"])


def with_tables(
    result: Result, name: str, log: str, tables: Sequence[PaperTable], printed: Sequence[Printed]
) -> Result:
    """A result with its tables: ``paper`` holds the name of the table, that of the log, our tables and the paper's.

    >>> with_tables({}, "Table 1", "clicks", [], [])["paper"]["log"]
    'clicks'
    """
    return {
        **result,
        "paper": {
            "name": name,
            "log": log,
            "source": PAPER,
            "tables": [asdict(table) for table in tables],
            "printed": [asdict(table) for table in printed],
        },
    }

"""Numbers as a reader wants them, and tables as Markdown, LaTeX or CSV with the marks of the terminal tables."""

import csv
import io
import math
import re
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from rich.table import Table
from rich.text import Text

from nearnext.options import require_known

ABSENT = "–"
"""What stands where a number is not known."""

Mark = Literal["", "best", "second"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, HOUR = 60, 3600
TEN, THOUSAND = 10, 1000


def fixed(value: float | None) -> str:
    """A metric's value with four digits after the point."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.4f}"


def count(value: float | None) -> str:
    """A whole number with its thousands set apart."""
    return ABSENT if value is None or math.isnan(value) else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage."""
    return ABSENT if share is None or math.isnan(share) else f"{100 * share:.1f}%"


def compact(value: float | None) -> str:
    """A rate, size or time with three significant digits or so, whatever its size.

    >>> compact(0.01234), compact(3.14159), compact(31.4159), compact(31415.9)
    ('0.012', '3.14', '31.4', '31,416')
    """
    if value is None or math.isnan(value):
        return ABSENT
    if abs(value) >= THOUSAND:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= TEN else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """A length of time."""
    if seconds is None or math.isnan(seconds):
        return ABSENT
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"


def moment(time: int | str | None) -> str:
    """A time of the log in UTC, from microseconds since 1970 or from text, which stays as it is.

    >>> moment(1_439_974_903_000_000), moment("2015-08-19"), moment(None)
    ('2015-08-19 09:01 UTC', '2015-08-19', '–')
    """
    if time is None:
        return ABSENT
    if isinstance(time, str):
        return time
    try:
        return f"{EPOCH + timedelta(microseconds=time):%Y-%m-%d %H:%M} UTC"
    except OverflowError:
        return f"{time / 1e6:.0f} s since 1970"


def plain(value: Any) -> str:
    """Any value of a result as one line of text.

    >>> plain({"k": [5, 10], "strict": True, "device": None})
    'k: 5, 10; strict: yes; device: –'
    """
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return "; ".join(f"{key}: {plain(each)}" for key, each in named.items()) or ABSENT
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(each) for each in cast("list[Any]", value)) or ABSENT
    if value is None or value == "":
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def command_lines(command: str) -> str:
    r"""A command as a shell takes it over several lines, an option on each.

    >>> print(command_lines("nearnext compare log.csv --k 5 --column 'item=the id'"))
    nearnext compare log.csv \
      --k 5 \
      --column 'item=the id'
    """
    try:
        words = shlex.split(command)
    except ValueError:  # not from a shell
        return command
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--") and lines[-1]:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n  ".join(" ".join(line) for line in lines)


def marks(values: Sequence[float | None]) -> list[Mark]:
    """Which values are the highest and the second highest as they are shown; equal ones share a mark."""
    shown = [None if value is None or math.isnan(value) else round(value, 4) for value in values]
    highest = sorted({value for value in shown if value is not None}, reverse=True)
    names: dict[float | None, Mark] = dict(zip(highest, ("best", "second"), strict=False))
    return [names.get(value, "") for value in shown]


WIDEST = 100_000
"""Terminal width at which every column of a table fits."""

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}

SPREAD = " ±"
"""Separator between a value and its deviation, or half of its interval."""


def formatted(tables: Sequence[Table], form: str) -> str:
    r"""Tables one after another as text; as CSV the first one, with further columns of those about the same rows.

    >>> table = Table("method", "HitRate\n@20")
    >>> table.add_row("vsknn", Text.assemble((".6933", "bold")))
    >>> print(formatted([table], "markdown"), end="")
    | method | HitRate@20 |
    |---|---:|
    | vsknn | **.6933** |
    """
    require_known("format of tables", form, FORMATS)
    return "\n".join(FORMATS[form](table) for table in ([_joined(tables)] if form == "csv" else tables))


def _joined(tables: Sequence[Table]) -> Table:
    """The first table, with the further columns of tables that have the same first column."""
    first, *others = tables
    joined = Table(*first.columns)
    for table in others:
        if [cell.plain for cell, *_ in _cells(table)] == [cell.plain for cell, *_ in _cells(first)]:
            known = _headings(joined)
            joined.columns.extend(
                column for name, column in zip(_headings(table), table.columns, strict=True) if name not in known
            )
    return joined


def _markdown(table: Table) -> str:
    def escaped(text: str) -> str:
        return re.sub(r"([|*<])", r"\\\1", text)

    marks = {"bold": "**{}**", "underline": "<u>{}</u>"}
    rows = [list(map(escaped, _headings(table))), *([_marked(c, marks, escaped) for c in row] for row in _cells(table))]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"|---|{'---:|' * (len(table.columns) - 1)}")
    title, notes = _around(table)
    return "\n".join([*([f"**{title}**", ""] if title else []), *lines, *(["", notes] if notes else [])]) + "\n"


def _latex(table: Table) -> str:
    def escaped(text: str) -> str:
        return "".join(LATEX.get(character, character) for character in text)

    marks = {"bold": r"\textbf{{{}}}", "underline": r"\underline{{{}}}"}
    lines = [
        *(f"% {line}" for line in _around(table) if line),
        f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        " & ".join(map(escaped, _headings(table))) + r" \\",
        r"\midrule",
        *(" & ".join(_marked(cell, marks, escaped) for cell in row) + r" \\" for row in _cells(table)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _csv(table: Table) -> str:
    """CSV: the part after ± becomes its own column; plain numbers without thousands separators, gaps are empty."""
    headings, rows = _headings(table), [[cell.plain.partition(SPREAD) for cell in row] for row in _cells(table)]
    spread = [any(row[at][1] for row in rows) for at in range(len(headings))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for at, each in enumerate(headings) for name in (each, f"{each} ±")[: 1 + spread[at]]])
    for row in rows:
        parts = [part for at, (value, _, around) in enumerate(row) for part in (value, around)[: 1 + spread[at]]]
        writer.writerow([_number(part) for part in parts])
    return out.getvalue()


def _number(text: str) -> str:
    """The text; numbers in a form that other programs parse, gaps empty."""
    if text == "–":
        return ""
    text = re.sub(r"^\((\d[^()]*)\)$", r"\1", text)
    return re.sub(r"^\.(?=\d)", "0.", text.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", text) else text)


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": _markdown, "latex": _latex, "csv": _csv}
"""The formats by name."""


def _headings(table: Table) -> list[str]:
    return [str(column.header).replace("\n@", "@").replace("\n", " ") for column in table.columns]


def _cells(table: Table) -> list[list[Text]]:
    columns = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in each.cells] for each in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _marked(cell: Text, marks: dict[str, str], escaped: Callable[[str], str]) -> str:
    """The text of a cell, what is marked in the terminal marked here."""
    for span in cell.spans:
        if str(span.style) in marks:
            marked = marks[str(span.style)].format(escaped(cell.plain[span.start : span.end]))
            return escaped(cell.plain[: span.start]) + marked + escaped(cell.plain[span.end :])
    return escaped(cell.plain)


def _around(table: Table) -> tuple[str, str]:
    """Title and caption of a table, on a line each."""
    title, caption = (" ".join(str(text or "").split()) for text in (table.title, table.caption))
    return title, caption

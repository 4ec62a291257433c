"""Tables as Markdown, LaTeX or CSV, with the columns, values and marks of the terminal tables."""

import csv
import io
import re
from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from nearnext.options import require_known

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
    r"""Tables one after another as text; of CSV, where one table is a file, the first.

    >>> table = Table("method", "HitRate\n@20")
    >>> table.add_row("vsknn", Text.assemble((".6933", "bold")))
    >>> print(formatted([table], "markdown"), end="")
    | method | HitRate@20 |
    |---|---:|
    | vsknn | **.6933** |
    """
    require_known("format of tables", form, FORMATS)
    return "\n".join(FORMATS[form](table) for table in (tables[:1] if form == "csv" else tables))


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

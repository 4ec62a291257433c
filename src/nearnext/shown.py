"""Notebook display: a title and the first rows of a frame."""

import re
from html import escape
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import polars as pl

ROWS = 10
"""Rows that a notebook shows."""

LONGEST = 100
"""Characters of a title that are shown, at most, with the ellipsis."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Shown:
    """Base class of values with a ``title()`` and a frame, ``to_frame()``, that notebooks display as a small table."""

    def _repr_html_(self: Any) -> str:
        return card(self.title(), self.to_frame().head(ROWS))


def card(title: str, frame: "pl.DataFrame") -> str:
    """A title over a table of all rows, as HTML.

    >>> import polars as pl
    >>> card("1 < 2", pl.DataFrame({"a": ["x & y", None], "b": [0.5, 1e-9]})).partition("<tbody>")[2]
    '<tr><td>x &amp; y</td><td>0.5</td></tr><tr><td></td><td>1e-09</td></tr></tbody></table></div>'
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in frame.columns)
    rows = ("".join(f"<td>{escape(text(value))}</td>" for value in row) for row in frame.iter_rows())
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<div><b>{escape(title)}</b><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def shortened(title: str) -> str:
    r"""A title as one line without control characters, of at most `LONGEST` characters.

    >>> shortened("Tent,\n  \x1b[1mgreen"), shortened("Tent " * 50)[-6:]
    ('Tent, [1mgreen', ' Tent…')
    """
    line = " ".join(CONTROL.sub(" ", title).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1].rstrip()}…"


def text(value: Any) -> str:
    """A value as options are written: several separated by commas, nothing for none.

    >>> text(True), text([64, 32]), text(None), text(0.1 + 0.2)
    ('true', '64,32', '', '0.3')
    """
    if isinstance(value, list | tuple):
        return ",".join(map(text, cast("list[Any]", value)))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

"""Notebook display: a title and the first rows of a frame."""

from html import escape
from typing import Protocol

import polars as pl

ROWS = 10
"""Rows that a notebook shows."""


class Framed(Protocol):
    """A value with a title and a frame."""

    def to_frame(self) -> pl.DataFrame:
        """Its rows."""
        ...

    def title(self) -> str:
        """A one-line title."""
        ...


class Shown:
    """Base class of values that notebooks display as a small table."""

    def _repr_html_(self: Framed) -> str:
        return card(self.title(), self.to_frame().head(ROWS))


def card(title: str, frame: pl.DataFrame) -> str:
    """A title over a table, as HTML.

    >>> "<b>1 &lt; 2</b>" in card("1 < 2", pl.DataFrame({"a": [1]}))
    True
    """
    with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        return f"<div><b>{escape(title)}</b>{frame._repr_html_()}</div>"  # pyright: ignore[reportPrivateUsage]

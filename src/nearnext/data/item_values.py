"""Parse values of an item table: numbers, categories, dates and vectors; unreadable values are missing and counted."""

import numpy as np
import polars as pl

from nearnext.data.ids import BLANKS, NO_ID
from nearnext.data.times import Clock
from nearnext.errors import DataError

SEPARATOR = "|"
"""Separator of several categories in one text."""
ENGLISH, CONTINENTAL = r"^-?\d{1,3}(,\d{3})+(\.\d+)?$", r"^-?(\d+|\d{1,3}(\.\d{3})+),\d{1,2}$"
GROUPED = r"^-?\d{1,3}(['’ \u00a0\u202f]\d{3})+([.,]\d{1,2})?$"
CURRENCY = r"^(?:[A-Z]{3}\s*|[$€£¥]\s*)|(?:\s*[A-Z]{3}|\s*[$€£¥])$"

TRUTH = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}

Read = tuple[pl.Series, int]
"""A parsed column, null where missing, and the number of unreadable values."""


def text_of(raw: pl.Series) -> pl.Series:
    """Stripped text, null where it is empty or a missing-value marker."""
    if raw.dtype.is_nested() or raw.dtype == pl.Binary:
        raise DataError(f"expected text in the column {raw.name}, found {raw.dtype}; map another column")
    text = raw.cast(pl.String).str.strip_chars(BLANKS)
    return text.set(text.is_in(NO_ID), None)


def numbers_of(raw: pl.Series) -> Read:
    """Numbers, also as ``1,299.00``, ``1 299,00``, ``1'299``, ``12,50`` or ``€ 12.50``; ``true`` is 1, ``false`` 0.

    >>> numbers_of(pl.Series(["1,299.00", "1 299,50 €", "12,50", "€ 3", "True", "n/a?", ""]))[0].to_list()
    [1299.0, 1299.5, 12.5, 3.0, 1.0, None, None]
    """
    if raw.dtype.is_numeric() or raw.dtype == pl.Boolean:
        numbers = raw.cast(pl.Float64)
        missing = numbers.is_null() | numbers.is_nan().fill_null(True)
    else:
        text = text_of(raw)
        missing = text.is_null()
        column = pl.col("text").str.replace_all(CURRENCY, "")
        blanks = column.str.replace_all(r"['’ \u00a0\u202f]", "").str.replace(",", ".", literal=True)
        plain = (
            pl.when(column.str.contains(GROUPED))
            .then(blanks)
            .when(column.str.contains(ENGLISH))
            .then(column.str.replace_all(",", "", literal=True))
            .when(column.str.contains(CONTINENTAL))
            .then(column.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True))
            .otherwise(column.replace(TRUTH))
        )
        numbers = text.to_frame("text").select(plain.cast(pl.Float64, strict=False))["text"]
    numbers = numbers.set(~numbers.is_finite().fill_null(False), None).alias(raw.name)
    return numbers, numbers.null_count() - int(missing.sum())


def categories_of(raw: pl.Series, prefix: str = "") -> pl.Series:
    """Lists of distinct categories, from a list column or a text split at ``|``.

    >>> categories_of(pl.Series(["a | b", "", "a"])).to_list()
    [['a', 'b'], [], ['a']]
    """
    if isinstance(raw.dtype, pl.List | pl.Array):
        lists = raw.cast(pl.List(pl.String))
    elif raw.dtype.is_nested():
        raise DataError(f"expected categories in the column {raw.name}, found {raw.dtype}; map another column")
    else:
        whole = raw.dtype.is_float() and bool(((raw == raw.round()) | raw.is_nan()).fill_null(True).all())
        given = raw.fill_nan(None).cast(pl.Int64) if whole else raw  # pandas: integers with gaps are floats
        lists = given.cast(pl.String).str.split(SEPARATOR)
    each = pl.element().str.strip_chars(BLANKS)
    kept = lists.list.eval(each.filter(each.is_not_null() & ~each.is_in(NO_ID)).unique(maintain_order=True))
    if prefix:
        kept = kept.list.eval(pl.lit(prefix) + pl.element())
    nothing = pl.lit([], dtype=pl.List(pl.String))
    filled = pl.when(pl.col("lists").is_null()).then(nothing).otherwise(pl.col("lists"))
    return kept.to_frame("lists").select(filled.alias(raw.name))[raw.name]


def dates_of(raw: pl.Series) -> Read:
    """Times as UTC datetimes; null (no limit) if unreadable or after 2099."""
    words = text_of(raw) if raw.dtype == pl.String else raw
    times = Clock().read(words)
    unusable = times.missing | times.unparsable | times.out_of_range
    found = pl.Series(raw.name, times.micros).cast(pl.Datetime("us", "UTC"))
    return found.set(pl.Series(unusable), None), int(np.count_nonzero(unusable & ~times.missing))


def vectors_of(raw: pl.Series) -> Read:
    """Vectors of one length; those of another length or with a non-finite number are missing."""
    lists = raw.cast(pl.List(pl.Float32), strict=False)
    missing = lists.is_null() | (lists.list.len() == 0).fill_null(True)
    if missing.all():
        return lists.set(missing, None), 0
    width = lists.filter(~missing).list.len().mode().max()
    number = pl.element()
    finite = lists.list.eval(number.is_finite().fill_null(False)).list.all()
    sound = (finite & (lists.list.len() == width)).fill_null(False) & ~missing
    return lists.set(~sound, None), int((~sound & ~missing).sum())

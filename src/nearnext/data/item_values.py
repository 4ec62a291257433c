"""Values of an item table: whole columns, and changed attributes of single items; unreadable values are missing."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import polars as pl

from nearnext.data.ids import BLANKS, NO_ID
from nearnext.data.item_columns import CATEGORY, VECTOR, ItemColumns
from nearnext.data.item_files import mixed
from nearnext.data.times import Clock
from nearnext.errors import ConfigError, DataError

SEPARATOR = "|"
"""Separator of several categories in one text."""
ENGLISH, CONTINENTAL = r"^-?\d{1,3}(,\d{3})+(\.\d+)?$", r"^-?(\d+|\d{1,3}(\.\d{3})+),\d{1,2}$"
GROUPED = r"^-?\d{1,3}(['’ \u00a0\u202f]\d{3})+([.,]\d{1,2})?$"
CURRENCY = r"^(?:[A-Z]{3}\s*|[$€£¥]\s*)|(?:\s*[A-Z]{3}|\s*[$€£¥])$"

MOSTLY = 0.95
"""A column without a role is numeric if at least this share of its values are numbers."""

TRUTH = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}

Read = tuple[pl.Series, int]
"""A parsed column, null where missing, and the number of unreadable values."""

Found = TypeVar("Found")


def read_as(what: str, read: Callable[[pl.Series], Found], raw: pl.Series) -> Found:
    """A column, read by one of the functions below; ``what`` it should hold is for the error.

    Raises:
        DataError: the type of the column holds no such values.
    """
    try:
        return read(raw)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"expected {what} in the column {raw.name}, found {raw.dtype}; convert it or map another column"
        ) from error


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


def mostly_numbers(raw: pl.Series) -> bool:
    """Whether a column without a role is numeric."""
    if raw.dtype.is_numeric() or raw.dtype == pl.Boolean:
        return True
    if raw.dtype != pl.String:
        return False
    numbers, unreadable = numbers_of(raw)
    known = len(numbers) - numbers.null_count()
    return known > 0 and known >= MOSTLY * (known + unreadable)


def categories_of(raw: pl.Series, prefix: str = "") -> pl.Series:
    """Lists of distinct categories, from a list column or a text split at ``|``.

    ``prefix``, the column's name and an equals sign, keeps columns apart. The first column has none: there, only
    categories with an equals sign of their own get one, ``category=``.

    >>> categories_of(pl.Series(["a | b", "", "a=b"])).to_list()
    [['a', 'b'], [], ['category=a=b']]
    """
    if isinstance(raw.dtype, pl.List | pl.Array) and not raw.explode().dtype.is_nested():
        lists = raw.cast(pl.List(pl.String))
    elif raw.dtype.is_nested():
        raise DataError(f"expected categories in the column {raw.name}, found {raw.dtype}; map another column")
    else:
        whole = raw.dtype.is_float() and bool(((raw == raw.round()) | raw.is_nan()).fill_null(True).all())
        given = raw.fill_nan(None).cast(pl.Int64) if whole else raw  # pandas: integers with gaps are floats
        lists = given.cast(pl.String).str.split(SEPARATOR)
    each = pl.element().str.strip_chars(BLANKS)
    kept = lists.list.eval(each.filter(each.is_not_null() & ~each.is_in(NO_ID)).unique(maintain_order=True))
    marked = pl.lit(prefix or f"{CATEGORY}=") + pl.element()
    alone = pl.lit(bool(prefix)) | pl.element().str.contains("=", literal=True)
    kept = kept.list.eval(pl.when(alone).then(marked).otherwise(pl.element()))
    nothing = pl.lit([], dtype=pl.List(pl.String))
    filled = pl.when(pl.col("lists").is_null()).then(nothing).otherwise(pl.col("lists"))
    return kept.to_frame("lists").select(filled.alias(raw.name))[raw.name]


def dates_of(raw: pl.Series) -> Read:
    """Times as UTC datetimes; null (no limit) if unreadable or after 2099."""
    words = text_of(raw) if raw.dtype == pl.String else raw
    try:
        times = Clock().read(words)
    except DataError as error:
        raise DataError(f"the column {raw.name}: {error}") from error
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


DATE = pl.Datetime("us", "UTC")
WHAT: dict[Any, str] = {pl.String: "a text", pl.Float64: "a number", DATE: "a time"}

Attributes = Mapping[str, Any]
"""Values by column: of each category column by its own name, as in rules."""


def require_attributes(columns: ItemColumns, attributes: Attributes) -> None:
    """Check that every attribute names a column and can be read.

    Raises:
        ConfigError: an unknown name, or a value that cannot be read.
    """
    schema = columns.frame.schema
    known = [*columns.attributes, *(name for name in schema if schema[name] == VECTOR)]
    if unknown := [name for name in attributes if name not in known]:
        raise ConfigError(f"expected attributes of the item table, found '{unknown[0]}'; known: {', '.join(known)}")
    for name, value in attributes.items():
        unreadable = changed_rows(columns, columns.frame.clear(1), [{name: value}])[1]
        if unreadable:
            kind = schema.get(name)
            what = "categories" if kind is None else WHAT.get(kind, "numbers, as many as other items have")
            raise ConfigError(f"expected {what} as {name}, found {str(value)[:60]!r}")


def changed_rows(
    columns: ItemColumns, rows: pl.DataFrame, changes: Sequence[Attributes]
) -> tuple[pl.DataFrame, list[str]]:
    """Rows with some attributes replaced; null makes an attribute missing, and unknown names are ignored.

    Args:
        columns: of the table.
        rows: the attributes so far, with the columns of the table: [n].
        changes: new attributes of each row: [n].

    Returns:
        The rows, and the names of attributes with a value that cannot be read, which is then missing.
    """
    unreadable, found = list[str](), dict[str, pl.Series]()
    for name, kind in rows.schema.items():
        if name in ("item_id", "categories") or not any(name in one for one in changes):
            continue
        values = [one.get(name) for one in changes]
        read = _read(values, kind, columns.frame[name])
        if read.null_count() > sum(value is None for value in values):
            unreadable.append(name)
        found[name] = read.zip_with(pl.Series([name in one for one in changes]), rows[name])
    kinds = [CATEGORY, *columns.kinds]
    if "categories" in rows.columns and any(kind in one for one in changes for kind in kinds):
        found["categories"] = _categories(columns, rows["categories"].to_list(), changes, unreadable)
    return rows.with_columns(**found), unreadable


def _read(values: Sequence[Any], kind: Any, known: pl.Series) -> pl.Series:
    """Values as the column has them, null where one cannot be read."""

    def read(raw: pl.Series) -> pl.Series:
        if raw.dtype == pl.Null:
            return raw.cast(kind)
        if kind == pl.String:
            return text_of(raw)
        if kind == pl.Float64:
            return numbers_of(raw)[0]
        if kind != VECTOR:
            return dates_of(raw)[0]
        lists, width = vectors_of(raw)[0], known.list.len().max()
        return lists.set((lists.list.len() != width).fill_null(True), None)

    return _in_groups(values, kind, read)


def _in_groups(values: Sequence[Any], kind: Any, read: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Each value as `read` gives it alone, null where it fails; values of one form are read together."""
    groups, parts = dict[object, list[int]](), list[pl.Series]()
    for at, value in enumerate(values):
        groups.setdefault(_form(value, kind), []).append(at)
    for group in groups.values():
        try:
            parts.append(read(mixed([values[at] for at in group])))
        except (DataError, pl.exceptions.PolarsError):
            parts.append(pl.Series([None] * len(group), dtype=kind))
    return pl.concat(parts)[np.argsort(np.concatenate(list(groups.values())))]


def _form(value: Any, kind: Any) -> object:
    """What values share that are read together: their type, the length of a vector or of a date's text."""
    if isinstance(value, list):
        each = cast("list[Any]", value)
        return list, len(each) if kind == VECTOR else frozenset(map(type, each))
    return type(cast("object", value)), len(str(value)) if kind == DATE else None


def _categories(
    columns: ItemColumns, lists: Sequence[list[str] | None], changes: Sequence[Attributes], unreadable: list[str]
) -> pl.Series:
    """Categories with those of the named columns replaced."""
    starts = {kind: f"{kind}=" for kind in columns.kinds}
    found = list[list[str]]()
    for before, one in zip(lists, changes, strict=True):
        kinds = [
            next((kind for kind, start in starts.items() if value.startswith(start)), CATEGORY)
            for value in before or ()
        ]
        found.append([value for value, kind in zip(before or (), kinds, strict=True) if kind not in one])
    for name in (CATEGORY, *columns.kinds):
        given = [at for at, one in enumerate(changes) if one.get(name) is not None]
        if not given:
            continue
        kind, prefix = pl.List(pl.String), starts.get(name, "")
        read = _in_groups([changes[at][name] for at in given], kind, partial(categories_of, prefix=prefix))
        if read.null_count():
            unreadable.append(name)
        for at, values in zip(given, read.to_list(), strict=True):
            found[at] += values or []
    return pl.Series(found, dtype=pl.List(pl.String))

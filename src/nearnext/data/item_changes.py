"""Attributes of single items, given by name, as rows of an item table."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from nearnext.data.conditions import CATEGORY, VECTOR, ItemColumns
from nearnext.data.item_files import mixed
from nearnext.data.item_values import categories_of, dates_of, numbers_of, text_of, vectors_of
from nearnext.errors import ConfigError, DataError

WHAT: dict[Any, str] = {pl.String: "a text", pl.Float64: "a number", pl.Datetime("us", "UTC"): "a time"}

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
        found[name] = _chosen([name in one for one in changes], read, rows[name])
    kinds = [CATEGORY, *columns.kinds]
    if "categories" in rows.columns and any(kind in one for one in changes for kind in kinds):
        found["categories"] = _categories(columns, rows["categories"].to_list(), changes, unreadable)
    return rows.with_columns(**found), unreadable


def _read(values: Sequence[Any], kind: Any, known: pl.Series) -> pl.Series:
    """Values as the column has them, null where one cannot be read."""
    raw = mixed(values)
    try:
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
    except (DataError, pl.exceptions.PolarsError):
        return pl.Series([None] * len(values), dtype=kind)


def _chosen(given: Sequence[bool], new: pl.Series, old: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"given": given, "new": new, "old": old})
    return frame.select(pl.when("given").then("new").otherwise("old").alias("chosen"))["chosen"]


def _categories(
    columns: ItemColumns, lists: Sequence[list[str] | None], changes: Sequence[Attributes], unreadable: list[str]
) -> pl.Series:
    """Categories with those of the named columns replaced."""
    starts = {kind: f"{kind}=" for kind in columns.kinds}
    found = list[list[str]]()
    for before, one in zip(lists, changes, strict=True):
        kept = [
            value
            for value in before or ()
            if next((kind for kind, start in starts.items() if value.startswith(start)), CATEGORY) not in one
        ]
        for name in (CATEGORY, *columns.kinds):
            if one.get(name) is None:
                continue
            try:
                kept += categories_of(mixed([one[name]]), starts.get(name, ""))[0].to_list()
            except (DataError, pl.exceptions.PolarsError):
                unreadable.append(name)
        found.append(kept)
    return pl.Series(found, dtype=pl.List(pl.String))

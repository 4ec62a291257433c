"""The columns of an item table that rules may name, with categories as columns of their own."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from nearnext.errors import ConfigError
from nearnext.types import BoolArray, Int64Array

AVAILABLE = "available"
"""Condition on the columns ``available``, ``available_from`` and ``available_until``."""
CATEGORY = "category"
"""The first category column; others have their own names."""
CATEGORY_COLUMNS = 20
"""Most names of category columns; more are no columns, but categories with an equals sign."""

VECTOR = pl.List(pl.Float32)


class Groups(NamedTuple):
    """The values of a column, as hashes; those of item j are ``codes[starts[j] : starts[j + 1]]``."""

    starts: Int64Array  # [n + 1]
    codes: Int64Array

    def of(self, item: int) -> list[int]:
        """The values of an item."""
        return self.codes[self.starts[item] : self.starts[item + 1]].tolist()

    def without(self, values: Collection[int]) -> BoolArray:
        """Which items have none of the values: [n]."""
        found = np.flatnonzero(np.isin(self.codes, list(values)))
        without = np.ones(len(self.starts) - 1, np.bool_)
        without[np.searchsorted(self.starts, found, side="right") - 1] = False
        return without


def group_codes(values: pl.Series) -> Int64Array:
    """The hash of each value, as in `Groups`: [n]."""
    return values.hash(seed=0).reinterpret(signed=True).to_numpy()


@dataclass(frozen=True, eq=False)
class ItemColumns:
    """What rules may name in rows of an item table.

    Attributes:
        frame: rows of an `ItemTable`: [n].
        kinds: names of the category columns after the first.

    >>> rows = pl.DataFrame({"item_id": ["a", "b"], "categories": [["tent", "brand=acme"], []], "price": [9.5, None]})
    >>> ItemColumns.of(rows).names
    ['price', 'category', 'brand']
    """

    frame: pl.DataFrame
    kinds: Sequence[str] = ()

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "ItemColumns":
        """The columns of a frame, with those kept apart among its categories."""
        kinds = list[str]()
        if "categories" in frame.columns:
            each = frame["categories"].explode()
            kinds = each.str.extract(r"^([^=]+)=").drop_nulls().unique(maintain_order=True).to_list()
            kinds = [kind for kind in kinds if kind != CATEGORY]
        return cls(frame, kinds if len(kinds) <= CATEGORY_COLUMNS else ())

    @cached_property
    def names(self) -> list[str]:
        """Names that a rule may use."""
        columns = self.frame.schema
        names = [name for name in columns if name not in ("item_id", "categories") and columns[name] != VECTOR]
        if "categories" in columns:
            names += [name for name in (CATEGORY, *self.kinds) if name not in names]
        limited = any(name in columns for name in ("available_from", "available_until"))
        return [*names, AVAILABLE] if limited and AVAILABLE not in names else names

    @property
    def attributes(self) -> list[str]:
        """Names of what is stored of an item, vectors aside."""
        return [name for name in self.names if name != AVAILABLE or name in self.frame.columns]

    def groups(self, name: str) -> Groups:
        """The values of a column, several for categories.

        Raises:
            ConfigError: an unknown column.
        """
        if name not in self.attributes:
            known = ", ".join(self.attributes) or "none"
            raise ConfigError(f"at most: expected a column, found '{name}'; known: {known}")
        values = self.column(name)
        if values.dtype == pl.List(pl.String):
            counts = values.list.len().fill_null(0)
            values = values.explode().drop_nulls()
        else:
            counts = values.is_not_null().cast(pl.Int64)
            values = values.drop_nulls()
        starts = np.concatenate([[0], np.cumsum(counts.to_numpy())]).astype(np.int64)
        return Groups(starts, group_codes(values))

    def column(self, name: str) -> pl.Series:
        """Values of a known column: numbers, texts, lists of categories, or microseconds since 1970 UTC."""
        if name in self.frame.columns:
            values = self.frame[name]
            return values.dt.timestamp("us") if values.dtype == pl.Datetime else values
        if name not in self.kinds:
            return self._first
        each, start = pl.element(), f"{name}="
        return _known(
            self.frame["categories"].list.eval(each.filter(each.str.starts_with(start)).str.strip_prefix(start))
        )

    @cached_property
    def _first(self) -> pl.Series:
        """Categories of the first column."""
        each = pl.element()
        other = pl.any_horizontal(pl.lit(False), *(each.str.starts_with(f"{kind}=") for kind in self.kinds))
        return _known(self.frame["categories"].list.eval(each.filter(~other).str.strip_prefix(f"{CATEGORY}=")))


def _known(lists: pl.Series) -> pl.Series:
    """Lists, null where they are empty."""
    return lists.set(lists.list.len() == 0, None)

"""The attributes of the items that a model may recommend: those of its item table, for rules and for display."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from nearnext.data.conditions import ItemColumns
from nearnext.errors import ConfigError
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.ruled import AppliedRules, RuledItems, require_items
from nearnext.types import Int64Array, RawId


class LiveItems:
    """Attributes of the items of a model, and of the new items of a catalogue.

    Items are numbered as in the model's vocabulary; new items follow it.
    """

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self.new: list[RawId] = []  # the new items, in the order of their numbers
        self._ruled: RuledItems | None = None

    @cached_property
    def _table(self) -> ItemColumns:
        return ItemColumns.of(require_items(self._recommender).frame)

    @cached_property
    def _rows(self) -> Int64Array:
        """Row of each item index in the table, -1: none: [I + 1]."""
        table = require_items(self._recommender)
        return np.append(-1, table.vocabulary.encode(self._recommender.vocabulary.ids).astype(np.int64) - 1)

    def follow(self, new: Iterable[RawId]) -> None:
        """Take in which new items there are now."""
        self.new = list(new)
        self._ruled = None

    def apply(self, rules: ItemRules, now: int | None) -> AppliedRules:
        """Rules over all items, at a time in microseconds since 1970 UTC, by default now.

        Raises:
            ConfigError: the model has no item table, or a rule cannot be read.
        """
        if self._ruled is None:
            rows = np.concatenate([self._rows, np.full(len(self.new), -1)])
            self._ruled = RuledItems([self._table], rows)
        return self._ruled.apply(rules, now)

    def shown(self, items: Sequence[RawId], names: Sequence[str]) -> list[dict[str, Any]]:
        """Some attributes of items, null where unknown.

        Raises:
            ConfigError: the model has no item table, or an unknown name.
        """
        table = self._table
        known = [name for name in table.names if name in table.frame.columns or "categories" in table.frame.columns]
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"expected attributes to show, found '{unknown[0]}'; known: {', '.join(known)}")
        rows = self._rows[self._recommender.vocabulary.encode(items)]
        padded = pl.concat([table.frame.clear(1), table.frame[rows[rows >= 0]]])
        places = np.where(rows >= 0, np.cumsum(rows >= 0), 0)
        columns = ItemColumns(padded[places], table.kinds)
        found = {
            name: (columns.frame[name] if name in columns.frame.columns else columns.column(name)).to_list()
            for name in names
        }
        return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]

"""The items that a model may recommend, in step with the catalogue, and their attributes."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from nearnext.data.item_columns import ItemColumns
from nearnext.data.item_values import Attributes, changed_rows, require_attributes
from nearnext.data.items import ItemTable
from nearnext.errors import ConfigError
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.ruled import AppliedRules, RuledItems, require_items
from nearnext.recommenders.space import HasSpace, space_of, table_note, unlisted_note
from nearnext.serving.catalogue import Catalogue, Entry
from nearnext.serving.new_clicks import ByClicks
from nearnext.serving.new_embeddings import ByEmbedding, RecordingIndex
from nearnext.serving.new_items import NewItems, Placed
from nearnext.types import BoolArray, Int64Array, RawId

log = logging.getLogger(__name__)

NOTHING_ALIKE = np.zeros(0, np.int32), np.zeros(0, np.float32)
NEVER_PROBABLE = np.zeros(1, np.int32), np.zeros(1, np.float32)
"""Items alike, and their weights, of a new item that only fills lists that are too short."""


class LiveItems:
    """Attributes of the items of a model, and of the new items of a catalogue.

    Items are numbered as in the model's vocabulary; new items follow it. Rows are those of the item table, followed by
    those of items that the catalogue changed.
    """

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self.new: list[RawId] = []  # the new items, in the order of their numbers
        self._changed: dict[RawId, int] = {}  # row of each changed item, after those of the table
        self._ruled: RuledItems | None = None

    @cached_property
    def _table(self) -> ItemColumns:
        return ItemColumns.of(require_items(self._recommender).frame)

    @cached_property
    def _live(self) -> ItemColumns:
        """Rows of changed items."""
        return ItemColumns(self._table.frame.clear(), self._table.kinds)

    @cached_property
    def _known_rows(self) -> Int64Array:
        """Row of each item index in the table, -1: none: [I + 1]."""
        return np.append(-1, self._table_rows(self._recommender.vocabulary.ids))

    def _table_rows(self, items: Iterable[RawId]) -> Int64Array:
        return require_items(self._recommender).vocabulary.encode(items).astype(np.int64) - 1

    @property
    def names(self) -> list[str]:
        """Names of the attributes, none without an item table."""
        return [] if self._recommender.items is None else self._table.attributes

    def require(self, attributes: Attributes) -> None:
        """Check attributes; `ConfigError` where the model has no item table, or one does not fit it."""
        require_attributes(self._table, attributes)

    def number(self, new: Sequence[RawId]) -> None:
        """Take in which new items there are now."""
        if self.new != new:
            self.new, self._ruled = [*new], None

    def number_of(self, item: RawId) -> int:
        """The number of an item, 0 for an unknown one."""
        vocabulary = self._recommender.vocabulary
        stored = vocabulary.as_stored([item])[0]
        return len(vocabulary) + 1 + self.new.index(stored) if stored in self.new else int(vocabulary.encode([item])[0])

    def follow(self, changes: Mapping[RawId, Attributes]) -> None:
        """Take in what items' attributes are changed to, if to anything."""
        if self._recommender.items is None or not (self._changed.keys() & changes or any(changes.values())):
            return
        self._ruled = None
        kept = [item for item in self._changed if item not in changes]
        given = [item for item, attributes in changes.items() if attributes]
        before = self._at(self._table_rows(given)).with_columns(item_id=None)
        rows, unreadable = changed_rows(self._table, before, [changes[item] for item in given])
        if unreadable:  # they were put when a model had other columns
            names = ", ".join(unreadable)
            log.warning("the catalogue has values of %s that do not fit this model's table: read as missing", names)
        parts = [self._live.frame[[self._changed[item] for item in kept]], rows.cast(self._live.frame.schema)]
        self._live = ItemColumns(pl.concat(parts), self._table.kinds)
        self._changed = {item: row for row, item in enumerate([*kept, *given])}

    def apply(self, rules: ItemRules, now: int | None) -> AppliedRules:
        """Rules over all items, at a time in microseconds since 1970 UTC, by default now.

        Raises:
            ConfigError: the model has no item table, or a rule cannot be read.
        """
        if self._ruled is None:
            rows = np.concatenate([self._known_rows, self._table_rows(self.new)])
            if self._changed:
                numbers = {item: at for at, item in enumerate(self.new, start=len(self._known_rows))}
                known = self._recommender.vocabulary.encode(list(self._changed)).tolist()
                at = np.array([index or numbers.get(item, 0) for index, item in zip(known, self._changed, strict=True)])
                row = np.fromiter(self._changed.values(), np.int64, len(at))
                rows[at[at > 0]] = self._table.frame.height + row[at > 0]
            self._ruled = RuledItems([self._table, self._live], rows, self._recommender.left_categories)
        return self._ruled.apply(rules, now)

    def of(self, items: Sequence[RawId]) -> ItemTable:
        """Rows of items, nulls where nothing is known."""
        rows = self._table_rows(items)
        if self._changed:
            changed = [self._changed.get(item, -1) for item in self._recommender.vocabulary.as_stored(items)]
            rows = np.where(np.array(changed) < 0, rows, self._table.frame.height + np.array(changed))
        return ItemTable(self._at(rows))

    def titles(self, items: Sequence[RawId]) -> pl.Series:
        """The title of each item, null where none is known."""
        if "title" not in (() if self._recommender.items is None else self._table.frame.columns):
            return pl.Series([None] * len(items), dtype=pl.String)
        return self.of(items).frame["title"]

    def _at(self, rows: Int64Array) -> pl.DataFrame:
        """Rows of the table and of changed items, nulls for -1."""
        table, live = self._table.frame, self._live.frame
        in_table = (rows >= 0) & (rows < table.height)
        in_live = rows >= table.height
        found = pl.concat([table.clear(1), table[rows[in_table]], live[rows[in_live] - table.height]])
        positions = np.zeros(len(rows), dtype=np.int64)
        positions[in_table] = np.arange(1, in_table.sum() + 1)
        positions[in_live] = np.arange(in_table.sum() + 1, len(found))
        return found[positions]

    def shown(self, items: Sequence[RawId], names: Sequence[str]) -> list[dict[str, Any]]:
        """Some attributes of items, null where unknown.

        Raises:
            ConfigError: the model has no item table, or an unknown name.
        """
        table = self._table
        if unknown := [name for name in names if name not in table.attributes]:
            known = ", ".join(table.attributes) or "none"
            raise ConfigError(f"expected attributes to show, found '{unknown[0]}'; known: {known}")
        columns = ItemColumns(self.of(items).frame, table.kinds)
        found = {
            name: (columns.frame[name] if name in columns.frame.columns else columns.column(name)).to_list()
            for name in names
        }
        return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


class AvailableItems:
    """The items that one model may recommend, in step with the catalogue."""

    def __init__(self, recommender: Recommender, catalogue: Catalogue) -> None:
        self._vocabulary = recommender.vocabulary
        self._catalogue = catalogue
        self.admissible: BoolArray = np.ones(len(self._vocabulary) + 1, dtype=np.bool_)
        self.admissible[0] = False
        self.hidden: set[RawId] = set()
        self.new = _new_items_of(recommender)
        self.live = LiveItems(recommender)
        self._lives: dict[RawId, object] = {}
        self._place = _placing(recommender)
        self.table_note, self.unlisted = table_note(recommender), unlisted_note(recommender)
        if self._place is None:
            self.unlisted = f"{recommender.name} does not place items by attributes; send what it is like, or clicks"
        self.update(list(catalogue.entries))  # another thread may change them meanwhile

    def knows(self, item: RawId) -> bool:
        """Whether the model was trained with the item."""
        return bool(self._vocabulary.encode([item])[0])

    def update(self, items: Iterable[RawId]) -> None:
        """Apply the catalogue's changes to these items."""
        new = dict[RawId, Entry | None]()
        changes = dict[RawId, Attributes]()
        changed = list(items)
        indices, stored = self._vocabulary.encode(changed).tolist(), self._vocabulary.as_stored(changed)
        for item, index, known in zip(changed, indices, stored, strict=True):
            entry = self._catalogue.entries.get(item)
            available = entry is None or entry.available
            (self.hidden.discard if available else self.hidden.add)(item)
            if index:
                self.admissible[index] = available
            else:
                new[item] = entry
            life = None if entry is None else entry.life
            if self._lives.get(item) != life:  # otherwise only a session was added
                self._lives[item] = life
                changes[known if index else item] = {} if entry is None else entry.attributes
        self.live.follow(changes)
        placed = [item for item, entry in new.items() if entry is not None and entry.available and changes.get(item)]
        parts = self._place(self.live.of(placed)) if placed and self._place else ()
        self.new.follow(new, self._vocabulary.encode, dict(zip(placed, parts, strict=False)))
        self.live.number(self.new.ids)


def _new_items_of(recommender: Recommender) -> NewItems:
    """A model's new items, none so far; the index of a model that has a space is made a recording one."""
    space = space_of(recommender)
    if space is None or not isinstance(recommender, HasSpace):
        return ByClicks()
    from nearnext.recommenders.metric.recommender import Metric

    index = space.index if isinstance(space.index, RecordingIndex) else RecordingIndex(space.index)
    recommender.search_by(index)
    new = ByEmbedding(space, index, ranked=isinstance(recommender, Metric))
    if isinstance(recommender, Metric):
        recommender.scored = new.scored
    return new


def _placing(recommender: Recommender) -> Callable[[ItemTable], list[Placed]] | None:
    """The function that embeds items by their attributes; None for a model without one."""
    space = space_of(recommender)
    if space is None or (place := space.place) is None:
        return None
    from nearnext.recommenders.metric.recommender import Metric

    clicked = recommender.clicked_items() if isinstance(recommender, Metric) else None
    alike = NEVER_PROBABLE if unlisted_note(recommender) else NOTHING_ALIKE

    def placed(items: ItemTable) -> list[Placed]:
        vectors = place(items)
        if clicked is None:
            return [Placed(vector, *alike) for vector in vectors]
        return [Placed(*each) for each in zip(vectors, *vars(clicked.most_like(items)).values(), strict=True)]

    return placed

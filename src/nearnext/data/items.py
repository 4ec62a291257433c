"""The item table: titles for display, and attributes that embed items without clicks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from nearnext.data.chunks import NOT_UTF8
from nearnext.data.ids import IdColumn, ids_as
from nearnext.data.item_columns import CATEGORY
from nearnext.data.item_files import (
    UNNAMED,
    Columns,
    ItemRole,
    RawItems,
    checked_roles,
    columns_of,
    free_names,
    known_layouts,
    log_columns,
    raw_items,
    refuse_log,
    require_columns,
)
from nearnext.data.item_values import categories_of, dates_of, mostly_numbers, numbers_of, read_as, text_of, vectors_of
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.shown import Shown
from nearnext.types import RawId

TEXTS: dict[ItemRole, str] = {"title": "title", "text": "text", "image": "image"}
DATES: dict[ItemRole, str] = {"from": "available_from", "until": "available_until"}
OWN_NAMES = {"item_id", "categories", CATEGORY, *TEXTS.values(), *DATES.values()}


@dataclass(frozen=True)
class ItemReport:
    """How an item table was read.

    Attributes:
        source: the files or the frame.
        layout: the recognised layout.
        columns: the columns of each role.
        unused: columns without a role that are not numeric.
        rows: number of rows read; ``rejected`` counts the skipped ones by reason.
        twice: number of rows replaced by a later row of the same item.
        unreadable: number of unreadable values, read as missing, by column.
        ended: number of items that are never available: until is not after from.
    """

    source: str
    layout: str
    columns: dict[str, list[str]]
    unused: list[str]
    rows: int
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    twice: int = 0
    unreadable: dict[str, int] = field(default_factory=dict[str, int])
    ended: int = 0


@dataclass(frozen=True, eq=False)
class ItemTable(Shown):
    """Items with attributes, one row each.

    Attributes:
        frame: ``item_id`` (Int64 or String); those of ``title``, ``text``, ``image`` (String), ``categories``
            (List[String], see `categories_of`), ``available_from``, ``available_until`` (Datetime UTC), if known;
            numeric columns (Float64) and vector columns (List[Float32]) under their own names. Null: missing.
        report: how it was read; None for a table from an artifact.

    >>> table = read_items(pl.DataFrame({"sku": ["a", "b"], "name": ["Tent", "Stove"], "price": ["89.90", "?"]}))
    >>> table.titles(["b", "z"]), table.numbers, table.summary()
    (['Stove', None], ['price'], 'frame: 2 items with title, price; unreadable, so missing: price 1')
    """

    frame: pl.DataFrame
    report: ItemReport | None = None

    def __len__(self) -> int:
        return self.frame.height

    @property
    def numbers(self) -> list[str]:
        """Names of the numeric columns."""
        return [name for name, dtype in self.frame.schema.items() if dtype == pl.Float64]

    @property
    def vectors(self) -> list[str]:
        """Names of the vector columns."""
        return [name for name, dtype in self.frame.schema.items() if dtype == pl.List(pl.Float32)]

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids of the items, in the order of the table."""
        return Vocabulary(self.frame["item_id"])

    def of(self, ids: pl.Series) -> "ItemTable":
        """The rows of the given items, in their order; nulls for items that the table lacks: n rows."""
        rows = self.vocabulary.encode(ids)
        padded = pl.concat([self.frame.clear(1), self.frame])
        return ItemTable(padded[rows].with_columns(item_id=ids))

    def titles(self, ids: Iterable[RawId]) -> list[str | None]:
        """The title of each item, None where none is known."""
        listed = list(ids)
        if "title" not in self.frame.columns:
            return [None] * len(listed)
        titles = [None, *self.frame["title"].to_list()]
        return [titles[row] for row in self.vocabulary.encode(listed)]

    def described(self, known: Vocabulary) -> int:
        """How many items of a vocabulary the table describes.

        Raises:
            DataError: none, so that the ids are of other kinds.
        """
        n, logged, own = int(np.count_nonzero(self.vocabulary.encode(known.ids))), known.ids, self.frame["item_id"]
        if not n:
            raise DataError(
                f"expected items of the log in the item table, found none: the log has ids such as {logged.first()!r}, "
                f"the table {own.first()!r}; map the column of these ids"
            )
        return n

    def foreign(self, known: Vocabulary) -> pl.Series:
        """Item ids that cannot be cast to the type of a vocabulary: text where the log's ids are integers."""
        ids = self.frame["item_id"]
        return ids.filter(ids_as(ids, known.ids.dtype).is_null())

    def beyond(self, known: Vocabulary) -> pl.Series:
        """Item ids missing from a vocabulary, cast to its type; ids that cannot be cast are left out."""
        ids = self.frame["item_id"]
        new = ids.filter(pl.Series(known.encode(ids) == 0))
        return ids_as(new, known.ids.dtype).drop_nulls()

    def title(self) -> str:
        """The summary, over the first rows that notebooks display."""
        return self.summary()

    def to_frame(self) -> pl.DataFrame:
        """The frame."""
        return self.frame

    def summary(self) -> str:
        """One line: number of items, columns, and what was not used."""
        report = self.report
        lists = report.columns.get("category", ()) if report else ()
        categories = f"categories ({', '.join(lists)})" if len(lists) > 1 else "categories"
        names = [name for name in self.frame.columns if name != "item_id"]
        what = [categories if name == "categories" else name for name in names]
        text = f"{len(self):,} items with {', '.join(what) or 'ids alone'}"
        if report is None:
            return text
        text = f"{report.source}: {text}"
        if report.rejected:
            text += f"; rejected: {_counts(report.rejected)}"
        if report.twice:
            text += f"; given again, the last row counts: {report.twice:,}"
        if report.unreadable:
            text += f"; unreadable, so missing: {_counts(report.unreadable)}"
        if report.ended:
            text += f"; never available, as available_until is not after available_from: {report.ended:,}"
        return text + (f"; not used: {', '.join(report.unused)}" if report.unused else "")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def read_items(source: Any, columns: Mapping[str, str | Sequence[str]] | None = None) -> ItemTable:
    """Read an item table from files or a frame.

    Args:
        source: path, folder, glob or list of them (CSV, TSV, JSONL, Parquet), or a pandas, polars or pyarrow frame.
            Files with other columns add them to the items of the files before.
        columns: the column of a role: item, title, category, price, number, text, image, from, until, vector; several
            for category, number and vector. By default they are found by their names.

    Raises:
        DataError: nothing can be read, or there is no item column.
        ConfigError: an unknown role.
    """
    mapped = checked_roles(columns)
    raw = raw_items(source)
    if not raw:
        raise DataError("expected a file or a frame of items, found none; name one")
    files, layout = known_layouts(raw)
    if not files:
        raise DataError("expected items, found only a category tree; give the item file too")
    require_columns(files, mapped)
    reading = _Reading(mapped)
    tables = list[pl.DataFrame]()
    for file in files:
        found = reading.table(file)
        alike = next((at for at, table in enumerate(tables) if table.schema == found.schema), None)
        if alike is None:
            tables.append(found)
        else:
            tables[alike] = pl.concat([tables[alike], found])
    names = list(dict.fromkeys(file.where for file in files))
    source_name = f"{names[0]} and {len(names) - 1} more" if len(names) > 2 else " and ".join(names)  # noqa: PLR2004
    frame = tables[0] if len(tables) == 1 else _joined([reading.last_rows(table) for table in tables])
    frame = reading.last_rows(frame)
    if not frame.height:
        reason = _counts(reading.rejected) or "there are no rows"
        remedy = (
            "convert it to UTF-8" if NOT_UTF8 in reading.rejected else "expected one row per item, below the header"
        )
        raise DataError(f"no items in {source_name}: {reason}; {remedy}")
    return ItemTable(frame, reading.report(source_name, layout, frame))


def _joined(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Join tables with different columns by item."""
    if len({table["item_id"].dtype for table in tables}) > 1:
        tables = [table.with_columns(pl.col("item_id").cast(pl.String)) for table in tables]
    whole = tables[0]
    for table in tables[1:]:
        joined = whole.join(table, on="item_id", how="full", coalesce=True, maintain_order="left_right", suffix="\n")
        twice = [name for name in table.columns if f"{name}\n" in joined.columns]
        merged = [pl.coalesce(f"{name}\n", name).alias(name) for name in twice]
        whole = joined.with_columns(merged).drop([f"{name}\n" for name in twice])
    return whole


class _Reading:
    """Counts of the files read so far."""

    def __init__(self, mapped: Columns) -> None:
        self._mapped = mapped
        self._columns: dict[ItemRole, list[str]] = {}
        self._unused: dict[str, None] = {}
        self._rows = self._twice = 0
        self.rejected: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()

    def table(self, file: RawItems) -> pl.DataFrame:
        """The items of one file, with the columns of `ItemTable`."""
        frame = file.frame
        roles = columns_of(file.where, frame.columns, self._mapped)
        refuse_log(file.where, frame.columns, roles)
        for role, names in roles.items():
            self._columns[role] = list(dict.fromkeys([*self._columns.get(role, []), *names]))
        ids = IdColumn("item")
        raw_ids, faults = ids.read(frame[roles["item"][0]], untyped=not file.typed)
        kept = pl.repeat(True, frame.height, eager=True)
        for reason, where in faults:
            self.rejected[reason] += int(where.sum())
            kept &= ~pl.Series(where)
        self._rows += frame.height + file.rejected.total()
        self.rejected += file.rejected
        frame = frame.filter(kept)
        item_ids = ids.settle(raw_ids.filter(kept), untyped=not file.typed).alias("item_id")
        return pl.DataFrame([item_ids, *self._attributes(frame, roles)])

    def _attributes(self, frame: pl.DataFrame, roles: Mapping[ItemRole, Sequence[str]]) -> list[pl.Series]:
        texts = {name: frame[roles[role][0]] for role, name in TEXTS.items() if role in roles}
        found = [read_as("text", text_of, column).alias(name) for name, column in texts.items()]
        if categories := roles.get("category", ()):
            starts = {name: f"{name}=" if at else "" for at, name in enumerate(categories)}
            lists = [read_as("categories", partial(categories_of, prefix=starts[name]), frame[name]) for name in starts]
            found.append(pl.DataFrame(lists).select(pl.concat_list(pl.all()).alias("categories"))["categories"])
        for role, name in DATES.items():
            if role in roles:
                found.append(self._counted(name, read_as("times", dates_of, frame[roles[role][0]])))
        prices, vectors = roles.get("price", ()), list(roles.get("vector", ()))
        numbers = [*dict.fromkeys([*roles.get("number", ()), *prices])]
        taken = {name for names in roles.values() for name in names}
        clicks = log_columns(frame.columns)
        for name in frame.columns:
            if name in taken:
                continue
            if name in clicks or UNNAMED.fullmatch(name):
                self._unused[name] = None
            elif isinstance(frame[name].dtype, pl.List | pl.Array) and frame[name].explode().dtype.is_float():
                vectors.append(name)
            elif mostly_numbers(frame[name]):
                numbers.append(name)
            else:
                self._unused[name] = None
        names = free_names([*numbers, *vectors], OWN_NAMES | ({"price"} if prices else set()))
        names |= dict.fromkeys(prices, "price")
        found += [self._counted(names[name], read_as("numbers", numbers_of, frame[name])) for name in numbers]
        lists_of_numbers = "lists of numbers, as in Parquet or JSONL,"
        found += [self._counted(names[name], read_as(lists_of_numbers, vectors_of, frame[name])) for name in vectors]
        return found

    def _counted(self, name: str, read: tuple[pl.Series, int]) -> pl.Series:
        if read[1]:
            self.unreadable[name] += read[1]
        return read[0].alias(name)

    def last_rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """One row per item, the last one."""
        last = frame.unique("item_id", keep="last", maintain_order=True)
        self._twice += frame.height - last.height
        return last

    def report(self, source: str, layout: str, frame: pl.DataFrame) -> ItemReport:
        """How ``frame``, the resulting table, was read."""
        columns = {str(role): names for role, names in self._columns.items()}
        rejected, unreadable = dict(+self.rejected), dict(self.unreadable)
        limited = {*DATES.values()} <= {*frame.columns}
        ended = int((frame["available_until"] <= frame["available_from"]).sum()) if limited else 0
        return ItemReport(
            source, layout, columns, list(self._unused), self._rows, rejected, self._twice, unreadable, ended
        )

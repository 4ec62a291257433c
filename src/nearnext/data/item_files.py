"""Item files: raw rows of text, JSON lines, Parquet and frames, the roles of their columns, and known layouts."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import narwhals as nw
import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from nearnext.data.chunks import as_frame
from nearnext.data.delimited import DelimitedReader
from nearnext.data.files import LogFile, blocks, data_errors, identify, log_files
from nearnext.data.item_columns import AVAILABLE
from nearnext.data.jsonlines import json_object
from nearnext.data.layouts import NAMES as LOG_NAMES
from nearnext.data.layouts import plain
from nearnext.errors import ConfigError, DataError
from nearnext.options import checked

UNNAMED = re.compile(r"column \d+|Unnamed: \d+|__index_level_\d+__")
"""Names given to unnamed columns, here and by pandas; most hold row numbers."""


class RawItems(NamedTuple):
    """One source of items: raw columns, whether they are typed, rejected rows."""

    where: str
    frame: pl.DataFrame
    typed: bool
    rejected: Counter[str]


def raw_items(source: object) -> list[RawItems]:
    """Read the rows of each file of a path, folder, glob or list of them, or of a frame."""
    if isinstance(source, str | Path):
        return [_raw_file(path) for path in log_files(source, what="item table")[0]]
    if isinstance(source, Sequence):
        return [raw for each in cast("Sequence[object]", source) for raw in raw_items(each)]
    try:
        native: Any = nw.from_native(as_frame(source))
        frame: nw.DataFrame[Any] = native.collect() if isinstance(native, nw.LazyFrame) else native
        columns = [_of_frame(frame[name]).alias(str(name)) for name in frame.columns]
    except TypeError as error:
        raise DataError(
            f"expected a path or a pandas, polars or pyarrow frame of items, found {type(source).__name__}"
        ) from error
    except (ValueError, PolarsError) as error:
        raise DataError(f"cannot read the item frame: {' '.join(str(error).split())}; correct it first") from error
    return [RawItems("frame", pl.DataFrame(columns), True, Counter())]


def _of_frame(column: "nw.Series[Any]") -> pl.Series:
    try:
        return column.to_polars()
    except (TypeError, ValueError, PolarsError):
        return mixed(column.to_list())


def mixed(values: Sequence[object]) -> pl.Series:
    """A column of Python values; mixed types become text, or lists of text if one value is a list."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) <= 1 or kinds == {int, float}:
        try:
            return pl.Series(values, strict=kinds != {int, float})
        except (TypeError, OverflowError, PolarsError):
            pass
    if list in kinds:
        each = [cast("list[object]", value) if isinstance(value, list) else [value] for value in values]
        return pl.Series([[_text(one) for one in value] for value in each], dtype=pl.List(pl.String))
    return pl.Series([_text(value) for value in values], dtype=pl.String)


def _text(value: object) -> str | None:
    return None if value is None or value != value else str(value)  # noqa: PLR0124 - a missing number


def _raw_file(path: Path) -> RawItems:
    file = identify(path)
    if file.format == "empty":
        raise DataError(f"{path} is empty; expected a header and one row per item, e.g. item_id,title,category,price")
    if file.format == "text":
        return _raw_text(file)
    if file.format == "jsonl":
        return _raw_json(file)
    with data_errors(path):
        return RawItems(path.name, pl.read_parquet(path, glob=False), True, Counter())


def _raw_text(file: LogFile) -> RawItems:
    reader = DelimitedReader(file, {})
    # The first line of an item file is its header; pandas writes its index without a name.
    names = [name or f"column {number}" for number, name in enumerate(reader.names or reader.first_row, start=1)]
    if len(set(names)) < len(names):
        raise DataError(f"{file.path}: two columns have the same name; found {', '.join(names)}; rename one")
    keys = names if reader.names else [f"column {number}" for number in range(1, len(names) + 1)]  # see `position_of`
    # The reader of logs tells rows from lines of a quoted text by the column of times: here by the first column.
    roles: Any = {"time": keys[0], **dict(zip(names, keys, strict=True))}
    rejected, parts = Counter[str](), list[pl.DataFrame]()
    skipped = 0 if reader.names else 1
    for chunk in reader.chunks(roles):
        damaged = np.zeros(chunk.frame.height, np.bool_)
        for reason, where in chunk.faults:
            rejected[reason] += int(np.count_nonzero(where & ~damaged))
            damaged |= where
        for row in chunk.rejected:
            rejected[row.reason] += 1
        parts.append(chunk.frame.filter(pl.Series(~damaged))[skipped if chunk.frame.height else 0 :])
        skipped = 0 if chunk.frame.height else skipped
    return RawItems(file.path.name, pl.concat(parts).select(names), False, +rejected)


def _raw_json(file: LogFile) -> RawItems:
    lines = [line for block, _ in blocks(file) for line in block.splitlines() if line.strip()]
    rows = [json_object(line) for line in lines]
    found = [row for row in rows if row is not None]
    names = dict.fromkeys(name for row in found for name in row)
    frame = pl.DataFrame([mixed([row.get(name) for row in found]).alias(name) for name in names])
    return RawItems(file.path.name, frame, True, +Counter({"malformed JSON": len(rows) - len(found)}))


ItemRole = Literal["item", "title", "category", "price", "number", "text", "image", "from", "until", "vector"]

NAMES: dict[ItemRole, tuple[str, ...]] = {
    "item": ("itemid", "aid", "item", "productid", "sku", "asin", "articleid", "id"),
    "title": ("title", "name", "producttitle", "productname", "itemname"),
    "category": ("category", "categories", "categoryid", "categoryname", "productcategory", "brand"),
    "price": ("price", "unitprice", "listprice"),
    "number": (),
    "text": ("text", "description", "productdescription", "summary"),
    "image": ("image", "imageurl", "imagelink", "img", "picture", "thumbnail"),
    "from": ("availablefrom", "validfrom", "releasedate", "launchdate"),
    "until": ("availableuntil", "availableto", "validuntil", "expirydate"),
    "vector": ("vector", "embedding"),
}
"""Column names of each role, without case and punctuation, in order of preference."""

SEVERAL: tuple[ItemRole, ...] = ("category", "number", "vector")
"""Roles that several columns may have."""

Columns = Mapping[ItemRole, Sequence[str]]

PROPERTIES = {"timestamp", "itemid", "property", "value"}
TREE = {"categoryid", "parentid"}
PRODUCTS = {"itemid", "pricelog2", "productnametokens"}
PRODUCT_CATEGORIES = {"itemid", "categoryid"}
DEEPEST = 20
"""Maximum depth of a category tree."""


def checked_roles(columns: Mapping[str, str | Sequence[str]] | None) -> Columns:
    """The user's mapping of roles to columns."""
    known: dict[str, ItemRole] = {str(role): role for role in NAMES}
    if not isinstance(columns, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"expected the columns of each role as columns, e.g. {{'item': 'sku'}}, found {columns!r}")
    found: dict[ItemRole, Sequence[str]] = {}
    for role, names in (columns or {}).items():
        if role not in known:
            raise ConfigError(f"unknown role '{role}' of an item column; known: {', '.join(known)}")
        listed: list[str] = [names] if isinstance(names, str) else list(checked(role, names, tuple[str, ...]))
        if len(listed) > 1 and known[role] not in SEVERAL:
            raise ConfigError(f"expected one column as {role}, found {', '.join(listed)}; name one")
        found[known[role]] = listed
    return found


def require_columns(files: Sequence[RawItems], mapped: Columns) -> None:
    """Check that each mapped column is in one of the files."""
    names = list(dict.fromkeys(name for file in files for name in file.frame.columns))
    for role, listed in mapped.items():
        if lacking := [name for name in listed if name not in names]:
            raise DataError(f"{files[0].where}: no column '{lacking[0]}' for {role}; found columns {', '.join(names)}")


def columns_of(where: str, names: Sequence[str], mapped: Columns) -> dict[ItemRole, list[str]]:
    """The columns of each role in one file, by the mapping if it names one of them, else by their names."""
    found: dict[ItemRole, list[str]] = {}
    taken = {name for listed in mapped.values() for name in listed}
    for role, aliases in NAMES.items():
        known = [name for name in mapped.get(role, ()) if name in names]
        if not known and (role == "item" or role not in mapped):
            known = [name for alias in aliases for name in names if plain(name) == alias and name not in taken]
        if known:
            found[role] = known if role in SEVERAL else known[:1]
    if "item" not in found:
        listed = ", ".join(names) or "none"
        raise DataError(f"{where}: no item column; found columns {listed}; map it, e.g. item=COLUMN")
    return found


def free_names(names: Sequence[str], taken: Set[str]) -> dict[str, str]:
    """A free column name for each name: underscores are appended while it is taken, also by one of these.

    >>> free_names(["price", "price_"], {"price"})
    {'price': 'price_', 'price_': 'price__'}
    """
    found, taken = dict[str, str](), {*taken}
    for name in names:
        free = name
        while free in taken:
            free += "_"
        found[name] = free
        taken.add(free)
    return found


def refuse_log(where: str, names: Sequence[str], roles: Columns) -> None:
    """Refuse a click log: it has sessions and times, and nothing that describes items."""
    found = log_columns(names)
    if found and set(roles) == {"item"}:
        raise DataError(
            f"{where} looks like a click log: it has the columns {', '.join(found)}; expected an item table, "
            "with one row per item, e.g. item_id,title,category,price"
        )


def log_columns(names: Sequence[str]) -> list[str]:
    """Columns that say of clicks who and when, if the file has both: they are no attributes of items."""
    found = {name: role for role in ("session", "user", "time") for name in names if plain(name) in LOG_NAMES[role]}
    return list(found) if "time" in (roles := set(found.values())) and len(roles) > 1 else []


def known_layouts(files: Sequence[RawItems]) -> tuple[list[RawItems], str]:
    """Convert files of known layouts to the columns that `columns_of` expects; also returns the layout's name."""
    tree = {key: value for file in files if _has(file, TREE, exactly=True) for key, value in _parents(file)}
    rest, properties, layouts = list[RawItems](), list[RawItems](), list[str]()
    for file in files:
        if _has(file, TREE, exactly=True):
            continue
        if _has(file, PROPERTIES, exactly=True):
            layouts.append("Retailrocket item properties")
            properties.append(file)
        elif _has(file, PRODUCTS):
            layouts.append("Diginetica products")
            names = {"itemid": "itemId", "productnametokens": "title"}
            frame = file.frame.rename({name: names.get(_squeezed(name), name) for name in file.frame.columns})
            rest.append(file._replace(frame=frame.with_columns(pl.col("title").str.replace_all(",", " "))))
        else:
            layouts.append(
                "Diginetica product categories" if _has(file, PRODUCT_CATEGORIES, exactly=True) else "columns"
            )
            rest.append(file)
    if properties:
        rest.append(_latest_properties(properties, tree))
    return rest, " and ".join(dict.fromkeys(layouts))


def _squeezed(name: str) -> str:
    return plain(name.replace(".", "_"))


def _has(file: RawItems, names: set[str], *, exactly: bool = False) -> bool:
    found = {_squeezed(name) for name in file.frame.columns}
    return found == names if exactly else names <= found


def _parents(file: RawItems) -> list[tuple[str, str]]:
    frame = file.frame.rename({name: plain(name) for name in file.frame.columns}).cast(pl.String)
    return [(child, parent) for child, parent in frame.select("categoryid", "parentid").iter_rows() if parent]


def _latest_properties(files: Sequence[RawItems], tree: Mapping[str, str]) -> RawItems:
    """One row per item: the latest of its category, with ancestors, of its availability, and of the rest as text."""
    columns = ["timestamp", "itemid", "property", "value"]
    parts = [file.frame.rename({name: plain(name) for name in file.frame.columns}).select(columns) for file in files]
    frame = pl.concat(parts).with_columns(
        pl.col("timestamp").cast(pl.Int64, strict=False), pl.col("property").cast(pl.String)
    )
    latest = frame.sort("timestamp", maintain_order=True).unique(
        ["itemid", "property"], keep="last", maintain_order=True
    )
    is_category, is_available = (pl.col("property") == name for name in ("categoryid", AVAILABLE))
    items = latest.group_by("itemid", maintain_order=True).agg(
        pl.col("value").filter(is_category).last().alias("category"),
        pl.col("value").filter(is_available).last().alias(AVAILABLE),
        pl.col("value").filter(~is_category & ~is_available).str.join(" ").alias("text"),
    )
    above = {
        category: "|".join(_above(category, tree)) for category in items["category"].drop_nulls().unique().to_list()
    }
    items = items.with_columns(pl.col("category").replace(above))
    items = items.select(column for column in items if column.null_count() < items.height)
    rejected = sum((file.rejected for file in files[1:]), files[0].rejected)
    return RawItems(files[0].where, items, files[0].typed, rejected)


def _above(category: str, tree: Mapping[str, str]) -> list[str]:
    """A category and its ancestors."""
    path = [category]
    while path[-1] in tree and len(path) < DEEPEST and tree[path[-1]] not in path:
        path.append(tree[path[-1]])
    return path

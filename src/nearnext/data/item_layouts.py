"""Column roles of item files, and the Retailrocket and Diginetica layouts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from nearnext.data.item_files import RawItems
from nearnext.data.layouts import NAMES as LOG_NAMES
from nearnext.data.layouts import plain
from nearnext.errors import ConfigError, DataError

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
    found: dict[ItemRole, Sequence[str]] = {}
    for role, names in (columns or {}).items():
        if role not in known:
            raise ConfigError(f"unknown role '{role}' of an item column; known: {', '.join(known)}")
        listed = [names] if isinstance(names, str) else list(names)
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
        raise DataError(f"{where}: no item column; found columns {', '.join(names)}; map it, e.g. item=COLUMN")
    return found


def refuse_log(where: str, names: Sequence[str], roles: Columns) -> None:
    """Refuse a click log: it has sessions and times, and nothing that describes items."""
    found = {role: name for role in ("session", "user", "time") for name in names if plain(name) in LOG_NAMES[role]}
    if "time" in found and len(found) > 1 and set(roles) == {"item"}:
        raise DataError(
            f"{where} looks like a click log: it has the columns {', '.join(found.values())}; expected an item table, "
            "with one row per item, e.g. item_id,title,category,price"
        )


def known_layouts(files: Sequence[RawItems]) -> tuple[list[RawItems], str]:
    """Convert files of known layouts to the columns that `columns_of` expects; also returns the layout's name."""
    tree = {key: value for file in files if _has(file, TREE, exactly=True) for key, value in _parents(file)}
    rest, layouts = list[RawItems](), list[str]()
    for file in files:
        if _has(file, TREE, exactly=True):
            continue
        if _has(file, PROPERTIES, exactly=True):
            layouts.append("Retailrocket item properties")
            rest.append(file)
        elif _has(file, PRODUCTS):
            layouts.append("Diginetica products")
            names = {"itemid": "itemId", "pricelog2": "price", "productnametokens": "title"}
            frame = file.frame.rename({name: names.get(_squeezed(name), name) for name in file.frame.columns})
            rest.append(file._replace(frame=frame.with_columns(pl.col("title").str.replace_all(",", " "))))
        else:
            layouts.append(
                "Diginetica product categories" if _has(file, PRODUCT_CATEGORIES, exactly=True) else "columns"
            )
            rest.append(file)
    if any(_has(file, PROPERTIES, exactly=True) for file in rest):
        long = [file for file in rest if _has(file, PROPERTIES, exactly=True)]
        others = [file for file in rest if not _has(file, PROPERTIES, exactly=True)]
        rest = [*others, _latest_properties(long, tree)]
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
    """One row per item: its latest category with ancestors, and the latest value of each other property as text."""
    columns = ["timestamp", "itemid", "property", "value"]
    parts = [file.frame.rename({name: plain(name) for name in file.frame.columns}).select(columns) for file in files]
    frame = pl.concat(parts).with_columns(
        pl.col("timestamp").cast(pl.Int64, strict=False), pl.col("property").cast(pl.String)
    )
    latest = frame.sort("timestamp", maintain_order=True).unique(
        ["itemid", "property"], keep="last", maintain_order=True
    )
    is_category, hashed = pl.col("property") == "categoryid", ~pl.col("property").is_in(["categoryid", "available"])
    items = latest.group_by("itemid", maintain_order=True).agg(
        pl.col("value").filter(is_category).last().alias("category"),
        pl.col("value").filter(hashed).str.join(" ").alias("text"),
    )
    above = {
        category: "|".join(_above(category, tree)) for category in items["category"].drop_nulls().unique().to_list()
    }
    items = items.with_columns(pl.col("category").replace(above))
    rejected = sum((file.rejected for file in files[1:]), files[0].rejected)
    return RawItems(files[0].where, items, files[0].typed, rejected)


def _above(category: str, tree: Mapping[str, str]) -> list[str]:
    """A category and its ancestors."""
    path = [category]
    while path[-1] in tree and len(path) < DEEPEST and tree[path[-1]] not in path:
        path.append(tree[path[-1]])
    return path

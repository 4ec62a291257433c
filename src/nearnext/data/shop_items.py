"""The synthetic shop's items: product lines determine names, prices and successors."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from nearnext.atomic import whole_file
from nearnext.errors import ConfigError
from nearnext.options import path_of
from nearnext.types import BoolArray, IndexArray, Int64Array

if TYPE_CHECKING:
    from nearnext.data.synthetic import SyntheticShop


LINES = 5
"""Product lines of a category."""


def successor_lists(
    rng: np.random.Generator, begins: Int64Array, core: BoolArray, config: "SyntheticShop"
) -> IndexArray:
    """Distinct successors from the item's category, sold from the first day, drawn by popularity: [I, K]."""
    core_before = np.concatenate([[0], np.cumsum(core)]).astype(np.int64)
    pool_begin = np.repeat(core_before[begins[:-1]], np.diff(begins))
    pool_size = np.repeat(np.diff(core_before[begins]), np.diff(begins)) - core  # an item does not follow itself
    smallest = int(np.diff(core_before[begins]).min())
    if smallest <= config.successors:
        raise ConfigError(
            f"each category needs more than {config.successors} items that are neither new nor cold, found a category "
            f"with {smallest}; raise items or lower categories, successors, arrivals or cold"
        )
    picked = np.floor(pool_size[:, None] * rng.random((config.items, config.successors)) ** 2).astype(np.int64)
    for column in range(1, config.successors):
        for _ in range(column):  # step over at most the numbers already taken
            taken = (picked[:, :column] == picked[:, column : column + 1]).any(axis=1)
            picked[:, column] = (picked[:, column] + taken) % pool_size
    own = np.where(core, core_before[:-1] - pool_begin, config.items)
    picked += picked >= own[:, None]
    lists = np.flatnonzero(core)[pool_begin[:, None] + picked].astype(np.int32)
    return _of_lines(lists, begins, core, config) if config.affinity else lists


def product_lines(begins: Int64Array, seed: int) -> Int64Array:
    """The product line of each item, equally large within a category, numbered across categories: [I]."""
    category = np.repeat(np.arange(len(begins) - 1), np.diff(begins))
    shuffled = np.lexsort((np.random.default_rng([seed, 0, 1]).random(len(category)), category))
    lines = np.empty(len(category), dtype=np.int64)
    lines[shuffled] = category[shuffled] * LINES + np.arange(len(category)) % LINES
    return lines


def _of_lines(lists: IndexArray, begins: Int64Array, core: BoolArray, config: "SyntheticShop") -> IndexArray:
    """Replace a share of the successors by items of the line that follows the item's own, popular ones first."""
    rng, lines = np.random.default_rng([config.seed, 0, 2]), product_lines(begins, config.seed)
    own = np.arange((len(begins) - 1) * LINES)
    other = own - own % LINES + (own + rng.integers(1, LINES, size=len(own))) % LINES
    leads_to = np.where(rng.random(len(own)) < config.complements, other, own)
    members = [np.flatnonzero(core & (lines == line)) for line in own]
    for item, line in enumerate(lines.tolist()):
        of_line = rng.random(config.successors) < config.affinity
        pool = members[leads_to[line]]
        pool = pool[(pool != item) & ~np.isin(pool, lists[item, ~of_line])]
        slots = np.flatnonzero(of_line)[: len(pool)]
        order = np.argsort(np.arange(1, len(pool) + 1) * np.sqrt(rng.random(len(pool))))
        lists[item, slots] = pool[order[: len(slots)]]
    return lists


NOUNS = (
    "tent", "boots", "jacket", "stove", "lamp", "backpack", "bicycle", "helmet", "gloves", "kettle", "chair", "table",
    "blanket", "knife", "bottle", "radio", "camera", "tripod", "watch", "shirt",
)  # fmt: skip
COLOURS = ("black", "blue", "green", "grey", "orange", "red", "white", "yellow")
MATERIALS = ("aluminium", "canvas", "cotton", "nylon", "steel", "wool")
SYLLABLES = ("al", "bor", "cen", "dra", "el", "fjo", "gar", "hu", "is", "jun", "kor", "lum", "mer", "nor", "os", "pel")
PRICE_SPREAD, PRICE_NOISE = 0.8, 0.1
"""Standard deviations of log price: between lines, and of items within a line."""


def synthetic_items(config: "SyntheticShop") -> pl.DataFrame:
    """The item table of a shop: ``item_id``, ``title``, ``categories``, ``price``, one row per item.

    A title names the item's product line and category, and a random colour and material. The price is close to that
    of the line. A share ``affinity`` of an item's successors comes from the line that follows its own.

    Raises:
        ConfigError: a category has too few items for the successor lists.

    >>> from nearnext.data.synthetic import SyntheticShop
    >>> table = synthetic_items(SyntheticShop(items=200, categories=4))
    >>> table.columns, table.height
    (['item_id', 'title', 'categories', 'price'], 200)
    """
    from nearnext.data.synthetic import Catalogue  # it draws successors from here

    catalogue = Catalogue.of(config)
    rng = np.random.default_rng([config.seed, 0, 3])
    lines, n_lines = product_lines(catalogue.begins, config.seed), config.categories * LINES
    categories = np.repeat(np.arange(config.categories), np.diff(catalogue.begins))
    names = _line_names(rng, n_lines)
    kinds = [NOUNS[at] if at < len(NOUNS) else f"{NOUNS[at % len(NOUNS)]} {at}" for at in range(config.categories)]
    levels = np.exp(rng.normal(np.log(40), PRICE_SPREAD, n_lines))
    prices = levels[lines] * np.exp(rng.normal(0.0, PRICE_NOISE, config.items))
    colours, materials = rng.integers(len(COLOURS), size=config.items), rng.integers(len(MATERIALS), size=config.items)
    meant: list[tuple[int, int, int, int]] = np.stack([lines, categories, colours, materials], axis=1).tolist()
    titles = [
        f"{names[line].capitalize()} {kinds[category]}, {COLOURS[colour]}, {MATERIALS[material]}"
        for line, category, colour, material in meant
    ]
    return pl.DataFrame(
        {
            "item_id": catalogue.ids,
            "title": titles,
            "categories": [[kinds[category]] for category in categories.tolist()],
            "price": prices.round(2),
        }
    )


def _line_names(rng: np.random.Generator, n: int) -> list[str]:
    """Distinct names of three syllables or more."""
    names = dict[str, None]()
    while len(names) < n:
        length = 3 + len(names) // len(SYLLABLES) ** 3
        drawn: list[int] = rng.integers(len(SYLLABLES), size=length).tolist()
        names["".join(SYLLABLES[at] for at in drawn)] = None
    return list(names)


def write_items(config: "SyntheticShop", path: str | Path) -> int:
    """Write the item table to ``path`` (.parquet, .jsonl, .csv or .tsv); returns the number of items.

    Raises:
        ConfigError: another file ending, or a category with too few items.
        DataError: the path cannot be written.
    """
    path = path_of("path", path)
    kind = path.suffix.lower()
    if kind not in (".parquet", ".jsonl", ".csv", ".tsv"):
        raise ConfigError(f"expected a path that ends in .parquet, .jsonl, .csv, .tsv, found '{path.name}'; rename it")
    table = synthetic_items(config)
    with whole_file(path) as unfinished:
        if kind == ".parquet":
            table.write_parquet(unfinished)
        elif kind == ".jsonl":
            table.write_ndjson(unfinished)
        else:
            flat = table.with_columns(pl.col("categories").list.join("|"))
            flat.write_csv(unfinished, separator="," if kind == ".csv" else "\t")
    return table.height

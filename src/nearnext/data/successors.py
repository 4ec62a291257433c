"""Successors of items in the synthetic shop: from the same category, or from the product line that follows."""

from typing import TYPE_CHECKING

import numpy as np

from nearnext.errors import ConfigError
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

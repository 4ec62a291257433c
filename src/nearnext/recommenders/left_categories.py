"""Categories that sessions leave after an event such as a purchase, measured in the training sessions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from nearnext.data.event_weights import event_key
from nearnext.data.item_columns import CATEGORY, ItemColumns
from nearnext.data.items import ItemTable
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.types import Int64Array

FEWEST = 20
"""Fewest next clicks after events of a type in a category that is measured."""
LEVEL = 0.05
"""False discovery rate among the categories of an event type."""


@dataclass(frozen=True)
class LeftCategories:
    """What was measured of the categories after events of one type.

    A category is left if, after such an event on one of its items, more than half of the next clicks on another item
    have other categories, and more of them than after an event of the most frequent type. Both are one-sided tests,
    binomial and Fisher's; the larger p-value counts, with the correction of Benjamini and Hochberg over categories.

    Attributes:
        tested: categories with at least `FEWEST` next clicks.
        left: those of them that are left.
    """

    tested: int
    left: list[str]


def left_categories(sessions: Sessions, items: ItemTable) -> dict[str, LeftCategories]:
    """Categories left after each event type but the most frequent; empty without event types or categories.

    >>> from dataclasses import replace
    >>> log = Sessions.of([["tent", "mat"]] * 30 + [["tent", "tarp"]] * 30)
    >>> bought = np.append(np.tile([1, 0], 30), np.zeros(60)).astype(np.uint8)  # tents before mats
    >>> table = ItemTable(pl.DataFrame({"item_id": ["tent", "tarp", "mat"], "categories": [["a"], ["a"], ["b"]]}))
    >>> left_categories(replace(log, types=bought, event_types=("view", "purchase")), table)
    {'purchase': LeftCategories(tested=1, left=['a'])}
    """
    if sessions.types is None or "categories" not in items.frame.columns:
        return {}
    kinds = ItemColumns.of(items.frame).kinds
    lists = ItemColumns(items.of(sessions.vocabulary.ids).frame, kinds).column(CATEGORY)
    names = lists.explode().drop_nulls().unique().sort()
    if not len(names):
        return {}
    nexts, stays = _next_clicks(sessions, _membership(lists, names))
    return {
        event: _measured(names, nexts[[0, at]], (nexts - stays)[[0, at]])
        for at, event in enumerate(sessions.event_types)
        if at > 0
    }


def _membership(lists: pl.Series, names: pl.Series) -> Any:
    """Which of C categories each item index has, as a sparse array: [I + 1, C]."""
    lists = lists.list.unique()
    counts = lists.list.len().fill_null(0).to_numpy()
    codes = lists.explode().drop_nulls().cast(pl.Enum(names)).to_physical().to_numpy()
    offsets = np.concatenate([[0, 0], np.cumsum(counts)])
    return sparse.csr_array((np.ones(len(codes), np.int64), codes, offsets), (len(lists) + 1, len(names)))


def _next_clicks(sessions: Sessions, member: Any) -> tuple[Int64Array, Int64Array]:
    """Next clicks, on another item with categories, after each event type in each category; those that stay there."""
    n_types, known = len(sessions.event_types), np.diff(member.indptr) > 0
    nexts = np.zeros((n_types, member.shape[1]), np.int64)
    stays = np.zeros_like(nexts)
    for part in sessions.parts():
        counted = (part.items[1:] != part.items[:-1]) & known[part.items[1:]]
        counted[part.offsets[1:-1] - 1] = False
        at = np.flatnonzero(counted)
        before, after = member[part.items[at]], member[part.items[at + 1]]
        assert part.types is not None  # noqa: S101 - see `left_categories`
        each = np.arange(len(at))
        of_type: Any = sparse.csr_array((np.ones_like(each), (part.types[at], each)), (n_types, len(at)))
        nexts += (of_type @ before).toarray()
        stays += (of_type @ before.multiply(after)).toarray()
    return nexts, stays


def _measured(names: pl.Series, nexts: Int64Array, leaves: Int64Array) -> LeftCategories:
    """What is left, given next clicks and those that leave, after the most frequent type and after another: [2, C]."""
    from scipy import stats  # imported late: it takes as long as the rest

    tested = np.flatnonzero(nexts[1] >= FEWEST)
    (n_usual, n), (usual, found) = nexts[:, tested], leaves[:, tested]
    tests: Any = stats
    more = tests.hypergeom.sf(found - 1, n_usual + n, usual + found, n)
    most = tests.binom.sf(found - 1, n, 0.5)
    left = tests.false_discovery_control(np.clip(np.maximum(more, most), 0, 1)) <= LEVEL if len(tested) else tested > 0
    return LeftCategories(len(tested), names.gather(tested[left]).to_list())


def require_left(measured: Mapping[str, LeftCategories], event: str) -> LeftCategories:
    """What was measured after an event type; `ConfigError` where nothing was."""
    for name, left in measured.items():
        if event_key(name) == event_key(event):
            return left
    if measured:
        raise ConfigError(
            f"expected an event type after which categories were measured, found '{event}'; measured: "
            f"{', '.join(measured)}"
        )
    raise ConfigError(
        f"this model did not measure which categories sessions leave after {event}; fit it on a log with several event "
        "types (the Parquet file of prepare keeps none, its folder does), with an item table that has categories"
    )

"""Lists by rules on items.

A list by rules is taken from the method's own list of admissible items that match, never filtered afterwards:

1. A boost moves an item from rank r to r / factor, among the items that the method itself ranks and among those that
   popularity adds; scores have another meaning in each method, ranks do not.
2. A limit takes items from the top as long as each of their categories has room. Where the first list is too short, a
   longer one is ranked, not the rest alone: a re-ranked method may order a part of the items in another way.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from nearnext.data.blocks import spans
from nearnext.data.conditions import matching_rows
from nearnext.data.item_columns import AVAILABLE, CATEGORY, Groups, ItemColumns, group_codes
from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import Moment, microseconds_of
from nearnext.errors import ConfigError
from nearnext.recommenders.item_rules import STRONGEST, WEAKEST, ItemRules
from nearnext.recommenders.left_categories import LeftCategories, require_left
from nearnext.recommenders.ranking import CHUNK, Ranking
from nearnext.topk import no_lists
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

if TYPE_CHECKING:
    from nearnext.recommenders.base import Recommender

DEEPEST = 5_000
"""Most items of one ranking that boosts and limits look at, or the length of the list if that is larger."""
SCRATCH = 1 << 24
"""Items ranked at once for many lists."""
KEPT = 256
"""Conditions whose matching items are kept."""
LATEST = 4
"""Rules that are kept applied to all items, for services whose requests have different ones."""
SECOND = 1_000_000
AHEAD, DEEPER = 3, 16
"""With limits per category, AHEAD times the length of a list is ranked; if that is too short, DEEPER times as many."""


class Limit(NamedTuple):
    """The most items of each value of a column, by groups of items: [n]."""

    groups: Groups
    most: int


class Leaving(NamedTuple):
    """Categories that sessions leave, as hashes, and those of each item: [n]."""

    groups: Groups
    left: frozenset[int]


Rank = Callable[[Prefixes, int, BoolArray], Ranking]
"""Ranks prefixes: lists of at most k of the admissible items [n]."""

Listed = tuple[IndexArray, ScoreArray, int]
"""Items and scores of one list, best first, and how many leading items the method itself ranked."""
RankOne = Callable[[int, BoolArray], Listed]
"""Ranks one prefix: a list of at most k of the admissible items [n]."""


class AppliedRules(NamedTuple):
    """Rules over n items."""

    matching: BoolArray  # [n]
    factors: FloatArray | None  # [n]
    limits: Sequence[Limit]
    leaving: Leaving | None = None

    @property
    def reorders(self) -> bool:
        """Whether the rules change the order of items, and not only which may be listed."""
        return self.factors is not None or bool(self.limits)

    def narrowed(self, admissible: BoolArray) -> BoolArray:
        """The admissible items that match: [n]."""
        return admissible & self.matching

    def left_after(self, last: int) -> tuple[int, ...]:
        """Categories that the list of a session leaves out, by its last item."""
        return () if self.leaving is None else tuple(sorted(self.leaving.left & {*self.leaving.groups.of(last)}))

    def without(self, categories: tuple[int, ...]) -> "AppliedRules":
        """The same rules for lists that leave out these categories."""
        matching = self.matching & self.leaving.groups.without(categories) if self.leaving else self.matching
        return self._replace(matching=matching, leaving=None)

    def horizon(self, k: int, admissible: BoolArray) -> int:
        """Items to rank for a list of k."""
        n = k * AHEAD if self.limits else k
        if self.factors is not None:
            among = self.factors[admissible]
            n = max(n, min(math.ceil(n * among.max(initial=1) / among.min(initial=1)), DEEPEST))
        return max(1, min(n, int(np.count_nonzero(admissible))))

    def ruled_list(
        self, k: int, admissible: BoolArray, rank: RankOne, first: Listed | None = None
    ) -> tuple[list[int], list[float], int]:
        """A list of at most k: items, scores, and how many leading items the method itself ranked.

        Args:
            k: longest list.
            admissible: matching items: [n].
            rank: ranks items.
            first: what it gives for the horizon of k.
        """
        items, scores, own = list[int](), list[float](), 0
        counts = [dict[int, int]() for _ in self.limits]
        n, deepest = self.horizon(k, admissible), min(DEEPEST, int(np.count_nonzero(admissible)))
        found, values, n_own = first or rank(n, admissible)
        while True:
            for at in self._order(found, n_own):
                item = int(found[at])
                if len(items) == k or not self._take(item, counts):
                    continue
                own += at < n_own and own == len(items)
                items.append(item)
                scores.append(float(values[at]))
            if len(items) == k or len(found) < n or not self.limits:
                break
            if n < deepest:
                n, own = min(n * DEEPER, deepest), 0
                for partial in (items, scores, *counts):
                    partial.clear()
            else:
                admissible, deepest = admissible.copy(), 0
                admissible[found] = False
                for limit, count in zip(self.limits, counts, strict=True):
                    admissible &= limit.groups.without([code for code, times in count.items() if times >= limit.most])
                n = self.horizon(k - len(items), admissible)
            found, values, n_own = rank(n, admissible)
        return items, scores[:own] + [0.0] * (len(items) - own), own

    def _order(self, found: IndexArray, n_own: int) -> list[int]:
        """Positions of a list in the order of boosted ranks."""
        if self.factors is None:
            return list(range(len(found)))
        factors = self.factors[found]
        own = np.arange(1, n_own + 1) / factors[:n_own]
        added = np.arange(1, len(found) - n_own + 1) / factors[n_own:]
        return [*np.argsort(own, kind="stable").tolist(), *(n_own + np.argsort(added, kind="stable")).tolist()]

    def _take(self, item: int, counts: Sequence[dict[int, int]]) -> bool:
        """Count an item if there is room for each of its values."""
        values = [limit.groups.of(item) for limit in self.limits]
        for limit, count, codes in zip(self.limits, counts, values, strict=True):
            if any(count.get(code, 0) >= limit.most for code in codes):
                return False
        for count, codes in zip(counts, values, strict=True):
            for code in codes:
                count[code] = count.get(code, 0) + 1
        return True


class RuledItems:
    """Items that rules are applied to.

    Args:
        parts: rows of attributes, of the same columns.
        rows: row of each item in the parts one after another, -1 for an item without attributes: [n].
        left: categories that sessions leave after an event, by its type.
    """

    def __init__(self, parts: Sequence[ItemColumns], rows: Int64Array, left: Mapping[str, LeftCategories]) -> None:
        self._parts, self._rows, self._left = parts, rows, left
        self._matching: dict[object, BoolArray] = {}
        self._groups: dict[str, Groups] = {}
        self._latest: dict[object, AppliedRules] = {}

    def apply(self, rules: ItemRules, now: int | None = None) -> AppliedRules:
        """Rules over these items, at a time in microseconds since 1970 UTC, by default now.

        Raises:
            ConfigError: a rule that cannot be read, or names an unknown column.
        """
        now = time.time_ns() // 1_000 if now is None else now
        conditions = (*rules.where, *(condition for condition, _ in rules.boost))
        key = rules, *(_moment(condition, now) for condition in conditions)
        if key not in self._latest:
            if len(self._latest) == LATEST:
                del self._latest[next(iter(self._latest))]
            self._latest[key] = self._applied(rules, now)
        return self._latest[key]

    def _applied(self, rules: ItemRules, now: int) -> AppliedRules:
        matching = np.ones(len(self._rows), dtype=np.bool_)
        for condition in rules.where:
            matching &= self._matches(condition, now)
        factors = np.ones(len(self._rows)) if rules.boost else None
        if factors is not None:
            for condition, factor in rules.boost:
                factors[self._matches(condition, now)] *= factor
            factors = np.clip(factors, WEAKEST, STRONGEST)
        limits = [Limit(self._values(name), most) for name, most in rules.at_most]
        return AppliedRules(matching, factors, limits, None if rules.after is None else self._leaving(rules.after))

    def _leaving(self, event: str) -> Leaving:
        left = require_left(self._left, event).left
        return Leaving(self._values(CATEGORY), frozenset(group_codes(pl.Series(left, dtype=pl.String)).tolist()))

    def _matches(self, condition: str, now: int) -> BoolArray:
        key = condition, _moment(condition, now)
        if key not in self._matching:
            if len(self._matching) >= KEPT:
                self._matching.clear()
            found = [*(matching_rows(part, condition, now) for part in self._parts), np.zeros(1, np.bool_)]
            self._matching[key] = np.concatenate(found)[self._rows]
        return self._matching[key]

    def _values(self, column: str) -> Groups:
        if column not in self._groups:
            parts = [part.groups(column) for part in self._parts]
            counts = np.concatenate([*(np.diff(part.starts) for part in parts), [0]])
            begins, lengths = (np.cumsum(counts) - counts)[self._rows], counts[self._rows]
            codes = np.concatenate([part.codes for part in parts])[spans(begins, lengths)]
            self._groups[column] = Groups(np.append(0, np.cumsum(lengths)), codes)
        return self._groups[column]


def _moment(condition: str, now: int) -> int:
    """The second that a condition depends on; 0 where it depends on none."""
    return now // SECOND if AVAILABLE in condition else 0


def rules_over(
    recommender: "Recommender", rules: ItemRules | None, moment: Moment | None = None
) -> AppliedRules | None:
    """Rules over the item indices of a model at a time, by default now; None where there are none.

    Raises:
        ConfigError: the model has no item table, or a rule cannot be read.
    """
    if rules is None:
        return None
    items = require_items(recommender)
    rows = np.append(-1, items.vocabulary.encode(recommender.vocabulary.ids).astype(np.int64) - 1)
    ruled = RuledItems([ItemColumns.of(items.frame)], rows, recommender.left_categories)
    return ruled.apply(rules, None if moment is None else microseconds_of("time", moment))


def require_items(recommender: "Recommender") -> ItemTable:
    """The item table of a model."""
    if recommender.items is None:
        raise no_item_table(recommender.name)
    return recommender.items


def no_item_table(method: str) -> ConfigError:
    """The error of rules, or of attributes, for a model without an item table."""
    return ConfigError(
        f"attributes and rules need an item table, and this model ({method}) has none; fit it with items (--items)"
    )


def ranked_by_rules(rules: AppliedRules, rank: Rank, prefixes: Prefixes, k: int, mask: BoolArray) -> Ranking:
    """Lists by rules, of at most k items of a mask."""
    if rules.leaving is not None:
        return _by_last_item(rules, rank, prefixes, k, mask)
    mask = rules.narrowed(mask)
    if not rules.reorders:
        return rank(prefixes, k, mask)
    items, scores, own = no_lists(len(prefixes), k)
    horizon = rules.horizon(k, mask)
    at_once = max(CHUNK, SCRATCH // horizon)
    for begin in range(0, len(prefixes), at_once):
        part = prefixes.slice(begin, begin + at_once)
        ranking = rank(part, horizon, mask)
        for at in range(len(part)):
            alone = part.slice(at, at + 1)

            def rank_one(n: int, among: BoolArray, alone: Prefixes = alone) -> Listed:
                return listed(rank(alone, n, among), 0)

            found, values, own[begin + at] = rules.ruled_list(k, mask, rank_one, listed(ranking, at))
            items[begin + at, : len(found)], scores[begin + at, : len(found)] = found, values
    return Ranking(items, scores, own)


def listed(ranking: Ranking, row: int) -> Listed:
    """One list of a ranking."""
    n = int(np.count_nonzero(ranking.items[row]))
    return ranking.items[row, :n], ranking.scores[row, :n], int(ranking.own[row])


def _by_last_item(rules: AppliedRules, rank: Rank, prefixes: Prefixes, k: int, mask: BoolArray) -> Ranking:
    """Lists that leave out categories of the last item, ranked together for the prefixes that leave out the same."""
    last = np.zeros(len(prefixes), dtype=np.int64)
    clicked = prefixes.lengths > 0
    last[clicked] = prefixes.items[prefixes.ends[clicked] - 1]
    distinct, of_prefix = np.unique(last, return_inverse=True)
    together = dict[tuple[int, ...], list[int]]()
    for at, item in enumerate(distinct.tolist()):
        together.setdefault(rules.left_after(item), []).append(at)
    items, scores, own = no_lists(len(prefixes), k)
    for left, ending in together.items():
        rows = np.flatnonzero(np.isin(of_prefix, ending))
        ranking = ranked_by_rules(rules.without(left), rank, prefixes.take(rows), k, mask)
        items[rows], scores[rows], own[rows] = ranking.items, ranking.scores, ranking.own
    return Ranking(items, scores, own)

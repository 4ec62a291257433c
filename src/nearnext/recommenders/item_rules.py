"""Rules on items by their attributes: a condition, boosts, and limits per category.

A list by rules is taken from the method's own list of admissible items that match, never filtered afterwards:

1. A boost moves an item from rank r to r / factor, among the items that the method itself ranks and among those that
   popularity adds; scores have another meaning in each method, ranks do not.
2. A limit takes items from the top as long as each of their categories has room.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from nearnext.data.conditions import Groups, ItemColumns
from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import Moment, microseconds_of
from nearnext.errors import ConfigError
from nearnext.recommenders.ranking import CHUNK, Ranking
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

if TYPE_CHECKING:
    from nearnext.recommenders.base import Recommender

Number = TypeVar("Number", int, float)

STRONGEST = 10.0
"""Largest factor of a boost, and of several for one item; the smallest is its inverse."""
MOST = 10
"""Most boosts and most limits."""
DEEPEST = 5_000
"""Most items that a boost looks at, or the length of the list if that is larger."""
SCRATCH = 1 << 24
"""Items ranked at once for many lists."""
AHEAD = 3
"""With limits per category, so many times the length of the list is ranked at once."""


@dataclass(frozen=True)
class ItemRules:
    """Rules as they are given.

    >>> ItemRules.of("price < 50", {"brand = 'acme'": 2}, {"category": 3})
    ItemRules(where='price < 50', boost=(("brand = 'acme'", 2.0),), at_most=(('category', 3),))
    """

    where: str | None = None
    boost: tuple[tuple[str, float], ...] = ()
    at_most: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(
        cls, where: str | None = None, boost: Mapping[str, Any] | None = None, at_most: Mapping[str, Any] | None = None
    ) -> "ItemRules | None":
        """Checked rules; None where there is none."""
        for name, each in (("boost", boost), ("at_most", at_most)):
            if each is not None and not isinstance(each, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(f"expected a mapping as {name}, found {type(each).__name__}; e.g. {_EXAMPLES[name]}")
            if each and len(each) > MOST:
                raise ConfigError(f"expected at most {MOST} rules of {name}, found {len(each)}")
        if where is not None and not isinstance(where, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"expected a text as where, found {type(where).__name__}; e.g. {_EXAMPLES['where']}")
        for condition, factor in (boost or {}).items():
            if isinstance(factor, bool) or not isinstance(factor, int | float) or not _WEAKEST <= factor <= STRONGEST:
                raise ConfigError(f"boost {condition!r}: expected a factor in {_WEAKEST}..{STRONGEST}, found {factor}")
        for column, limit in (at_most or {}).items():
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ConfigError(f"at most {limit} per {column}: expected a whole number of at least 1")
        if where is None and not boost and not at_most:
            return None
        boosts = tuple((condition, float(factor)) for condition, factor in (boost or {}).items())
        return cls(where, boosts, tuple((at_most or {}).items()))

    def over(self, parts: Sequence[ItemColumns], rows: Int64Array, now: int | None = None) -> "AppliedRules":
        """The rules over items, whose attributes are in rows of several parts.

        Args:
            parts: of the same columns.
            rows: row of each item in the parts one after another, -1 for an item without attributes: [n].
            now: time in microseconds since 1970 UTC, by default now.
        """

        def matching(condition: str) -> BoolArray:
            return np.concatenate([*(part.matching(condition, now) for part in parts), [False]])[rows]

        factors = None
        if self.boost:
            products = np.ones(len(rows))
            for condition, factor in self.boost:
                products[matching(condition)] *= factor
            factors = np.clip(products, _WEAKEST, STRONGEST)
        limits = [Limit.over([part.groups(column) for part in parts], rows, most) for column, most in self.at_most]
        return AppliedRules(None if self.where is None else matching(self.where), factors, limits)


def numbered(option: str, texts: Sequence[str], number: Callable[[str], Number]) -> dict[str, Number]:
    """Numbers by condition or column, from texts such as ``2:category``.

    >>> numbered("--at-most", ["2:category"], int)
    {'category': 2}
    """
    found: dict[str, Number] = {}
    for text in texts:
        given, _, rest = text.partition(":")
        name = rest.strip()
        try:
            if not name or name in found:
                raise ValueError
            found[name] = number(given)
        except ValueError:
            raise ConfigError(f"{option} {text}: expected NUMBER:TEXT, e.g. 2:category, each text once") from None
    return found


_WEAKEST = 1 / STRONGEST
_EXAMPLES = {"where": "price < 50", "boost": '{"price < 50": 2}', "at_most": '{"category": 2}'}


class Limit(NamedTuple):
    """At most so many items of each value of a column, by groups of items: [n]."""

    groups: Groups
    most: int

    @classmethod
    def over(cls, parts: Sequence[Groups], rows: Int64Array, most: int) -> "Limit":
        """The limit over items whose values are in rows of several parts, -1: no value."""
        counts = np.concatenate([*(np.diff(part.starts) for part in parts), [0]])
        codes = np.concatenate([part.codes for part in parts])
        begins = np.concatenate([[0], np.cumsum(counts)])[:-1]
        lengths = counts[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(int(starts[-1])) + np.repeat(begins[rows] - starts[:-1], lengths)
        return cls(Groups(starts, codes[positions]), most)

    def of(self, item: int) -> list[int]:
        """The values of an item."""
        return self.groups.codes[self.groups.starts[item] : self.groups.starts[item + 1]].tolist()

    def without(self, full: Sequence[int]) -> BoolArray:
        """Which items have none of the values: [n]."""
        starts, codes = self.groups
        among = np.concatenate([[0], np.cumsum(np.isin(codes, full))])
        return among[starts[1:]] == among[starts[:-1]]


Listed = tuple[IndexArray, ScoreArray, int]
"""Items and scores of one list, best first, and how many leading items the method itself ranked."""
RankOne = Callable[[int, BoolArray], Listed]
"""Gives a list of at most so many of the admissible items [n]."""


class AppliedRules(NamedTuple):
    """Rules over n items."""

    matching: BoolArray | None  # [n]
    factors: FloatArray | None  # [n]
    limits: Sequence[Limit]

    @property
    def reorders(self) -> bool:
        """Whether more than the set of items is ruled."""
        return self.factors is not None or bool(self.limits)

    def narrowed(self, admissible: BoolArray) -> BoolArray:
        """The admissible items that match: [n]."""
        return admissible if self.matching is None else admissible & self.matching

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
        while len(items) < k:
            n = self.horizon(k - len(items), admissible)
            found, values, n_own = first or rank(n, admissible)
            first = None
            for at in self._order(found, n_own):
                item = int(found[at])
                if len(items) == k or not self._take(item, counts):
                    continue
                own += at < n_own and own == len(items)
                items.append(item)
                scores.append(float(values[at]))
            if len(found) < n or not self.limits:
                break
            admissible = admissible.copy()
            admissible[found] = False
            for limit, count in zip(self.limits, counts, strict=True):
                admissible &= limit.without([code for code, times in count.items() if times >= limit.most])
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
        values = [limit.of(item) for limit in self.limits]
        for limit, count, codes in zip(self.limits, counts, values, strict=True):
            if any(count.get(code, 0) >= limit.most for code in codes):
                return False
        for count, codes in zip(counts, values, strict=True):
            for code in codes:
                count[code] = count.get(code, 0) + 1
        return True


def rules_over(recommender: "Recommender", rules: ItemRules | None, time: Moment | None = None) -> AppliedRules | None:
    """Rules over the item indices of a model at a time, by default now; None where there are none.

    Raises:
        ConfigError: the model has no item table, or a rule cannot be read.
    """
    if rules is None:
        return None
    items = require_items(recommender)
    rows = np.append(-1, items.vocabulary.encode(recommender.vocabulary.ids).astype(np.int64) - 1)
    return rules.over([ItemColumns.of(items.frame)], rows, None if time is None else microseconds_of("time", time))


def require_items(recommender: "Recommender") -> ItemTable:
    """The item table of a model."""
    if recommender.items is None:
        raise ConfigError(
            f"rules need an item table, and this model ({recommender.name}) has none; fit it with --items FILE"
        )
    return recommender.items


def ranked_by_rules(
    rules: AppliedRules,
    rank: Callable[[Prefixes, int, BoolArray], Ranking],
    prefixes: Prefixes,
    k: int,
    mask: BoolArray,
) -> Ranking:
    """Lists by rules; ``rank`` gives the lists of prefixes among the items of a mask."""
    mask = rules.narrowed(mask)
    if not rules.reorders:
        return rank(prefixes, k, mask)
    items = np.zeros((len(prefixes), k), dtype=np.int32)
    scores, own = np.zeros(items.shape, dtype=np.float32), np.zeros(len(prefixes), dtype=np.int32)
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

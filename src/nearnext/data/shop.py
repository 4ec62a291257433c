"""The synthetic shop's settings and its catalogue: popularity, categories, arrivals and successor lists."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl

from nearnext.errors import ConfigError
from nearnext.options import Count, Fraction, Natural, NonNegative, Probability, at_least, options
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array

COLD_FACTOR = 0.01
DRIFT_CYCLE = 28.0  # days


@options
class SyntheticShop:
    """A shop whose clicks come from a known mixture.

    A session starts with an item drawn by popularity. Each further click is, with probability ``p_markov``, one of
    the current item's fixed successors; with ``p_repeat`` a return to an earlier click of the session, each equally
    likely; else an item drawn by popularity from the current item's category or, with ``p_switch``, from the shop.

    Attributes:
        sessions: number of sessions, each of at least 2 clicks.
        items: number of items in the catalogue; some may stay without a click.
        categories: number of categories; items are spread evenly over them.
        days: days from the first to the last session.
        mean_length: mean clicks per session, at least 2; lengths are 1 + geometric.
        zipf: exponent of the popularity: the item of rank r is drawn in proportion to r^−zipf.
        p_markov: probability of a successor, in [0, 1].
        successors: length of each item's successor list.
        strength: how unequal the successors are: probabilities fall as j^−a, a between 0.5 and 1.5 times this.
        p_repeat: probability of a return, in [0, 1].
        p_switch: probability that a click drawn by popularity leaves the category, in [0, 1].
        drift: popularity swings by up to e^±drift within a cycle of 28 days, each item in its own phase.
        arrivals: share of items that are new: they arrive on a random day after the first, in [0, 1).
        cold: share of items, the least popular, drawn 100 times less often still, in [0, 1).
        seed: of everything random, 0 or more.

    Raises:
        ConfigError: a number outside its range.

    >>> SyntheticShop(sessions=1000, items=500).p_markov
    0.5
    """

    sessions: Count = 20_000
    items: Count = 2_000
    categories: Count = 20
    days: Count = 30
    mean_length: Annotated[float, at_least(2)] = 4.0
    zipf: NonNegative = 1.0
    p_markov: Probability = 0.5
    successors: Count = 10
    strength: NonNegative = 1.0
    p_repeat: Probability = 0.15
    p_switch: Probability = 0.1
    drift: NonNegative = 0.5
    arrivals: Fraction = 0.1
    cold: Fraction = 0.2
    seed: Natural = 7

    def __post_init__(self) -> None:
        if self.p_markov + self.p_repeat > 1 + 1e-12:
            raise ConfigError(
                f"p_markov and p_repeat must add up to at most 1, found {self.p_markov} + {self.p_repeat}; lower one"
            )


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items laid out by category and, inside it, by falling popularity; an item is a row 0..I − 1.

    Attributes:
        ids: raw item ids; their numbers say nothing about popularity: [I].
        begins: first row of each category, and I: [C + 1].
        weights: popularity without drift: [I].
        arrival_days: day from which an item is sold: [I].
        phases: where in the cycle of drift an item peaks, in [0, 1): [I].
        successors: rows of each item's successors, the likeliest first: [I, K].
        probabilities: their probabilities: [I, K].

    >>> catalogue = Catalogue.of(SyntheticShop(items=200, categories=4, successors=5))
    >>> catalogue.successors.shape, bool(np.allclose(catalogue.probabilities.sum(axis=1), 1))
    ((200, 5), True)
    """

    ids: pl.Series
    begins: Int64Array
    weights: FloatArray
    arrival_days: Int64Array
    phases: FloatArray
    drift: float
    successors: IndexArray
    probabilities: FloatArray

    @classmethod
    def of(cls, config: SyntheticShop) -> "Catalogue":
        """The catalogue of a shop; the seed decides it.

        Raises:
            ConfigError: a category has too few items for the successor lists.
        """
        rng = np.random.default_rng([config.seed, 0, 0])
        rank = np.arange(config.items)
        rank = rank[np.argsort(rank % config.categories, kind="stable")]
        category = rank % config.categories
        begins = np.searchsorted(category, np.arange(config.categories + 1)).astype(np.int64)
        cold = rank >= config.items - np.floor(config.items * config.cold)
        new = rng.permutation(config.items) < np.floor(config.items * config.arrivals)
        last_day = max(config.days, 2)  # a shop of one day has no second one: its new items never arrive
        digits = max(5, len(str(config.items - 1)))
        return cls(
            ids=pl.Series("item_id", [f"sku-{number:0{digits}}" for number in rng.permutation(config.items).tolist()]),
            begins=begins,
            weights=np.power(rank + 1.0, -config.zipf) * np.where(cold, COLD_FACTOR, 1.0),
            arrival_days=np.where(new, rng.integers(1, last_day, size=config.items), 0),
            phases=rng.random(config.items),
            drift=config.drift,
            successors=_draw_lists(rng, begins, ~cold & ~new, config),
            probabilities=_draw_probabilities(rng, config),
        )

    def shelf(self, day: int) -> FloatArray:
        """Cumulative popularity on a day, from 0, over the items that have arrived: [I + 1]."""
        swing = np.exp(self.drift * np.cos(2 * np.pi * (day / DRIFT_CYCLE - self.phases)))
        return np.concatenate([[0.0], np.cumsum(self.weights * swing * (self.arrival_days <= day))])

    def draw(self, shelf: FloatArray, rng: np.random.Generator, begin: Int64Array, end: Int64Array) -> IndexArray:
        """One item by popularity from rows begin..end − 1 for each entry of ``begin``: [n]."""
        low, high = shelf[begin], shelf[end]
        # Rounding may lift a draw onto the upper edge, where the next category, or an item not yet sold, begins.
        wanted = np.minimum(low + rng.random(len(begin)) * (high - low), np.nextafter(high, low))
        return (np.searchsorted(shelf, wanted, side="right") - 1).astype(np.int32)

    def draw_successors(self, rng: np.random.Generator, items: IndexArray) -> IndexArray:
        """One successor of each item by its known probabilities: [n]."""
        reached = np.cumsum(self.probabilities[items], axis=1) <= rng.random((len(items), 1))
        return self.successors[items, np.minimum(reached.sum(axis=1), self.successors.shape[1] - 1)]

    def category_of(self, items: IndexArray) -> tuple[Int64Array, Int64Array]:
        """First row and end row of each item's category: [n] and [n]."""
        category = np.searchsorted(self.begins, items, side="right") - 1
        return self.begins[category], self.begins[category + 1]


def _draw_lists(rng: np.random.Generator, begins: Int64Array, core: BoolArray, config: SyntheticShop) -> IndexArray:
    """Distinct successors of the item's category, sold from the first day so that none is named earlier: [I, K]."""
    core_before = np.concatenate([[0], np.cumsum(core)]).astype(np.int64)
    pool_begin = np.repeat(core_before[begins[:-1]], np.diff(begins))
    pool_size = np.repeat(np.diff(core_before[begins]), np.diff(begins)) - core  # an item does not follow itself
    smallest = int(np.diff(core_before[begins]).min())
    if smallest <= config.successors:
        raise ConfigError(
            f"each category needs more than {config.successors} items that are neither new nor cold, found a category "
            f"with {smallest}; raise items or lower categories, successors, arrivals or cold"
        )
    picked = _draw_distinct(rng, pool_size, config.successors)
    own = np.where(core, core_before[:-1] - pool_begin, config.items)
    picked += picked >= own[:, None]
    return np.flatnonzero(core)[pool_begin[:, None] + picked].astype(np.int32)


def _draw_distinct(rng: np.random.Generator, sizes: Int64Array, count: int) -> Int64Array:
    """``count`` distinct numbers below each size, small ones more often: [n, count]."""
    drawn = np.floor(sizes[:, None] * rng.random((len(sizes), count)) ** 2).astype(np.int64)
    for column in range(1, count):
        for _ in range(column):  # step over at most the numbers already taken
            taken = (drawn[:, :column] == drawn[:, column : column + 1]).any(axis=1)
            drawn[:, column] = (drawn[:, column] + taken) % sizes
    return drawn


def _draw_probabilities(rng: np.random.Generator, config: SyntheticShop) -> FloatArray:
    exponents = config.strength * rng.uniform(0.5, 1.5, size=(config.items, 1))
    unscaled = np.arange(1, config.successors + 1) ** -exponents
    return unscaled / unscaled.sum(axis=1, keepdims=True)

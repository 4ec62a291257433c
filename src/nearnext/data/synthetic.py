"""A synthetic shop: seeded click logs of any size, with a known best hit rate on their Markov part."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl

from nearnext.atomic import whole_file
from nearnext.data.arrow import parquet_file
from nearnext.data.shop_items import successor_lists
from nearnext.data.units import DAY_SECONDS
from nearnext.errors import ConfigError
from nearnext.forks import require_polars
from nearnext.options import (
    Count,
    Fraction,
    Natural,
    NonNegative,
    Probability,
    at_least,
    checked,
    options,
    path_of,
    require_type,
)
from nearnext.progress import track
from nearnext.types import FloatArray, IndexArray, Int64Array

BRANCHES = pl.Enum(["start", "markov", "repeat", "popularity"])
"""How a click came about: the session's first one, a drawn successor, a return, or a draw by popularity."""

START, MARKOV, REPEAT, POPULARITY = range(4)
COLD_FACTOR = 0.01
DRIFT_CYCLE = 28.0  # days
OPENING_TIME = 1_735_689_600  # 2025-01-01 00:00 UTC, seconds
WEEKDAY_TRAFFIC = (1.0, 1.0, 1.1, 1.3, 1.2, 1.0, 1.0)  # from Wednesday, the opening day
HOUR_TRAFFIC = (2, 1, 1, 1, 1, 2, 4, 6, 8, 10, 10, 10, 11, 10, 9, 9, 10, 11, 13, 15, 16, 14, 9, 5)
MEDIAN_DWELL, DWELL_SPREAD, LONGEST_DWELL = 40.0, 1.0, 1500  # seconds; below any inactivity gap in use
BATCH_SESSIONS = 200_000
ENDINGS = {".parquet": "", ".csv": ",", ".tsv": "\t"}
"""File endings that can be written, with their field separators."""


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
        affinity: share of an item's successors that are of the product line that follows its own, in [0, 1]; 0:
            attributes other than the category carry no information.
        complements: share of product lines followed by another one, in [0, 1]; the others are followed by themselves.
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
    affinity: Probability = 0.0
    complements: Probability = 1.0
    seed: Natural = 7

    def __post_init__(self) -> None:
        if self.p_markov + self.p_repeat > 1 + 1e-12:
            raise ConfigError(
                f"p_markov and p_repeat must add up to at most 1, found {self.p_markov} + {self.p_repeat}; lower one"
            )


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items laid out by category and, inside it, by falling popularity; an item is a row 0..I − 1."""

    config: SyntheticShop
    ids: pl.Series  # [I]; their numbers say nothing about popularity
    begins: Int64Array  # [C + 1]: first row of each category, and I
    weights: FloatArray  # [I]: popularity without drift
    arrival_days: Int64Array  # [I]: day from which an item is sold
    phases: FloatArray  # [I]: where in the cycle of drift an item peaks, in [0, 1)
    successors: IndexArray  # [I, K]: rows, the likeliest first
    probabilities: FloatArray  # [I, K]: of the successors

    @classmethod
    def of(cls, config: SyntheticShop) -> "Catalogue":
        """The catalogue of a shop; a ConfigError where a category has too few items for the successor lists."""
        require_type("config", config, SyntheticShop, "make it with SyntheticShop(sessions=1000)")
        rng = np.random.default_rng([config.seed, 0, 0])
        rank = np.arange(config.items)
        rank = rank[np.argsort(rank % config.categories, kind="stable")]
        begins = np.searchsorted(rank % config.categories, np.arange(config.categories + 1)).astype(np.int64)
        cold = rank >= config.items - np.floor(config.items * config.cold)
        new = rng.permutation(config.items) < np.floor(config.items * config.arrivals)
        last_day = max(config.days, 2)  # a shop of one day has no second one: its new items never arrive
        digits = max(5, len(str(config.items - 1)))
        ids = pl.Series("item_id", [f"sku-{number:0{digits}}" for number in rng.permutation(config.items).tolist()])
        weights = np.power(rank + 1.0, -config.zipf) * np.where(cold, COLD_FACTOR, 1.0)
        arrival_days = np.where(new, rng.integers(1, last_day, size=config.items), 0)
        phases = rng.random(config.items)
        lists = successor_lists(rng, begins, ~cold & ~new, config)
        powers = np.arange(1, config.successors + 1) ** -(config.strength * rng.uniform(0.5, 1.5, (config.items, 1)))
        return cls(
            config, ids, begins, weights, arrival_days, phases, lists, powers / powers.sum(axis=1, keepdims=True)
        )

    def shelf(self, day: int) -> FloatArray:
        """Cumulative popularity on a day, from 0, over the items that have arrived: [I + 1]."""
        swing = np.exp(self.config.drift * np.cos(2 * np.pi * (day / DRIFT_CYCLE - self.phases)))
        return np.concatenate([[0.0], np.cumsum(self.weights * swing * (self.arrival_days <= day))])

    def category_of(self, items: IndexArray) -> tuple[Int64Array, Int64Array]:
        """First row and end row of each item's category: [n] and [n]."""
        category = np.searchsorted(self.begins, items, side="right") - 1
        return self.begins[category], self.begins[category + 1]

    def next_clicks(
        self, rng: np.random.Generator, shelf: FloatArray, position: int, at: Int64Array, items: IndexArray
    ) -> IndexArray:
        """Draws click ``position`` of sessions into ``items`` at ``at``; the branch of each: [n]."""
        config = self.config
        chosen = rng.random(len(at))
        markov = chosen < config.p_markov
        repeat = ~markov & (chosen < config.p_markov + config.p_repeat)
        before = items[at[markov] - 1]
        reached = np.cumsum(self.probabilities[before], axis=1) <= rng.random((len(before), 1))
        items[at[markov]] = self.successors[before, np.minimum(reached.sum(axis=1), config.successors - 1)]
        back = at[repeat]
        items[back] = items[back - position + rng.integers(position, size=len(back))]
        popular = at[~markov & ~repeat]
        begin, end = self.category_of(items[popular - 1])
        leaves = rng.random(len(popular)) < config.p_switch
        items[popular] = _draw(rng, shelf, np.where(leaves, 0, begin), np.where(leaves, config.items, end))
        return np.select([markov, repeat], [MARKOV, REPEAT], POPULARITY).astype(np.int32)

    def batches(self) -> Iterator[pl.DataFrame]:
        """Days, cut where they hold many sessions; each batch has its own generator, so none depends on the others.

        A click has a ``session_id``, the ``row`` of its item, ``timestamp`` in seconds, and its ``branch`` as a code.
        """
        config = self.config
        traffic = np.cumsum([WEEKDAY_TRAFFIC[day % len(WEEKDAY_TRAFFIC)] for day in range(config.days)])
        first = 0
        for day, reached in enumerate(traffic / traffic[-1]):
            last = round(float(reached) * config.sessions)
            shelf = self.shelf(day)
            for part, begin in enumerate(range(first, last, BATCH_SESSIONS)):
                count = min(BATCH_SESSIONS, last - begin)
                rng = np.random.default_rng([config.seed, 1 + day, part])
                # Evenly spaced in the day's traffic, so that the parts of one day follow one another.
                quantiles = (begin - first + np.sort(rng.random(count)) * count) / (last - first)
                lengths = 1 + rng.geometric(1 / (config.mean_length - 1), size=count)
                offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
                items, branches = (np.zeros(offsets[-1], dtype=np.int32) for _ in range(2))
                nowhere = np.zeros(count, dtype=np.int64)
                items[offsets[:-1]] = _draw(rng, shelf, nowhere, nowhere + config.items)
                for position in range(1, int(lengths.max())):  # all sessions advance one click at a time
                    at = offsets[:-1][lengths > position] + position
                    branches[at] = self.next_clicks(rng, shelf, position, at, items)
                times = OPENING_TIME + day * DAY_SECONDS + _times_of_day(rng, quantiles, offsets)
                sessions = np.repeat(begin + np.arange(count), lengths)
                yield pl.DataFrame({"session_id": sessions, "row": items, "timestamp": times, "branch": branches})
            first = last


def _draw(rng: np.random.Generator, shelf: FloatArray, begin: Int64Array, end: Int64Array) -> IndexArray:
    """One item by popularity from rows begin..end − 1 for each entry of ``begin``: [n]."""
    low, high = shelf[begin], shelf[end]
    # Rounding may lift a draw onto the upper edge, where the next category, or an item not yet sold, begins.
    drawn = np.minimum(low + rng.random(len(begin)) * (high - low), np.nextafter(high, low))
    return (np.searchsorted(shelf, drawn, side="right") - 1).astype(np.int32)


def _times_of_day(rng: np.random.Generator, quantiles: FloatArray, offsets: Int64Array) -> Int64Array:
    """Seconds since midnight of each click: starts follow the hours of a day, dwell times are log-normal."""
    by_hour = np.concatenate([[0], np.cumsum(HOUR_TRAFFIC)]) / sum(HOUR_TRAFFIC)
    starts = np.interp(quantiles, by_hour, np.arange(len(by_hour)) * 3600.0).astype(np.int64)
    dwell = rng.lognormal(np.log(MEDIAN_DWELL), DWELL_SPREAD, size=int(offsets[-1]))
    elapsed = np.cumsum(np.clip(dwell, 1, LONGEST_DWELL).astype(np.int64))
    return np.repeat(starts - elapsed[offsets[:-1]], np.diff(offsets)) + elapsed


def generate(config: SyntheticShop, *, truth: bool = False) -> pl.DataFrame:
    """A click log, one row per click, by session start and then position: the same bytes for the same config.

    Columns: ``session_id`` (integer), ``item_id`` (text such as ``sku-00042``), ``timestamp`` (seconds since 1970
    UTC), and with ``truth`` also ``branch`` (one of ``BRANCHES``), which says how each click was drawn.

    Raises:
        ConfigError: a category has too few items for the successor lists.

    >>> log = generate(SyntheticShop(sessions=100, items=200, categories=4))
    >>> log.columns, log["session_id"].n_unique()
    (['session_id', 'item_id', 'timestamp'], 100)
    """
    return pl.concat(generate_chunks(config, truth=truth), rechunk=True)


def generate_chunks(config: SyntheticShop, *, truth: bool = False) -> Iterator[pl.DataFrame]:
    """The log of ``generate`` in consecutive parts of at most one day and 200,000 sessions, for logs of any size."""
    require_polars("generating a log")
    catalogue = Catalogue.of(config)
    how = {"branch": pl.col("branch").replace_strict(range(4), BRANCHES.categories, return_dtype=BRANCHES)}
    for batch in catalogue.batches():
        item_ids = catalogue.ids.gather(batch["row"])
        yield batch.select("session_id", item_ids, "timestamp", **how if truth else {})


def best_hit_rate(config: SyntheticShop, k: int) -> float:
    """The highest expected HitRate@k on the clicks that the Markov branch drew, in [0, 1]; exact for this log.

    No list of k items does better on them than the k likeliest successors of the click before, so this is the sum
    of the k largest successor probabilities, averaged over the items from which the log's Markov clicks started.

    Raises:
        ConfigError: k below 1, no Markov click in this log, or too few items in a category.

    >>> shop = SyntheticShop(sessions=500, items=200, categories=4, successors=10)
    >>> best_hit_rate(shop, 1) < best_hit_rate(shop, 5) < best_hit_rate(shop, 10)
    True
    """
    k = checked("k", k, Count)
    catalogue = Catalogue.of(config)
    visits = np.zeros(config.items, dtype=np.int64)
    for batch in catalogue.batches():
        drawn = np.flatnonzero(batch["branch"].to_numpy() == MARKOV)
        visits += np.bincount(batch["row"].to_numpy()[drawn - 1], minlength=config.items)
    if not visits.any():
        raise ConfigError("no click of this log was drawn by the Markov branch; raise p_markov or the sessions")
    return float(np.average(catalogue.probabilities[:, :k].sum(axis=1), weights=visits))


def write_log(config: SyntheticShop, path: str | Path) -> int:
    """The number of clicks of the log written to ``path`` (.parquet, .csv or .tsv), chunk by chunk.

    A file that was there is replaced only once the new log is complete.

    Raises:
        ConfigError: another file ending, or a category with too few items.
        DataError: the path cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     n_clicks = write_log(SyntheticShop(sessions=10, items=200, categories=4), f"{folder}/clicks.csv")
    >>> n_clicks >= 20
    True
    """
    require_type("config", config, SyntheticShop, "make it with SyntheticShop(sessions=1000)")
    chunks = generate_chunks(config)
    path = path_of("path", path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(f"expected a path that ends in {', '.join(ENDINGS)}, found '{path.name}'; rename it")
    n_clicks = 0
    written = track("writing a synthetic log", config.sessions, "sessions")
    with (
        whole_file(path) as unfinished,
        unfinished.open("wb") as file,
        parquet_file(file) as append,
        written as advance,
    ):
        for chunk in chunks:
            if ending == ".parquet":
                append(chunk)
            else:
                chunk.write_csv(file, include_header=n_clicks == 0, separator=ENDINGS[ending])
            n_clicks += chunk.height
            advance(chunk["session_id"].n_unique())
    return n_clicks

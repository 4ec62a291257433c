"""A synthetic shop: seeded click logs of any size, with a known best hit rate on their Markov part."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from nearnext.atomic import whole_file
from nearnext.data.shop import Catalogue, SyntheticShop
from nearnext.errors import ConfigError
from nearnext.forks import require_polars
from nearnext.options import Count, checked, path_of, require_type
from nearnext.progress import track
from nearnext.types import FloatArray, IndexArray, Int64Array

BRANCHES = pl.Enum(["start", "markov", "repeat", "popularity"])
"""How a click came about: the session's first one, a drawn successor, a return, or a draw by popularity."""

START, MARKOV, REPEAT, POPULARITY = range(4)
OPENING_TIME = 1_735_689_600  # 2025-01-01 00:00 UTC, seconds
DAY_SECONDS = 86_400
WEEKDAY_TRAFFIC = (1.0, 1.0, 1.1, 1.3, 1.2, 1.0, 1.0)  # from Wednesday, the opening day
HOUR_TRAFFIC = (2, 1, 1, 1, 1, 2, 4, 6, 8, 10, 10, 10, 11, 10, 9, 9, 10, 11, 13, 15, 16, 14, 9, 5)
MEDIAN_DWELL, DWELL_SPREAD, LONGEST_DWELL = 40.0, 1.0, 1500  # seconds; below any inactivity gap in use
BATCH_SESSIONS = 200_000


@dataclass(frozen=True, eq=False)
class _Batch:
    """Sessions of one day: ``items`` are catalogue rows, ``times`` seconds, ``branches`` codes of BRANCHES, all [E]."""

    first_session: int
    offsets: Int64Array
    items: IndexArray
    times: Int64Array
    branches: IndexArray

    def frame(self, catalogue: Catalogue, truth: bool) -> pl.DataFrame:
        lengths = np.diff(self.offsets)
        session_ids = self.first_session + np.arange(len(lengths))
        frame = pl.DataFrame(
            {
                "session_id": np.repeat(session_ids, lengths),
                "item_id": catalogue.ids.gather(self.items),
                "timestamp": self.times,
            }
        )
        if not truth:
            return frame
        return frame.with_columns(branch=BRANCHES.categories.cast(BRANCHES).gather(self.branches))


def generate(config: SyntheticShop, *, truth: bool = False) -> pl.DataFrame:
    """A click log, one row per click, by session start and then position: the same bytes for the same config.

    Args:
        config: the shop.
        truth: add the column ``branch`` (one of ``BRANCHES``), which says how each click was drawn.

    Returns:
        ``session_id`` (integer), ``item_id`` (text such as ``sku-00042``), ``timestamp`` (seconds since 1970 UTC).

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
    require_type("config", config, SyntheticShop, "make it with SyntheticShop(sessions=1000)")
    catalogue = Catalogue.of(config)
    for batch in _batches(config, catalogue):
        yield batch.frame(catalogue, truth)


def successors(config: SyntheticShop) -> pl.DataFrame:
    """What an oracle knows: each item's successors and their probabilities, the likeliest first.

    Returns:
        ``item_id``, ``successor_id``, ``probability`` (sums to 1 per item), ``config.successors`` rows per item.

    Raises:
        ConfigError: a category has too few items for the successor lists.

    >>> successors(SyntheticShop(items=200, categories=4, successors=3)).height
    600
    """
    catalogue = Catalogue.of(config)
    return pl.DataFrame(
        {
            "item_id": catalogue.ids.gather(np.repeat(np.arange(config.items), config.successors)),
            "successor_id": catalogue.ids.gather(catalogue.successors.ravel()),
            "probability": catalogue.probabilities.ravel(),
        }
    )


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
    require_type("config", config, SyntheticShop, "make it with SyntheticShop(sessions=1000)")
    catalogue = Catalogue.of(config)
    visits = np.zeros(config.items, dtype=np.int64)
    for batch in _batches(config, catalogue):
        drawn = np.flatnonzero(batch.branches == MARKOV)
        visits += np.bincount(batch.items[drawn - 1], minlength=config.items)
    if not visits.any():
        raise ConfigError("no click of this log was drawn by the Markov branch; raise p_markov or the sessions")
    reachable = catalogue.probabilities[:, :k].sum(axis=1)
    return float(np.average(reachable, weights=visits))


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
    path = path_of("path", path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"expected a path that ends in {', '.join(_WRITERS)}, found '{path.name}'; rename it")
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        return write(_tracked(config), file)


def _tracked(config: SyntheticShop) -> Iterator[pl.DataFrame]:
    with track("writing a synthetic log", config.sessions, "sessions") as advance:
        for chunk in generate_chunks(config):
            yield chunk
            advance(chunk["session_id"].n_unique())


def _write_parquet(chunks: Iterator[pl.DataFrame], file: IO[bytes]) -> int:
    n_clicks = 0
    with ExitStack() as stack:
        writer: Any = None  # pyarrow has no type stubs
        for chunk in chunks:
            table = cast("Any", chunk.to_arrow())
            writer = writer or stack.enter_context(pq.ParquetWriter(file, table.schema, compression="zstd"))
            writer.write_table(table)
            n_clicks += chunk.height
    return n_clicks


def _write_text(chunks: Iterator[pl.DataFrame], file: IO[bytes], separator: str) -> int:
    n_clicks = 0
    for chunk in chunks:
        chunk.write_csv(file, include_header=n_clicks == 0, separator=separator)
        n_clicks += chunk.height
    return n_clicks


_WRITERS: dict[str, Callable[[Iterator[pl.DataFrame], IO[bytes]], int]] = {
    ".parquet": _write_parquet,
    ".csv": lambda chunks, file: _write_text(chunks, file, ","),
    ".tsv": lambda chunks, file: _write_text(chunks, file, "\t"),
}


def _batches(config: SyntheticShop, catalogue: Catalogue) -> Iterator[_Batch]:
    """Days, cut where they hold many sessions; each batch has its own generator, so it never depends on the others."""
    traffic = np.cumsum([WEEKDAY_TRAFFIC[day % len(WEEKDAY_TRAFFIC)] for day in range(config.days)])
    first = 0
    for day, reached in enumerate(traffic / traffic[-1]):
        last = round(float(reached) * config.sessions)
        shelf = catalogue.shelf(day)
        for part, begin in enumerate(range(first, last, BATCH_SESSIONS)):
            count = min(BATCH_SESSIONS, last - begin)
            rng = np.random.default_rng([config.seed, 1 + day, part])
            # Evenly spaced in the day's traffic, so that the parts of one day follow one another.
            quantiles = (begin - first + np.sort(rng.random(count)) * count) / (last - first)
            midnight = OPENING_TIME + day * DAY_SECONDS
            yield _Draw(config, catalogue, shelf, rng).batch(begin, midnight, quantiles)
        first = last


@dataclass(frozen=True, eq=False)
class _Draw:
    """The mixture of one day: ``shelf`` is the day's cumulative popularity."""

    config: SyntheticShop
    catalogue: Catalogue
    shelf: FloatArray
    rng: np.random.Generator

    def batch(self, first_session: int, midnight: int, quantiles: FloatArray) -> _Batch:
        """One session for each quantile of the day's traffic; all sessions advance one click at a time."""
        lengths = 1 + self.rng.geometric(1 / (self.config.mean_length - 1), size=len(quantiles))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        items = np.zeros(offsets[-1], dtype=np.int32)
        branches = np.full(offsets[-1], START, dtype=np.int32)
        nowhere = np.zeros(len(lengths), dtype=np.int64)
        items[offsets[:-1]] = self.catalogue.draw(self.shelf, self.rng, nowhere, nowhere + self.config.items)
        for position in range(1, int(lengths.max())):
            self._click(position, offsets[:-1][lengths > position] + position, items, branches)
        return _Batch(first_session, offsets, items, self._times(midnight, quantiles, offsets), branches)

    def _click(self, position: int, at: Int64Array, items: IndexArray, branches: IndexArray) -> None:
        """Click ``position`` of every session that is long enough, written to ``items`` and ``branches`` at ``at``."""
        config, catalogue, rng = self.config, self.catalogue, self.rng
        chosen = rng.random(len(at))
        markov = chosen < config.p_markov
        repeat = ~markov & (chosen < config.p_markov + config.p_repeat)
        branches[at] = np.select([markov, repeat], [MARKOV, REPEAT], POPULARITY)
        items[at[markov]] = catalogue.draw_successors(rng, items[at[markov] - 1])
        back = at[repeat]
        items[back] = items[back - position + rng.integers(position, size=len(back))]
        popular = at[~markov & ~repeat]
        begin, end = catalogue.category_of(items[popular - 1])
        leaves = rng.random(len(popular)) < config.p_switch
        begin, end = np.where(leaves, 0, begin), np.where(leaves, config.items, end)
        items[popular] = catalogue.draw(self.shelf, rng, begin, end)

    def _times(self, midnight: int, quantiles: FloatArray, offsets: Int64Array) -> Int64Array:
        """Seconds since 1970 UTC: starts follow the hours of a day, dwell times are log-normal."""
        by_hour = np.concatenate([[0], np.cumsum(HOUR_TRAFFIC)]) / sum(HOUR_TRAFFIC)
        starts = np.interp(quantiles, by_hour, np.arange(len(by_hour)) * 3600.0).astype(np.int64)
        dwell = self.rng.lognormal(np.log(MEDIAN_DWELL), DWELL_SPREAD, size=int(offsets[-1]))
        elapsed = np.cumsum(np.clip(dwell, 1, LONGEST_DWELL).astype(np.int64))
        return midnight + np.repeat(starts - elapsed[offsets[:-1]], np.diff(offsets)) + elapsed

"""Training on a catalogue of a million items: clicks per second and peak memory, on one thread of a processor.

    python benchmarks/million_items.py [--items 1000000] [--sessions 600000] [--method sml-weightedpool-ncas]

The log is synthetic: every item occurs, sessions stay in one of the catalogue's categories, popular items are clicked
more often. One epoch of the `tuned` preset is trained; the last few sessions are held out, and all items are ranked for
each of their prefixes, as in every training. ``--method metric`` is the default recommender as a whole: an epoch before
its re-ranker, and one on all sessions after it. ``--index`` builds the index of the trained model afterwards.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.indexing import reindex
from nearnext.recommenders.embedded import EmbeddedRecommender
from nearnext.recommenders.named import DEFAULTS, make_recommender
from nearnext.recommenders.sml.options import parts_from_options
from nearnext.recommenders.sml.recommender import SML

IN_CATEGORY = 200
LENGTH = 5.0
GAP = 30_000_000


def synthetic(n_items: int, n_sessions: int) -> Sessions:
    """Sessions that stay in one category each; every item occurs in one of them at least."""
    rng = np.random.default_rng(7)
    lengths = 2 + rng.poisson(LENGTH - 2, n_sessions)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n_categories = -(-n_items // IN_CATEGORY)
    category = np.repeat((rng.random(n_sessions) ** 2 * n_categories).astype(np.int64), lengths)
    place = (rng.random(len(category)) ** 2 * IN_CATEGORY).astype(np.int64)
    items = np.minimum(category * IN_CATEGORY + place, n_items - 1) + 1
    if len(items) < n_items:
        raise SystemExit(f"{len(items):,} clicks cannot cover {n_items:,} items: raise --sessions")
    items[rng.choice(len(items), n_items, replace=False)] = rng.permutation(n_items) + 1
    within = np.arange(len(items)) - np.repeat(offsets[:-1], lengths)
    return Sessions(
        items=items.astype(np.int32),
        offsets=offsets,
        times=np.repeat(np.arange(n_sessions) * GAP, lengths) + within,
        vocabulary=Vocabulary(pl.Series("item_id", np.arange(1, n_items + 1))),
        session_ids=pl.Series("session_id", np.arange(n_sessions)),
    ).reindexed()


def peak_gib() -> float:
    """Most memory that this process has held, GiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20


def model_of(method: str, dim: int, validation_fraction: float) -> EmbeddedRecommender:
    """An unfitted recommender that takes one epoch."""
    options: dict[str, Any] = {"dim": dim, "epochs": 1, "validation_fraction": validation_fraction}
    if method in DEFAULTS:
        return cast("EmbeddedRecommender", make_recommender(method, options))
    if "gru" in method or "lstm" in method:
        options["hidden"] = dim
    return SML(**parts_from_options(method, options | {"device": "cpu"}))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=600_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--method", default="sml-weightedpool-ncas")
    parser.add_argument("--held-out", type=int, default=200, help="sessions of the validation part")
    parser.add_argument("--index", action="store_true", help="build and measure the index too")
    given = parser.parse_args()
    sessions = synthetic(given.items, given.sessions)
    print(f"{sessions.n_events:,} clicks in {sessions.n_sessions:,} sessions on {sessions.n_items:,} items", flush=True)
    print(f"peak memory with the log: {peak_gib():.2f} GiB", flush=True)
    model = model_of(given.method, given.dim, given.held_out / given.sessions)
    begin, computed = time.perf_counter(), time.process_time()
    model.fit(sessions)
    elapsed, computed = time.perf_counter() - begin, time.process_time() - computed
    clicks = sessions.n_events - sessions.n_sessions
    print(
        f"{model.name}, dimension {given.dim}: {clicks:,} prefixes, {elapsed:.0f} s elapsed, {computed:.0f} s computed"
    )
    print(
        f"{clicks / elapsed:,.0f} prefixes/s elapsed, {clicks / computed:,.0f} per second computed; {model.history[-1]}"
    )
    print(f"peak memory of training: {peak_gib():.2f} GiB (target: at most 24)", flush=True)
    if given.index:
        for name, value in asdict(reindex(model, sessions=sessions)).items():
            print(f"  {name}: {value}")
        print(f"peak memory with the index: {peak_gib():.2f} GiB")


if __name__ == "__main__":
    main()

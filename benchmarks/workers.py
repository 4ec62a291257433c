"""Clicks trained on per second by one process and by several that share each step.

    NEARNEXT_DATA=FOLDER python benchmarks/workers.py [--workers 2] [--sessions 10000] [--batch 256] [--pairs 2]

FOLDER holds rsc15_64, whose most recent sessions are learned from. Each method trains two epochs with one process and
then with several, as often as --pairs says; the second epoch counts. gru4rec ends an epoch in short steps, as many as
the longest sessions have clicks, which weigh less the more sessions there are. Elapsed time says little where other
programs use the same cores, so processor time is given as well: that of the process that computed longest bounds the
elapsed time when every process has a core.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.trained import TrainedRecommender

METHODS = ("metric", "sml-gru-ncas", "gru4rec")
OWN = {
    "metric": {"validation_fraction": 0.0, "dim": 192},
    "sml-gru-ncas": {"validation_fraction": 0.0},
}
"""No epoch is validated, which is work of the first process alone."""


@dataclass(frozen=True)
class Epoch:
    """Seconds of one epoch: elapsed, and of processor for each process."""

    elapsed: float
    processor: list[float]


def clocks() -> list[float]:
    """Elapsed seconds, then seconds of processor of this process and of each worker."""
    process = psutil.Process()
    used = [one.cpu_times() for one in [process, *process.children()]]
    return [time.perf_counter(), *(times.user + times.system for times in used)]


def second_epoch(method: str, sessions: Sessions, batch: int, workers: int) -> Epoch:
    """The second epoch of a fit."""
    model = make_recommender(method, {**OWN.get(method, {}), "epochs": 2, "batch_size": batch, "workers": workers})
    assert isinstance(model, TrainedRecommender)
    ends = list[list[float]]()
    model.watch = lambda _: ends.append(clocks())
    model.fit(sessions)
    first, second = ends
    spent = [after - before for before, after in zip(first, second, strict=False)]
    return Epoch(spent[0], sorted(spent[1:])[-workers:])


def main() -> None:
    """Print a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sessions", type=int, default=10_000, help="the most recent ones")
    parser.add_argument("--batch", type=int, default=256, help="sessions in a step")
    parser.add_argument("--pairs", type=int, default=2, help="how often both are run")
    parser.add_argument("--methods", default=",".join(METHODS))
    given = parser.parse_args()
    log = read_sessions(Path(os.environ["NEARNEXT_DATA"]) / "rsc15_64" / "train.parquet")
    recent = log.select(np.arange(max(log.n_sessions - given.sessions, 0), log.n_sessions))
    sessions = recent.select(recent.lengths > 1).reindexed()
    print(f"{sessions.n_events:,} clicks of {sessions.n_sessions:,} sessions on {sessions.n_items:,} items")
    print("| method | processes | clicks/s | processor s of each process | times one: elapsed | by processor |")
    print("|---|---|---|---|---|---|")
    for method in given.methods.split(","):
        pairs = [
            [second_epoch(method, sessions, given.batch, workers) for workers in (1, given.workers)]
            for _ in range(given.pairs)
        ]
        elapsed = median(one.elapsed / many.elapsed for one, many in pairs)
        processor = median(max(one.processor) / max(many.processor) for one, many in pairs)
        for at, (workers, gain) in enumerate([(1, "| 1 | 1"), (given.workers, f"| {elapsed:.2f} | {processor:.2f}")]):
            epochs = [pair[at] for pair in pairs]
            rate = median(sessions.n_events / epoch.elapsed for epoch in epochs)
            spent = "; ".join(", ".join(f"{one:.1f}" for one in epoch.processor) for epoch in epochs)
            print(f"| {method} | {workers} | {rate:,.0f} | {spent} {gain} |", flush=True)


if __name__ == "__main__":
    main()

"""Session-kNN: predictions per second and latency, compiled kernel against the published algorithms run plainly.

Both sides use one core and the same cases in one run on one machine; figures are ratios first. Recommendations are
compared case by case. With NEARNEXT_DATA set, the log is rsc15_64; without, a synthetic shop.

    python benchmarks/session_knn.py [--cases 300]
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nearnext.data.events import read_events
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessionise import read_sessions, sessionise
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.data.splits import Split, split_last, split_parts
from nearnext.data.synthetic import SyntheticShop, generate
from nearnext.recommenders.neighbours import VSKNN, VSTAN
from plain_session_knn import PlainIndex, plain_vsknn, plain_vstan

K = 20
Plain = Callable[[list[int], float], dict[int, float]]


def load() -> tuple[str, Split]:
    """The log's name and its split."""
    folder = os.environ.get("NEARNEXT_DATA")
    if folder:
        base = Path(folder) / "rsc15_64"
        return "rsc15_64", split_parts(read_sessions(base / "train.parquet"), read_sessions(base / "test.parquet"))
    shop = SyntheticShop(sessions=100_000, items=20_000, seed=7)
    return "synthetic shop (NEARNEXT_DATA is not set)", split_last(sessionise(read_events(generate(shop))))


def plain_index(train: Sessions) -> PlainIndex:
    """The training sessions for the plain implementation, on item indices."""
    sessions = [part.tolist() for part in np.split(train.items, train.offsets[1:-1])]
    return PlainIndex(sessions, (train.ends / MICROSECONDS).tolist())


def agree(scores: dict[int, float], items: list[int], found: list[float]) -> bool:
    """Whether a list holds the plain implementation's best scores in order; equal scores may swap ranks."""
    best = sorted((score for score in scores.values() if score > 1e-12), reverse=True)[: len(items)]
    own = [scores.get(item, 0.0) for item in items[: len(best)]]
    return np.allclose(own, best, rtol=1e-4) and np.allclose(found[: len(best)], best, rtol=1e-4)


def measure(method: VSKNN | VSTAN, plain: Plain, prefixes: Prefixes, chosen: np.ndarray) -> None:
    """Prints rates, latencies, their ratio and the share of equal lists."""
    part = [prefixes.slice(row, row + 1) for row in chosen.tolist()]
    method.rank(part[0], K, threads=1)
    latencies = np.empty(len(part))
    lists = []
    for row, prefix in enumerate(part):
        begin = time.perf_counter()
        lists.append(method.rank(prefix, K, threads=1))
        latencies[row] = time.perf_counter() - begin
    begin = time.perf_counter()
    method.rank(prefixes, K, threads=1)
    batch_rate = len(prefixes) / (time.perf_counter() - begin)
    plain_latencies = np.empty(len(part))
    equal = 0
    for row, (prefix, ranking) in enumerate(zip(part, lists, strict=True)):
        clicks = [item for item in prefix.items[prefix.starts[0] : prefix.ends[0]].tolist() if item]
        begin = time.perf_counter()
        scores = plain(clicks, float(prefix.times[0]) / MICROSECONDS)
        plain_latencies[row] = time.perf_counter() - begin
        own = int(ranking.own[0])
        equal += agree(scores, ranking.items[0, :own].tolist(), ranking.scores[0, :own].tolist())
    plain_rate = len(part) / plain_latencies.sum()
    print(f"{method.name}: {batch_rate:,.0f} cases/s in batches on one core, plainly {plain_rate:,.0f}")
    print(f"  ratio {batch_rate / plain_rate:,.0f} (target: at least 20)")
    for name, seconds in (("one case at a time", latencies), ("plainly", plain_latencies)):
        p50, p90, p99 = np.percentile(seconds * 1000, [50, 90, 99])
        print(f"  {name}: p50 {p50:.2f} ms, p90 {p90:.2f} ms, p99 {p99:.2f} ms")
    print(f"  equal recommendations: {equal} of {len(part)} cases")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=300, help="cases for the plain implementation")
    arguments = parser.parse_args()
    name, split = load()
    known = split.test.keep_events(split.test.items > 0)
    prefixes = Prefixes.every(known)
    chosen = np.random.default_rng(7).choice(len(prefixes), size=min(arguments.cases, len(prefixes)), replace=False)
    print(f"{name}: {split.train.n_sessions:,} training sessions, {len(prefixes):,} cases")
    index = plain_index(split.train)
    measure(VSKNN().fit(split.train), lambda clicks, _now: plain_vsknn(index, clicks), prefixes, chosen)
    measure(VSTAN().fit(split.train), lambda clicks, now: plain_vstan(index, clicks, now), prefixes, chosen)


if __name__ == "__main__":
    main()

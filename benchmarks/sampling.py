"""Seconds per epoch of every sampler, next to the published method's structure run plainly, in one process and run.

    python benchmarks/sampling.py LOG [--batch-size 32] [--plain-sessions 2000]

LOG is any click log that nearnext reads; the figures in the docs are for the training part of RSC15/64.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.recommenders.neighbours import prepare_neighbour_positives
from nearnext.sampling import EveryPrefix, InBatch, Popularity, PositiveNegative, Sampler, SlidingWindow, Uniform

SAMPLERS: dict[str, Sampler] = {
    "positive-negative, mask, uniform": PositiveNegative(),
    "positive-negative, repeat, uniform": PositiveNegative(fill="repeat"),
    "positive-negative, knn, uniform": PositiveNegative(fill="knn"),
    "positive-negative, mask, uniform, whole session excluded": PositiveNegative(negatives=Uniform(exclude="session")),
    "positive-negative, mask, popularity": PositiveNegative(negatives=Popularity()),
    "positive-negative, mask, in the batch": PositiveNegative(negatives=InBatch()),
    "sliding-window, uniform": SlidingWindow(),
    "every-prefix, uniform": EveryPrefix(),
    "every-prefix by session, uniform": EveryPrefix(unit="session"),
}


def plain_example(
    session: Sequence[int], n_items: int, width: int, rng: np.random.Generator
) -> tuple[list[int], list[int], list[int]]:
    """Prefix, positives and negatives of one session; the negatives by a probability for each item of the catalogue."""
    split = int(rng.integers(1, len(session)))
    positives = list(session[split : split + width])
    probabilities = np.ones(n_items)
    probabilities[np.array(session[split:]) - 1] = 0.0
    probabilities /= probabilities.sum()
    negatives = rng.choice(n_items, size=width, p=probabilities) + 1
    return list(session[:split])[-15:], positives, negatives.tolist()


def plain_epoch(sessions: Sessions, order: Sequence[int], rng: np.random.Generator) -> Iterator[object]:
    """Examples one session after the other."""
    for session in order:
        clicks = sessions.items[sessions.offsets[session] : sessions.offsets[session + 1]].tolist()
        yield plain_example(clicks, sessions.n_items, 8, rng)


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call, of all threads."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    """Print one line for each sampler."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", help="click log")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--plain-sessions", type=int, default=2000, help="sessions that the plain sampler is timed on")
    options = parser.parse_args()

    sessions = read_sessions(options.log)
    eligible = np.flatnonzero(sessions.lengths > 1)
    print(f"{sessions.n_sessions:,} sessions, {sessions.n_events:,} events, {sessions.n_items:,} items")
    rng = np.random.default_rng(0)
    timed = rng.permutation(eligible)[: options.plain_sessions].tolist()
    plain = seconds(lambda: list(plain_epoch(sessions, timed, rng))) / len(timed) * len(eligible)
    print(f"plain positive-negative: {plain:.1f} s an epoch, from {len(timed):,} sessions")

    prepare_neighbour_positives(sessions.select(np.arange(100)), threads=1)  # compiles
    begin = time.process_time()
    neighbours = prepare_neighbour_positives(sessions, threads=1)
    print(f"neighbour positives, once before training: {time.process_time() - begin:.1f} s on one core")

    for name, sampler in SAMPLERS.items():
        epochs = [
            seconds(lambda e=e, s=sampler: list(s.epoch(sessions, e, 7, options.batch_size, neighbours=neighbours)))
            for e in range(4)
        ]
        best = min(epochs[1:])
        ratio = f", plain / this = {plain / best:,.0f}" if isinstance(sampler, PositiveNegative) else ""
        print(f"{name}: {best:.3f} s an epoch of {sampler.n_batches(sessions, options.batch_size):,} batches{ratio}")


if __name__ == "__main__":
    main()

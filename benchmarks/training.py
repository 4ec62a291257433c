"""One epoch of the paper's MaxPool-NCAS preset against the same method run plainly, and ranking of all test prefixes.

    NEARNEXT_DATA=FOLDER python benchmarks/training.py [--plain-batches 40] [--batches 0]

Plainly means: one session after the other is sampled in Python, negatives by a probability for each item of the
catalogue, and every step moves the whole embedding table. It is timed on some batches and extrapolated to the epoch.
Both compute on one thread; ranking uses every core. FOLDER holds rsc15_64; without it the log is synthetic.
"""

import argparse
import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from nearnext.data.events import read_events
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessionise import read_sessions, sessionise
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_last, split_parts
from nearnext.data.synthetic import SyntheticShop, generate
from nearnext.model.distances import to_sets
from nearnext.model.encoders import MaxPool
from nearnext.model.encoding import SessionEncoding, item_vectors
from nearnext.model.losses import NCAS, LossInput
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import one_thread
from nearnext.recommenders.neighbours import prepare_neighbour_positives
from nearnext.recommenders.sml.recommender import SML
from nearnext.retrieval import ExactIndex
from nearnext.sampling import PositiveNegative
from nearnext.training.config import TrainingConfig
from nearnext.training.examples import Examples, Objective, sampled_recipe
from nearnext.training.learner import Learner
from sampling import plain_example

WARM_UP = 5
PAPER = TrainingConfig()
DIM, WIDTH = 400, 8


def new_network(n_items: int) -> SessionItemNetwork:
    """The paper's MaxPool model, untrained."""
    return SessionItemNetwork(n_items, ItemTower(dim=DIM), MaxPool(dim=DIM))


def plain_steps(sessions: Sessions) -> Callable[[int], None]:
    """A function that takes so many steps the plain way, over sessions chosen at random."""
    rng = np.random.default_rng(0)
    network, loss = new_network(sessions.n_items), NCAS()
    adam = torch.optim.Adam(network.parameters(), lr=PAPER.learning_rate)
    eligible = np.flatnonzero(sessions.lengths > 1)

    def step(chosen: NDArray[np.int64]) -> None:
        clicks = [sessions.items[sessions.offsets[s] : sessions.offsets[s + 1]].tolist() for s in chosen]
        drawn = [plain_example(one, sessions.n_items, WIDTH, rng) for one in clicks]
        prefixes, positives, negatives = (
            pad_sequence([torch.tensor(one[part]) for one in drawn], batch_first=True) for part in range(3)
        )
        embedded, near = network(prefixes, positives)
        distances = LossInput(
            positive=to_sets(embedded, near),
            negative=to_sets(embedded, network.encode_items(negatives)),
            positive_mask=positives > 0,
        )
        adam.zero_grad()
        loss(distances).backward()
        adam.step()

    def run(batches: int) -> None:
        for _ in range(batches):
            step(rng.choice(eligible, size=PAPER.batch_size))

    return run


def epoch_steps(sessions: Sessions) -> tuple[Callable[[int, int], None], int]:
    """A function that takes so many steps of an epoch our way, and how many an epoch has."""
    examples = Examples(sessions, PositiveNegative(fill="knn"), prepare_neighbour_positives(sessions))
    network = new_network(sessions.n_items)
    recipe = sampled_recipe(network, Objective(NCAS()), examples, TrainingConfig(device="cpu"))
    learner = Learner(recipe)

    def run(epoch: int, batches: int) -> None:
        for batch in islice(recipe.batches.epoch(epoch, 0), batches):
            learner.step(batch)
        learner.settle(1.0)

    return run, recipe.batches.n_batches


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Elapsed and processor seconds of one call."""
    begin, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - processor


def compare_training(sessions: Sessions, batches: int, plain_batches: int) -> None:
    """Print the seconds of an epoch both ways, and their ratio."""
    ours, n_batches = epoch_steps(sessions)
    batches = min(batches or n_batches, n_batches)
    plain = plain_steps(sessions)
    with one_thread():
        ours(0, WARM_UP)
        plain(WARM_UP)
        fast = [second * n_batches / batches for second in timed(lambda: ours(1, batches))]
        slow = [second * n_batches / plain_batches for second in timed(lambda: plain(plain_batches))]
    measured = "measured whole" if batches == n_batches else f"extrapolated from {batches:,} of {n_batches:,} steps"
    print(f"epoch of {n_batches:,} steps: {fast[0]:.1f} s elapsed, {fast[1]:.1f} s of processor, {measured}")
    print(f"plainly: {slow[0]:.1f} s elapsed, {slow[1]:.1f} s of processor, extrapolated from {plain_batches} steps")
    print(f"plain / ours: {slow[0] / fast[0]:.1f} elapsed, {slow[1] / fast[1]:.1f} processor (target: at least 20)")


def rank_all(train: Sessions, test: Sessions) -> None:
    """Print the seconds in which every prefix of the test sessions is encoded and ranked."""
    model = SML(encoder=MaxPool(dim=DIM), training=TrainingConfig(epochs=1, batch_size=4096, device="cpu"))
    model.fit(train)
    prefixes = Prefixes.every(test)
    model.rank(prefixes.slice(0, 100), 20)
    elapsed, processor = timed(lambda: model.rank(prefixes, 20))
    print(
        f"ranking {len(prefixes):,} prefixes against {train.n_items:,} items of dimension {DIM}: {elapsed:.1f} s "
        f"elapsed, {processor:.1f} s of processor on {os.cpu_count()} cores (target: at most 10)"
    )
    network = new_network(train.n_items).eval()
    encode = SessionEncoding(network)
    encoding = timed(lambda: encode(prefixes))[1]
    index, vectors = ExactIndex(item_vectors(network)), encode(prefixes.slice(0, 2048))[0]
    search = timed(lambda: index.search(vectors, 20))[1] * len(prefixes) / len(vectors)
    print(f"of which encoding {encoding:.1f} s and search {search:.1f} s of processor")


def read_logs() -> tuple[Sessions, Sessions]:
    """The training and test part of rsc15_64, or of a synthetic log."""
    if folder := os.environ.get("NEARNEXT_DATA"):
        part = Path(folder) / "rsc15_64"
        split = split_parts(read_sessions(part / "train.parquet"), read_sessions(part / "test.parquet"))
    else:
        split = split_last(sessionise(read_events(generate(SyntheticShop(sessions=100_000, items=17_000)))))
    return split.train, split.test


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=0, help="steps of ours to time; 0: the whole epoch")
    parser.add_argument("--plain-batches", type=int, default=40, help="steps of the plain way to time")
    options = parser.parse_args()
    train, test = read_logs()
    print(f"{train.n_sessions:,} sessions, {train.n_events:,} events, {train.n_items:,} items")
    compare_training(train, options.batches, options.plain_batches)
    rank_all(train, test)


if __name__ == "__main__":
    main()

"""Memory and work of processes that train together, with shared, replicated or sharded item embeddings.

    python benchmarks/sharded.py [--items 1000000] [--workers 2] [--apart [--sharded]] [--dim 96] [--batch 512]
        [--steps 20]

Processes of one machine share the item embeddings in memory; with --apart they send messages, as on several machines.

Steps of `metric` on synthetic sessions of five clicks, whose items are drawn by Zipf's law with exponent 1.1. Weights
begin at random, the same for every 65,536th item. Printed: rows of a step and the numbers of layers, bytes that follow,
processor time of a step, and the most memory that each process has held after the last step, and after the epoch.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import psutil
import torch

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.model.encoders.attention import Attention
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.recommenders.metric.recommender import Metric
from nearnext.training.group import in_group, present_group
from nearnext.training.loop import train
from nearnext.training.next_item import TABLE, PrefixBatch
from nearnext.training.recipe import Batches
from nearnext.training.workers import workers

LENGTH, EXPONENT, GAP, WARM = 5, 1.1, 3600, 5
FEW = 65_536


def synthetic(n_items: int, n_sessions: int) -> Sessions:
    """Sessions on a catalogue of which few items are clicked."""
    rng = np.random.default_rng(7)
    shares = np.arange(1, n_items + 1) ** -EXPONENT
    items = np.searchsorted(np.cumsum(shares / shares.sum()), rng.random(n_sessions * LENGTH)) + 1
    return Sessions(
        items=np.minimum(items, n_items).astype(np.int32),
        offsets=np.arange(n_sessions + 1) * LENGTH,
        times=np.arange(n_sessions * LENGTH) * GAP,
        vocabulary=Vocabulary(pl.Series("item_id", np.arange(1, n_items + 1))),
        session_ids=pl.Series("session_id", np.arange(n_sessions)),
    )


def processes() -> list[psutil.Process]:
    """This process and its workers."""
    this = psutil.Process()
    return [this, *(one for one in this.children() if "resource_tracker" not in " ".join(one.cmdline()))]


def seconds() -> list[float]:
    """Elapsed seconds, then seconds of processor of this process and of each worker."""
    used = [one.cpu_times() for one in processes()]
    return [time.perf_counter(), *(times.user + times.system for times in used)]


def peaks() -> str:
    """Most memory that this process and each worker have held."""
    found = list[str]()
    for process in processes():
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        found.append(f"{int(next(line for line in status.splitlines() if 'VmHWM' in line).split()[1]) / 1024:,.0f}")
    return " and ".join(found) + " MiB"


@dataclass(frozen=True, eq=False)
class Watched:
    """Batches, in the first process with the rows and the clocks of each step."""

    batches: Batches[PrefixBatch]
    rows: list[int] = field(default_factory=list[int])
    clocks: list[list[float]] = field(default_factory=list[list[float]])
    first: bool = True

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return Watched, (self.batches, [], [], False)

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return self.batches.n_batches

    def epoch(self, number: int, start_batch: int) -> Iterator[PrefixBatch]:
        """The batches of an epoch."""
        for batch in self.batches.epoch(number, start_batch):
            if self.first:
                self.rows.append(len(batch.rows))
                self.clocks.append(seconds())
            yield batch
        if self.first:
            self.clocks.append(seconds())
            print(f"after the last step: {peaks()}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--apart", action="store_true", help="no memory is shared")
    parser.add_argument("--sharded", action="store_true", help="each process has a part of the embeddings")
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--batch", type=int, default=512, help="next items in a step")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    model = Metric(dim=given.dim, batch_size=given.batch, epochs=1, encoder="attention", correction=False)
    sessions = synthetic(given.items, given.batch * given.steps)
    model.fitted_size = model.size(sessions)
    encoder = Attention(dim=given.dim, dropout=model.dropout, correction=False)
    network = SessionItemNetwork(1, ItemTower(dim=given.dim), encoder, max_length=model.max_length)
    rows = torch.randn(FEW, given.dim).repeat(given.items // FEW + 1, 1)[: given.items + 1]
    network.take_over({**network.state_dict(), TABLE: rows}, given.items)
    recipe = model.recipe(network, sessions, model.fitted_size)
    watched = Watched(recipe.batches)
    with workers(given.workers, sharded=given.sharded):
        print(f"before: {peaks()}")
        group = present_group()
        with in_group(replace(group, memory=None) if given.apart else group):
            train(replace(recipe, batches=watched))
        print(f"after the epoch: {peaks()}")
    numbers = sum(one.numel() for name, one in network.named_parameters() if name not in recipe.tables)
    steps = np.diff(watched.clocks, axis=0)[WARM:]
    n_rows = sum(watched.rows) / len(watched.rows)
    sent = 2 * (given.workers - 1) / given.workers * 4 * (n_rows * given.dim + numbers)
    elapsed, *processor = (median(column) for column in steps.T.tolist())
    print(f"{n_rows:,.0f} rows and {numbers:,} numbers of layers; {sent / 1e6:.2f} MB sent by each process in a step")
    print(f"a step: {', '.join(f'{one:.3f}' for one in processor)} s of processor, {elapsed:.3f} s elapsed")


if __name__ == "__main__":
    main()

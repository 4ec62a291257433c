"""Clicks trained on per second, in one run: the default method's network, GRU4Rec, and RecTools' SASRec.

    NEARNEXT_DATA=FOLDER python benchmarks/training_rates.py [--dim 100] [--negatives 2048] [--rounds 3]
        [--official FOLDER] [--rectools PYTHON] [--fraction 1.0] [--json FILE]

All train on the training part of rsc15_64, with item vectors of one dimension, one number of negatives, on one thread.
An epoch goes over the sessions of two or more clicks; its events are all of their clicks, for every method. One epoch
warms up, the median of the next ones counts. What comes before the first epoch is not training: it is stated as
preparation, the time until the end of the first epoch less the median of an epoch.

GRU4Rec runs with the published options for this log, batch 32: ours, and with --official the authors' own PyTorch
program, from the folder that holds its `gru4rec_pytorch.py`, run by the interpreter of --rectools, as it needs numpy
below 2. Ours runs a second time with as many sessions side by side as the default method has in a step.

SASRec runs with RecTools' defaults but for dimension, negatives and

- the loss: its sampled softmax, and a second time its default, the softmax over all items, which needs no negatives;
- the length: the last 20 clicks, which is what the default method sees. It draws negatives for every position, padding
  included: of the default 100 positions, 128 sessions and 2,048 negatives a step would gather 10 GB at dimension 100.

SASRec sees some batches in an epoch (--sasrec-batches), drawn from the whole log at random. It needs an environment of
its own, whose interpreter --rectools names. Without --rectools or --official their rows are left out.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from nearnext.artifact import versions
from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.experiments.result import describe_part, machine
from nearnext.recommenders.gru4rec import GRU4Rec
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.trained import TrainedRecommender

OTHERS = Path(__file__).with_name("other_trainers.py")
LENGTH = 20
TARGETS = {"gru4rec": 5.0, "SASRec": 1.0}
HEADER = """
| method | batch | events/s | least to most | processors | preparation, s | metric / this |
|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Rate:
    """How fast one method trains.

    Attributes:
        name: of the method.
        config: its options.
        events: clicks trained on in each timed epoch.
        seconds: elapsed, of each timed epoch.
        processor_seconds: computed, of each timed epoch.
        preparation: seconds before the first epoch.
        versions: of its libraries, where it runs in a process of its own.
    """

    name: str
    config: Mapping[str, Any]
    events: list[float]
    seconds: list[float]
    processor_seconds: list[float]
    preparation: float
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, name: str, config: Mapping[str, Any], ends: list[tuple[float, float]], events: list[float]) -> "Rate":
        """A rate from both clocks at the begin and at the end of each epoch, the first of which warmed up."""
        elapsed, computed = np.diff(np.array(ends), axis=0).T.tolist()
        return cls(name, config, events, elapsed[1:], computed[1:], elapsed[0] - median(elapsed[1:]))

    @property
    def rates(self) -> list[float]:
        """Clicks per second of each timed epoch."""
        return [events / seconds for events, seconds in zip(self.events, self.seconds, strict=True)]

    @property
    def rate(self) -> float:
        """The median of them."""
        return median(self.rates)

    def row(self, first: "Rate") -> str:
        """A row of the table."""
        processors = sum(self.processor_seconds) / sum(self.seconds)
        return (
            f"| {self.name} | {self.config['batch_size']} | {self.rate:,.0f} | {min(self.rates):,.0f} to "
            f"{max(self.rates):,.0f} | {processors:.2f} | {self.preparation:.1f} | {first.rate / self.rate:.2f} |"
        )


def train_ours(name: str, method: str, options: Mapping[str, Any], sessions: Sessions, rounds: int) -> Rate:
    """The rate of a method of this package."""
    model = make_recommender(method, {**options, "epochs": rounds + 1})
    assert isinstance(model, TrainedRecommender)
    ends = [(time.perf_counter(), time.process_time())]
    model.watch = lambda _figures: ends.append((time.perf_counter(), time.process_time()))
    model.fit(sessions)
    return Rate.of(name, model.params(), ends, [float(sessions.n_events)] * rounds)


def train_other(
    name: str, interpreter: str, options: Mapping[str, Any], sessions: Sessions, given: argparse.Namespace
) -> Rate:
    """The rate of another program.

    Raises:
        RuntimeError: it did not train; the reason is what its process said last.
    """
    chosen = {"seed": given.seed, "threads": given.threads, "epochs": given.rounds + 1, **options}
    with tempfile.TemporaryDirectory() as folder:
        clicks, chosen_file = Path(folder) / "clicks.npz", Path(folder) / "options.json"
        np.savez(clicks, sessions=sessions.session_of_event(), items=sessions.items)
        chosen_file.write_text(json.dumps(chosen), "utf-8")
        done = subprocess.run(
            [interpreter, str(OTHERS), str(clicks), str(chosen_file)],
            env={**os.environ, "OMP_NUM_THREADS": str(given.threads)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    said = done.stderr.strip().splitlines()
    if done.returncode:
        raise RuntimeError(f"ended with status {done.returncode}: {said[-1] if said else 'it said nothing'}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if len(found["ends"]) != given.rounds + 2:
        raise RuntimeError(f"expected {given.rounds + 1} epochs, it trained {len(found['ends']) - 1}")
    seen = np.diff([n_sessions for *_, n_sessions in found["ends"]])[1:]
    events = (seen * (sessions.n_events / sessions.n_sessions)).tolist()
    clocks = [(elapsed, computed) for elapsed, computed, _ in found["ends"]]
    rate = Rate.of(name, {**options["model"], "batches": options.get("batches", 0)}, clocks, events)
    return Rate(**{**vars(rate), "versions": found["versions"]})


def official(given: argparse.Namespace, sessions: Sessions) -> Rate:
    """The authors' GRU4Rec, with the options that ours has by default.

    Raises:
        RuntimeError: no folder is given, or it did not train.
    """
    if not given.official:
        raise RuntimeError("--official names no folder with gru4rec_pytorch.py")
    ours = GRU4Rec()
    model = {
        "layers": [given.dim],
        "loss": ours.loss,
        "batch_size": given.gru4rec_batch,
        "dropout_p_embed": ours.dropout_embedding,
        "dropout_p_hidden": ours.dropout_hidden,
        "learning_rate": ours.learning_rate,
        "momentum": ours.momentum,
        "n_sample": given.negatives,
        "sample_alpha": ours.sample_alpha,
        "logq": ours.logq,
        "constrained_embedding": ours.constrained_embedding,
    }
    options = {"program": "gru4rec", "folder": str(Path(given.official).resolve()), "model": model}
    return train_other("gru4rec, official", given.rectools or sys.executable, options, sessions, given)


def sasrec(name: str, loss: str, given: argparse.Namespace, sessions: Sessions) -> Rate:
    """RecTools' SASRec with one of its losses.

    Raises:
        RuntimeError: no interpreter is given, or it did not train.
    """
    if not given.rectools:
        raise RuntimeError("--rectools names no interpreter with rectools[torch]")
    model = {
        "n_factors": given.dim,
        "n_negatives": given.negatives,
        "loss": loss,
        "session_max_len": LENGTH,
        "batch_size": given.sasrec_batch,
    }
    options = {"program": "sasrec", "batches": given.sasrec_batches, "model": model}
    return train_other(name, given.rectools, options, sessions, given)


def trainings(given: argparse.Namespace, sessions: Sessions) -> dict[str, Callable[[], Rate]]:
    """What is timed, by name."""
    own = {"seed": given.seed, "batch_size": given.batch}
    network = {**own, "dim": given.dim, "negatives": given.negatives, "validation_fraction": 0.0}
    found: dict[str, Callable[[], Rate]] = {
        "metric": partial(train_ours, "metric", "metric", network, sessions, given.rounds)
    }
    for batch in sorted({given.gru4rec_batch, given.batch}):
        name = f"gru4rec, ours, batch {batch}"
        options = {**own, "layers": (given.dim,), "n_sample": given.negatives, "batch_size": batch}
        found[name] = partial(train_ours, name, "gru4rec", options, sessions, given.rounds)
    found["gru4rec, official"] = partial(official, given, sessions)
    for name, loss in (("SASRec, sampled softmax", "sampled_softmax"), ("SASRec, softmax over all items", "softmax")):
        found[name] = partial(sasrec, name, loss, given, sessions)
    return found


def measure(found: Mapping[str, Callable[[], Rate]]) -> tuple[list[Rate], dict[str, str]]:
    """All rates, the default method's first, and why those left out are."""
    rates, skipped = list[Rate](), dict[str, str]()
    for name, train in found.items():
        try:
            rates.append(train())
            print(f"{name}: {rates[-1].rate:,.0f} events/s", flush=True)
        except RuntimeError as error:
            skipped[name] = str(error)
            print(f"{name}: left out, {error}", flush=True)
    return rates, skipped


def report(rates: list[Rate]) -> dict[str, float]:
    """Print the table; how many times as fast as each method the default one is."""
    print(HEADER)
    for rate in rates:
        print(rate.row(rates[0]))
    print()
    ratios = {rate.name: rates[0].rate / rate.rate for rate in rates[1:]}
    for name, ratio in ratios.items():
        wanted = next(least for start, least in TARGETS.items() if name.startswith(start))
        print(f"metric / {name}: {ratio:.2f} (target: at least {wanted:g}, {'met' if ratio >= wanted else 'NOT MET'})")
    return ratios


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=100, help="dimension of item vectors, a multiple of 4 for SASRec")
    parser.add_argument("--negatives", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=300, help="next items in a step of the default method, about")
    parser.add_argument("--gru4rec-batch", type=int, default=32, help="sessions side by side, as published")
    parser.add_argument("--official", metavar="FOLDER", help="folder that holds the authors' gru4rec_pytorch.py")
    parser.add_argument("--rectools", metavar="PYTHON", help="interpreter that has rectools[torch]")
    parser.add_argument("--sasrec-batch", type=int, default=128, help="sessions in a step, RecTools' default")
    parser.add_argument("--sasrec-batches", type=int, default=20, help="steps of an epoch of SASRec; 0: all")
    parser.add_argument("--rounds", type=int, default=3, help="epochs that are timed, after one that warms up")
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the sessions, the most recent ones")
    parser.add_argument("--threads", type=int, default=1, help="of the other programs; ours always train on one")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark."""
    given, begin = arguments(), time.perf_counter()
    folder = os.environ.get("NEARNEXT_DATA")
    if not folder:
        print("skipped: NEARNEXT_DATA is not set; it names the folder that holds rsc15_64/train.parquet")
        return
    log = read_sessions(Path(folder) / "rsc15_64" / "train.parquet")
    recent = log.select(np.argsort(log.starts, kind="stable")[-math.ceil(log.n_sessions * given.fraction) :])
    sessions = recent.select(recent.lengths > 1).reindexed()
    print(f"{sessions.n_events:,} events in {sessions.n_sessions:,} sessions on {sessions.n_items:,} items", flush=True)
    rates, skipped = measure(trainings(given, sessions))
    ratios = report(rates)
    if given.json:
        result = {
            "config": {name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()},
            "data": {**describe_part(sessions), "fingerprint": sessions.fingerprint()},
            "rates": [{**asdict(rate), "events_per_second": rate.rate} for rate in rates],
            "ratios": ratios,
            "skipped": skipped,
            "machine": machine(),
            "versions": versions(),
            "duration_seconds": time.perf_counter() - begin,
        }
        given.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
        print(f"all figures: {given.json}")


if __name__ == "__main__":
    main()

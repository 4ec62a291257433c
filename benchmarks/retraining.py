"""Daily retraining: a fit from scratch each day, `fit --from` yesterday's model each day, and models left alone.

    OMP_NUM_THREADS=1 python benchmarks/retraining.py LOG [--method metric-fast] [--hours 24] [--days 5] [--window 25]
        [--plot FILE.svg]

LOG is the training part of a log. Its last days, of so many hours each, are predicted one by one by models of the days
in the window before. "yesterday's" is the model fitted from scratch for the day before; "retrained" starts from the
retrained model of the day before, the first one from a fit from scratch. Times are processor seconds. The plot shows
what models left alone lose with every day, against the model fitted from scratch for the same day.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.evaluation.protocol import Evaluation, evaluate
from nearnext.evaluation.significance import bootstrap, paired
from nearnext.experiments.result import machine
from nearnext.progress import show_progress
from nearnext.recommenders.named import make_recommender

SHOWN = ("HitRate@20", "MRR@20")
HOUR = 3_600_000_000


def days_of(log: Sessions, hours: float, days: int, window: float) -> list[tuple[Sessions, Sessions]]:
    """What is learned from and what is predicted, for the day before the first one and for each day."""
    day, end = int(hours * HOUR), int(log.times.max()) + 1
    found = list[tuple[Sessions, Sessions]]()
    for cut in range(end - (days + 1) * day, end, day):
        learned = (log.starts < cut) & (log.starts >= cut - window * day) & (log.lengths > 1)
        predicted = (log.starts >= cut) & (log.starts < cut + day) & (log.lengths > 1)
        found.append((log.select(learned).reindexed(), log.select(predicted)))
    return found


def timed(fit: Callable[[], Any]) -> tuple[Any, float]:
    """A model and the processor seconds of its fit."""
    begin = time.process_time()
    return fit(), time.process_time() - begin


class Table:
    """Rows as they are measured, and the sums over the days of each kind of model."""

    def __init__(self) -> None:
        self.evaluations = defaultdict[str, list[Evaluation]](list)
        self.seconds = defaultdict[str, float](float)
        print("| day | model | HitRate@20 | MRR@20 | fit, s |\n|---|---|---|---|---|", flush=True)

    def add(self, day: str, kind: str, found: Evaluation, seconds: float) -> None:
        """Print a row and keep it."""
        self.evaluations[kind].append(found)
        self.seconds[kind] += seconds
        print(f"| {day} | {kind} | {_figures(found.values())} | {seconds:.1f} |", flush=True)

    def close(self) -> None:
        """Print the rows of all days together, over cases, with differences to the fits from scratch."""
        pooled = {kind: _pooled(found) for kind, found in self.evaluations.items()}
        for kind, (values, replicates) in pooled.items():
            of_scratch, replicates_of_scratch = pooled["from scratch"]
            differences = [
                "{0.difference:+.4f} [{0.low:+.4f}, {0.high:+.4f}]".format(
                    paired(replicates[:, at], replicates_of_scratch[:, at], values[at], of_scratch[at])
                )
                for at in range(len(SHOWN))
            ]
            figures = _figures(dict(zip(SHOWN, values, strict=True)))
            print(f"| all | {kind} | {figures} | {self.seconds[kind]:.1f} | {', '.join(differences)}")


def _figures(values: dict[str, float]) -> str:
    return " | ".join(f"{values[name]:.4f}" for name in SHOWN)


def _pooled(found: list[Evaluation]) -> tuple[list[float], Any]:
    columns = [found[0].filled.names.index(name) for name in SHOWN]
    sums = np.concatenate([each.filled.session_sums[:, columns] for each in found])
    counts = np.concatenate([each.filled.session_counts[:, columns] for each in found])
    return (sums.sum(axis=0) / counts.sum(axis=0)).tolist(), bootstrap(sums, counts, replicates=2000, seed=7)


def plot(losses: dict[int, list[float]], title: str, path: Path) -> None:
    """HitRate@20 of models left alone over that of a fit from scratch, by age: every day a point, and their mean."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.fonttype"] = "none"
    figure, axes = plt.subplots(figsize=(4.8, 3.1), layout="constrained")
    for age, shares in losses.items():
        axes.plot([age] * len(shares), shares, "o", color="#56B4E9", markersize=4)
    axes.plot(list(losses), [np.mean(shares) for shares in losses.values()], "-o", color="#0072B2")
    axes.set(xlabel="days since the model was fitted", ylabel="share of HitRate@20 left", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure day by day, print the table, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("--method", default="metric-fast")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--window", type=float, default=25.0, help="days that are learned from")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    show_progress(False)
    (before, _), *days = days_of(read_sessions(given.log), given.hours, given.days, given.window)
    table, losses = Table(), defaultdict[int, list[float]](list)
    models: list[Any] = [make_recommender(given.method).fit(before)]  # the latest last
    retrained = models[0]
    for learned, predicted in days:
        day = f"{np.datetime64(int(predicted.starts.min()), 'us').astype('datetime64[h]')}"
        scratch, seconds = timed(lambda log=learned: make_recommender(given.method).fit(log))
        found = evaluate(scratch, predicted, 20, threads=1)
        table.add(day, "from scratch", found, seconds)
        retrained, seconds = timed(lambda log=learned, start=retrained: start.retrain(log))
        table.add(day, "retrained", evaluate(retrained, predicted, 20, threads=1), seconds)
        ages = [evaluate(model, predicted, 20, threads=1) for model in reversed(models)]
        table.add(day, "yesterday's", ages[0], 0.0)
        for age, each in enumerate([found, *ages]):
            losses[age].append(each.values()["HitRate@20"] / found.values()["HitRate@20"])
        models.append(scratch)
    table.close()
    print(f"\n{given.method} on {given.log}, {machine()}; share of HitRate@20 left by age:")
    print(", ".join(f"{age}: {np.mean(shares):.3f}" for age, shares in losses.items()))
    if given.plot:
        plot(losses, f"{given.method}, {Path(given.log).resolve().parent.name}", given.plot)


if __name__ == "__main__":
    main()

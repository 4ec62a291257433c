"""What each ingredient of the default method brings, on a validation period: one option changed at a time.

    OMP_NUM_THREADS=1 python benchmarks/ablation.py LOG --out rows.jsonl [--rows all] [--seeds 7,8] [--unknown miss]

LOG is the training part of a log. Its last tenth by start time is measured, what comes before is learned from; no test
part is read. Every row is written to --out as soon as it is done, and rows that are there are not run again, so that a
run can be stopped at any time and goes on with the same command. The table has the difference of each row to the
unchanged method in HitRate@20 and MRR@20, with the 95% interval of the paired bootstrap over sessions; of several seeds
the means are compared. The logQ correction is no option, so no row is without it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nearnext.artifact import versions
from nearnext.data.sessionise import read_sessions
from nearnext.data.splits import Split, split_last
from nearnext.evaluation.protocol import evaluate
from nearnext.evaluation.significance import bootstrap, paired
from nearnext.experiments.result import describe_part, machine
from nearnext.experiments.sizing import timed_fit
from nearnext.experiments.store import source_fingerprint
from nearnext.progress import show_progress, track
from nearnext.recommenders.named import DEFAULTS, make_recommender, method_options
from nearnext.recommenders.trained import TrainedRecommender
from nearnext.types import FloatArray

METRICS = ("HitRate@20", "MRR@20")
REPLICATES, DRAWINGS = 2000, 7
FOR_SCALE = ("vsknn", "vstan", "sr")
CHANGES: dict[str, dict[str, Any]] = {
    "random start": {"steps": 0},
    "no votes": {"voters": ()},
    "no refit": {"refit": False},
    "one hidden unit": {"hidden": 1},
    "smoothing 0": {"smoothing": 0.0},
    "dropout 0.25": {"dropout": 0.25},
    "alpha 0": {"alpha": 0.0},
    "alpha 0.25": {"alpha": 0.25},
    "temperature 0.07": {"temperature": 0.07},
    "dim 64": {"dim": 64},
    "dim 96": {"dim": 96},
    "negatives 512": {"negatives": 512},
    "epochs 2": {"epochs": 2},
    "last click only": {"max_length": 1},
    "attention": {"encoder": "attention", "dropout": 0.5},
    "no further features": {"features": ()},
    "short re-ranker": {"reranker_prefixes": 8000, "reranker_steps": 400, "hidden": 32},
}


@dataclass(frozen=True)
class Row:
    """One line of the table: a method and what is changed of its options."""

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def seeded(self, seed: int) -> dict[str, Any]:
        """Its options with a seed, where the method has one."""
        return {**self.options, **({"seed": seed} if "seed" in method_options(self.method) else {})}


def all_rows(method: str) -> dict[str, Row]:
    """Every row by name: the method as it is, its changes, and other methods for scale."""
    own = make_recommender(method).params()
    rows = [Row(method, method)]
    rows += [Row(name, method, options) for name, options in CHANGES.items() if not options.items() <= own.items()]
    for option, noun in (("voters", ""), ("features", " features")):
        rows += [
            Row(f"without {left_out}{noun}", method, {option: tuple(name for name in own[option] if name != left_out)})
            for left_out in own[option]
        ]
    return {row.name: row for row in (*rows, *(Row(name, name) for name in FOR_SCALE))}


class Done:
    """Rows that were run, one line of JSON each, in a file that grows."""

    def __init__(self, path: Path, data: str) -> None:
        self._path, self._data = path, data
        text = path.read_text("utf-8") if path.is_file() else ""
        lines = [_parsed(line) for line in text.splitlines()]
        self._lines = [line for line in lines if line is not None and line["data"] == data]
        if text and not text.endswith("\n"):
            path.write_text(f"{text}\n", "utf-8")

    def find(self, row: Row, seed: int) -> dict[str, Any] | None:
        """What was measured of a row, or None."""
        wanted = json.loads(json.dumps({"method": row.method, "options": row.seeded(seed)}))
        return next((line for line in self._lines if wanted.items() <= line.items()), None)

    def add(self, line: dict[str, Any]) -> None:
        """Keep what was measured, here and in the file."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"data": self._data, **line}) + "\n")
        self._lines.append(json.loads(json.dumps({"data": self._data, **line})))


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:  # the line that was being written when the run was stopped
        return None


def measured(row: Row, seed: int, split: Split) -> dict[str, Any]:
    """Figures of one row, and their bootstrap replicates."""
    begin = time.perf_counter()
    model = make_recommender(row.method, row.seeded(seed))
    fit_seconds, peak_bytes = timed_fit(model, split.train)
    if isinstance(model, TrainedRecommender):
        model.require_learned()
    sums = evaluate(model, split.test, 20, threads=1).filled
    replicates = bootstrap(sums.session_sums, sums.session_counts, replicates=REPLICATES, seed=DRAWINGS)
    columns = [sums.names.index(name) for name in METRICS]
    return {
        "row": row.name,
        "method": row.method,
        "options": row.seeded(seed),
        "params": model.params(),
        "note": getattr(model, "note", ""),
        "values": sums.values(),
        "cases": sums.n_cases,
        "fit_seconds": fit_seconds,
        "peak_mb": peak_bytes / 1e6,
        "seconds": time.perf_counter() - begin,
        "source": source_fingerprint()[:12],
        "versions": versions(),
        "replicates": {name: replicates[:, at].round(7).tolist() for name, at in zip(METRICS, columns, strict=True)},
    }


def runs(rows: Sequence[Row], seeds: Sequence[int]) -> list[tuple[Row, int]]:
    """Which row runs with which seed: every row with the first seed, before any with the next."""
    return [(row, seed) for seed in seeds for row in rows if seed == seeds[0] or "seed" in method_options(row.method)]


def run_all(rows: Sequence[Row], seeds: Sequence[int], split: Split, done: Done) -> None:
    """Run what is not done yet."""
    wanted = runs(rows, seeds)
    with track("ablation", len(wanted), "rows") as advance:
        for row, seed in wanted:
            advance.describe(f"ablation: {row.name}, seed {seed}")
            if done.find(row, seed) is None:
                line = measured(row, seed, split)
                done.add(line)
                figures = ", ".join(f"{name} {line['values'][name]:.4f}" for name in METRICS)
                print(f"{row.name}, seed {seed}: {figures}, {line['seconds']:.0f} s", file=sys.stderr, flush=True)
            advance(1)


def mean(lines: Sequence[dict[str, Any]], metric: str) -> tuple[float, FloatArray]:
    """Value and replicates of a row, averaged over its seeds."""
    values = [line["values"][metric] for line in lines]
    return float(np.mean(values)), np.mean([line["replicates"][metric] for line in lines], axis=0)


def table(rows: Sequence[Row], seeds: Sequence[int], done: Done) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    found = {row.name: [line for seed in seeds if (line := done.find(row, seed)) is not None] for row in rows}
    first = found[rows[0].name]
    yield "| row | HitRate@20 | difference [95%] | MRR@20 | difference [95%] | fit, s |"
    yield "|---|---|---|---|---|---|"
    for name, lines in found.items():
        cells = [name]
        for metric in METRICS:
            value, replicates = mean(lines, metric)
            cells += [f"{value:.4f}", "" if lines is first else _difference(mean(first, metric), value, replicates)]
        yield f"| {' | '.join(cells)} | {np.mean([line['fit_seconds'] for line in lines]):.0f} |"
    if len({line["source"] for lines in found.values() for line in lines}) > 1:
        yield "\nRows were run by different versions of this package: delete the file and run again to compare them."


def _difference(first: tuple[float, FloatArray], value: float, replicates: FloatArray) -> str:
    found = paired(replicates, first[1], value, first[0])
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", help="training part of a log")
    parser.add_argument("--out", type=Path, required=True, help="file that rows are kept in")
    parser.add_argument("--method", choices=DEFAULTS, default=DEFAULTS[0])
    parser.add_argument("--rows", default="all", help="names separated by commas, or: all; the first row always runs")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--seeds", default="7", help="separated by commas")
    parser.add_argument("--unknown", choices=("miss", "drop"), default="miss", help="items that training lacks")
    return parser.parse_args()


def chosen_rows(given: argparse.Namespace) -> list[Row]:
    """The rows asked for, the unchanged method first."""
    rows = all_rows(given.method)
    names = list(rows) if given.rows == "all" else [name.strip() for name in given.rows.split(",")]
    if missing := sorted(set(names) - set(rows)):
        raise SystemExit(f"no row is called {', '.join(missing)}; known: {', '.join(rows)}")
    return [rows[name] for name in dict.fromkeys((given.method, *names))]


def main() -> None:
    """Run the rows that are missing, and print the table."""
    given = arguments()
    rows, seeds = chosen_rows(given), [int(seed) for seed in given.seeds.split(",")]
    if given.list:
        print("\n".join(row.name for row in rows))
        return
    torch.set_num_threads(1)
    show_progress(sys.stderr.isatty())
    log = read_sessions(given.log)
    split = split_last(log, unknown=given.unknown)
    done = Done(given.out, f"{log.fingerprint()} {given.unknown}")
    try:
        run_all(rows, seeds, split, done)
    except KeyboardInterrupt:
        raise SystemExit(f"stopped; the rows done are in {given.out}, the same command goes on") from None
    part = describe_part(split.test)
    print(f"{given.log}: {part['sessions']:,} sessions from {part['first']} on, seeds {given.seeds}, {machine()}\n")
    print("\n".join(table(rows, seeds, done)))


if __name__ == "__main__":
    main()

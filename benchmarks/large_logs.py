"""Processor seconds and peak memory of a step on a large log: the tables of docs/scale.md.

    python benchmarks/large_logs.py make LOG --clicks 30000000 [--items 500000]
    python benchmarks/large_logs.py run nearnext prepare LOG FOLDER --min-support 5

``make`` writes a folder of Parquet parts. A session has five clicks on average; half of them are near one item in the
catalogue, the others are drawn by popularity, which falls as Zipf's law with exponent 1.1. Quality on it says nothing.
``run`` runs a command and prints its time, and the most memory that it held: its own, which nothing can take back,
and pages of files, which the system can. Workers that it starts are not counted.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

PART = 10_000_000
"""Clicks of a part."""

MEAN, LONGEST, NEAR, EXPONENT = 5, 50, 40, 1.1
DAY, OPENING = 86_400, 1_735_689_600


def make(folder: Path, clicks: int, items: int) -> None:
    """Write a log of about so many clicks."""
    folder.mkdir(parents=True)
    share = np.cumsum(np.arange(1, items + 1, dtype=np.float64) ** -EXPONENT)
    names = np.random.default_rng(7).permutation(items)
    for part in range(-(-clicks // PART)):
        rng, session = np.random.default_rng([7, part]), part * (PART // MEAN)
        n = min(PART, clicks - part * PART) // MEAN
        lengths = np.minimum(1 + rng.geometric(1 / (MEAN - 1), n), LONGEST)
        total, before = int(lengths.sum()), np.cumsum(lengths) - lengths
        starts = np.sort(rng.integers(0, 2 * DAY, n)) + OPENING + part * 2 * DAY
        within = np.arange(total) - np.repeat(before, lengths)
        drawn = np.searchsorted(share, rng.random(total) * share[-1])
        near = (np.repeat(drawn[before], lengths) + rng.integers(0, NEAR, total)) % items
        frame = pl.DataFrame(
            {
                "session_id": np.repeat(np.arange(session, session + n), lengths),
                "item_id": names[np.where(rng.random(total) < 1 / 2, near, drawn)],
                "time": np.repeat(starts, lengths) + 20 * within,
            }
        )
        frame.sort("time").write_parquet(folder / f"part-{part:03d}.parquet")


def held(pid: int) -> tuple[int, int]:
    """Memory of a process, MiB: its own, and pages of files."""
    lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()]
    sizes = {line[0]: int(line[1]) >> 10 for line in lines if line and line[0].startswith("Rss")}
    return sizes.get("RssAnon:", 0), sizes.get("RssFile:", 0) + sizes.get("RssShmem:", 0)


def run(command: list[str]) -> int:
    """Run a command; print its seconds and its memory."""
    begin, own, pages, both = time.perf_counter(), 0, 0, 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            found = held(process.pid)
            own, pages, both = max(own, found[0]), max(pages, found[1]), max(both, sum(found))
            time.sleep(0.5)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{time.perf_counter() - begin:,.0f} s elapsed, {used.ru_utime + used.ru_stime:,.0f} s of processor; at most "
        f"{own:,} MiB of its own, {pages:,} MiB of pages of files, {both:,} MiB together; status {process.returncode}",
        file=sys.stderr,
    )
    return process.returncode


def main() -> None:
    """Make a log, or run a command."""
    if sys.argv[1:2] == ["run"]:
        raise SystemExit(run(sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    making = parser.add_subparsers(required=True).add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--clicks", type=int, default=30_000_000)
    making.add_argument("--items", type=int, default=500_000)
    given = parser.parse_args()
    make(given.folder, given.clicks, given.items)


if __name__ == "__main__":
    main()

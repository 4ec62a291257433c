"""A synthetic click log of any size, read, cut into sessions, filtered and written as Parquet: events/s and memory.

python benchmarks/reading.py --events 100000000 --out /some/folder
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

CHUNK = 2_000_000
N_ITEMS = 500_000
ZIPF = 1.1
START = 1_400_000_000_000
MEASURED = """
import json, sys, time
from nearnext.data.filters import Filter
from nearnext.data.prepare import prepare
from nearnext.progress import show_progress
show_progress(sys.stderr.isatty())
begin = time.perf_counter()
report = prepare(sys.argv[1], sys.argv[2], chosen=Filter(min_length=2, min_support=5))
seconds = time.perf_counter() - begin
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
found = {name: getattr(report, name) for name in ("sessions", "events", "items", "partitions")}
print(json.dumps({"rows": report.read.rows, "seconds": seconds, "peak_rss_mib": peak / 1024} | found))
"""


def write_log(path: Path, events: int) -> None:
    """Writes a log in order of time: sessions of about five clicks, a few thousand of them open at once."""
    generator = np.random.default_rng(7)
    popularity = np.cumsum(np.arange(1, N_ITEMS + 1) ** -ZIPF)
    with path.open("wb") as file:
        for begin in range(0, events, CHUNK):
            size = min(CHUNK, events - begin)
            position = np.arange(begin, begin + size)
            frame = pl.DataFrame(
                {
                    "session_id": position // 5 + generator.integers(0, 2_000, size),
                    "item_id": np.searchsorted(popularity, generator.random(size) * popularity[-1]) + 1,
                    "timestamp": START + position * 25,
                }
            )
            frame.write_csv(file, include_header=begin == 0)


def main() -> None:
    """Prints the figures of one run as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--out", type=Path, default=None, help="folder for the log and the result, which are removed")
    chosen = parser.parse_args()
    with TemporaryDirectory(dir=chosen.out) as folder:
        log = Path(folder) / "clicks.csv"
        begin = time.perf_counter()
        write_log(log, chosen.events)
        print(
            f"wrote {chosen.events:,} events, {log.stat().st_size / 2**30:.2f} GiB, {time.perf_counter() - begin:.0f} s"
        )
        command = [sys.executable, "-c", MEASURED, str(log), str(Path(folder) / "clicks.parquet")]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        print(json.dumps(found, indent=2))
        print(f"{found['rows'] / found['seconds']:,.0f} events/s, peak memory {found['peak_rss_mib']:,.0f} MiB")


if __name__ == "__main__":
    main()

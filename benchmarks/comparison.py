"""The whole comparison of all baselines as a user runs it: seconds and memory of `nearnext compare`, file to report.

With NEARNEXT_DATA set, the log is rsc15_64 (target: under 5 minutes on two cores); without, a synthetic shop.

    python benchmarks/comparison.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

PROGRAM = [sys.executable, "-c", "from nearnext.cli import main; main()", "--quiet"]
TARGETS_SECONDS = 300


def log_arguments(folder: Path) -> list[str]:
    """The log, or the two logs, to compare on."""
    data = os.environ.get("NEARNEXT_DATA")
    if data:
        base = Path(data) / "rsc15_64"
        return [str(base / "train.parquet"), "--test", str(base / "test.parquet")]
    shop = folder / "shop.parquet"
    subprocess.run([*PROGRAM, "synth", str(shop), "--sessions", "130000", "--items", "17000"], check=True)
    return [str(shop)]


def main() -> None:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        arguments = [
            "compare",
            *log_arguments(folder),
            "--json",
            str(folder / "r.json"),
            "--report",
            str(folder / "r.html"),
        ]
        begin = time.perf_counter()
        process = psutil.Popen([*PROGRAM, *arguments], stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.Error:
                break
            time.sleep(0.02)
        code = process.wait()
        seconds = time.perf_counter() - begin
        if code:
            sys.exit(f"compare ended with status {code}")
        result = json.loads((folder / "r.json").read_text("utf-8"))
    print(f"compare, {len(result['methods'])} methods, {result['protocol']['cases']:,} cases: {seconds:.1f} s")
    print(
        f"  target: under {TARGETS_SECONDS} s; used {seconds / TARGETS_SECONDS:.0%} of that; peak {peak / 1e6:,.0f} MB"
    )
    for method in result["methods"]:
        print(
            f"  {method['name']:<10} fit {method['fit_seconds']:6.2f} s  {method['cases_per_second']:>12,.0f} cases/s"
        )


if __name__ == "__main__":
    main()

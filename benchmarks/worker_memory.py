"""What the processes of a service hold, and the time in which they start and answer.

    python benchmarks/worker_memory.py MODEL [--workers 1,2] [--requests 300]

Memory is that of Linux's smaps_rollup after the requests: proportional (of a page that n processes share, each has
1 / n) and private. Requests are sent one after another. Several workers need redis-server. The first start copies the
model.
"""

import argparse
import json
import time
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import psutil

from nearnext.artifact import load_artifact
from serving import K, Load, percentiles, running


def memory(process: psutil.Process) -> tuple[float, float]:
    """Proportional and private memory of a process, MB."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1e3 * 1.024 for line in lines}
    return sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


def measure(model: Path, workers: int, sessions: np.ndarray) -> None:
    """Start a service, send it sessions of ids [n, 3], and print what was measured."""
    with running(model, workers) as (url, processes):
        service = processes[-1]
        started, load = time.time() - service.create_time(), Load(url, [service], [])
        starting = load.busy()
        took, connection = list[float](), HTTPConnection(url.removeprefix("http://"))
        for session in sessions.tolist():
            begin = time.perf_counter()
            connection.request("POST", "/v1/recommend", json.dumps({"items": session, "k": K}))
            assert connection.getresponse().read().startswith(b'{"items"')
            took.append(time.perf_counter() - begin)
        each = (load.busy() - starting) / len(took)
        print(f"{workers} workers answer after {started:.1f} s, {starting:.1f} s of processor")
        print(f"  a request: {percentiles(np.array(took))}; {1000 * each:.2f} ms of processor")
        found = [memory(one) for one in (service, *service.children(recursive=True))]
        each = ", ".join(f"{proportional:.0f} ({private:.0f} private)" for proportional, private in found)
        print(f"  {sum(one for one, _ in found):,.0f} MB proportional, of processes {each}", flush=True)


def main() -> None:
    """Measure with each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--requests", type=int, default=300)
    given = parser.parse_args()
    ids = load_artifact(given.model).recommender.vocabulary.ids.sample(3 * given.requests, seed=7)
    for workers in given.workers.split(","):
        measure(given.model, int(workers), ids.to_numpy().reshape(-1, 3))


if __name__ == "__main__":
    main()

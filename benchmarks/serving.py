"""The service under load: recommendations per second and latency through HTTP with session state, and their parts.

Clicks of real sessions are sent in the order of the log, each answered with 20 items; client and server share the
machine, so the processor time of both is printed. Closed loop: wrk, as many requests as its connections carry. Open
loop: requests at fixed times whether or not earlier ones were answered; latency counts from the time they were due.
With NEARNEXT_DATA set, the log is rsc15_64; without, a synthetic shop.

    python benchmarks/serving.py [--method vsknn] [--seconds 10] [--rate 2000] [--connections 16] [--workers 1]

Several workers keep sessions in a redis-server that is started for them; their processor time and its own are added up.

    python benchmarks/serving.py --soak 10 --rate 200

New sessions for ten minutes, each forgotten after one, with an event log and another model every minute: memory.
"""

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import psutil

from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_last, split_parts
from nearnext.data.synthetic import SyntheticShop, generate
from nearnext.recommenders.named import make_recommender
from nearnext.serving.catalogue import Catalogue
from nearnext.serving.loading import load_model
from nearnext.serving.served import Query, ServedModel

K = 20

SCRIPT = """
local clicks = {}
for line in io.lines("%s") do clicks[#clicks + 1] = line end
local n = 0
request = function()
  n = n + 1
  local session, body = clicks[(n - 1) %% #clicks + 1]:match("(%%S+) (.+)")
  return wrk.format("POST", "/v1/sessions/" .. session .. "-" .. math.floor((n - 1) / #clicks) .. "/events", nil, body)
end
"""


@dataclass(frozen=True)
class Load:
    """Where the service is, its first processes, and the clicks that are sent to it: session and body of each."""

    url: str
    processes: list[psutil.Process]
    clicks: list[tuple[int, bytes]]

    def busy(self) -> float:
        """Seconds that all processes have computed."""
        times = [process.cpu_times() for process in self._family()]
        return sum(one.user + one.system for one in times)

    def memory(self) -> float:
        """Resident memory of all processes, in MB."""
        return sum(process.memory_info().rss for process in self._family()) / 1e6

    def _family(self) -> list[psutil.Process]:
        return [one for root in self.processes for one in (root, *root.children(recursive=True))]


def logs() -> tuple[Sessions, Sessions]:
    """What is learned from, and the sessions that are sent."""
    folder = os.environ.get("NEARNEXT_DATA")
    if folder:
        base = Path(folder) / "rsc15_64"
        split = split_parts(read_sessions(base / "train.parquet"), read_sessions(base / "test.parquet"))
    else:
        split = split_last(read_sessions(generate(SyntheticShop(sessions=100_000, items=17_000, seed=7))))
    return split.train, split.test


def clicks_of(test: Sessions, most: int = 50_000) -> list[tuple[int, bytes]]:
    """The known clicks in the order of time, each with its session's number."""
    order = np.argsort(test.times, kind="stable")
    order = order[test.items[order] > 0][:most]
    owners, items = test.session_of_event()[order].tolist(), test.vocabulary.decode(test.items[order])
    return [
        (owner, msgspec.json.encode({"items": [item], "consent": True, "k": K}))
        for owner, item in zip(owners, items, strict=True)
    ]


@contextmanager
def running(model: Path, workers: int, *options: str) -> Generator[tuple[str, list[psutil.Process]]]:
    """The service of a model, on a free port, with its access log thrown away, and all its processes."""
    program = "from nearnext.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", str(model), "--port", "0", "--workers", str(workers), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:
        roots: list[psutil.Process] = []
        if workers > 1:
            store, process = stack.enter_context(redis())
            command += ["--store", store]
            roots.append(process)
        one = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        )
        stack.callback(one.terminate)
        assert one.stdout
        url = one.stdout.readline().split()[-1]
        yield url, [*roots, psutil.Process(one.pid)]


@contextmanager
def redis() -> Generator[tuple[str, psutil.Process]]:
    """The URL and the process of a redis-server that keeps nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as one:
        time.sleep(1.0)
        try:
            yield f"redis://127.0.0.1:{port}/0", psutil.Process(one.pid)
        finally:
            one.terminate()


def compute(model: Path, test: Sessions, cases: int = 2000) -> None:
    """Encode, search and serialise for one prefix after another: latency without HTTP."""
    with tempfile.TemporaryDirectory() as folder:
        served = ServedModel(load_model(model), Catalogue(Path(folder) / "changes"))
        sessions = [test.raw(case % test.n_sessions) for case in range(cases)]
        queries = [Query(session[: max(1, len(session) - 1)], K) for session in sessions]
        seconds = np.empty(cases)
        busy = np.empty(cases)
        for case, query in enumerate(queries):
            begin, begin_busy = time.perf_counter(), time.thread_time()
            msgspec.json.encode(served.answer([query])[0])
            seconds[case], busy[case] = time.perf_counter() - begin, time.thread_time() - begin_busy
    print(f"  compute of one request: {percentiles(seconds)}; processor time {percentiles(busy)}")


def closed_loop(load: Load, connections: int, seconds: int) -> None:
    """As many requests as the connections carry, by wrk."""
    if shutil.which("wrk") is None:
        print("  closed loop: needs wrk, skipped")
        return
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "clicks"
        listed.write_text("".join(f"c{session} {body.decode()}\n" for session, body in load.clicks))
        script = Path(folder) / "clicks.lua"
        script.write_text(SCRIPT % listed)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), load.url]
        before = load.busy()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        busy = load.busy() - before
    percentiles = [
        " ".join(line.split()) for line in done.stdout.splitlines() if "%  " in line or "/sec:" in line or "Non" in line
    ]
    print(f"  closed loop, {connections} connections: {'; '.join(percentiles)}; server busy {busy / seconds:.0%}")


async def _open_loop(load: Load, rate: float, seconds: float, connections: int, prefix: str = "o") -> None:
    host, port = load.url.removeprefix("http://").split(":")
    n_requests = int(rate * seconds)
    latencies = np.full(n_requests, np.nan)
    numbers = count()
    begin = time.perf_counter() + 0.2

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while (number := next(numbers)) < n_requests:
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            round_, at = divmod(number, len(load.clicks))
            session, body = load.clicks[at]
            path = f"/v1/sessions/{prefix}{session}-{round_}/events"
            head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            latencies[number] = time.perf_counter() - due
        writer.close()

    before, own = load.busy(), time.process_time()
    await asyncio.gather(*(work() for _ in range(connections)))
    spent = time.perf_counter() - begin
    busy, own = load.busy() - before, time.process_time() - own
    print(
        f"  open loop at {rate:,.0f}/s: {n_requests / spent:,.0f}/s answered, {percentiles(latencies)}; "
        f"server busy {busy / spent:.0%}, client {own / spent:.0%}"
    )


def soak(method: str, minutes: int, rate: float, folder: Path) -> None:
    """Ever-new sessions of a small shop, an event log, and another model each minute: the memory of the service."""
    split = split_last(read_sessions(generate(SyntheticShop(sessions=20_000, items=3_000, seed=7))))
    test, recommenders = split.test, [make_recommender(method).fit(log) for log in (split.train, split.test)]
    model, options = folder / "soaked", ("--event-log", str(folder / "events"), "--session-ttl", "1")
    save_artifact(recommenders[0], model, {})
    with running(model, 1, *options) as (url, processes):
        load = Load(url, processes, clicks_of(test))
        print(f"  at the start: {load.memory():,.0f} MB")
        for minute in range(1, minutes + 1):
            asyncio.run(_open_loop(load, rate, 60, 4, f"m{minute}-"))
            print(f"  after {minute} min: {load.memory():,.0f} MB", flush=True)
            save_artifact(recommenders[minute % 2], model, {})


def percentiles(seconds: np.ndarray) -> str:
    """The usual ones of latencies in seconds, in ms."""
    p50, p90, p99 = np.nanpercentile(seconds * 1000, [50, 90, 99])
    return f"p50 {p50:.3f}, p90 {p90:.3f}, p99 {p99:.3f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="vsknn", help="method to fit and serve")
    parser.add_argument("--model", type=Path, help="saved model to serve instead")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=float, default=2000.0, help="requests per second of the open loop")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--soak", type=int, metavar="MINUTES", help="watch the memory instead")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.soak:
            soak(chosen.method, chosen.soak, chosen.rate, Path(folder))
            return
        train, test = logs()
        model = chosen.model or save_artifact(make_recommender(chosen.method).fit(train), Path(folder) / "model", {})
        name = load_artifact(model).recommender.name
        print(f"{name}: {train.n_items:,} items, {chosen.workers} {'worker' if chosen.workers == 1 else 'workers'}")
        compute(model, test)
        with running(model, chosen.workers) as (url, processes):
            load = Load(url, processes, clicks_of(test))
            asyncio.run(_open_loop(load, 200, 2, 4))
            for connections in (1, chosen.connections):
                closed_loop(load, connections, chosen.seconds)
            for rate in (chosen.rate / 2, chosen.rate):
                asyncio.run(_open_loop(load, rate, chosen.seconds, 64))


if __name__ == "__main__":
    main()

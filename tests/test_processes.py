"""Work on several processes: order, errors, and workers that die."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

from nearnext.atomic import c_function
from nearnext.errors import NearnextError
from nearnext.processes import Processes, trim_memory


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_errors_as_they_are(workers: int):
    assert list(Processes(workers).map(math.sqrt, [4.0, 9.0, 1.0, 0.0])) == [2.0, 3.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="math domain error"):
        list(Processes(workers).map(math.sqrt, [1.0, -1.0]))


def slow_root(number: float) -> float:
    time.sleep(0.01)
    return math.sqrt(number)


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_that_are_kept_serve_one_map_after_another(workers: int):
    numbers = [float(n * n) for n in range(40)]
    with Processes(workers).kept() as team:
        for _ in range(2):
            assert list(team.map(slow_root, numbers)) == list(range(40))
            assert list(team.map(math.sqrt, [])) == []
        with pytest.raises(ValueError, match="math domain error"):
            list(team.map(slow_root, [*numbers, -1.0, *numbers]))


def end_but_not_here(process: int) -> None:
    if os.getpid() != process:
        os._exit(1)


def test_a_worker_that_dies_gives_one_line():
    with pytest.raises(NearnextError, match="one of 2 worker processes died"):
        list(Processes(2).map(os._exit, [1]))
    with pytest.raises(NearnextError, match="one of 2 worker processes died"), Processes(2).kept() as team:
        list(team.map(end_but_not_here, [os.getpid()] * 9))


@pytest.mark.parametrize("library", [TypeError("of Windows"), OSError("linked statically"), object()])
def test_a_c_library_without_a_function_is_no_error(library: object, monkeypatch: pytest.MonkeyPatch):
    def load(*_: object, **__: object) -> object:
        if isinstance(library, Exception):
            raise library
        return library

    monkeypatch.setattr("ctypes.CDLL", load)
    assert c_function("malloc_trim") is None
    trim_memory()


WORKING = """
import os, time
from nearnext.processes import Processes

def work(seconds):
    print(os.getpid(), flush=True)
    time.sleep(seconds)

if __name__ == "__main__":
    list(Processes(2).map(work, [600, 600]))
"""


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_and_say_nothing(tmp_path: Path, number: int):
    (tmp_path / "working.py").write_text(WORKING)
    command = [sys.executable, tmp_path / "working.py"]
    process = subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True)
    assert process.stdout
    workers = [int(process.stdout.readline()) for _ in range(2)]
    for pid in (process.pid, *workers) if number == signal.SIGINT else (process.pid,):
        os.kill(pid, number)  # Ctrl-C reaches them all
    said = process.communicate(timeout=300)[1]  # it ends when the last of them has closed its output
    assert said.count("Traceback") == (number == signal.SIGINT)

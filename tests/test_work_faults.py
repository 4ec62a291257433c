"""Ctrl-C, kill -9, workers that die and full disks while a log is prepared, fitted or compared: nothing is lost."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import fault_support
from nearnext.artifact import load_artifact
from nearnext.data.filters import Filter
from nearnext.data.prepare import prepare
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError, NearnextError
from nearnext.experiments import running
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.store import RunStore
from nearnext.processes import Processes

pytestmark = pytest.mark.fault

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 29}" for j in range(2 + s % 4)] for s in range(80)])
METHODS = ("pop", "markov-1", "sr")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [f"s{s},i{(s * 3 + j) % 11},{1_600_000_000 + s * 600 + j}" for s in range(60) for j in range(2 + s % 3)]
    (tmp_path / "log.csv").write_text("session_id,item_id,timestamp\n" + "\n".join(rows) + "\n", "utf-8")
    return tmp_path / "log.csv"


STALLED = """
import importlib, sys, time
module, name, calls = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
stalling = importlib.import_module(module)
function, made = getattr(stalling, name), []
def stalled(*arguments, **more):
    made.append(1)
    if len(made) == calls:
        print("working", flush=True)
        time.sleep(600)
    return function(*arguments, **more)
setattr(stalling, name, stalled)
from nearnext.cli import main
main()
"""


def stopped(number: int, where: tuple[str, str, int], *command: object) -> tuple[int, str]:
    """Run a command until a function is called so many times, then send a signal; its status and what it said."""
    words = [*where, "--quiet", *command]
    process = subprocess.Popen([sys.executable, "-c", STALLED, *map(str, words)], stdout=PIPE, stderr=PIPE, text=True)
    assert process.stdout
    seen = ""
    while "working" not in seen and (line := process.stdout.readline()):
        seen += line
    process.send_signal(number)
    said = process.communicate(timeout=300)[1]
    assert "working" in seen, said
    return process.returncode, said


def named(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_preparing_that_is_stopped_leaves_the_folder_before_it(
    nearnext: Any, log: Path, tmp_path: Path, number: signal.Signals
):
    assert nearnext("prepare", log, tmp_path / "out").code == 0
    before = contents(tmp_path / "out")
    command = ("prepare", log, tmp_path / "out", "--min-support", "3")
    ended, said = stopped(number, ("nearnext.data.prepare", "write_prepared", 1), *command)
    assert contents(tmp_path / "out") == before
    if number == signal.SIGINT:
        assert (ended, said) == (130, "interrupted\n")
        assert named(tmp_path) == ["log.csv", "out"]
    assert nearnext(*command).code == 0
    assert named(tmp_path) == ["log.csv", "out"]  # what the killed one left is gone
    assert nearnext("prepare", log, tmp_path / "other", "--min-support", "3").code == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "other")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_fit_of_a_prepared_folder_that_is_stopped_leaves_the_model_before_it(
    nearnext: Any, log: Path, tmp_path: Path, number: signal.Signals
):
    assert nearnext("prepare", log, tmp_path / "prepared").code == 0
    prepared = contents(tmp_path / "prepared")
    fit = ("fit", tmp_path / "prepared", "--out", tmp_path / "model", "--method")
    assert nearnext(*fit, "markov-1").code == 0
    ended, said = stopped(number, ("nearnext.experiments.single", "machine", 1), *fit, "sr")
    assert load_artifact(tmp_path / "model").recommender.name == "markov-1"
    if number == signal.SIGINT:
        assert (ended, said.splitlines()[-1]) == (130, "interrupted")
        assert "Traceback" not in said
    assert nearnext(*fit, "sr").code == 0
    assert load_artifact(tmp_path / "model").recommender.name == "sr"
    assert contents(tmp_path / "prepared") == prepared
    assert named(tmp_path) == ["log.csv", "model", "prepared"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_of_a_prepared_folder_goes_on_after_it_was_stopped(
    nearnext: Any, log: Path, tmp_path: Path, number: signal.Signals
):
    assert nearnext("prepare", log, tmp_path / "prepared").code == 0
    prepared = contents(tmp_path / "prepared")
    command = ("compare", tmp_path / "prepared", "--methods", "pop,sr", "--k", "3", "--replicates", "20")
    ended, said = stopped(
        number, ("nearnext.experiments.running", "evaluate", 2), *command, "--work", tmp_path / "work"
    )
    if number == signal.SIGINT:
        assert (ended, said.splitlines()[-1]) == (130, "interrupted")
        assert "Traceback" not in said
    assert [name for name in named(tmp_path / "work") if name.endswith(".safetensors")] != []
    again, whole = tmp_path / "again.json", tmp_path / "whole.json"
    assert nearnext(*command, "--work", tmp_path / "work", "--json", again).code == 0
    assert nearnext(*command, "--json", whole).code == 0
    found, expected = (json.loads(path.read_text("utf-8"))["methods"] for path in (again, whole))
    assert [method.get("kept", False) for method in found] == [True, False]
    assert [method["metrics"] for method in found] == [method["metrics"] for method in expected]
    assert contents(tmp_path / "prepared") == prepared
    assert all(name.endswith(".safetensors") for name in named(tmp_path / "work"))


def test_a_worker_that_is_killed_while_it_prepares_gives_one_line(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done = prepare(log, tmp_path / "out", partitions=4)
    before = contents(done.out)
    monkeypatch.setattr("nearnext.data.prepare.PROCESSES_PAY", 0)
    monkeypatch.setattr("nearnext.data.prepare.cut_partition", fault_support.die_in_a_worker)
    with pytest.raises(NearnextError, match="one of 2 worker processes died, perhaps for lack of memory"):
        prepare(log, tmp_path / "out", partitions=4, workers=2)
    assert contents(tmp_path / "out") == before
    assert named(tmp_path) == ["log.csv", "out"]


@pytest.mark.parametrize("step", ["prepare.cut_partition", "filters._filtered", "prepared._write_blocks"])
def test_a_full_disk_of_a_worker_that_prepares_is_one_line(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    monkeypatch.setattr("nearnext.data.prepare.PROCESSES_PAY", 0)
    monkeypatch.setattr(f"nearnext.data.{step}", fault_support.full)
    with pytest.raises(DataError, match=r"cannot write .*out: No space left on device; free some space"):
        prepare(log, tmp_path / "out", partitions=4, workers=2, chosen=Filter(min_support=17))
    assert named(tmp_path) == ["log.csv"]


def test_a_worker_that_is_killed_while_it_evaluates_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chosen, store = Comparison(METHODS, ks=(3,), replicates=20, threads=1), RunStore(tmp_path)
    expected = compare(LOG, comparison=chosen)
    monkeypatch.setattr(running, "run_fit", fault_support.die_at_sr)
    with pytest.raises(NearnextError, match="one of 2 worker processes died, perhaps for lack of memory"):
        compare(LOG, comparison=chosen, store=store, executor=Processes(2))
    monkeypatch.undo()
    found = compare(LOG, comparison=chosen, store=store)
    assert [method["metrics"] for method in found["methods"]] == [method["metrics"] for method in expected["methods"]]
    assert all(name.endswith(".safetensors") for name in named(tmp_path))


def test_a_full_disk_of_one_worker_is_one_line_and_leaves_no_half_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chosen = Comparison(METHODS, ks=(3,), replicates=20, threads=1)
    compare(LOG, comparison=chosen, lists=tmp_path / "whole")
    monkeypatch.setattr(running, "run_fit", fault_support.full_at_sr)
    with pytest.raises(DataError, match=r"cannot write .*sr\.run: .*too large.*; choose a writable folder") as raised:
        compare(LOG, comparison=chosen, lists=tmp_path / "lists", executor=Processes(2))
    assert "\n" not in str(raised.value)
    written = contents(tmp_path / "lists")
    assert "sr.run" not in written
    assert written.items() <= contents(tmp_path / "whole").items()

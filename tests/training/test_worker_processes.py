"""Worker processes that end, resume, or cannot meet."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from nearnext import load_artifact
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, NearnextError
from nearnext.recommenders.named import make_recommender
from nearnext.training import workers as workers_module
from nearnext.training.group import in_group, present_group
from nearnext.training.loop import train
from nearnext.training.recipe import Recipe
from nearnext.training.run import RunDirectory, TrainingInterrupted
from nearnext.training.workers import join, workers
from recipe_support import every_prefix

pytestmark = pytest.mark.slow


class Stopped(Exception):  # noqa: N818 - it stands for no error
    """The end of a run after an epoch."""


def stop(_: Mapping[str, float]) -> None:
    raise Stopped


def interrupting(given: Callable[..., torch.Tensor], batch: Any, rows: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """A loss with Ctrl-C in the first process, in each step."""
    if multiprocessing.parent_process() is None:
        signal.raise_signal(signal.SIGINT)
    return given(batch, rows)


def stopped_after_an_epoch(recipe: Recipe[Any], run: RunDirectory) -> None:
    with pytest.raises(Stopped):
        train(recipe, run=run, watch=stop)


def interrupted_within_an_epoch(recipe: Recipe[Any], run: RunDirectory) -> None:
    with pytest.raises(TrainingInterrupted):
        train(replace(recipe, loss=partial(interrupting, recipe.loss)), run=run)


@contextmanager
def apart(n: int) -> Generator[None]:
    """Processes with a part of the tables in each, as on several machines."""
    with workers(n), in_group(replace(present_group(), memory=None, sharded=True)):
        yield


@pytest.mark.parametrize(
    ("first", "begin", "second"),
    [
        (partial(workers, 1), stopped_after_an_epoch, partial(apart, 2)),
        (partial(apart, 3), interrupted_within_an_epoch, partial(workers, 2)),
        (partial(workers, 3), interrupted_within_an_epoch, partial(workers, 1)),
    ],
    ids=["one, two sharded", "three sharded, two", "three, one"],
)
def test_another_number_of_processes_resumes(
    first: Callable[[], AbstractContextManager[None]],
    begin: Callable[[Recipe[Any], RunDirectory], None],
    second: Callable[[], AbstractContextManager[None]],
    tmp_path: Path,
):
    make, run = partial(every_prefix, "weightedpool"), RunDirectory(tmp_path / "run", {})
    through, recipe = make(), make()
    history = train(through)
    with first():
        begin(make(), run)
    with second():
        resumed = train(recipe, run=run, resume=True)
    assert [epoch["loss"] for epoch in resumed] == pytest.approx([epoch["loss"] for epoch in history], rel=1e-4)
    torch.testing.assert_close(recipe.network.state_dict(), through.network.state_dict(), rtol=1e-4, atol=1e-4)


def ended(given: Callable[..., torch.Tensor], batch: Any, rows: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """A loss with SIGTERM in every process, in each step."""
    if multiprocessing.parent_process() is None:
        signal.raise_signal(signal.SIGINT)  # which is what the command makes of it
    else:
        signal.raise_signal(signal.SIGTERM)
    return given(batch, rows)


def test_sigterm_to_all_processes_leaves_a_checkpoint(tmp_path: Path):
    """As from ``timeout``, systemd or Slurm: the first process needs the others for the checkpoint."""
    recipe = every_prefix("maxpool")
    with workers(2), pytest.raises(TrainingInterrupted, match="the checkpoint is in"):
        train(replace(recipe, loss=partial(ended, recipe.loss)), run=RunDirectory(tmp_path / "run", {}))


def killed(*_: Any) -> torch.Tensor:
    """A loss that kills every process but the first."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.zeros((), requires_grad=True)


def without_memory(*_: Any) -> torch.Tensor:
    """A loss for which every process but the first lacks memory."""
    if multiprocessing.parent_process() is not None:
        raise MemoryError("out of memory")
    return torch.zeros((), requires_grad=True)


def refused(*_: Any) -> torch.Tensor:
    """A loss that every process but the first refuses, for its own share."""
    if multiprocessing.parent_process() is not None:
        raise ConfigError("expected two sessions, found one")
    return torch.zeros((), requires_grad=True)


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (killed, "signal 9"),
        (without_memory, "MemoryError: out of memory"),
        (refused, "ConfigError: expected two sessions, found one"),
    ],
)
def test_a_worker_that_ends_is_named(loss: Callable[..., torch.Tensor], reason: str):
    with pytest.raises(NearnextError, match=f"one of 2 processes of the training ended: {reason}"), workers(2):
        train(replace(every_prefix("maxpool"), loss=loss))
    assert present_group().size == 1


def one_killed(*_: Any) -> torch.Tensor:
    """A loss that kills one of several workers."""
    if torch.distributed.get_rank() == 1:
        killed()
    return torch.zeros((), requires_grad=True)


def test_the_other_workers_end_by_themselves(monkeypatch: pytest.MonkeyPatch):
    kill, found = BaseProcess.kill, list[int | None]()

    def seen(process: BaseProcess) -> None:
        found.append(process.exitcode)
        kill(process)

    monkeypatch.setattr(BaseProcess, "kill", seen)
    with pytest.raises(NearnextError, match="one of 4 processes of the training ended: signal 9"), workers(4):
        train(replace(every_prefix("maxpool"), loss=one_killed))
    assert len(found) == 3
    assert None not in found


def test_a_worker_that_waits_for_others_ends_with_the_first_process():
    script = """
import os, signal, tempfile
from nearnext.training.workers import _start
worker = _start(tempfile.mkdtemp() + "/store", rank=1, n=3)
worker.pipe.recv()
print(worker.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        worker = int(first.stdout.readline())
        try:
            assert first.communicate(timeout=60) == ("", None)  # once the worker, which writes there too, has ended
        finally:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


LOG = Sessions.of([["a", "b", "c"]] * 3)


@pytest.mark.parametrize(
    ("method", "options", "reason"),
    [
        ("metric", {"workers": -1}, "workers"),
        ("gru4rec", {"workers": 4}, "as many workers as sessions, 3, found 4"),
        ("sml-gru-pml:proxy-nca", {"workers": 2}, "compares all examples of a batch"),
        ("vsknn", {"workers": 2}, "workers"),
        ("metric", {"sharded": True}, "expected several workers for sharded tables, found one"),
        ("sml-gru-pml:proxy-nca", {"sharded": True}, "compares all examples of a batch"),
    ],
)
def test_workers_that_cannot_share_a_training_are_refused(method: str, options: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=reason):
        make_recommender(method, options).fit(LOG)


def launched_as(monkeypatch: pytest.MonkeyPatch, rank: int, port: int) -> None:
    place = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in place.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(workers_module, "MEETING", timedelta(seconds=1))


def test_processes_that_cannot_meet_say_where(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        launched_as(monkeypatch, 0, taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"expected 2 processes to meet at 127.0.0.1:\d+ within 0:00:01"):
            join()
    launched_as(monkeypatch, 1, free_port())
    with pytest.raises(ConfigError, match="check that all were started"):
        join()
    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(ConfigError, match=r"MASTER_ADDR=\(none\)"):
        join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(*arguments: str, status: int = 0) -> list[str]:
    """Run Python in two processes, with the variables that torchrun sets; give what each prints."""
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    runs = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **place, "RANK": str(rank), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [run.communicate(timeout=300)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert [run.returncode for run in runs] == [status, status], printed
    return printed


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_of_two_launched_processes_ends_both(rank: int):
    """The first one does not say farewell to a process that is in the middle of a step: both would wait."""
    script = f"""
import os
from dataclasses import replace
from functools import partial
from nearnext.training.loop import train
from nearnext.training.workers import workers
from recipe_support import every_prefix

def failing(given, batch, rows):
    if os.environ["RANK"] == "{rank}":
        raise MemoryError("out of memory")
    return given(batch, rows)

recipe = every_prefix("maxpool")
with workers(1):
    train(replace(recipe, loss=partial(failing, recipe.loss)))
"""
    printed = launch("-c", script, status=1)
    assert "MemoryError: out of memory" in printed[rank]
    assert "another process of this training ended before it" in printed[1 - rank]


def test_launched_processes_leave_their_group_before_the_interpreter_ends():
    """Else a thread of the group that outlives the interpreter aborts the process."""
    script = """
import atexit
import torch.distributed as dist
from nearnext.training.workers import join
atexit.register(lambda: print("in a group:", dist.is_initialized()))
join()
"""
    for printed in launch("-c", script):
        assert "in a group: False\n" in printed  # torch may warn of the machine's network


def test_one_fit_of_several_launched_processes_writes_one_model(tmp_path: Path):
    log = tmp_path / "log.csv"
    clicks = [f"s{s},i{(s * 3 + c * c) % 11},{1_600_000_000 + s * 600 + c}" for s in range(60) for c in range(3)]
    log.write_text("\n".join(["session_id,item_id,timestamp", *clicks]), "utf-8")
    options = ["--method", "gru4rec", "--set", "layers=8", "--set", "epochs=2", "--out", str(tmp_path / "model")]
    first, second = launch("-m", "nearnext", "fit", str(log), *options)
    assert "fitted on 60 sessions" in first
    assert second == ""
    assert load_artifact(tmp_path / "model").recommender.name == "gru4rec"

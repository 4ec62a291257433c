"""Ray runs the same functions with the same results; workers that die; clusters that cannot be reached."""

import math
import os
import signal
import socket
import sys
import time
from pathlib import Path
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from executor_support import SideBySide
from nearnext.data.prepare import prepare
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError, MissingPackageError, NearnextError
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.tuning.budget import Tuning
from nearnext.experiments.tuning.tune import tune
from nearnext.processes import Processes
from nearnext.recommenders import batch
from nearnext.recommenders.rules import Markov
from nearnext.scale import ray_tasks as scale

ray: Any = pytest.importorskip("ray", reason="needs the extra ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests

LOG = Sessions.of([["a", "b"], ["b", "c", "d"], ["a", "b", "c"], ["d", "a"]] * 12)


def test_results_come_in_order_and_errors_as_they_are(cluster: scale.RayTasks):
    assert cluster.workers == 2
    assert list(cluster.map(math.sqrt, [4.0, 9.0, 1.0, 0.0])) == [2.0, 3.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="math domain error"):
        list(cluster.map(math.sqrt, [1.0, -1.0]))


def _refuse(_: int) -> int:
    raise DataError("expected clicks, found none; give a longer log")


def test_an_error_of_the_package_keeps_its_class_and_line(cluster: scale.RayTasks):
    with pytest.raises(DataError) as raised:
        list(cluster.map(_refuse, [1]))
    assert type(raised.value) is DataError
    assert str(raised.value) == "expected clicks, found none; give a longer log"


def _die_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def test_a_task_whose_worker_is_killed_is_run_again(cluster: scale.RayTasks, tmp_path: Path):
    with pytest.warns(RuntimeWarning, match="a worker died; its part is run again, 1 of 3 times at most"):
        assert list(cluster.map(_die_once, [tmp_path / "one", tmp_path / "two"])) == ["done", "done"]


def _die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_that_kills_every_worker_gives_one_line(cluster: scale.RayTasks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scale, "RETRIES", 0)
    with pytest.raises(NearnextError, match="the Ray cluster cannot go on: workers died on one part") as raised:
        list(cluster.map(_die, [1]))
    assert "\n" not in str(raised.value)


def test_a_module_that_workers_lack_is_named_in_one_line(cluster: scale.RayTasks, monkeypatch: pytest.MonkeyPatch):
    module = ModuleType("only_here")
    exec("def double(x): return 2 * x", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(NearnextError, match=r"cannot go on: No module named 'only_here'\Z"):
        list(cluster.map(module.double, [1]))


def test_a_log_is_prepared_to_the_same_bytes(cluster: scale.RayTasks, tmp_path: Path):
    rows = [f"{session},{item},{100 * session + at}" for session in range(60) for at, item in enumerate("abcab")]
    log = tmp_path / "log.csv"
    log.write_text("\n".join(["session_id,item_id,timestamp", *rows]) + "\n")
    for name, workers in (("here", Processes()), ("ray", cluster)):
        prepare(log, tmp_path / name, partitions=3, workers=workers)
    here, there = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("here", "ray"))
    assert here == there


def test_lists_of_a_log_are_the_same(cluster: scale.RayTasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nearnext.recommenders.ranking.MOST_LISTS", 7)
    markov = Markov().fit(LOG)
    asked = batch.batch_request(markov, 3, threads=1)
    for name, executor in (("here", Processes()), ("ray", cluster)):
        assert batch.write_lists(markov, LOG, tmp_path / name, asked, executor) == LOG.n_sessions
    assert (tmp_path / "here").read_bytes() == (tmp_path / "ray").read_bytes()


def test_a_comparison_has_the_same_figures(cluster: scale.RayTasks):
    chosen = Comparison(methods=("pop", "markov-1"), ks=(1, 2), replicates=20, threads=1)
    here, there = compare(LOG, comparison=chosen), compare(LOG, comparison=chosen, executor=cluster)
    for one, other in zip(here["methods"], there["methods"], strict=True):
        assert (one["name"], one["metrics"]) == (other["name"], other["metrics"])
    assert here["audit"] == there["audit"]


def test_a_search_makes_the_same_trials(cluster: scale.RayTasks):
    budget = Tuning(trials=4, minutes=60.0, metric="MRR@2")
    found = [tune(LOG, "sr", budget, threads=1, executor=executor) for executor in (SideBySide(2), cluster)]
    here, there = ([trial | {"seconds": 0} for trial in one["trials"]] for one in found)
    assert here == there
    assert found[0]["options"] == found[1]["options"]


def test_an_address_where_nothing_answers_is_named_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    with pytest.raises(ConfigError, match=f"nothing answers at 127.0.0.1:{free}.*ray start --head"):
        scale.require_cluster(f"127.0.0.1:{free}")


def test_an_address_where_another_program_answers_is_refused(cluster: scale.RayTasks):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def answer() -> None:
            with other.accept()[0] as client:
                client.recv(9)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.recv(1024)

        Thread(target=answer, daemon=True).start()
        with pytest.raises(ConfigError, match=f"expected the head of a Ray cluster at 127.0.0.1:{port}, found another"):
            scale.require_cluster(f"127.0.0.1:{port}")
    scale.require_cluster(cluster.ray.get_runtime_context().gcs_address)


@pytest.mark.parametrize("address", ["nowhere", ":6379", "host:", "http://host:6379", "host:port"])
def test_an_address_of_another_form_is_refused(address: str):
    with pytest.raises(ConfigError, match="expected HOST:PORT"):
        scale.require_cluster(address)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scale, "find_spec", lambda _: None)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(MissingPackageError, match=r"pip install 'nearnext\[ray\]'"):
        scale.require_cluster(None)


class _StartedRay:
    """A stand-in for Ray whose start takes a moment, in which Ctrl-C comes if ``interrupted``."""

    def __init__(self, session: Path, *, interrupted: bool = False) -> None:
        self.session, self.interrupted, self.seen = session, interrupted, list[str]()

    def init(self, *_: Any, **__: Any) -> SimpleNamespace:
        self.session.mkdir()
        if self.interrupted:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)
        self.seen.append("started")
        return SimpleNamespace(address_info={"session_dir": str(self.session)})

    def shutdown(self) -> None:
        self.seen.append("shut down")


def test_ctrl_c_while_a_cluster_starts_ends_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    starting = _StartedRay(tmp_path / "session", interrupted=True)
    monkeypatch.setattr(scale, "import_module", lambda _: starting)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(KeyboardInterrupt), scale.ray_tasks(workers=1):
        pytest.fail("it goes on after Ctrl-C")
    assert starting.seen == ["started", "shut down"]


def test_logs_of_a_cluster_are_removed_unless_a_command_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    starting = _StartedRay(tmp_path / "session")
    monkeypatch.setattr(scale, "import_module", lambda _: starting)  # pyright: ignore[reportUnknownLambdaType]
    with scale.ray_tasks(workers=1):
        assert starting.session.is_dir()
    assert not starting.session.exists()
    with pytest.raises(DataError), scale.ray_tasks(workers=1):
        _refuse(1)
    assert starting.session.is_dir()


def test_ray_takes_no_signal_of_this_process(cluster: scale.RayTasks):
    assert cluster.workers == 2
    for number in (signal.SIGINT, signal.SIGTERM):
        assert not getattr(signal.getsignal(number), "__module__", "").startswith("ray")

"""Workers of a Ray cluster train the model that one process trains; one that is killed is replaced."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from nearnext import load_artifact
from nearnext.data.sessions import Sessions
from nearnext.errors import NearnextError
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.trained import TrainedRecommender
from nearnext.scale import ray_tasks, ray_training
from nearnext.scale.ray_tasks import RayTasks
from nearnext.scale.ray_training import fit_together
from nearnext.training.group import present_group
from training_support import seed

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.fault

LOG = Sessions.of([[f"i{(s * 3 + c * c) % 11}" for c in range(3)] for s in range(60)])


def model(directory: Path | None = None) -> TrainedRecommender:
    """A model to be fitted."""
    options = {"dim": 8, "epochs": 3, "seed": seed(), "directory": str(directory or "")}
    made = make_recommender("sml-maxpool-ncas", options)
    assert isinstance(made, TrainedRecommender)
    return made


def assert_same_model(found: TrainedRecommender, expected: TrainedRecommender) -> None:
    """The same weights up to rounding."""
    one, other = expected.state(), found.state()
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_allclose(other[name], array, rtol=1e-3, atol=1e-3)


def kill_worker() -> None:
    """Kill the process that takes part in a training."""
    processes = psutil.Process().children(recursive=True)
    (worker,) = [process for process in processes if "ray::_take_part" in process.cmdline()]
    worker.kill()


def test_the_command_fits_on_a_cluster(
    nearnext: Any, cluster: RayTasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ray_tasks, "ray_tasks", lambda *_: nullcontext(cluster))  # pyright: ignore[reportUnknownLambdaType]
    log, out = tmp_path / "log.csv", tmp_path / "model"
    clicks = [f"s{s},i{(s * 3 + c * c) % 11},{1_600_000_000 + s * 600 + c}" for s in range(60) for c in range(3)]
    log.write_text("\n".join(["session_id,item_id,timestamp", *clicks]), "utf-8")
    options = ["--method", "sml-maxpool-ncas", "--set", "dim=8", "--set", "epochs=2", "--engine", "ray"]
    done = nearnext("fit", log, *options, "--out", out)
    assert "fitted on 60 sessions" in done.out, done.err
    assert load_artifact(out).recommender.name == "sml-maxpool-ncas"


def test_a_fit_whose_worker_is_killed_goes_on_from_its_checkpoint(cluster: RayTasks, tmp_path: Path):
    fitted, epochs = model(tmp_path / "run"), list[float]()

    def watch(figures: Mapping[str, float]) -> None:
        epochs.append(figures["epoch"])
        if len(epochs) == 1:
            kill_worker()

    fitted.watch = watch
    with pytest.warns(RuntimeWarning, match="a worker died; the fit goes on from its last checkpoint, 1 of 3 times"):
        assert fit_together(cluster, fitted, lambda: fitted.fit(LOG)) is fitted
    assert epochs == [1, 2, 3]
    assert_same_model(fitted, model().fit(LOG))
    assert present_group().size == 1


def test_workers_that_die_again_and_again_give_one_line(cluster: RayTasks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray_training, "RETRIES", 0)
    fitted = model()
    fitted.watch = lambda _: kill_worker()
    with pytest.raises(NearnextError, match="the Ray cluster cannot go on: workers died") as raised:
        fit_together(cluster, fitted, lambda: fitted.fit(LOG))
    assert "\n" not in str(raised.value)


def test_what_cannot_be_shared_is_refused_at_once(nearnext: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = nearnext("fit", tmp_path / "none.csv", "--method", "vsknn", "--engine", "ray", "--out", tmp_path / "model")
    assert "vsknn counts instead of training, in one process; leave --workers and --engine out" in done.err
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name, value in {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}.items():
        monkeypatch.setenv(name, value)
    done = nearnext("fit", tmp_path / "none.csv", "--engine", "ray", "--out", tmp_path / "model")
    assert "expected processes of torchrun or of a Ray cluster, found both" in done.err

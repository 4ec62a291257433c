"""Fits that write to an experiment tracker: the same figures in each, one line where that cannot be, no fit lost."""

import json
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, MissingPackageError
from nearnext.recommenders.gru4rec import GRU4Rec
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.trained import TrainedRecommender
from nearnext.training import tracking
from training_support import seed

LOG = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(48)])
OPTIONS = {"dim": 6, "epochs": 2, "batch_size": 8, "validation_fraction": 0.2, "device": "cpu", "preset": "quick"}


def model(track: str | None, **options: Any) -> TrainedRecommender:
    made = make_recommender("sml-maxpool-ncas", {**OPTIONS, "seed": seed(7), "track": track, **options})
    assert isinstance(made, TrainedRecommender)
    return made


def expected(fitted: TrainedRecommender) -> dict[str, list[float]]:
    """What a tracker has of a fit."""
    history = fitted.history
    assert len(history) == 2
    best = history[int(history[-1]["best_epoch"]) - 1]
    return {
        "loss": [epoch["loss"] for epoch in history],
        "HitRate_20": [epoch["HitRate@20"] for epoch in history],
        "best/MRR_20": [best["MRR@20"]],
        "training_seconds": [fitted.training_seconds],
    }


def assert_tracked(found: Callable[[str], list[float]], fitted: TrainedRecommender) -> None:
    for name, values in expected(fitted).items():
        assert found(name)[-len(values) :] == pytest.approx(values), name


@pytest.mark.slow
@pytest.mark.parametrize("track", [None, "tensorboard"])
def test_tensorboard_gets_the_figures_with_or_without_its_name(track: str | None, tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fitted = model(track, directory=str(tmp_path)).fit(LOG)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert_tracked(lambda name: [event.value for event in events.Scalars(name)], fitted)


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    library = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    library.set_tracking_uri((tmp_path / "mlflow").as_uri())
    return library


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_mlflow_gets_figures_options_and_data_and_a_fit_that_resumes_goes_on_there(mlflow: Any, tmp_path: Path):
    fitted = model("mlflow", directory=str(tmp_path / "run")).fit(LOG)
    model("mlflow", directory=str(tmp_path / "run"), resume=True).fit(LOG)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"])
    assert_tracked(lambda name: [each.value for each in client.get_metric_history(run.info.run_id, name)], fitted)
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 2
    assert run.info.status == "FINISHED"
    assert run.data.params["data"] == LOG.fingerprint()
    assert {name: run.data.params[name] for name in fitted.params()} == {
        name: str(value) for name, value in fitted.params().items()
    }
    assert fitted.note == ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_a_tracker_that_fails_ends_the_tracking_but_not_the_fit(mlflow: Any, monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route\nto host.")

    monkeypatch.setattr(mlflow, "log_metrics", unreachable)
    fitted = model("mlflow").fit(LOG)
    assert fitted.fitted
    assert fitted.note == "mlflow lacks metrics from epoch 1 on: no route to host"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_a_fit_that_fails_is_a_failed_run(mlflow: Any):
    def stop(_: Mapping[str, float]) -> None:
        raise ConfigError("enough")

    stopped = model("mlflow")
    stopped.watch = stop
    with pytest.raises(ConfigError, match="enough"):
        stopped.fit(LOG)
    assert stopped.watch is stop
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"


@pytest.mark.slow
def test_wandb_gets_figures_options_and_data_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    fitted = model("wandb").fit(LOG)
    wandb.teardown()  # which ends the process that writes the file
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    history, config = dict[str, list[Any]](), dict[str, Any]()
    for record in records(wandb, file.read_bytes()):
        for item in record.history.item:
            history.setdefault(item.nested_key[0], []).append(json.loads(item.value_json))
        config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    assert_tracked(lambda name: history[name], fitted)
    assert config["data"] == LOG.fingerprint()
    assert {name: config[name] for name in fitted.params()} == fitted.params()


def records(wandb: Any, content: bytes) -> list[Any]:
    """The records of a run's file: blocks of 32 KiB that hold parts of records, each after its checksum and length."""
    found, at, record = list[Any](), 7, b""
    while at + 7 <= len(content):
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        at += left if (left := -at % 32768) < 7 else 0
        if kind in (1, 4):  # a whole record, or the last part of one
            found.append(wandb.proto.wandb_internal_pb2.Record.FromString(record))
            record = b""
    return found


@pytest.mark.parametrize("track", ["tensorboard", "mlflow", "wandb"])
def test_a_package_that_is_not_installed_is_named_before_the_fit(track: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, track, None)
    with pytest.raises(MissingPackageError, match=rf"track={track} needs the package {track}; .*nearnext\[{track}\]"):
        GRU4Rec(track=track).fit(LOG)  # pyright: ignore[reportArgumentType]


def test_a_run_that_cannot_start_is_one_line_before_the_fit(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> tracking.Tracker:
        raise RuntimeError("no key\nfound.")

    monkeypatch.setitem(tracking._TRACKERS, "wandb", refuse)  # pyright: ignore[reportPrivateUsage, reportArgumentType]
    with pytest.raises(ConfigError, match="wandb cannot start a run: no key found; set it up, or leave track out"):
        GRU4Rec(track="wandb").fit(LOG)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_a_run_that_starts_in_part_is_ended(mlflow: Any, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(mlflow, "log_params", refuse)
    with pytest.raises(ConfigError, match="mlflow cannot start a run: no route"):
        model("mlflow").fit(LOG)
    assert mlflow.active_run() is None
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"


def test_a_run_that_cannot_end_is_noted_and_the_fit_kept(monkeypatch: pytest.MonkeyPatch):
    class Endless:
        id = ""

        def __init__(self, *_: object) -> None: ...

        def write(self, metrics: Mapping[str, float], epoch: int) -> None: ...

        def end(self, *, failed: bool) -> None:
            raise OSError(f"failed={failed}, not sent")

    monkeypatch.setitem(tracking._TRACKERS, "wandb", Endless)  # pyright: ignore[reportPrivateUsage, reportArgumentType]
    fitted = model("wandb").fit(LOG)
    assert fitted.note == "wandb may lack metrics, its run did not end: failed=False, not sent"


def test_an_unknown_tracker_is_refused():
    with pytest.raises(ConfigError, match="track"):
        model("visdom")

"""Runs that stop, go on, fail, or share a directory."""

import errno
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError, ConfigError, DataError
from nearnext.model.losses import LossInput, loss_named
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import own_randomness, seed_draws
from nearnext.registry import ENCODERS
from nearnext.sampling import PositiveNegative
from nearnext.training import run as checkpoints
from nearnext.training.config import TrainingConfig
from nearnext.training.examples import Examples, Objective, objective_of, sampled_recipe
from nearnext.training.learner import Learner, StepFigures
from nearnext.training.loop import Epoch, train
from nearnext.training.run import Checkpoint, RunDirectory, TrainingInterrupted, deferred_interrupt
from nearnext.training.validation import Validation
from training_support import assert_same_history, assert_same_weights, seed

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(48)])
LATER = Sessions.of([["i1", "i2", "i4"], ["i3", "i4"]]).with_vocabulary(LOG.vocabulary)
CONFIG = TrainingConfig(epochs=4, batch_size=8, learning_rate=0.01, lowerings=9, device="cpu")
"""Six steps an epoch."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    weights: Mapping[str, Tensor]
    history: list[Epoch]


def identity(**changes: object) -> dict[str, Any]:
    return {"epochs": 4, "data": "abc", "method": "sml-gru-ncas", **changes}


def run(
    directory: Path | None, *, resume: bool = False, objective: Objective | None = None, **changes: object
) -> Ended:
    with own_randomness():
        seed_draws(seed(1))
        network = SessionItemNetwork(LOG.n_items, ItemTower(6, 5), ENCODERS.make("gru", dim=6, hidden=6, dropout=0.2))
        chosen = objective or objective_of(loss_named("pml:proxy-nca"), "cosine", logq=False, dim=6, n_items=9)
    examples = Examples(LOG, PositiveNegative(), validation=Validation.of(LATER), seed=seed(3))
    place = None if directory is None else RunDirectory(directory, identity(**changes))
    history = train(sampled_recipe(network, chosen, examples, CONFIG), run=place, resume=resume)
    return Ended({name: tensor.clone() for name, tensor in network.state_dict().items()}, history)


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the given step is computed."""
    taken = 0
    real = Learner[Any].step

    def pressed(self: Learner[Any], *arguments: Any) -> StepFigures:
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *arguments)

    monkeypatch.setattr(Learner, "step", pressed)


@pytest.mark.parametrize("step", [1, 6, 8, 13])
def test_an_interrupted_run_resumes_to_the_weights_of_one_that_was_not(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    through = run(None)
    with monkeypatch.context() as patched:
        interrupt_at(step, patched)
        with pytest.raises(TrainingInterrupted, match=f"{tmp_path}: run the same command again, with resume"):
            run(tmp_path)
    resumed = run(tmp_path, resume=True)
    assert_same_weights(resumed.weights, through.weights)
    assert_same_history(resumed.history, through.history)


def test_a_run_resumed_twice_still_gives_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    through = run(None)
    for resume, step in ((False, 4), (True, 5)):
        with monkeypatch.context() as patched:
            interrupt_at(step, patched)
            with pytest.raises(TrainingInterrupted):
                run(tmp_path, resume=resume)
    resumed = run(tmp_path, resume=True)
    assert_same_weights(resumed.weights, through.weights)


def test_a_directory_changes_no_weight(tmp_path: Path):
    assert_same_history(run(tmp_path).history, run(None).history)


def test_resuming_a_finished_run_gives_its_weights_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = run(tmp_path)
    monkeypatch.delattr(Learner, "step")
    again = run(tmp_path, resume=True)
    assert_same_weights(again.weights, first.weights)


def test_ctrl_c_without_a_directory_interrupts_as_usual(monkeypatch: pytest.MonkeyPatch):
    interrupt_at(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(None)
    assert not isinstance(caught.value, TrainingInterrupted)


def test_the_handler_of_ctrl_c_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt() as interrupted:
        assert signal.getsignal(signal.SIGINT) != before
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_each_epoch_is_a_line_of_the_log_with_its_figures(tmp_path: Path):
    history = run(tmp_path).history
    lines = (tmp_path / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == history
    assert set(history[0]) == {"epoch", "loss", "HitRate@20", "MRR@20", "best_epoch", "learning_rate", "seconds"}
    assert json.loads((tmp_path / "config.json").read_text("utf-8")) == identity()


class Diverging:
    """A loss that is no number from the second call on."""

    needs_item_distances = False

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, batch: LossInput) -> Tensor:
        self.calls += 1
        return batch.positive.sum() * (1.0 if self.calls < 8 else float("nan"))


def test_a_loss_that_is_no_number_stops_training_and_says_what_to_do(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"finite loss, found nan in epoch 2 .* lower learning_rate \(0.01\) or set"):
        run(tmp_path, objective=Objective(Diverging()))
    assert RunDirectory(tmp_path, identity()).load().progress["standing"]["epoch"] == 1


def full_disk_after(writes: int, error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoints.save_file
    done = 0

    def save(tensors: Any, path: Path, metadata: Any) -> None:
        nonlocal done
        done += 1
        if done > writes:
            path.write_bytes(b"half a checkpoint")
            raise error()
        real(tensors, path, metadata=metadata)

    monkeypatch.setattr(checkpoints, "save_file", save)


def no_space() -> Exception:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_space_as_safetensors_says_it() -> Exception:
    return checkpoints.SafetensorError('Error while serializing: Io(Os { message: "No space left (os error 28)" })')


@pytest.mark.parametrize("error", [no_space, no_space_as_safetensors_says_it])
def test_the_checkpoint_before_survives_a_disk_that_fills(
    error: Callable[[], Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    through = run(None)
    with monkeypatch.context() as patched:
        full_disk_after(2, error, patched)
        with pytest.raises(ArtifactError, match="No space left on device; the one before it is kept"):
            run(tmp_path)
    assert RunDirectory(tmp_path, identity()).load().progress["standing"]["epoch"] == 2
    assert [path.name for path in tmp_path.glob("*checkpoint*")] == ["checkpoint.safetensors"]
    resumed = run(tmp_path, resume=True)
    assert_same_weights(resumed.weights, through.weights)


def test_a_disk_that_is_full_from_the_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    full_disk_after(0, no_space, monkeypatch)
    with pytest.raises(ArtifactError, match="No space left on device; there is none before it"):
        run(tmp_path)


def test_two_runs_in_one_directory_are_refused(tmp_path: Path):
    with RunDirectory(tmp_path, identity()).locked(resume=False), pytest.raises(ArtifactError, match="another run"):
        run(tmp_path)


def test_a_checkpoint_is_not_overwritten_by_a_run_that_does_not_resume(tmp_path: Path):
    run(tmp_path)
    with pytest.raises(ArtifactError, match="holds the checkpoint of a run; resume it or choose another directory"):
        run(tmp_path)


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path):
    run(tmp_path)
    with pytest.raises(ConfigError, match="is of other data: expected xyz, found abc; resume with what it began with"):
        run(tmp_path, resume=True, data="xyz")


def test_a_checkpoint_of_other_options_is_refused(tmp_path: Path):
    run(tmp_path)
    with pytest.raises(ConfigError, match="is of another epochs: expected 9, found 4"):
        run(tmp_path, resume=True, epochs=9)


def test_there_must_be_a_checkpoint_to_resume_from(tmp_path: Path):
    with pytest.raises(ArtifactError, match="holds no checkpoint to resume from; train without resume"):
        run(tmp_path, resume=True)


@pytest.mark.parametrize("cut", [3, 500])
def test_a_damaged_checkpoint_is_refused(cut: int, tmp_path: Path):
    run(tmp_path)
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ArtifactError, match="is damaged"):
        run(tmp_path, resume=True)


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"cannot use .*file/run"):
        run(tmp_path / "file" / "run")


def test_checkpoints_hold_no_code(tmp_path: Path):
    place = RunDirectory(tmp_path, identity())
    with place.locked(resume=False):
        place.save(Checkpoint({"a": torch.ones(2)}, {"epoch": 1}))
    header = (tmp_path / "checkpoint.safetensors").read_bytes()
    assert json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["a"]["shape"] == [2]


def test_sessions_that_give_no_example_are_refused_in_one_line():
    network = SessionItemNetwork(2, ItemTower(4), ENCODERS.make("maxpool", dim=4))
    examples = Examples(Sessions.of([["a"], ["b"]]), PositiveNegative())
    with pytest.raises(DataError, match="expected a session of at least 2 clicks to sample from, found none of 2"):
        train(sampled_recipe(network, Objective(loss_named("ncas")), examples, CONFIG))  # pyright: ignore[reportArgumentType]

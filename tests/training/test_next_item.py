"""Training on every prefix: what is read, what moves, how it stops and goes on."""

import math
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ArtifactError, ConfigError, DataError
from nearnext.model.distances import DistanceName
from nearnext.model.encoders import Attention, EncoderConfig, MaxPool
from nearnext.model.items import ItemTower
from nearnext.model.network import SessionItemNetwork
from nearnext.model.tensors import own_randomness, seed_draws
from nearnext.training import next_item as module
from nearnext.training.checkpoint import RunDirectory
from nearnext.training.interrupt import TrainingInterrupted
from nearnext.training.next_item import NextItemTraining, train_next_item
from nearnext.training.validation import Validation
from training_support import assert_same_history, assert_same_weights, seed

LOG = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(48)])
LATER = Sessions.of([["i1", "i2", "i4"], ["i3", "i4"]]).with_vocabulary(LOG.vocabulary)
CONFIG = NextItemTraining(epochs=3, batch_size=8, learning_rate=0.05, encoder_rate=0.01, negatives=4)
"""Six steps an epoch."""


def network_of(
    log: Sessions, encoder: EncoderConfig | None = None, max_length: int = 4, distance: DistanceName = "cosine"
) -> SessionItemNetwork:
    with own_randomness():
        seed_draws(seed(1))
        chosen = encoder or Attention(dim=6, positions=4, dropout=0.2)
        return SessionItemNetwork(log.n_items, ItemTower(6), chosen, max_length=max_length, distance=distance)


def weights_of(network: SessionItemNetwork) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def run(directory: Path | None = None, *, config: NextItemTraining = CONFIG, number: int = 3, **options: Any):
    network = network_of(LOG)
    place = None if directory is None else RunDirectory(directory, {"data": "abc", "epochs": config.epochs})
    history = train_next_item(
        network, LOG, config, seed=seed(number), validation=Validation.of(LATER), run=place, **options
    )  # fmt: skip
    return weights_of(network), history


def differ(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether some weight differs by more than rounding."""
    return any(not torch.allclose(one[name], other[name], atol=1e-3) for name in one)


def test_the_rate_rises_to_its_peak_and_falls_along_a_cosine():
    config = NextItemTraining(warmup=0.1, final=0.2)
    found = [config.rate(step, 20) for step in (0, 1, 2, 11, 20)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.6, 0.2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, found 0"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"negatives": 0}, "negatives must be"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0"),
        ({"encoder_rate": -1.0}, "encoder_rate must be a finite number above 0"),
        ({"temperature": 0}, "temperature must be a finite number above 0"),
        ({"alpha": -0.1}, "alpha must be a finite number of at least 0"),
        ({"smoothing": 1.0}, "smoothing must be a finite number of at least 0 and below 1"),
        ({"warmup": 1.0}, "warmup must be a finite number of at least 0 and below 1"),
        ({"final": -1}, "final must be a finite number of at least 0"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        NextItemTraining(**options)


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 17), min_size=1, max_size=5), max_length=st.integers(1, 6))
def test_windows_predict_every_click_but_the_first_of_a_session(lengths: list[int], max_length: int):
    log = Sessions.of([list(range(length)) for length in lengths])
    windows = module._Windows.of(log, max_length)  # pyright: ignore[reportPrivateUsage]
    owner = log.session_of_event()
    targets: list[int] = []
    for begin, length in zip(windows.begins.tolist(), windows.lengths.tolist(), strict=True):
        assert 2 <= length <= max_length + 1
        assert owner[begin] == owner[begin + length - 1]
        targets.extend(range(begin + 1, begin + length))
    assert set(targets) == set(range(log.n_events)) - set(log.offsets[:-1].tolist())
    short = [length for length in lengths if 2 <= length <= max_length + 1]
    whole = {(int(begin), int(length)) for begin, length in zip(log.offsets[:-1], log.lengths, strict=True)}
    used = list(zip(windows.begins.tolist(), windows.lengths.tolist(), strict=True))
    assert len(short) == sum(used.count(one) for one in whole)


def test_a_batch_holds_each_window_once_padded_at_the_right():
    windows = module._Windows.of(LOG, 4)  # pyright: ignore[reportPrivateUsage]
    found: list[list[int]] = []
    for clicks in windows.batches(5, np.random.default_rng(0)):
        assert 1 <= len(clicks) <= 5
        for row in clicks.tolist():
            known = [item for item in row if item > 0]
            assert row == known + [0] * (len(row) - len(known))
            found.append(known)
    assert sorted(found) == sorted(
        LOG.items[begin:end].tolist() for begin, end in zip(LOG.offsets[:-1], LOG.offsets[1:], strict=True)
    )


def test_the_loss_of_one_step_by_hand():
    log = Sessions.of([["a", "b"]])
    network = network_of(log, Attention(dim=6))
    a, b = (vector / vector.norm() for vector in network.item_embedding.weight.detach()[1:])
    config = NextItemTraining(epochs=1, negatives=2, smoothing=0.0, temperature=0.5)
    loss = train_next_item(network, log, config)[0]["loss"]
    # The session of a alone is a. Two draws of two equal items and two clicks: each item is expected 2 times.
    presence = 1 - math.exp(-2)
    near, next_one = math.exp(1 / 0.5) / presence, math.exp(float(a @ b) / 0.5)
    assert loss == pytest.approx(-math.log(next_one / (next_one + near)), rel=1e-5)


def test_one_step_changes_every_parameter_and_every_item_but_padding():
    network = network_of(LOG)
    before = weights_of(network)
    config = NextItemTraining(epochs=1, batch_size=100, negatives=9)
    train_next_item(network, LOG, config)
    assert [name for name, tensor in before.items() if torch.equal(tensor, network.state_dict()[name])] == []
    moved = (before["item_embedding.weight"] != network.item_embedding.weight).any(dim=1)
    assert moved.tolist() == [False] + [True] * 9
    assert not network.item_embedding.weight[0].any()


def test_items_that_no_session_has_stay_where_they_are():
    log = LOG.with_vocabulary(Vocabulary.of([*LOG.vocabulary.ids.to_list(), "unclicked"]))
    network = network_of(log)
    before = network.item_embedding.weight.detach()[-1].clone()
    train_next_item(network, log, CONFIG)
    assert torch.equal(network.item_embedding.weight[-1], before)


def test_clicks_on_unknown_items_are_neither_read_nor_predicted():
    known = Sessions.of([["a", "b", "c"], ["b", "c"], ["c", "a"]] * 5)
    mixed = Sessions.of([["a", "?", "b", "c"], ["!", "b", "c"], ["c", "a", "?"]] * 5).with_vocabulary(known.vocabulary)
    one, other = network_of(known), network_of(known)
    train_next_item(one, known, CONFIG)
    train_next_item(other, mixed, CONFIG)
    assert_same_weights(other.state_dict(), one.state_dict())


def test_same_seed_same_weights_and_inputs_and_generators_stay_as_they_were():
    before, state = LOG.fingerprint(), torch.get_rng_state()
    one, other, third = run(), run(), run(number=4)
    assert_same_weights(other[0], one[0])
    assert_same_history(other[1], one[1])
    assert differ(one[0], third[0])
    assert LOG.fingerprint() == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_best_epoch_on_validation_remains(best: int, monkeypatch: pytest.MonkeyPatch):
    after: list[Mapping[str, Tensor]] = []

    def measure(_self: Validation, network: SessionItemNetwork) -> dict[str, float]:
        after.append(weights_of(network))
        return {"HitRate@20": 0.1 if len(after) <= best else 0.2 - 0.01 * len(after), "MRR@20": 0.0}

    monkeypatch.setattr(Validation, "measure", measure)
    kept, history = run()
    assert len(history) == len(after) == 3
    assert_same_weights(kept, after[best])
    assert all(differ(kept, other) for epoch, other in enumerate(after) if epoch != best)


def test_without_validation_the_last_epoch_remains():
    short, long = network_of(LOG), network_of(LOG)
    (one,) = train_next_item(short, LOG, NextItemTraining(epochs=1, batch_size=8))
    assert set(one) == {"epoch", "loss", "learning_rate", "seconds"}
    seen: list[float] = []
    train_next_item(long, LOG, CONFIG, watch=lambda epoch: seen.append(epoch["epoch"]))
    assert seen == [1, 2, 3]
    assert not long.training
    assert differ(short.state_dict(), long.state_dict())


@pytest.mark.parametrize("step", [1, 8, 13])
def test_a_run_that_ctrl_c_stopped_resumes_to_the_same_weights(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    through, taken = run(), 0
    real = module._Loop._step  # pyright: ignore[reportPrivateUsage]

    def pressed(self: Any, *arguments: Any) -> float:
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(module._Loop, "_step", pressed)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(TrainingInterrupted, match=r"the epochs before this one are in .*, go on with --resume"):
            run(tmp_path)
    if step < 7:  # nothing was kept of the first epoch
        with pytest.raises(ArtifactError, match="holds no checkpoint"):
            run(tmp_path, resume=True)
        return
    resumed = run(tmp_path, resume=True)
    assert_same_weights(resumed[0], through[0])
    assert_same_history(resumed[1], through[1])


def test_a_run_that_its_watch_stopped_resumes_to_the_same_weights(tmp_path: Path):
    def stop(_figures: Mapping[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watch=stop)
    assert_same_weights(run(tmp_path, resume=True)[0], run()[0])


def test_a_finished_run_gives_its_weights_again_and_refuses_other_options(tmp_path: Path):
    through = run(tmp_path)
    assert_same_weights(run(tmp_path, resume=True)[0], through[0])
    with pytest.raises(ConfigError, match="is of another epochs: expected 5, found 3"):
        run(tmp_path, resume=True, config=NextItemTraining(epochs=5))
    with pytest.raises(ArtifactError, match="resume it or choose another directory"):
        run(tmp_path)


@pytest.mark.parametrize("option", ["learning_rate", "encoder_rate"])
def test_training_that_leaves_all_bounds_stops_and_says_what_to_do(option: str):
    with pytest.raises(ConfigError, match=r"no longer .* in epoch 1; lower learning_rate"):
        run(config=replace(NextItemTraining(epochs=1), **{option: 1e30}))


def test_a_loss_that_is_no_number_stops_training(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module._Loop, "_step", lambda *_: math.nan)  # pyright: ignore
    with pytest.raises(ConfigError, match=r"no longer a number in epoch 1; lower learning_rate \(0.05\)"):
        run()


@pytest.mark.parametrize("network", [network_of(LOG, MaxPool(6)), network_of(LOG, distance="euclidean")])
def test_other_networks_are_refused(network: SessionItemNetwork):
    with pytest.raises(ConfigError, match="needs the attention encoder and the cosine distance"):
        train_next_item(network, LOG, CONFIG)


@pytest.mark.parametrize("log", [Sessions.of([["a"], ["b"]]), Sessions.of([["a", "?"]])])
def test_sessions_without_two_known_clicks_are_refused(log: Sessions):
    known = log.with_vocabulary(Vocabulary.of(["a", "b"]))
    with pytest.raises(DataError, match="at least two clicks on known items, found none"):
        train_next_item(network_of(known), known, CONFIG)

"""Training on every prefix: what is read, what moves, and what is refused."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError
from nearnext.model.distances import l2_normalised
from nearnext.model.encoders import Attention, EncoderConfig
from nearnext.model.losses import NCAS
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import own_randomness, seed_draws
from nearnext.registry import ENCODERS
from nearnext.sampling.windows import PrefixWindows
from nearnext.training.loop import train
from nearnext.training.next_item import NextItemTraining, next_item_recipe
from nearnext.types import IndexArray
from training_support import assert_same_weights, seed

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(48)])
CONFIG = NextItemTraining(epochs=3, batch_size=20, learning_rate=0.05, encoder_rate=0.01, negatives=4)
"""Six steps an epoch."""


def network_of(log: Sessions, encoder: EncoderConfig | None = None, max_length: int = 4) -> SessionItemNetwork:
    with own_randomness():
        seed_draws(seed(1))
        chosen = encoder or Attention(dim=6, positions=4, dropout=0.2)
        return SessionItemNetwork(log.n_items, ItemTower(6), chosen, max_length=max_length)


def weights_of(network: SessionItemNetwork) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def train_on(network: SessionItemNetwork, log: Sessions, config: NextItemTraining = CONFIG, **options: Any):
    return train(next_item_recipe(network, log, config, seed=seed(3)), **options)


def differ(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether some weight differs by more than rounding."""
    return any(not torch.allclose(one[name], other[name], atol=1e-3) for name in one)


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
    windows = PrefixWindows.of(log, max_length)
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


def batches_of(windows: PrefixWindows, size: int, seed: int, start: int = 0) -> Iterator[IndexArray]:
    return (windows.read(windows.items, rows) for rows in windows.rows(size, np.random.default_rng(seed), start))


def test_a_batch_holds_each_window_once_padded_at_the_right():
    windows = PrefixWindows.of(LOG, 4)
    found: list[list[int]] = []
    for clicks in batches_of(windows, 5, 0):
        for row in clicks.tolist():
            known = [item for item in row if item > 0]
            assert row == known + [0] * (len(row) - len(known))
            found.append(known)
    assert sorted(found) == sorted(
        LOG.items[begin:end].tolist() for begin, end in zip(LOG.offsets[:-1], LOG.offsets[1:], strict=True)
    )


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(2, 40), min_size=1, max_size=300), size=st.integers(1, 90))
def test_batches_have_equally_many_next_items_whatever_the_length_of_their_windows(lengths: list[int], size: int):
    windows = PrefixWindows.of(Sessions.of([list(range(length)) for length in lengths]), 9)
    batches = list(windows.rows(size, np.random.default_rng(0)))
    assert len(batches) == windows.n_batches(size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(windows.begins)))
    n_next = [int((windows.lengths[rows] - 1).sum()) for rows in batches]
    assert min(n_next) > 0
    if size > 2 * 9:  # else some windows are longer than a batch
        assert max(n_next) - min(n_next) <= 2 * 9


def test_the_loss_of_one_step_by_hand():
    log = Sessions.of([["a", "b"]])
    network = network_of(log, Attention(dim=6))
    a, b = (vector / vector.norm() for vector in network.item_embedding.weight.detach()[1:])
    config = NextItemTraining(epochs=1, negatives=2, smoothing=0.0, temperature=0.5)
    loss = train_on(network, log, config)[0]["loss"]
    # The session of a alone is a, and both items are there because of it, whatever is drawn.
    near, next_one = math.exp(1 / 0.5), math.exp(float(a @ b) / 0.5)
    assert loss == pytest.approx(-math.log(next_one / (next_one + near)), rel=1e-5)


def test_one_step_changes_every_parameter_and_every_item_but_padding():
    network = network_of(LOG)
    before = weights_of(network)
    config = NextItemTraining(epochs=1, batch_size=100, negatives=9)
    train_on(network, LOG, config)
    assert [name for name, tensor in before.items() if torch.equal(tensor, network.state_dict()[name])] == []
    moved = (before["item_embedding.weight"] != network.item_embedding.weight).any(dim=1)
    assert moved.tolist() == [False] + [True] * 9
    assert not network.item_embedding.weight[0].any()


def test_items_that_no_session_has_stay_where_they_are():
    log = LOG.with_vocabulary(Vocabulary.of([*LOG.vocabulary.ids.to_list(), "unclicked"]))
    network = network_of(log)
    before = network.item_embedding.weight.detach()[-1].clone()
    train_on(network, log, CONFIG)
    assert torch.equal(network.item_embedding.weight[-1], before)


def test_clicks_on_unknown_items_are_neither_read_nor_predicted():
    known = Sessions.of([["a", "b", "c"], ["b", "c"], ["c", "a"]] * 5)
    mixed = Sessions.of([["a", "?", "b", "c"], ["!", "b", "c"], ["c", "a", "?"]] * 5).with_vocabulary(known.vocabulary)
    one, other = network_of(known), network_of(known)
    train_on(one, known, CONFIG)
    train_on(other, mixed, CONFIG)
    assert_same_weights(other.state_dict(), one.state_dict())


def test_inputs_stay_as_they_were_and_another_seed_gives_other_weights():
    before, one, other = LOG.fingerprint(), network_of(LOG), network_of(LOG)
    train(next_item_recipe(one, LOG, CONFIG, seed=seed(3)))
    train(next_item_recipe(other, LOG, CONFIG, seed=seed(4)))
    assert differ(one.state_dict(), other.state_dict())
    assert LOG.fingerprint() == before


def test_an_epoch_that_goes_on_has_the_batches_that_were_left():
    batches = next_item_recipe(network_of(LOG), LOG, CONFIG).batches
    whole = list(batches.epoch(1, 0))
    assert len(whole) == batches.n_batches == 6
    for start in (0, 1, 4, 6):
        for one, other in zip(batches.epoch(1, start), whole[start:], strict=True):
            assert_same_weights(vars(one), vars(other))


def test_without_validation_the_last_epoch_remains():
    short, long = network_of(LOG), network_of(LOG)
    (one,) = train_on(short, LOG, NextItemTraining(epochs=1, batch_size=20))
    assert set(one) == {"epoch", "loss", "best_epoch", "learning_rate", "seconds"}
    seen: list[float] = []
    train(next_item_recipe(long, LOG, CONFIG), watch=lambda epoch: seen.append(epoch["epoch"]))
    assert seen == [1, 2, 3]
    assert not long.training
    assert differ(short.state_dict(), long.state_dict())


@pytest.mark.parametrize("option", ["learning_rate", "encoder_rate"])
def test_training_that_leaves_all_bounds_stops_and_says_what_to_do(option: str):
    config = replace(NextItemTraining(epochs=1), **{option: 1e30})
    with pytest.raises(ConfigError, match=r"expected (a finite loss|weights below 1e\+18), .*; lower learning_rate"):
        train_on(network_of(LOG), LOG, config)


@pytest.mark.parametrize(
    "options",
    [
        {"distance": "euclidean"},
        {"common_embedding": False},
        {"item": ItemTower(6, hidden=3)},
        {"item": ItemTower(6, max_norm=1.0)},
    ],
)
def test_other_networks_are_refused(options: dict[str, Any]):
    given: dict[str, Any] = {"n_items": 9, "item": ItemTower(6), "encoder": Attention(6), **options}
    network = SessionItemNetwork(**given)
    with pytest.raises(ConfigError, match="needs the cosine distance, and one embedding table without layers"):
        next_item_recipe(network, LOG, CONFIG)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_prefix_is_encoded_as_it_is_alone(name: str):
    known = ENCODERS.option_names(name)
    encoder = ENCODERS.make(name, dim=6, **{option: 6 for option in ("hidden", "filters") if option in known})
    network = network_of(LOG, encoder, max_length=15).eval()
    clicks = torch.tensor([[3, 1, 2, 5], [4, 2, 0, 0]])
    with torch.inference_mode():
        together = network.session_encoder.every_prefix(network.item_embedding(clicks), clicks > 0)
        for row, length in ((0, 1), (0, 2), (0, 4), (1, 1), (1, 2)):
            alone = network.encode_clicks(clicks[row : row + 1, :length])[0]
            np.testing.assert_allclose(l2_normalised(together[row, length - 1]), alone, atol=1e-5)


def test_a_loss_on_distances_can_stand_for_the_sampled_softmax():
    """NCAS with the logQ correction is that softmax, but for the presence of the next item itself."""
    log, config = Sessions.of([["a", "b"]]), NextItemTraining(epochs=1, negatives=2, smoothing=0.0, temperature=0.5)
    loss = NCAS(smoothing=0.0, temperature=0.5, direction="cross_entropy")
    found = [train(next_item_recipe(network_of(log, Attention(6)), log, config, loss=one)) for one in (None, loss)]
    assert found[1][0]["loss"] == pytest.approx(found[0][0]["loss"], rel=1e-4)


@pytest.mark.parametrize("log", [Sessions.of([["a"], ["b"]]), Sessions.of([["a", "?"]])])
def test_sessions_without_two_known_clicks_are_refused(log: Sessions):
    known = log.with_vocabulary(Vocabulary.of(["a", "b"]))
    with pytest.raises(DataError, match="at least two clicks on known items, found none"):
        train_on(network_of(known), known, CONFIG)


def test_a_large_log_is_shuffled_in_blocks_each_window_once(monkeypatch: pytest.MonkeyPatch):
    for name, n in (("MANY", 20), ("MIXED", 16), ("BLOCK", 4)):
        monkeypatch.setattr(f"nearnext.sampling.windows.{name}", n)
    log = Sessions.of([[f"a{s}", f"b{s}", f"c{s}"][: 2 + s % 2] for s in range(45)])
    of_log = PrefixWindows.of(log, 4)
    epochs = [list(batches_of(of_log, 3, n)) for n in range(2)]
    for epoch in epochs:
        assert len(epoch) == of_log.n_batches(3) == 8 + 8 + 7
        firsts = np.concatenate([batch[:, 0] for batch in epoch])
        assert sorted(firsts.tolist()) == sorted(log.items[log.offsets[:-1]].tolist())
    assert [batch.tolist() for batch in epochs[0]] != [batch.tolist() for batch in epochs[1]]
    for start in (2, 13):
        rest = batches_of(of_log, 3, 0, start)
        assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in epochs[0][start:]]

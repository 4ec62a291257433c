"""The laws of training, over every session encoder and every loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.model.distances import DistanceName, l2_normalised, to_sets
from nearnext.model.encoding import SessionEncoding, item_vectors
from nearnext.model.losses import NCAS, LossInput, loss_named
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import as_tensor, own_randomness, seed_draws
from nearnext.registry import ENCODERS, LOSSES
from nearnext.sampling import EveryPrefix, InBatch, PositiveNegative, Sampler, SlidingWindow, Uniform
from nearnext.training.config import TrainingConfig
from nearnext.training.examples import BatchReader, Examples, Objective, objective_of, sampled_recipe
from nearnext.training.learner import Learner
from nearnext.training.loop import train
from training_support import assert_same_weights, seed

pytestmark = pytest.mark.slow

DIM, ITEMS = 6, 7
LOG = Sessions.of([[f"i{(s + j * j) % ITEMS}" for j in range(2 + s % 4)] for s in range(40)])

every_encoder = pytest.mark.parametrize("encoder", sorted(ENCODERS))
every_loss = pytest.mark.parametrize(
    "loss", [*sorted(LOSSES), "pml:multi-similarity", "pml:proxy-nca", "pml:triplet-margin+batch-hard"]
)


def network_of(encoder: str, *, n_items: int = LOG.n_items, common: bool = True, hidden: int = 0, **options: object):
    known = ENCODERS.option_names(encoder)
    sizes = options or {"hidden": DIM, "filters": 5}
    config = ENCODERS.make(encoder, dim=DIM, **{name: value for name, value in sizes.items() if name in known})
    with own_randomness():
        seed_draws(seed(1))
        return SessionItemNetwork(n_items, ItemTower(DIM, hidden), config, common_embedding=common)


def weights_of(network: SessionItemNetwork) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def built(loss: str, distance: DistanceName = "cosine", **options: Any) -> Objective:
    with own_randomness():
        seed_draws(seed(5))
        known = LOSSES.option_names(loss) if loss in LOSSES else []
        config = loss_named(loss, **{name: value for name, value in options.items() if name in known})
        return objective_of(config, distance, logq=False, dim=DIM, n_items=LOG.n_items)


def trained(
    encoder: str, loss: str = "ncas", *, sampler: Sampler | None = None, number: int = 3, **options: object
) -> Mapping[str, Tensor]:
    network = network_of(encoder, dropout=0.3)
    objective = built(loss)
    config = TrainingConfig(**{"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "device": "cpu", **options})  # pyright: ignore[reportArgumentType]
    examples = Examples(LOG, sampler or PositiveNegative(), seed=seed(number))
    train(sampled_recipe(network, objective, examples, config))
    return weights_of(network)


def one_step(
    network: SessionItemNetwork, loss: str, sampler: Sampler | None = None, **options: Any
) -> dict[str, Tensor]:
    """Where a step on a batch with every item changes each parameter of network and loss."""
    examples = Examples(LOG, sampler or PositiveNegative(fill="repeat"), seed=7)
    config = TrainingConfig(batch_size=LOG.n_sessions, learning_rate=0.01, device="cpu")
    recipe = sampled_recipe(network, built(loss, **options), examples, config)
    learner = Learner(recipe)
    before = {name: tensor.clone() for name, tensor in learner.weights().items()}
    assert float(learner.step(next(recipe.batches.epoch(0, 0))).loss) > 0
    learner.settle(1.0)
    after = learner.weights()
    buffers = dict(network.named_buffers())
    return {name: (before[name] != after[name]) for name in before if name not in buffers}


@every_loss
@every_encoder
def test_one_step_changes_every_trainable_parameter(encoder: str, loss: str):
    changed = one_step(network_of(encoder, common=False, hidden=5), loss)
    assert {name for name, where in changed.items() if not where.any()} == set()
    for table in ("item_embedding.weight", "click_embedding.weight"):
        assert changed[table][1:].any(dim=1).all(), table
        assert not changed[table][0].any(), "padding is not trained"


def test_a_step_leaves_a_frozen_item_encoder_as_it_is_and_changes_all_else():
    network = SessionItemNetwork(LOG.n_items, ItemTower(DIM, 5, frozen=True), ENCODERS.make("maxpool", dim=DIM))
    before = weights_of(network)
    changed = one_step(network, "ncas")
    assert changed.keys() == {"item_embedding.weight"}
    assert changed["item_embedding.weight"][1:].any(dim=1).all()
    after = weights_of(network)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"item_embedding.weight"}


@pytest.mark.parametrize(
    "sampler",
    [
        EveryPrefix(n_positives=8),
        EveryPrefix(negatives=Uniform(n_negatives=2), unit="session"),
        PositiveNegative(negatives=InBatch(extra=8)),
        PositiveNegative(fill="own", overlaps=False, negatives=Uniform(share="batch")),
        SlidingWindow(window=2),
    ],
)
def test_one_step_changes_every_parameter_whatever_the_sampler(sampler: Sampler):
    changed = one_step(network_of("gru", hidden=5), "ncas", sampler)
    assert all(where.any() for where in changed.values())


@every_encoder
def test_the_same_seed_gives_the_same_weights(encoder: str):
    assert_same_weights(trained(encoder), trained(encoder))


@every_loss
def test_the_same_seed_gives_the_same_weights_with_every_loss(loss: str):
    assert_same_weights(trained("maxpool", loss), trained("maxpool", loss))


def test_another_seed_gives_other_weights():
    one, other = trained("gru"), trained("gru", number=4)
    assert not torch.allclose(one["item_embedding.weight"], other["item_embedding.weight"], atol=1e-3)


def test_training_leaves_the_generator_of_torch_as_it_was():
    with own_randomness():
        seed_draws(11)
        expected = torch.rand(3)
        seed_draws(11)
        trained("gru")
        assert torch.equal(torch.rand(3), expected)


@every_encoder
def test_a_longer_padding_of_the_prefixes_changes_no_gradient(encoder: str):
    short, long = (gradients(encoder, max_length) for max_length in (5, 15))
    assert_same_weights(long, short)


def gradients(encoder: str, max_length: int) -> dict[str, Tensor]:
    """Of a batch with every session, whose prefixes are padded to ``max_length`` at least."""
    network = network_of(encoder)
    sampler = PositiveNegative(max_length=max_length, fill="repeat")
    batch = next(sampler.epoch(LOG, 0, 7, batch_size=LOG.n_sessions))
    minibatch = BatchReader(LOG.n_items)(batch)
    candidates = minibatch.rows[: minibatch.n_candidates]
    prefixes = np.pad(batch.prefixes, [(0, 0), (0, max_length - batch.prefixes.shape[1])])
    sessions, items = network(as_tensor(prefixes), candidates)
    built("ncas")(sessions, items, minibatch).backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


@every_encoder
def test_a_session_is_encoded_alike_in_any_batch(encoder: str):
    network = network_of(encoder, n_items=50).eval()
    rng = np.random.default_rng(0)
    clicks = [rng.integers(0, 51, length).astype(np.int32) for length in rng.integers(0, 25, 150)]
    whole, known = SessionEncoding(network)(Prefixes.of(clicks))
    alone = np.concatenate([SessionEncoding(network)(Prefixes.of([one]))[0] for one in clicks[:40]])
    np.testing.assert_allclose(whole[:40], alone, rtol=1e-5, atol=1e-5)
    assert known.tolist() == [min(15, int(np.count_nonzero(one))) for one in clicks]


@every_encoder
def test_encoding_for_ranking_agrees_with_the_network(encoder: str):
    network = network_of(encoder).eval()
    clicks = np.array([3, 0, 1, 7], np.int32)
    with torch.inference_mode():
        expected = network.encode_sessions(torch.tensor([[3, 0, 1, 7]]))[0].numpy()
        items = network.encode_items().numpy()
    np.testing.assert_allclose(SessionEncoding(network)(Prefixes.of([clicks]))[0][0], expected, atol=1e-5)
    np.testing.assert_allclose(item_vectors(network), items, atol=1e-5)


@every_loss
def test_training_lowers_the_loss(loss: str):
    network = network_of("avgpool")
    objective = built(loss)
    config = TrainingConfig(epochs=12, batch_size=8, learning_rate=0.02, device="cpu")
    history = train(sampled_recipe(network, objective, Examples(LOG, PositiveNegative(fill="repeat")), config))
    assert history[-1]["loss"] < history[0]["loss"]


every_distance = pytest.mark.parametrize("distance", ["cosine", "euclidean", "squared_euclidean"])


@every_distance
@pytest.mark.parametrize("common", [True, False])
def test_a_step_follows_the_gradient_of_the_whole_network(distance: DistanceName, common: bool):
    """The short table of a batch gives the step that the whole tables give, computed here without it."""
    encoder, tower = ENCODERS.make("gru", dim=DIM, hidden=DIM), ItemTower(DIM, 5, max_norm=2.0)
    towers: dict[str, Any] = {"common_embedding": common, "distance": distance, "max_length": 2}
    with own_randomness():
        seed_draws(2)
        network = SessionItemNetwork(LOG.n_items, tower, encoder, **towers)
    reference = SessionItemNetwork(LOG.n_items, tower, encoder, **towers)
    reference.load_state_dict(network.state_dict())
    objective = built("triplet", distance)
    batch = next(PositiveNegative().epoch(LOG, 0, 7, batch_size=5))
    minibatch = BatchReader(LOG.n_items)(batch)
    config = TrainingConfig(learning_rate=0.01, device="cpu")
    learner = Learner(sampled_recipe(network, objective, Examples(LOG, PositiveNegative()), config))
    adam = torch.optim.Adam(reference.parameters(), lr=0.01)
    for _ in range(3):
        learner.step(minibatch)
        candidates = minibatch.rows[: minibatch.n_candidates]
        sessions, items = reference(as_tensor(batch.prefixes), candidates)
        adam.zero_grad()
        objective(sessions, items, minibatch).backward()
        adam.step()
    learner.settle(1.0)
    for name, tensor in reference.state_dict().items():
        np.testing.assert_allclose(network.state_dict()[name].numpy(), tensor.numpy(), atol=2e-4, err_msg=name)


@every_distance
def test_distances_to_shared_negatives_are_those_of_each_pair(distance: DistanceName):
    sampler = EveryPrefix(n_positives=2, negatives=InBatch(extra=8))
    batch = BatchReader(LOG.n_items)(next(sampler.epoch(LOG, 0, 7, batch_size=12)))
    drawn = torch.Generator().manual_seed(3)
    sizes = len(batch), batch.n_candidates
    ends = [l2_normalised(torch.randn(size, DIM, generator=drawn)).requires_grad_() for size in sizes]
    sessions, items = ends
    negatives = items[batch.negatives].expand(len(batch), -1, -1)
    plain = NCAS()(
        LossInput(
            positive=to_sets(sessions, items[batch.positives], distance, normalised=True),
            negative=to_sets(sessions, negatives, distance, normalised=True),
            positive_mask=batch.positive_mask,
            negative_mask=batch.negative_mask,
        )
    )
    loss = built("ncas", distance)(sessions, items, batch)
    torch.testing.assert_close((loss, *torch.autograd.grad(loss, ends)), (plain, *torch.autograd.grad(plain, ends)))


@every_loss
def test_negatives_shared_in_the_batch_work_with_every_loss(loss: str):
    changed = one_step(
        network_of("maxpool"), loss, EveryPrefix(n_positives=1, negatives=InBatch(extra=8)), pairing="all"
    )
    assert all(where.any() for where in changed.values())

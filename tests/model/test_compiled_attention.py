"""The compiled attention encoder gives what the network gives, whatever the batch."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from nearnext.data.prefixes import Prefixes
from nearnext.model.arithmetic import add_product, tanh
from nearnext.model.encoders.attention import Attention
from nearnext.model.encoders.base import SessionEncoder
from nearnext.model.encoding import SessionEncoding
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import own_randomness, seed_draws


def network_of(dim: int, *, correction: bool, distance: str = "cosine", positions: int = 4) -> SessionItemNetwork:
    """A network whose weights are all drawn, those that begin at zero too."""
    with own_randomness():
        seed_draws(3)
        encoder = Attention(dim=dim, positions=positions, dropout=0.5, correction=correction)
        network = SessionItemNetwork(30, ItemTower(dim=dim), encoder, distance=distance, max_length=9)  # type: ignore[arg-type]
        with torch.no_grad():
            for weight in network.session_encoder.parameters():
                weight.normal_(std=0.4)
    return network.eval()


def sessions(n: int = 60) -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [draw.integers(0, 31, length).astype(np.int32) for length in draw.integers(1, 14, n)]


@pytest.mark.parametrize("correction", [True, False])
@pytest.mark.parametrize("dim", [1, 7, 16])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_it_gives_what_the_network_gives(correction: bool, dim: int, distance: str):
    network = network_of(dim, correction=correction, distance=distance)
    clicks = sessions()
    found, known = SessionEncoding(network)(Prefixes.of(clicks))
    for row, session in enumerate(clicks):
        if known[row] == 0:
            assert not found[row].any()
            continue
        with torch.inference_mode():
            wanted = network.encode_sessions(torch.from_numpy(session[None].astype(np.int64)))[0].numpy()
        np.testing.assert_allclose(found[row], wanted, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("positions", [3, 20])
def test_compiled_energies_train_as_tensors_do(positions: int):
    """Every prefix and all gradients, against the same encoder in 64 bits, which computes with tensors of all pairs."""
    encoder = network_of(7, correction=True, positions=positions).session_encoder
    mask = torch.arange(9) < torch.tensor([9, 4, 1, 0, 6])[:, None]
    clicks = torch.randn(*mask.shape, 7, generator=torch.Generator().manual_seed(1))
    wanted = of_every_prefix(deepcopy(encoder).double(), clicks.double(), mask)
    for one, other in zip(of_every_prefix(encoder, clicks, mask), wanted, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-5 * float(other.abs().max()))


def of_every_prefix(encoder: SessionEncoder, clicks: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    clicks.requires_grad_()
    encoded = encoder.every_prefix(clicks, mask)[mask]
    total = (encoded * torch.linspace(-1, 2, encoded.numel()).view_as(encoded)).sum()
    return [encoded.detach(), *torch.autograd.grad(total, [clicks, *encoder.parameters()])]


def test_a_session_is_encoded_alike_in_any_batch():
    encode, clicks = SessionEncoding(network_of(16, correction=True)), sessions()
    together = encode(Prefixes.of(clicks))[0]
    for row, session in enumerate(clicks):
        alone = encode(Prefixes.of([session]))[0][0]
        np.testing.assert_allclose(alone, together[row], rtol=1e-5, atol=1e-5)


def test_an_item_without_an_embedding_is_encoded_as_the_network_does():
    network = network_of(8, correction=True)
    with torch.no_grad():
        network.item_embedding.weight[5] = 0.0
        wanted = network.encode_sessions(torch.tensor([[5, 2]]))[0].numpy()
    found = SessionEncoding(network)(Prefixes.of([np.array([5, 2], np.int32)]))[0][0]
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-5)


def test_weights_are_those_of_the_moment():
    network = network_of(8, correction=False)
    prefixes = Prefixes.of([np.array([1, 2, 3], np.int32)])
    encode = SessionEncoding(network)
    before = encode(prefixes)[0]
    with torch.no_grad():
        network.session_encoder.get_parameter("energy.weight").normal_()
    np.testing.assert_allclose(encode(prefixes)[0], before, rtol=1e-5, atol=1e-5)
    assert not np.allclose(SessionEncoding(network)(prefixes)[0], before, atol=1e-3)


def test_tanh_is_right_everywhere():
    values = np.concatenate([np.linspace(-12, 12, 4001), [0.0, 1e-20, 3e38, -3e38, np.inf, -np.inf]]).astype(np.float32)
    found = np.array([tanh(value) for value in values])
    np.testing.assert_allclose(found, np.tanh(values.astype(np.float64)), rtol=0, atol=3e-7)
    assert np.isnan(tanh(np.float32(np.nan)))


@pytest.mark.parametrize("rows", [0, 1, 4, 6])
def test_a_product_is_added(rows: int):
    draw = np.random.default_rng(rows)
    vector, matrix = draw.standard_normal(rows).astype(np.float32), draw.standard_normal((rows, 5)).astype(np.float32)
    total = np.full(5, 2.0, np.float32)
    add_product(vector, matrix, total)
    np.testing.assert_allclose(total, 2.0 + vector.astype(np.float64) @ matrix, atol=1e-5)

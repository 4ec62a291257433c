"""The compiled GRU encoder gives what the network gives, whatever the batch."""

import numpy as np
import pytest
import torch

from nearnext.data.prefixes import Prefixes
from nearnext.model.encoders.rnn import GRU, LSTM
from nearnext.model.encoding import SessionEncoding
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import own_randomness, seed_draws


def network_of(encoder: GRU | LSTM, distance: str = "cosine") -> SessionItemNetwork:
    with own_randomness():
        seed_draws(3)
        return SessionItemNetwork(30, ItemTower(dim=encoder.dim), encoder, distance=distance, max_length=9).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("encoder", [GRU(dim=6, hidden=7, dropout=0.5), GRU(dim=5, hidden=5, dense_layers=0)])
def test_it_gives_what_the_network_gives(encoder: GRU, distance: str):
    network, draw = network_of(encoder, distance), np.random.default_rng(1)
    clicks = [draw.integers(0, 31, length).astype(np.int32) for length in draw.integers(1, 14, 40)]
    encode = SessionEncoding(network)
    together, known = encode(Prefixes.of(clicks))
    assert network.compiled() is not None
    for row, session in enumerate(clicks):
        np.testing.assert_allclose(encode(Prefixes.of([session]))[0][0], together[row], rtol=1e-5, atol=1e-6)
        if known[row] == 0:
            assert not together[row].any()
            continue
        with torch.inference_mode():
            wanted = network.encode_sessions(torch.from_numpy(session[None].astype(np.int64)))[0].numpy()
        np.testing.assert_allclose(together[row], wanted, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(
    "encoder", [GRU(dim=4, layers=2), GRU(dim=4, last_tanh=True), GRU(dim=4, dense_layers=2), GRU(), LSTM(dim=4)]
)
def test_other_networks_have_no_such_form(encoder: GRU | LSTM):
    assert network_of(encoder).compiled() is None

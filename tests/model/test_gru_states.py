"""Last states of gated recurrent units: torch's own, up to rounding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nearnext.model.encoders import GRU, LSTM
from nearnext.model.encoders.rnn import gru_last_state, has_gru_states


def drawn(lengths: list[int], dtype: torch.dtype = torch.float32) -> tuple[nn.GRU, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    network = nn.GRU(5, 4, batch_first=True, dtype=dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-1, 1, generator=generator)
    clicks = torch.randn(len(lengths), 9, 5, generator=generator, dtype=dtype)
    return network, clicks.requires_grad_(), torch.tensor(lengths)


def alone(network: nn.GRU, clicks: Tensor, lengths: list[int]) -> Tensor:
    """The last state of each session as torch's layer has it, one session at a time."""
    states = [
        network(session[None, :length])[1][0, 0] if length else session.new_zeros(network.hidden_size)
        for session, length in zip(clicks, lengths, strict=True)
    ]
    return torch.stack(states)


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_states_and_gradients_are_those_of_torchs_layer(lengths: list[int]):
    network, clicks, steps = drawn(lengths)
    found, expected = gru_last_state(network, clicks, steps), alone(network, clicks, lengths)
    torch.testing.assert_close(found, expected)
    if not any(lengths):
        return
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(8))
    learned = [clicks, *network.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad((weights * found).sum(), learned),
        torch.autograd.grad((weights * expected).sum(), learned),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_differences():
    network, clicks, steps = drawn([3, 0, 1, 9], torch.float64)
    weights = [parameter.detach().requires_grad_() for parameter in network.parameters()]
    names = [name for name, _ in network.named_parameters()]

    def states(clicks: Tensor, *values: Tensor) -> Tensor:
        copy = nn.GRU(5, 4, batch_first=True, dtype=torch.float64)
        for name, value in zip(names, values, strict=True):
            delattr(copy, name)
            setattr(copy, name, value)
        return gru_last_state(copy, clicks, steps)

    assert torch.autograd.gradcheck(states, (clicks, *weights))


def test_only_one_layer_of_gated_units_in_32_bits_on_a_processor_is_computed_so():
    clicks = torch.zeros(1, 2, 5)
    assert has_gru_states(nn.GRU(5, 4), clicks)
    assert not has_gru_states(nn.GRU(5, 4, num_layers=2), clicks)
    assert not has_gru_states(nn.LSTM(5, 4), clicks)
    with torch.autocast("cpu", torch.bfloat16):
        assert not has_gru_states(nn.GRU(5, 4), clicks)


@pytest.mark.parametrize("config", [GRU(dim=4, hidden=4, layers=2), LSTM(dim=4, hidden=4)])
def test_other_recurrent_networks_run_as_before(config: GRU | LSTM):
    encoder = config.build(5)
    states = encoder(torch.ones(2, 3, 5), torch.tensor([[True, False, False], [True, True, True]]))
    assert states.shape == (2, 4)
    assert not torch.equal(states[0], states[1])

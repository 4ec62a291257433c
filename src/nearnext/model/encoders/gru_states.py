"""The last states of gated recurrent units over sessions of many lengths, on a processor.

torch's own layer writes the gradient of its weights once for each step, and copies the states of those sessions that
go on. Here a step multiplies by the weights and no more; one product over all steps gives the gradient of each weight.
Most clicks are the first of their session, where the state is zero: the state's weights are not multiplied there.

Reference: Cho et al., Learning Phrase Representations using RNN Encoder–Decoder, EMNLP 2014.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable  # pyright: ignore[reportUnknownVariableType]


def has_gru_states(network: nn.Module, clicks: Tensor) -> bool:
    """Whether `gru_last_state` computes what this network does with these clicks.

    >>> has_gru_states(nn.GRU(2, 3), torch.zeros(1, 1, 2)), has_gru_states(nn.GRU(2, 3, 2), torch.zeros(1, 1, 2))
    (True, False)
    """
    plain = isinstance(network, nn.GRU) and network.num_layers == 1
    return plain and clicks.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def gru_last_state(network: nn.GRU, clicks: Tensor, steps: Tensor) -> Tensor:
    """State of one layer after the last click of each session, zeros for an empty one: [B, T, D] → [B, hidden].

    Torch's own up to rounding. Clicks are padded at the right, with any values; sessions have ``steps`` clicks [B].
    """
    ordered, order = steps.sort(descending=True, stable=True)
    n_steps = torch.arange(clicks.shape[1])[:, None]
    real = n_steps < ordered  # [T, B], the longest sessions first
    places = (n_steps + order * clicks.shape[1])[real]
    packed = clicks.flatten(0, 1).index_select(0, places)
    weights = (network.weight_ih_l0, network.weight_hh_l0, network.bias_ih_l0, network.bias_hh_l0)
    sizes = [int(size) for size in real.sum(dim=1) if size]
    apply = cast("Callable[..., Tensor]", _LastState.apply)  # pyright: ignore[reportUnknownMemberType]
    states = apply(packed, len(clicks), sizes, *weights)
    return states.index_select(0, order.argsort())


class _LastState(torch.autograd.Function):
    """From the clicks of all steps, one after the other [E, D], to the last states [B, H].

    Each step has the clicks of the first ``sizes[step]`` sessions.
    """

    @staticmethod
    def forward(
        ctx: Any,
        clicks: Tensor,
        n_sessions: int,
        sizes: list[int],
        of_input: Tensor,
        of_state: Tensor,
        input_bias: Tensor,
        state_bias: Tensor,
    ) -> Tensor:
        width = of_state.shape[1]
        gates = torch.addmm(input_bias, clicks, of_input.t())  # [E, 3 H]: reset, update, new
        recurrent = torch.empty_like(gates)
        before = clicks.new_empty(len(clicks), width)
        state = clicks.new_zeros(n_sessions, width)
        begin = 0
        for size in sizes:
            step = slice(begin, begin + size)
            gate, given, current = gates[step], recurrent[step], state[:size]
            before[step] = current
            if begin:
                torch.addmm(state_bias, current, of_state.t(), out=given)
            else:
                given.copy_(state_bias.expand_as(given))
            gate[:, : 2 * width].add_(given[:, : 2 * width]).sigmoid_()
            new = gate[:, 2 * width :].addcmul_(gate[:, :width], given[:, 2 * width :]).tanh_()
            torch.lerp(new, current, gate[:, width : 2 * width], out=current)
            begin += size
        ctx.sizes = sizes
        ctx.save_for_backward(clicks, of_input, of_state, gates, recurrent[:, 2 * width :], before)
        return state

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator hides the names
        ctx: Any, *outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        clicks, of_input, of_state, gates, recurrent, before = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        width = of_state.shape[1]
        reset, update, new = (gates[:, gate * width : (gate + 1) * width] for gate in range(3))
        # How each gate's input moves the next state: all that does not depend on the gradient, for all steps at once.
        slopes = torch.empty_like(gates)
        of_new = torch.mul(1 - update, 1 - new.square(), out=slopes[:, 2 * width :])
        torch.mul(of_new * recurrent, reset * (1 - reset), out=slopes[:, :width])
        torch.mul(before - new, update * (1 - update), out=slopes[:, width : 2 * width])
        moved = torch.empty_like(gates)  # gradient of what the state's weights give
        state = outputs[0].clone()
        end = len(clicks)
        for size in reversed(ctx.sizes):
            step = slice(end - size, end)
            current, slope, move = state[:size], slopes[step], moved[step]
            slope.view(size, 3, width).mul_(current[:, None])
            move[:, : 2 * width] = slope[:, : 2 * width]
            torch.mul(slope[:, 2 * width :], reset[step], out=move[:, 2 * width :])
            end -= size
            if end:
                current.mul_(update[step]).addmm_(move, of_state)
        later = slice(ctx.sizes[0] if ctx.sizes else 0, None)
        return (
            slopes @ of_input,
            None,
            None,
            slopes.t() @ clicks,
            moved[later].t() @ before[later],
            slopes.sum(dim=0),
            moved.sum(dim=0),
        )

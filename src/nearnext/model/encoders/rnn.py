"""Session encoders by recurrence: RNN, GRU and LSTM, the last state through fully connected layers.

Paper: §4.4 and §5.2 (GRU cells of 400 dimensions). References: Cho et al., 2014 (GRU); Hochreiter and Schmidhuber,
1997 (LSTM). [B, T, D_in] → [B, D].
"""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable  # pyright: ignore[reportUnknownVariableType]
from torch.nn.utils.rnn import pack_padded_sequence

from nearnext.errors import ConfigError
from nearnext.model.encoders.base import CompiledEncoder, Dim, Dropout, Hidden, SessionEncoder
from nearnext.model.encoders.compiled_gru import compiled_gru
from nearnext.model.layers import feed_forward, zero_padding
from nearnext.options import Count, Natural, options

VERSION = 14

GATES: dict[type[nn.RNNBase], tuple[str, tuple[int, ...]]] = {
    nn.RNN: ("RNN", (0,)),
    nn.GRU: ("GRU", (1, 0, 2)),
    nn.LSTM: ("LSTM", (0, 3, 1, 2)),
}
"""Name of the operator, and the order of torch's gates in its weights: reset, update, new become
update, reset, new; input, forget, cell, output become input, output, forget, cell."""


def exported_states(network: nn.RNNBase, clicks: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """States of the last layer [B, T, H], and after the last step of each session [B, H], while a graph is exported.

    One ONNX operator for each layer, for sessions of any length; torch's exporter alone writes out the steps of one
    length. The operators stop at the end of each session, which has ``steps`` clicks, at least 1 [B]; torch cannot
    compute them. Reference: ONNX operators RNN (of tanh), GRU and LSTM, version 14.
    """
    operator, order = GATES[type(network)]
    attributes: dict[str, Any] = {"hidden_size": network.hidden_size}
    if operator == "GRU":
        attributes["linear_before_reset"] = 1
    n_sessions, n_steps, width = clicks.shape[0], clicks.shape[1], network.hidden_size
    inputs = clicks.transpose(0, 1)  # [T, B, D]
    last = clicks.new_zeros(1, n_sessions, width)
    for layer in range(network.num_layers):
        of_input, of_state, input_bias, state_bias = (
            _reordered(getattr(network, f"{name}_l{layer}"), order)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        states, last = torch.onnx.ops.symbolic_multi_out(
            operator,
            (inputs, of_input, of_state, torch.cat([input_bias, state_bias], dim=1), steps.to(torch.int32)),
            attributes,
            dtypes=(clicks.dtype, clicks.dtype),
            shapes=((n_steps, 1, n_sessions, width), (1, n_sessions, width)),
            version=VERSION,
        )
        inputs = states.squeeze(1)
    return inputs.transpose(0, 1), last.squeeze(0)


def _reordered(weight: Tensor, order: tuple[int, ...]) -> Tensor:
    width = len(weight) // len(order)
    return torch.cat([weight[gate * width : (gate + 1) * width] for gate in order]).unsqueeze(0)


@options
class Recurrent:
    """The options that the recurrent encoders share.

    Attributes:
        dim: dimension D of the session embedding.
        hidden: units of a recurrent layer.
        layers: recurrent layers.
        dense_layers: fully connected layers of ``dim`` units after the last state, tanh between them; with 0 the
            embedding is the last state.
        dropout: share dropped in training between recurrent layers and before each dense layer, in [0, 1).
        last_tanh: whether a tanh follows the last dense layer.
    """

    dim: Dim = 400
    hidden: Hidden = 400
    layers: Count = 1
    dense_layers: Natural = 1
    dropout: Dropout = 0.0
    last_tanh: bool = False

    cell: ClassVar[type[nn.RNN | nn.GRU | nn.LSTM]]

    def __post_init__(self) -> None:
        if self.dense_layers == 0 and self.hidden != self.dim:
            raise ConfigError(
                f"{type(self).__name__.lower()}: without dense layers hidden ({self.hidden}) must be dim ({self.dim}); "
                "make them equal or add a dense layer"
            )

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder, its weights drawn from torch's global generator."""
        return RecurrentEncoder(self, input_dim)


class RNN(Recurrent):
    """Session encoder φ: the last state of a plain recurrent network with tanh, through dense layers.

    Options and errors are those of `Recurrent`.

    >>> RNN(dim=8, hidden=16)
    RNN(dim=8, hidden=16, layers=1, dense_layers=1, dropout=0.0, last_tanh=False)
    """

    cell = nn.RNN


class GRU(Recurrent):
    """Session encoder φ: the last state of gated recurrent units, through dense layers.

    Options and errors are those of `Recurrent`.

    >>> GRU(dim=8, hidden=16, dense_layers=0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: gru: without dense layers hidden (16) must be dim (8); make them equal or add a ...
    """

    cell = nn.GRU


class LSTM(Recurrent):
    """Session encoder φ: the last state of long short-term memory, through dense layers.

    Options and errors are those of `Recurrent`.

    >>> LSTM(dim=8, layers=2).layers
    2
    """

    cell = nn.LSTM


class RecurrentEncoder(SessionEncoder):
    """The last state of the last recurrent layer, zeros for an empty session, then dense layers: [B, T, D_in] → [B, D].

    >>> import torch
    >>> encoder = RecurrentEncoder(GRU(dim=8, hidden=4), input_dim=3)
    >>> encoder(torch.ones(2, 1, 3), torch.ones(2, 1, dtype=torch.bool)).shape
    torch.Size([2, 8])
    """

    def __init__(self, config: Recurrent, input_dim: int) -> None:
        super().__init__()
        between_layers = config.dropout if config.layers > 1 else 0.0
        self.recurrent = config.cell(
            input_dim, config.hidden, num_layers=config.layers, batch_first=True, dropout=between_layers
        )
        self.dense = feed_forward(
            config.hidden, [config.dim] * config.dense_layers, config.dropout, last_tanh=config.last_tanh
        )

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        if not torch.compiler.is_exporting() and not len(clicks):
            return self.dense(clicks.new_zeros(0, self.recurrent.hidden_size))
        if not torch.compiler.is_exporting() and has_gru_states(self.recurrent, clicks):
            return self.dense(gru_last_state(cast("nn.GRU", self.recurrent), clicks, mask.sum(dim=1)))
        # An empty session takes one step over zeros, which is then undone.
        state = self._last_state(zero_padding(clicks, mask), mask.sum(dim=1).clamp_min(1))
        return self.dense(state.masked_fill(~mask.any(dim=1, keepdim=True), 0.0))

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Every state of the last layer, through the dense layers: [B, T, D]."""
        return self.dense(self.recurrent(zero_padding(clicks, mask))[0])

    def compiled(self) -> CompiledEncoder | None:
        """The encoder as it is now, without dropout, for arrays: of one narrow GRU layer and at most a dense one."""
        layers = [layer for layer in self.dense if not isinstance(layer, nn.Dropout)]
        if not (isinstance(self.recurrent, nn.GRU) and self.recurrent.num_layers == 1) or len(layers) > 1:
            return None
        return compiled_gru(self.recurrent, cast("nn.Linear", layers[0]) if layers else None)

    def _last_state(self, clicks: Tensor, steps: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return exported_states(self.recurrent, clicks, steps)[1]
        packed = pack_padded_sequence(clicks, steps.cpu(), batch_first=True, enforce_sorted=False)
        _, state = self.recurrent(packed)
        hidden: Tensor = state[0] if isinstance(self.recurrent, nn.LSTM) else state  # [layers, B, hidden]
        return hidden[-1]


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

    torch's own layer writes the gradient of its weights once for each step, and copies the states of those sessions
    that go on. Here a step multiplies by the weights and no more; one product over all steps gives the gradient of each
    weight. Most clicks are the first of their session, where the state is zero: the state's weights are not multiplied
    there. Reference: Cho et al., Learning Phrase Representations using RNN Encoder–Decoder, EMNLP 2014.
    """
    ordered, order = steps.sort(descending=True, stable=True)
    n_steps = torch.arange(clicks.shape[1])[:, None]
    real = n_steps < ordered  # [T, B], the longest sessions first
    indices = (n_steps + order * clicks.shape[1])[real]
    packed = clicks.flatten(0, 1).index_select(0, indices)
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

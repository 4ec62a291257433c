"""Session encoders by recurrence: RNN, GRU and LSTM, the last state through fully connected layers.

Paper: §4.4 and §5.2 (GRU cells of 400 dimensions). References: Cho et al., 2014 (GRU); Hochreiter and Schmidhuber,
1997 (LSTM). [B, T, D_in] → [B, D].
"""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from nearnext.errors import ConfigError
from nearnext.model.encoders.base import Dim, Dropout, Hidden, SessionEncoder
from nearnext.model.encoders.gru_states import gru_last_state, has_gru_states
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

    def _last_state(self, clicks: Tensor, steps: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return exported_states(self.recurrent, clicks, steps)[1]
        packed = pack_padded_sequence(clicks, steps.cpu(), batch_first=True, enforce_sorted=False)
        _, state = self.recurrent(packed)
        hidden: Tensor = state[0] if isinstance(self.recurrent, nn.LSTM) else state  # [layers, B, hidden]
        return hidden[-1]

"""The last state of a recurrent network as one ONNX operator for each layer, for sessions of any length.

Left to itself, torch's exporter writes out the steps of one length. The operators stop at the end of each session by
themselves; they stand in exported graphs alone, torch cannot compute them.

Reference: ONNX operators RNN, GRU and LSTM, version 14.
"""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["last_state"]

VERSION = 14

GATES: dict[type[nn.RNNBase], tuple[str, tuple[int, ...]]] = {
    nn.RNN: ("RNN", (0,)),
    nn.GRU: ("GRU", (1, 0, 2)),
    nn.LSTM: ("LSTM", (0, 3, 1, 2)),
}
"""Name of the operator, and the order of torch's gates in its weights: reset, update, new become
update, reset, new; input, forget, cell, output become input, output, forget, cell."""


def last_state(network: nn.RNNBase, clicks: Tensor, steps: Tensor) -> Tensor:
    """State of the last layer after the last step of each session, while a graph is exported: [B, T, D] → [B, hidden].

    Args:
        network: of tanh where it is a plain one.
        clicks: inputs, padded at the right: [B, T, D].
        steps: clicks of each session, at least 1: [B].
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
    return last.squeeze(0)


def _reordered(weight: Tensor, order: tuple[int, ...]) -> Tensor:
    width = len(weight) // len(order)
    return torch.cat([weight[gate * width : (gate + 1) * width] for gate in order]).unsqueeze(0)

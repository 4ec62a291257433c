"""One session after the other through a GRU layer, in compiled form: for a single session torch's calls take longer.

Reference: Cho et al., Learning Phrase Representations using RNN Encoder–Decoder, EMNLP 2014.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from torch import nn

from nearnext.compiled import compiled
from nearnext.model.arithmetic import add_product, copy_to, gru_step
from nearnext.model.encoders.base import CompiledEncoder
from nearnext.model.tensors import as_array
from nearnext.types import IndexArray, ScoreArray

WIDEST = 1 << 18
"""Weights of a layer above which torch's products of many sessions at once are faster."""


class GRUWeights(NamedTuple):
    """A GRU layer of width H over clicks of dimension D_in: reset gate, update gate and new state side by side.

    A dense layer follows; without one it has no rows, and H is D.
    """

    inputs: ScoreArray  # [D_in, 3 H]
    hidden: ScoreArray  # [H, 3 H]
    input_bias: ScoreArray  # [3 H]
    hidden_bias: ScoreArray  # [3 H]
    dense: ScoreArray  # [H, D] or [0, D]
    dense_bias: ScoreArray  # [D]


def compiled_gru(network: nn.GRU, dense: nn.Linear | None) -> CompiledEncoder | None:
    """The last state of a GRU layer, through a dense layer if any, with the present weights; None for a wide layer."""
    layer = {name.removesuffix("_l0"): weight for name, weight in network.named_parameters()}
    if layer["weight_ih"].numel() + layer["weight_hh"].numel() > WIDEST:
        return None
    width = network.hidden_size
    gates = [as_array(layer[name].t()) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    for weight in gates:
        weight[..., width : 2 * width] *= -1  # torch's update gate is the share of the old state
    weights = GRUWeights(
        *gates,
        dense=np.zeros((0, width), np.float32) if dense is None else as_array(dense.weight.t()),
        dense_bias=np.zeros(width, np.float32) if dense is None else as_array(dense.bias),
    )
    return partial(_encode, weights)


@compiled()
def _encode(weights: GRUWeights, table: ScoreArray, clicks: IndexArray, known: IndexArray, vectors: ScoreArray) -> None:
    """Embeddings of the first ``known`` clicks of each row [B, L] → [B, D], zeros where none is known."""
    width = len(weights.hidden)
    state = np.empty(width, dtype=np.float32)
    # Two arrays: numba does not know that rows of one are contiguous, and products would take longer.
    gates = np.empty(3 * width, dtype=np.float32)
    given = np.empty(3 * width, dtype=np.float32)
    for row in range(len(clicks)):
        vector = vectors[row]
        vector[:] = 0.0
        if known[row] == 0:
            continue
        state[:] = 0.0
        for at in range(known[row]):
            copy_to(gates, weights.input_bias)
            copy_to(given, weights.hidden_bias)
            add_product(table[clicks[row, at]], weights.inputs, gates)
            if at > 0:
                add_product(state, weights.hidden, given)
            gru_step(gates, given, state)
        if len(weights.dense) > 0:
            copy_to(vector, weights.dense_bias)
            add_product(state, weights.dense, vector)
        else:
            copy_to(vector, state)

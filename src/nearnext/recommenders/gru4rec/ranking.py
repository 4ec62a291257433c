"""Lists from a trained network: one pass over each session, then a search over all items.

States are summed in a fixed order, the products with all items by the library of linear algebra: scores are the same up
to rounding whatever the batch.
"""

import math

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.model.arithmetic import add_product, copy_to
from nearnext.recommenders.gru4rec.weights import Layer, Weights
from nearnext.recommenders.ranking import RankChunk, Request
from nearnext.topk import best_columns, exclude_clicks
from nearnext.types import BoolArray, IndexArray, Int64Array, ScoreArray

BLOCK_BYTES = 64 * 2**20
"""Memory of one block of scores."""


def hidden_states(weights: Weights, prefixes: Prefixes) -> tuple[ScoreArray, IndexArray]:
    """Hidden state after each prefix, with a last column of 1 for the item bias, and its known clicks: [B, D + 1], [B].

    Unknown clicks are skipped. Prefixes of one session that follow one another, each longer than the last, share one
    pass over it.

    >>> weights = Weights.draw(np.random.default_rng(0), n_items=3, widths=[4], embedding=None)
    >>> states, known = hidden_states(weights, Prefixes.of([np.array([1, 0, 2], np.int32), np.array([1, 2], np.int32)]))
    >>> states.shape, bool(np.array_equal(states[0], states[1])), known.tolist()
    ((2, 5), True, [2, 2])
    """
    states = np.ones((len(prefixes), weights.outputs.shape[1]), dtype=np.float32)
    known = np.zeros(len(prefixes), dtype=np.int32)
    _read(prefixes.items, prefixes.starts, prefixes.ends, weights.embedding, weights.layers, states, known)
    return states, known


def ranker(weights: Weights) -> RankChunk:
    """A function that ranks the prefixes of a chunk; what it holds is used by one thread."""
    outputs = weights.outputs[1:]  # column 0 of the table is padding
    n_rows = max(1, BLOCK_BYTES // (4 * len(outputs)))
    block = np.empty((0, len(outputs)), dtype=np.float32)

    def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
        nonlocal block
        states, known = hidden_states(weights, prefixes)
        own = np.zeros(len(prefixes), dtype=np.int32)
        if len(block) < min(n_rows, len(prefixes)):
            block = np.empty((min(n_rows, len(prefixes)), len(outputs)), dtype=np.float32)
        for begin in range(0, len(prefixes), n_rows):
            rows = slice(begin, min(begin + n_rows, len(prefixes)))
            values = np.matmul(states[rows], outputs.T, out=block[: rows.stop - begin])
            if request.exclude_seen:
                exclude_clicks(prefixes.items, prefixes.starts[rows], prefixes.ends[rows], values)
            _select(values, known[rows], request.admissible, items[rows], scores[rows], own[rows])
        return own

    return rank_chunk


@compiled()
def _read(
    clicks: IndexArray,
    starts: Int64Array,
    ends: Int64Array,
    embedding: ScoreArray,
    layers: tuple[Layer, ...],
    states: ScoreArray,
    known: IndexArray,
) -> None:
    widest = 0
    for layer in layers:
        widest = max(widest, layer.hidden.shape[0])
    hidden = np.zeros((len(layers), widest), dtype=np.float32)
    entered_gates = np.empty(3 * widest, dtype=np.float32)
    hidden_gates = np.empty(3 * widest, dtype=np.float32)
    width = layers[-1].hidden.shape[0]
    position, count = 0, 0
    for row in range(len(starts)):
        if row == 0 or starts[row] != starts[row - 1] or ends[row] < ends[row - 1]:
            hidden[:] = 0
            position, count = starts[row], 0
        for at in range(position, ends[row]):
            if clicks[at] > 0:
                count += 1
                entered = embedding[clicks[at]]
                for depth in range(len(layers)):
                    _step(entered, hidden[depth], layers[depth], entered_gates, hidden_gates)
                    entered = hidden[depth]
        position = ends[row]
        known[row] = count
        copy_to(states[row, :width], hidden[len(layers) - 1, :width])


@compiled()
def _step(
    entered: ScoreArray, hidden: ScoreArray, layer: Layer, entered_gates: ScoreArray, hidden_gates: ScoreArray
) -> None:
    """The next state of one layer, written into ``hidden``; the same as ``gru_step`` in training."""
    width = layer.hidden.shape[0]
    copy_to(entered_gates[: 3 * width], layer.bias[0])
    hidden_gates[: 3 * width] = 0
    add_product(entered, layer.inputs, entered_gates[: 3 * width])
    add_product(hidden, layer.hidden, hidden_gates[: 3 * width])
    for unit in range(width):
        reset = _sigmoid(float(entered_gates[unit] + hidden_gates[unit]))
        update = _sigmoid(float(entered_gates[width + unit] + hidden_gates[width + unit]))
        candidate = math.tanh(entered_gates[2 * width + unit] + reset * hidden_gates[2 * width + unit])
        hidden[unit] += update * (np.float32(candidate) - hidden[unit])


@compiled()
def _sigmoid(value: float) -> np.float32:
    return np.float32(0.5 + 0.5 * math.tanh(0.5 * value))


@compiled()
def _select(
    values: ScoreArray,
    known: IndexArray,
    admissible: BoolArray,
    items: IndexArray,
    scores: ScoreArray,
    own: IndexArray,
) -> None:
    """The best k of each row of scores, none for a prefix without known clicks."""
    for row in range(len(values)):
        if known[row] > 0:
            own[row] = best_columns(values[row], admissible, items[row], scores[row])

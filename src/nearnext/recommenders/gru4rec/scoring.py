"""What GRU4Rec learns, and lists by it: one pass over each session, then a product with all items.

States are summed in a fixed order, the products with all items by the library of linear algebra: scores are the same up
to rounding whatever the batch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.model.arithmetic import add_product, copy_to, gru_step
from nearnext.model.propagation import extended_embeddings
from nearnext.recommenders.ranking import RankChunk, ranked_by_scores
from nearnext.stored_arrays import require_array
from nearnext.types import IndexArray, Int64Array, ScoreArray


class Layer(NamedTuple):
    """One GRU layer of width H over inputs of width E: reset gate, update gate and candidate next to one another."""

    inputs: ScoreArray  # W of the three: [E, 3H]
    hidden: ScoreArray  # U of the three: [H, 3H]
    bias: ScoreArray  # of the three: [1, 3H]


class Weights(NamedTuple):
    """All parameters of a network whose last layer is D wide."""

    outputs: ScoreArray  # output row of each item, its bias in the last column; row 0 is not used: [I + 1, D + 1]
    # input embedding of each item: [I + 1, E]; without rows where the output rows are the input embedding
    inputs: ScoreArray
    layers: tuple[Layer, ...]  # the GRU layers, the first one first

    @property
    def embedding(self) -> ScoreArray:
        """The array whose row of an item begins with its input embedding: [I + 1, at least E]."""
        return self.inputs if len(self.inputs) else self.outputs

    @classmethod
    def draw(cls, rng: np.random.Generator, n_items: int, widths: Sequence[int], embedding: int | None) -> "Weights":
        """Weights before training: uniform in ±√(6 / (rows + columns)) per matrix, biases 0 (Glorot & Bengio 2010).

        ``embedding`` is the width of a separate input embedding; None: the output rows are the input embedding.
        """
        outputs = np.zeros((n_items + 1, widths[-1] + 1), dtype=np.float32)
        outputs[1:, :-1] = _glorot(rng, n_items, widths[-1])
        inputs = np.zeros((0, 0), dtype=np.float32) if embedding is None else _glorot(rng, n_items + 1, embedding)
        # Each of the six matrices of a layer is drawn for its own shape, as if it stood alone.
        layers = [
            Layer(
                inputs=np.hstack([_glorot(rng, entered, width) for _ in range(3)]),
                hidden=np.hstack([_glorot(rng, width, width) for _ in range(3)]),
                bias=np.zeros((1, 3 * width), dtype=np.float32),
            )
            for entered, width in _shapes(widths, embedding)
        ]
        return cls(outputs, inputs, tuple(layers))

    def for_items_of(self, sessions: Sessions, vocabulary: Vocabulary) -> "Weights":
        """A copy for the items of other sessions; those that this vocabulary lacks start among their neighbours."""
        outputs, inputs = (
            extended_embeddings(table, vocabulary, sessions) if len(table) else table
            for table in (self.outputs, self.inputs)
        )
        return Weights(outputs, inputs, tuple(Layer(*(array.copy() for array in layer)) for layer in self.layers))

    def silenced(self) -> "Weights":
        """These weights with every score 0, so that lists come in order of popularity."""
        return self._replace(outputs=np.zeros_like(self.outputs))

    def to_state(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        state: dict[str, NDArray[Any]] = {"outputs": self.outputs, "inputs": self.inputs}
        for number, layer in enumerate(self.layers):
            state |= {f"layer{number}.{name}": array for name, array in layer._asdict().items()}
        return state

    @classmethod
    def from_state(
        cls, state: Mapping[str, NDArray[Any]], n_items: int, widths: Sequence[int], embedding: int | None
    ) -> "Weights":
        """The weights whose ``to_state`` this is; raises `DataError` where they do not fit, `KeyError` if missing."""

        def stored(name: str, *shape: int) -> ScoreArray:
            return require_array(name, state[name], np.float32, shape)

        layers = [
            Layer(
                stored(f"layer{number}.inputs", entered, 3 * width),
                stored(f"layer{number}.hidden", width, 3 * width),
                stored(f"layer{number}.bias", 1, 3 * width),
            )
            for number, (entered, width) in enumerate(_shapes(widths, embedding))
        ]
        inputs = stored("inputs", *((0, 0) if embedding is None else (n_items + 1, embedding)))
        return cls(stored("outputs", n_items + 1, widths[-1] + 1), inputs, tuple(layers))


def _shapes(widths: Sequence[int], embedding: int | None) -> list[tuple[int, int]]:
    """Width of what enters each layer, and of the layer."""
    return list(zip([widths[-1] if embedding is None else embedding, *widths[:-1]], widths, strict=True))


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> ScoreArray:
    limit = math.sqrt(6.0 / (rows + columns))
    return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)


def hidden_states(weights: Weights, prefixes: Prefixes) -> tuple[ScoreArray, IndexArray]:
    """Hidden state after each prefix, with a last column of 1 for the item bias, and its known clicks: [B, D + 1], [B].

    Unknown clicks are skipped. Prefixes of one session that follow one another, each longer than the last, share one
    pass over it.
    """
    states = np.ones((len(prefixes), weights.outputs.shape[1]), dtype=np.float32)
    known = np.zeros(len(prefixes), dtype=np.int32)
    _read(prefixes.items, prefixes.starts, prefixes.ends, weights.embedding, weights.layers, states, known)
    return states, known


def ranker(weights: Weights) -> RankChunk:
    """A function that ranks the prefixes of a chunk; what it holds is used by one thread."""
    outputs = weights.outputs[1:]  # column 0 of the table is padding
    block = np.empty((0, len(outputs)), dtype=np.float32)

    def score(prefixes: Prefixes) -> ScoreArray:
        nonlocal block
        states, known = hidden_states(weights, prefixes)
        if len(block) < len(prefixes):
            block = np.empty((len(prefixes), len(outputs)), dtype=np.float32)
        values = np.matmul(states, outputs.T, out=block[: len(prefixes)])
        values[known == 0] = -np.inf
        return values

    return ranked_by_scores(score, len(outputs))


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
    # Two arrays: numba does not know that rows of one are contiguous, and products would take three times as long.
    from_click = np.empty(3 * widest, dtype=np.float32)
    from_state = np.empty(3 * widest, dtype=np.float32)
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
                    state, n = hidden[depth][: layers[depth].hidden.shape[0]], layers[depth].hidden.shape[1]
                    _step(entered, state, layers[depth], from_click[:n], from_state[:n])
                    entered = state
        position = ends[row]
        known[row] = count
        copy_to(states[row, :width], hidden[len(layers) - 1, :width])


@compiled()
def _step(entered: ScoreArray, state: ScoreArray, layer: Layer, from_click: ScoreArray, from_state: ScoreArray) -> None:
    """The next state of one layer, written over it; the same as ``gru_step`` in training."""
    copy_to(from_click, layer.bias[0])
    from_state[:] = 0
    add_product(entered, layer.inputs, from_click)
    add_product(state, layer.hidden, from_state)
    gru_step(from_click, from_state, state)

"""What GRU4Rec learns, as named arrays."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearnext.recommenders.stored import require_array
from nearnext.types import ScoreArray


class Layer(NamedTuple):
    """One GRU layer of width H over inputs of width E: reset gate, update gate and candidate side by side.

    Attributes:
        inputs: W of the three: [E, 3H].
        hidden: U of the three: [H, 3H].
        bias: of the three: [1, 3H].
    """

    inputs: ScoreArray
    hidden: ScoreArray
    bias: ScoreArray


class Weights(NamedTuple):
    """All parameters of a network whose last layer is D wide.

    Attributes:
        outputs: output row of each item, its bias in the last column; row 0 is not used: [I + 1, D + 1].
        inputs: input embedding of each item: [I + 1, E]; without rows where the output rows are the input embedding.
        layers: the GRU layers, the first one first.
    """

    outputs: ScoreArray
    inputs: ScoreArray
    layers: tuple[Layer, ...]

    @property
    def embedding(self) -> ScoreArray:
        """The array whose row of an item begins with its input embedding: [I + 1, at least E]."""
        return self.inputs if len(self.inputs) else self.outputs

    @classmethod
    def draw(cls, rng: np.random.Generator, n_items: int, widths: Sequence[int], embedding: int | None) -> "Weights":
        """Weights before training: uniform in ±√(6 / (rows + columns)) per matrix, biases 0 (Glorot & Bengio 2010).

        Args:
            rng: source of randomness.
            n_items: number of items I.
            widths: width of each layer.
            embedding: width of a separate input embedding; None: the output rows serve as input embedding.

        >>> weights = Weights.draw(np.random.default_rng(0), n_items=3, widths=[4], embedding=None)
        >>> weights.outputs.shape, weights.layers[0].inputs.shape
        ((4, 5), (4, 12))
        """
        outputs = np.zeros((n_items + 1, widths[-1] + 1), dtype=np.float32)
        outputs[1:, :-1] = _glorot(rng, n_items, widths[-1])
        inputs = np.zeros((0, 0), dtype=np.float32) if embedding is None else _glorot(rng, n_items + 1, embedding)
        entered = [widths[-1] if embedding is None else embedding, *widths[:-1]]
        return cls(outputs, inputs, tuple(_layer(rng, e, width) for e, width in zip(entered, widths, strict=True)))

    def silenced(self) -> "Weights":
        """These weights with every score 0, so that lists come in order of popularity."""
        return self._replace(outputs=np.zeros_like(self.outputs))

    def to_state(self) -> dict[str, NDArray[Any]]:
        """The arrays by name.

        >>> sorted(Weights.draw(np.random.default_rng(0), 3, [4], 2).to_state())
        ['inputs', 'layer0.bias', 'layer0.hidden', 'layer0.inputs', 'outputs']
        """
        state: dict[str, NDArray[Any]] = {"outputs": self.outputs, "inputs": self.inputs}
        for number, layer in enumerate(self.layers):
            state |= {f"layer{number}.{name}": array for name, array in layer._asdict().items()}
        return state

    @classmethod
    def from_state(
        cls, state: Mapping[str, NDArray[Any]], n_items: int, widths: Sequence[int], embedding: int | None
    ) -> "Weights":
        """The weights whose ``to_state`` this is; other arguments as in `draw`.

        Raises:
            KeyError: an array is missing.
            DataError: an array has another shape, or numbers out of range.
        """
        entering = (0, 0) if embedding is None else (n_items + 1, embedding)
        entered = [widths[-1] if embedding is None else embedding, *widths[:-1]]
        layers: list[Layer] = []
        for number, (before, width) in enumerate(zip(entered, widths, strict=True)):
            shapes = ((before, 3 * width), (width, 3 * width), (1, 3 * width))
            names = [f"layer{number}.{name}" for name in Layer._fields]
            layers.append(Layer(*(_weights(state, name, shape) for name, shape in zip(names, shapes, strict=True))))
        outputs = _weights(state, "outputs", (n_items + 1, widths[-1] + 1))
        return cls(outputs, _weights(state, "inputs", entering), tuple(layers))


def _weights(state: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> ScoreArray:
    return require_array(name, state[name], np.float32, shape)


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> ScoreArray:
    limit = math.sqrt(6.0 / (rows + columns))
    return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)


def _layer(rng: np.random.Generator, entered: int, width: int) -> Layer:
    """Each of the six matrices is drawn for its own shape, as if it stood alone."""
    return Layer(
        inputs=np.hstack([_glorot(rng, entered, width) for _ in range(3)]),
        hidden=np.hstack([_glorot(rng, width, width) for _ in range(3)]),
        bias=np.zeros((1, 3 * width), dtype=np.float32),
    )

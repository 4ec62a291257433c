"""Update rules of embedding rows and of layers, as values: an optimiser and its options.

An optimiser of layers takes a step with a gradient for each; ``state`` and ``restore`` are those of tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nearnext.training.optimisers import BETAS, EPSILON, RowAdagrad, RowAdam, RowOptimiser, WholeAdam


@dataclass(frozen=True)
class Adam:
    """Adam.

    References: Kingma, Ba, 2015; Loshchilov, Hutter, 2019 (decay).
    """

    rate: float  # peak learning rate, above 0
    betas: tuple[float, float] = BETAS  # β₁ and β₂
    exact: bool = True  # rows of a table move as in Adam on the whole table; False: only where a step reads them
    decay: float = 0.0  # decoupled weight decay of layers, at least 0 (AdamW)
    clip: float = 0.0  # largest norm of a gradient, 0: no limit

    def rows(self, table: Tensor) -> RowOptimiser:
        """The optimiser of a table; on an accelerator it moves the whole table, which is faster there."""
        if table.device.type != "cpu":
            return WholeAdam(table, betas=self.betas)
        return RowAdam(table, betas=self.betas, exact=self.exact)

    def layers(self, layers: Sequence[nn.Parameter]) -> "_LayerAdam":
        """The optimiser of layers."""
        return _LayerAdam(layers, self)


@dataclass(frozen=True)
class Adagrad:
    """Adagrad with momentum, on the CPU."""

    rate: float  # learning rate, above 0
    momentum: float = 0.0  # μ, in [0, 1)
    clip: float = 0.0  # largest norm of a gradient, 0: no limit

    def rows(self, table: Tensor) -> RowAdagrad:
        """The optimiser of a table."""
        return RowAdagrad(table, momentum=self.momentum)

    def layers(self, layers: Sequence[nn.Parameter]) -> "_LayerRows":
        """The optimiser of layers: every row of each in every step."""
        return _LayerRows([self.rows(layer.detach().view(len(layer), -1)) for layer in layers], layers)


class _LayerAdam:
    """Torch's fused AdamW; gradients come from outside."""

    def __init__(self, layers: Sequence[nn.Parameter], rule: Adam) -> None:
        self._layers = layers
        options: dict[str, Any] = {"betas": rule.betas, "eps": EPSILON, "weight_decay": rule.decay, "fused": True}
        self._adam = torch.optim.AdamW(layers, lr=rule.rate, **options)

    def step(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        for layer, gradient in zip(self._layers, gradients, strict=True):
            layer.grad = gradient
        self._adam.param_groups[0]["lr"] = learning_rate
        self._adam.step()  # pyright: ignore[reportUnknownMemberType] - its closure is untyped
        self._adam.zero_grad()

    def state(self) -> dict[str, Tensor]:
        moments = ((number, self._adam.state[layer]) for number, layer in enumerate(self._layers))
        return {f"{number}.{name}": tensor for number, kept in moments for name, tensor in kept.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for key, tensor in state.items():
            number, name = key.split(".")
            layer = self._layers[int(number)]
            self._adam.state[layer][name] = tensor.to(layer.device, copy=True)


class _LayerRows:
    """Optimisers of rows over all rows of each layer."""

    def __init__(self, optimisers: Sequence[RowOptimiser], layers: Sequence[nn.Parameter]) -> None:
        self._optimisers, self._rows = optimisers, [torch.arange(len(layer)) for layer in layers]

    def step(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        for optimiser, rows, gradient in zip(self._optimisers, self._rows, gradients, strict=True):
            optimiser.write(rows, gradient.view(len(rows), -1), learning_rate)

    def state(self) -> dict[str, Tensor]:
        states = (optimiser.state().items() for optimiser in self._optimisers)
        return {f"{number}.{name}": tensor for number, kept in enumerate(states) for name, tensor in kept}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for number, optimiser in enumerate(self._optimisers):
            begin = f"{number}."
            optimiser.restore({
                name.removeprefix(begin): tensor for name, tensor in state.items() if name.startswith(begin)
            })  # fmt: skip


Rule = Adam | Adagrad
"""An optimiser and its options; ``clip`` is the largest norm of the gradient of all that it moves in a step."""

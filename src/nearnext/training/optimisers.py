"""The update rules of a recipe: Adam and Adagrad, for the rows of embedding tables and for layers.

References: Kingma, Ba, Adam, 2015; Duchi et al., Adagrad, 2011.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearnext.errors import ConfigError
from nearnext.training.row_optimisers import (
    BETAS,
    EPSILON,
    RowAdagrad,
    RowAdam,
    TensorRowAdagrad,
    TensorRowAdam,
    ZerosLike,
)


class LayerAdam:
    """Torch's fused AdamW; gradients come from outside."""

    def __init__(self, layers: Sequence[Tensor], betas: tuple[float, float] = BETAS, decay: float = 0.0) -> None:
        self._layers = layers
        options: dict[str, Any] = {"betas": betas, "eps": EPSILON, "weight_decay": decay, "fused": True}
        self._adam = torch.optim.AdamW(layers, **options)

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


class WholeAdam(LayerAdam):
    """Adam that moves the whole table [rows, D] in every step, for a table on a GPU."""

    def __init__(self, table: Tensor, *, betas: tuple[float, float] = BETAS) -> None:
        super().__init__([table], betas)

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:  # noqa: ARG002
        return self._layers[0].index_select(0, rows)

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        self.step([torch.zeros_like(self._layers[0]).index_copy_(0, rows, gradient)], learning_rate)

    def settle(self, learning_rate: float) -> None:
        """Default: no-op, no row waits."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        if "mean" in state:  # of `RowAdam`, whose rows may wait for steps that this table has made
            raise ConfigError("expected a checkpoint of a GPU, found one of the CPU; resume on the CPU, or train again")
        super().restore(state)


class LayerAdagrad:
    """Adagrad on every row of each layer."""

    def __init__(self, layers: Sequence[Tensor], rule: "Adagrad") -> None:
        self._layers = [
            (torch.arange(len(layer), device=layer.device), rule.rows(layer.detach().view(len(layer), -1)))
            for layer in layers
        ]

    def step(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        for (rows, optimiser), gradient in zip(self._layers, gradients, strict=True):
            optimiser.write(rows, gradient.view(len(rows), -1), learning_rate)

    def state(self) -> dict[str, Tensor]:
        states = (optimiser.state().items() for _, optimiser in self._layers)
        return {f"{number}.{name}": tensor for number, kept in enumerate(states) for name, tensor in kept}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for number, (_, optimiser) in enumerate(self._layers):
            optimiser.restore({name: state[f"{number}.{name}"] for name in optimiser.state()})


@dataclass(frozen=True)
class Adam:
    """Adam with its options."""

    rate: float  # peak learning rate, above 0
    betas: tuple[float, float] = BETAS  # β₁ and β₂
    exact: bool = True  # rows of a table move as in Adam on the whole table; False: only where a step reads them
    decay: float = 0.0  # decoupled weight decay of layers, at least 0 (AdamW)
    clip: float = 0.0  # largest norm of the gradient of all that it moves in a step, 0: no limit

    def rows(self, table: Tensor, zeros_like: ZerosLike = torch.zeros_like) -> RowAdam | TensorRowAdam | WholeAdam:
        """The optimiser of a table; on the CPU ``zeros_like`` makes its moments."""
        if table.device.type == "cpu":
            return RowAdam(table, betas=self.betas, exact=self.exact, zeros_like=zeros_like)
        return WholeAdam(table, betas=self.betas) if self.exact else TensorRowAdam(table, betas=self.betas)

    def layers(self, layers: Sequence[Tensor]) -> LayerAdam:
        """The optimiser of layers."""
        return LayerAdam(layers, self.betas, self.decay)


@dataclass(frozen=True)
class Adagrad:
    """Adagrad with its options."""

    rate: float  # learning rate, above 0
    momentum: float = 0.0  # μ, in [0, 1)
    clip: float = 0.0  # as Adam's

    def rows(self, table: Tensor, zeros_like: ZerosLike = torch.zeros_like) -> TensorRowAdagrad:
        """The optimiser of a table, whose moments ``zeros_like`` makes."""
        of_rows = RowAdagrad if table.device.type == "cpu" else TensorRowAdagrad
        return of_rows(table, momentum=self.momentum, zeros_like=zeros_like)

    def layers(self, layers: Sequence[Tensor]) -> LayerAdagrad:
        """The optimiser of layers."""
        return LayerAdagrad(layers, self)


Rule = Adam | Adagrad

"""One step of training: rows of the embedding tables, network, distances, loss, gradients, Adam."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call  # pyright: ignore[reportUnknownVariableType]

from nearnext.model.network import SessionItemNetwork
from nearnext.training.devices import Devices
from nearnext.training.minibatch import Minibatch
from nearnext.training.objective import Objective
from nearnext.training.optimisers import BETAS, EPSILON, RowAdam, RowOptimiser, WholeAdam

__all__ = ["Trainer"]

TABLES = ("item_embedding.weight", "click_embedding.weight")
"""Parameters of which a step reads a few rows."""


class Trainer:
    """A network in training: its tables and their optimisers, its layers and theirs.

    A step reads from the tables the rows of its items alone, and the network computes on this short table: so a step
    costs as much as its batch, not as the catalogue.

    Args:
        network: trained in place; on the devices' device.
        objective: the loss.
        devices: where to compute, and with how many processes.
        clip: largest norm of a step's gradient, 0: no limit.
    """

    def __init__(
        self, network: SessionItemNetwork, objective: Objective, devices: Devices, *, clip: float = 0.0
    ) -> None:
        self._network, self._objective, self._devices, self._clip = network, objective, devices, clip
        by_name = dict(network.named_parameters())
        self._tables = {name: by_name.pop(name) for name in TABLES if name in by_name}
        optimiser = RowAdam if devices.device.type == "cpu" else WholeAdam
        self._table_adams: dict[str, RowOptimiser] = {
            name: optimiser(table.detach()) for name, table in self._tables.items()
        }
        self._layers: dict[str, nn.Parameter] = {**by_name, **{f"loss.{n}": p for n, p in objective.parameters}}
        self._adam = torch.optim.Adam(list(self._layers.values()), betas=BETAS, eps=EPSILON) if self._layers else None

    def step(self, batch: Minibatch, learning_rate: float) -> Tensor:
        """One step; gives the loss of the batch, a scalar on the device.

        Args:
            batch: all examples of the step, those of other processes included.
            learning_rate: of Adam.
        """
        rows = {name: adam.read(batch.rows, learning_rate) for name, adam in self._table_adams.items()}
        leaves = {name: values.requires_grad_() for name, values in rows.items()}
        loss = self._loss(batch, leaves)
        learned = [*leaves.values(), *self._layers.values()]
        found = cast("Sequence[Tensor | None]", torch.autograd.grad(loss, learned, allow_unused=True))
        gradients = [
            torch.zeros_like(parameter) if gradient is None else self._devices.mean(gradient)
            for parameter, gradient in zip(learned, found, strict=True)
        ]
        if self._clip:
            norm = nn.utils.get_total_norm(gradients)
            for gradient in gradients:
                gradient.mul_((self._clip / (norm + EPSILON)).clamp_max(1.0))
        for adam, gradient in zip(self._table_adams.values(), gradients, strict=False):
            adam.write(batch.rows, gradient, learning_rate)
        self._step_layers(gradients[len(leaves) :], learning_rate)
        return self._devices.mean(loss.detach())

    def _loss(self, batch: Minibatch, leaves: Mapping[str, Tensor]) -> Tensor:
        mine = batch.share(self._devices.process, self._devices.n_processes)
        candidates = torch.cat([mine.positives.flatten(), mine.negatives.flatten()])
        with self._devices.autocast():
            sessions, items = functional_call(self._network, dict(leaves), (mine.prefixes, candidates))
            loss = self._objective(sessions, items, mine)
        if self._devices.n_processes == 1:
            return loss
        # The mean over the processes of these is the mean over the examples of the whole batch.
        return loss * (mine.n_counted * self._devices.n_processes / max(batch.n_counted, 1))

    def _step_layers(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        if self._adam is None:
            return
        for parameter, gradient in zip(self._layers.values(), gradients, strict=True):
            parameter.grad = gradient
        self._adam.param_groups[0]["lr"] = learning_rate
        self._adam.step()  # pyright: ignore[reportUnknownMemberType] - its closure is untyped
        self._adam.zero_grad()

    def settle(self, learning_rate: float) -> None:
        """The tables as Adam has them now: needed before they are read whole, or the learning rate changes."""
        for adam in self._table_adams.values():
            adam.settle(learning_rate)

    def state(self) -> dict[str, Tensor]:
        """All that a later `restore` needs to go on as if nothing had happened, by name; tensors are not copied."""
        state = {f"weight.{name}": tensor for name, tensor in {**self._tables, **self._layers}.items()}
        for name, adam in self._table_adams.items():
            state |= {f"adam.{name}.{part}": tensor for part, tensor in adam.state().items()}
        for name, parameter in self._layers.items():
            moments: dict[str, Tensor] = self._adam.state[parameter] if self._adam else {}
            state |= {f"adam.{name}.{part}": tensor for part, tensor in moments.items()}
        return {name: tensor.detach() for name, tensor in state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Weights and moments as they were when ``state`` was taken.

        Raises:
            KeyError: a weight is missing.
        """
        with torch.no_grad():
            for name, parameter in {**self._tables, **self._layers}.items():
                parameter.copy_(state[f"weight.{name}"])
        for name, adam in self._table_adams.items():
            adam.restore(_parts(state, name))
        for name, parameter in self._layers.items():
            if self._adam is not None and (moments := _parts(state, name)):
                on_device = {part: tensor.to(parameter.device) for part, tensor in moments.items() if part != "step"}
                self._adam.state[parameter] = {**on_device, "step": moments["step"].clone()}


def _parts(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    begin = f"adam.{name}."
    return {key.removeprefix(begin): tensor for key, tensor in state.items() if key.startswith(begin)}

"""One step of training, of any recipe: rows of the tables, loss, gradients, optimisers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.training.group import ALONE, Group
from nearnext.training.optimisers import EPSILON
from nearnext.training.recipe import Recipe, TrainingBatch
from nearnext.training.tables import row_table


@runtime_checkable
class Sharable(Protocol):
    """A batch of which several processes can compute a share each: the loss is a mean over its examples."""

    @property
    def n_counted(self) -> int:
        """Number of examples that the loss averages."""
        ...

    @property
    def by_example(self) -> Sequence[str]:
        """Names of its tensors with a row for each example, which may be None; processes share the other fields."""
        ...


class StepFigures(NamedTuple):
    """Loss and size of a step."""

    loss: Tensor  # of the batch, a scalar on the device
    examples: int  # number of its examples


A = TypeVar("A")
B = TypeVar("B", bound=TrainingBatch)


class Learner(Generic[B]):
    """A recipe in training: the network's tables and their optimisers, its layers and theirs.

    A step reads the rows of its batch only, so its cost does not grow with the catalogue. The network is trained in
    place, and is on the recipe's device. The processes of ``group`` draw the same batches, compute a share of the
    examples each, and take the same step.
    """

    def __init__(self, recipe: Recipe[B], group: Group = ALONE) -> None:
        self._recipe, self._group = recipe, group
        by_name = dict(recipe.network.named_parameters())
        self._tables = {name: by_name.pop(name) for name in recipe.tables}
        self._rows = {name: row_table(self._tables[name].detach(), rule, group) for name, rule in recipe.tables.items()}
        self._layers: dict[str, nn.Parameter] = {**by_name, **{f"loss.{n}": p for n, p in recipe.learned.items()}}
        buffers = dict(recipe.network.named_buffers())
        self._carried = [buffers[name] for name in recipe.carried]
        self._layer_rule = recipe.layers.layers(list(self._layers.values())) if self._layers else None
        # A table in parts limits the gradient of its rows itself, no process has all of it.
        of_rows = [0.0 if group.by_owner else rule.clip for rule in recipe.tables.values()]
        self._clips = [*of_rows, recipe.layers.clip]

    def step(self, batch: B, share: float = 1.0) -> StepFigures:
        """One step, at a share of the peak learning rates, on all examples, those of other processes included."""
        n_examples, batch = len(batch), self._recipe.devices.moved(batch)
        rules, rows = self._recipe.tables, {name: batch.rows_of(name) for name in self._rows}
        leaves = {
            name: table.read(rows[name], rules[name].rate * share).requires_grad_()
            for name, table in self._rows.items()
        }
        loss, gradients = self._shared(batch, leaves)
        of_layers = gradients[len(leaves) :]
        for clip, group in zip(self._clips, [*([one] for one in gradients[: len(leaves)]), of_layers], strict=True):
            if clip and group:
                _shorten(group, clip)
        for (name, table), gradient in zip(self._rows.items(), gradients, strict=False):
            table.write(rows[name], gradient, rules[name].rate * share)
        if self._layer_rule is not None:
            self._layer_rule.step(of_layers, self._recipe.layers.rate * share)
        return StepFigures(loss, n_examples)

    def _shared(self, batch: B, leaves: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The loss of the whole batch, and its gradients by the rows of each table, then by the layers.

        Those by rows of tables in parts are of this process's examples.
        """
        learned = [*leaves.values(), *self._layers.values()]
        if self._group.size == 1:
            return self._differentiated(batch, leaves, learned)
        if not isinstance(batch, Sharable):
            raise ConfigError("expected batches that processes can share, found others; train with one process")
        tensors = {name: getattr(batch, name) for name in batch.by_example}
        examples = slice(self._group.rank, None, self._group.size)
        parts = {name: tensor[examples] for name, tensor in tensors.items() if tensor is not None}
        mine = cast("B", cast("Any", replace)(batch, **parts))
        counted = cast("Sharable", mine).n_counted
        before = [tensor.clone() for tensor in self._carried]
        if counted:  # the sum of these over the processes is the mean over the examples of the whole batch
            loss, gradients = self._differentiated(mine, leaves, learned, counted / batch.n_counted)
        else:  # the loss of no examples is no number
            loss, gradients = torch.zeros(()), [torch.zeros_like(parameter) for parameter in learned]
        changes = [tensor - old for tensor, old in zip(self._carried, before, strict=True)]
        own = gradients[: len(leaves)] if self._group.by_owner else []
        loss, *summed = self._group.sums([loss, *gradients[len(own) :], *changes])
        found = [*own, *summed]
        for tensor, old, change in zip(self._carried, before, found[len(learned) :], strict=True):
            torch.add(old, change, out=tensor)
        return loss, found[: len(learned)]

    def _differentiated(
        self, batch: B, leaves: Mapping[str, Tensor], learned: Sequence[Tensor], weight: float = 1.0
    ) -> tuple[Tensor, list[Tensor]]:
        """The loss of a batch, times a weight, and its gradients."""
        with self._recipe.devices.autocast():
            loss = self._recipe.loss(batch, leaves) * weight
        found = cast("Sequence[Tensor | None]", torch.autograd.grad(loss, learned, allow_unused=True))
        return loss.detach(), [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(learned, found, strict=True)
        ]

    def settle(self, share: float) -> None:
        """Bring the tables up to date: before they are read whole, or the learning rate changes."""
        for name, table in self._rows.items():
            table.settle(self._recipe.tables[name].rate * share)

    def weights(self) -> dict[str, Tensor]:
        """Weights and buffers of the network by name, not copied; tables in parts are in the first process only."""
        tables = self._tables if self._group.first or not self._group.by_owner else {}
        buffers = dict(self._recipe.network.named_buffers())
        return {name: tensor.detach() for name, tensor in {**tables, **self._layers, **buffers}.items()}

    def state(self) -> dict[str, Tensor]:
        """The state for an exact `restore`, by name; tensors are not copied.

        Where tables are in parts all processes ask for it, and the first one is given all of it.
        """
        state = dict[str, Tensor]()
        for name, table in self._rows.items():
            state |= {f"rows.{name}.{part}": tensor for part, tensor in table.state().items()}
        state |= {f"weight.{name}": tensor for name, tensor in self.weights().items()}
        layers = {} if self._layer_rule is None else self._layer_rule.state()
        return {**state, **{f"layers.{part}": tensor.detach() for part, tensor in layers.items()}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Weights and moments as they were when ``state`` was taken."""
        for name, tensor in self.weights().items():
            tensor.copy_(state[f"weight.{name}"])
        for name, table in self._rows.items():
            table.restore(part_of(state, f"rows.{name}."))
        if self._layer_rule is not None:
            self._layer_rule.restore(part_of(state, "layers."))


def part_of(state: Mapping[str, A], begin: str) -> dict[str, A]:
    """The arrays whose names begin with ``begin``, under the rest of their names.

    >>> part_of({"a.b": torch.ones(1), "c": torch.ones(1)}, "a.")
    {'b': tensor([1.])}
    """
    return {name.removeprefix(begin): tensor for name, tensor in state.items() if name.startswith(begin)}


def _shorten(gradients: Sequence[Tensor], longest: float) -> None:
    """Gradients scaled in place to a norm of at most ``longest`` together."""
    scale = (longest / (nn.utils.get_total_norm(gradients) + EPSILON)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(scale)

"""A recipe, all parts of one training as a value, and the devices on which it is trained."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.training.config import DeviceName, Precision, Schedule
from nearnext.training.optimisers import Rule


@dataclass(frozen=True)
class Devices:
    """Where the process computes, and how precisely."""

    device: torch.device
    precision: Precision = "fp32"  # ``fp32`` or ``bf16``

    @classmethod
    def find(cls, device: DeviceName, precision: Precision) -> "Devices":
        """The devices that there are."""
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("expected a CUDA device, found none; choose device=auto or device=cpu")
        return cls(torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"), precision)

    def autocast(self) -> AbstractContextManager[object]:
        """Layers computed with bf16 inside, where that is the precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def moved(self, batch: "B") -> "B":
        """A batch with its tensors on the device."""
        if self.device.type == "cpu":
            return batch
        values = {part.name: getattr(batch, part.name) for part in fields(cast("Any", batch))}
        return cast("Any", replace)(batch, **{name: self._on_device(value) for name, value in values.items()})

    def _on_device(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(self.device, non_blocking=True)
        if isinstance(value, Mapping):
            return {name: self._on_device(part) for name, part in cast("Mapping[str, Any]", value).items()}
        return value


class TrainingBatch(Protocol):
    """The examples of one step: a dataclass of tensors on the CPU, or of mappings of these."""

    def __len__(self) -> int:
        """Number of examples, which the loss is the mean over."""
        ...

    def rows_of(self, table: str) -> Tensor:
        """The distinct rows of a table that the step reads: [U]."""
        ...


B = TypeVar("B", bound=TrainingBatch)
B_co = TypeVar("B_co", bound=TrainingBatch, covariant=True)


class Batches(Protocol[B_co]):
    """The training examples in batches; an epoch depends on its number and on the arguments of the batches only."""

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch."""
        ...

    def epoch(self, number: int, start_batch: int) -> Iterator[B_co]:
        """The batches of an epoch, counted from 0, from ``start_batch`` on: the rest of an uninterrupted one."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe(Generic[B]):
    """The parts of one training; `nearnext.training.loop.train` runs every recipe."""

    network: nn.Module  # trained in place; steps may change its buffers
    batches: Batches[B]  # the training examples
    # the loss of a batch, a scalar, given the rows that it reads of each table: [U, D]
    loss: Callable[[B, Mapping[str, Tensor]], Tensor]
    schedule: Schedule  # number of epochs, and the share of the peak learning rates in each step
    # the update rule of each embedding table, by the name of the parameter
    tables: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    layers: Rule  # the update rule of all other parameters
    # parameters of the loss, by name
    learned: Mapping[str, nn.Parameter] = field(default_factory=dict[str, nn.Parameter])
    validate: Callable[[], dict[str, float]] | None = None  # figures to compare epochs by; None: the last epoch is kept
    seed: int = 0  # of random draws in a step, at least 0
    carried: tuple[str, ...] = ()  # buffers that a step changes, each row by the examples that it belongs to
    alone: bool = False  # whether one process trains it, even where several train together
    devices: Devices = field(default_factory=lambda: Devices(torch.device("cpu")))  # of the computation
    title: str = "training"  # shown with progress
    remedy: str = "lower learning_rate"  # advice in the error about a loss that is not finite


def retraining(recipe: Recipe[B], epochs: int = 1) -> Recipe[B]:
    """The recipe for a network that starts from another fit: few epochs, whose rate rises and falls along a cosine.

    Nothing is held out, so that the latest sessions are learned from.
    """
    return replace(recipe, schedule=Schedule(epochs=epochs, warmup=0.05, final=0.05), validate=None)

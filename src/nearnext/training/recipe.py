"""A recipe: all parts of one training, as a value."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from nearnext.training.devices import Devices
from nearnext.training.rules import Rule
from nearnext.training.schedule import Schedule

__all__ = ["Batches", "Recipe", "TrainingBatch"]


class TrainingBatch(Protocol):
    """The examples of one step."""

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
        """Number of batches in an epoch.

        Raises:
            DataError: there is nothing to learn from.
        """
        ...

    def epoch(self, number: int, start_batch: int) -> Iterator[B_co]:
        """The batches of an epoch, counted from 0, from ``start_batch`` on: the rest of an uninterrupted one."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe(Generic[B]):
    """All parts of one training; `nearnext.training.loop.train` runs every recipe.

    Attributes:
        network: trained in place; steps may change its buffers.
        batches: the training examples.
        loss: the loss of a batch, a scalar, given the rows that it reads of each table: [U, D].
        schedule: number of epochs, and the share of the peak learning rates in each step.
        tables: the update rule of each embedding table, by the name of the parameter.
        layers: the update rule of all other parameters.
        learned: parameters of the loss, by name.
        validate: figures to compare epochs by; None: the last epoch is kept.
        seed: of random draws in a step, at least 0.
        devices: of the computation.
        title: shown with progress.
        remedy: advice in the error about a loss that is not finite.
    """

    network: nn.Module
    batches: Batches[B]
    loss: Callable[[B, Mapping[str, Tensor]], Tensor]
    schedule: Schedule
    tables: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    layers: Rule
    learned: Mapping[str, nn.Parameter] = field(default_factory=dict[str, nn.Parameter])
    validate: Callable[[], dict[str, float]] | None = None
    seed: int = 0
    devices: Devices = field(default_factory=lambda: Devices(torch.device("cpu")))
    title: str = "training"
    remedy: str = "lower learning_rate"

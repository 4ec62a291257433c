"""A recipe: all that one training is made of, as a value."""

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
    """What one step reads."""

    def __len__(self) -> int:
        """Number of examples, which the loss is the mean over."""
        ...

    def rows_of(self, table: str) -> Tensor:
        """The distinct rows of a table that the step reads: [U]."""
        ...


B = TypeVar("B", bound=TrainingBatch)
B_co = TypeVar("B_co", bound=TrainingBatch, covariant=True)


class Batches(Protocol[B_co]):
    """What is learned from, batch by batch; an epoch depends on its number, and on what the batches were made with."""

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
    """What is trained, on what, and how; `nearnext.training.loop.train` does the rest for every recipe alike.

    Attributes:
        network: what is trained, in place; its buffers are state that steps may carry on.
        batches: what is learned from.
        loss: the loss of a batch, a scalar, given the rows that it reads of each table: [U, D].
        schedule: how long, and at which share of the peak learning rates.
        tables: how the rows of each table move, by the name of the network's parameter.
        layers: how all other parameters move.
        learned: what the loss itself learns, by name.
        validate: the figures that epochs are compared by; None: the last epoch is kept.
        seed: of what is drawn in a step, at least 0.
        devices: where to compute.
        title: what progress shows.
        remedy: what to change when the loss is no longer a number.
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

"""The recipe of sampled examples: each has a prefix, its positives and its negatives, and a loss on their distances."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call  # pyright: ignore[reportUnknownVariableType]

from nearnext.data.sessions import Sessions
from nearnext.model.network import SessionItemNetwork
from nearnext.sampling import NeighbourPositives, Sampler
from nearnext.training.config import TrainingConfig
from nearnext.training.devices import Devices
from nearnext.training.minibatch import BatchReader, Minibatch
from nearnext.training.objective import Objective
from nearnext.training.recipe import Recipe
from nearnext.training.rules import Adam
from nearnext.training.validation import Validation

__all__ = ["TABLES", "Examples", "SampledBatches", "sampled_recipe"]

TABLES = ("item_embedding.weight", "click_embedding.weight")
"""Parameters of which a step reads a few rows."""


@dataclass(frozen=True, eq=False)
class Examples:
    """What is learned from, and how it is drawn.

    Attributes:
        sessions: known items only.
        sampler: what makes batches of them.
        neighbours: candidates for short lists of positives, where the sampler needs them.
        validation: what epochs are compared by; None: nothing is held out, and the last epoch counts as the best.
        seed: of the draws, at least 0.
    """

    sessions: Sessions
    sampler: Sampler
    neighbours: NeighbourPositives | None = None
    validation: Validation | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SampledBatches:
    """The batches of a sampler on a device.

    Attributes:
        examples: what they are drawn from.
        batch_size: as the sampler counts it.
        device: where the tensors go.
    """

    examples: Examples
    batch_size: int
    device: torch.device

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch."""
        return self.examples.sampler.n_batches(self.examples.sessions, self.batch_size)

    def epoch(self, number: int, start_batch: int = 0) -> Iterator[Minibatch]:
        """The batches of an epoch, counted from 0, from ``start_batch`` on."""
        examples = self.examples
        drawn = examples.sampler.epoch(
            examples.sessions,
            number,
            examples.seed,
            self.batch_size,
            start_batch=start_batch,
            neighbours=examples.neighbours,
        )
        yield from map(BatchReader(examples.sessions.n_items, self.device), drawn)


def sampled_recipe(
    network: SessionItemNetwork, objective: Objective, examples: Examples, config: TrainingConfig
) -> Recipe[Minibatch]:
    """The recipe that trains a network on sampled examples.

    Raises:
        ConfigError: there is no such device.

    Paper: §4 and §5.2.
    """
    devices = Devices.find(config.device, config.precision)
    rule = Adam(config.learning_rate, clip=config.clip)
    return Recipe(
        network=network,
        batches=SampledBatches(examples, config.batch_size, devices.device),
        loss=partial(_loss, network, objective),
        schedule=config.schedule(),
        tables={name: rule for name, _ in network.named_parameters() if name in TABLES},
        layers=rule,
        learned=dict(objective.parameters),
        validate=None if examples.validation is None else partial(examples.validation.measure, network),
        seed=examples.seed,
        devices=devices,
        remedy=f"lower learning_rate ({config.learning_rate:g}) or set clip ({config.clip:g})",
    )


def _loss(network: SessionItemNetwork, objective: Objective, batch: Minibatch, rows: Mapping[str, Tensor]) -> Tensor:
    candidates = torch.cat([batch.positives.flatten(), batch.negatives.flatten()])
    embedded = functional_call(network, dict(rows), (batch.prefixes, candidates))
    sessions, items = cast("tuple[Tensor, Tensor]", embedded)
    return objective(sessions, items, batch)

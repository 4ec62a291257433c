"""The recipe of sampled examples: each has a prefix, its positives and its negatives, and a loss on their distances."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nearnext.data.sessions import Sessions
from nearnext.model.distances import DistanceName, all_pairs, to_sets
from nearnext.model.losses import Loss, LossInput, MetricLearning
from nearnext.model.losses.metric_learning import MetricLearningLoss
from nearnext.model.network import SessionItemNetwork, last_known
from nearnext.model.tensors import as_tensor
from nearnext.sampling import Batch, NeighbourPositives, Sampler
from nearnext.sampling.batch import DistinctItems
from nearnext.training.config import TrainingConfig
from nearnext.training.optimisers import Adam
from nearnext.training.recipe import Devices, Recipe
from nearnext.training.validation import Validation

PADDING = np.zeros(1, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Minibatch:
    """B training examples; items are positions in ``rows``, 0 is padding."""

    rows: Tensor  # distinct item indices that the batch reads, 0 first, then positives and negatives: [U]
    n_candidates: int  # C, how many of them are padding, positives or negatives
    prefixes: Tensor  # positions of the clicks, no wider than the longest prefix: [B, T]
    positives: Tensor  # positions of the positives: [B, P]
    negatives: Tensor  # positions of the negatives: [B, N], or [N] where shared
    positive_mask: Tensor  # [B, P]
    negative_mask: Tensor  # [B, N]
    log_proposal: Tensor  # as in `Batch`
    weights: Tensor | None = None  # [B]

    def __len__(self) -> int:
        return len(self.prefixes)

    @property
    def n_counted(self) -> int:
        """Examples with a positive and a negative: the ones that a loss is the mean over."""
        # NumPy finds the first true value of a row, torch reads them all.
        positive, negative = (mask.numpy().any(axis=1) for mask in (self.positive_mask, self.negative_mask))
        return int((positive & negative).sum())

    @property
    def shared(self) -> bool:
        """Whether all examples share one list of negatives [N]."""
        return self.negatives.ndim == 1

    @property
    def positive_indices(self) -> Tensor:
        """Item indices of the positives: [B, P]."""
        return self.rows[self.positives]

    @property
    def negative_indices(self) -> Tensor:
        """Item indices of the negatives: [B, N], or [N] where shared."""
        return self.rows[self.negatives]

    def rows_of(self, table: str) -> Tensor:  # noqa: ARG002 - all tables
        """The rows that the step reads, of every table: [U]."""
        return self.rows

    @property
    def by_example(self) -> tuple[str, ...]:
        """Names of the tensors with a row for each example."""
        own = () if self.shared else ("negatives", "log_proposal")
        return ("prefixes", "positives", "positive_mask", "negative_mask", "weights", *own)


class BatchReader:
    """A function from batches to minibatches, with memory of its own."""

    def __init__(self, n_items: int) -> None:
        self._distinct = DistinctItems(n_items)

    def __call__(self, batch: Batch) -> Minibatch:
        """The batch over its distinct items."""
        # Most prefixes are shorter than the longest that a sampler gives.
        longest = int((batch.prefixes > 0).any(axis=0).sum())
        parts = (batch.positives, batch.negatives, batch.prefixes[:, : max(longest, 1)])
        # Row 0 of the short table stands for padding, as it does in the whole one.
        rows, positions = self._distinct(np.concatenate([PADDING, *(part.ravel() for part in parts)]))
        cuts = np.cumsum([part.size for part in (PADDING, *parts)])[:-1]
        positives, negatives, prefixes = (
            cut.reshape(part.shape) for cut, part in zip(np.split(positions, cuts)[1:], parts, strict=True)
        )
        return Minibatch(
            rows=as_tensor(rows),
            n_candidates=1 + int(positions[: cuts[2]].max()),
            prefixes=as_tensor(prefixes),
            positives=as_tensor(positives),
            negatives=as_tensor(negatives),
            positive_mask=as_tensor(batch.positive_mask),
            negative_mask=as_tensor(batch.negative_mask),
            log_proposal=as_tensor(batch.log_proposal),
            weights=None if batch.weights is None else as_tensor(batch.weights),
        )


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss on distances, or one on embeddings, applied to a minibatch.

    With ``logq`` the loss corrects for how often each negative is drawn.
    """

    loss: Loss | MetricLearningLoss
    distance: DistanceName = "cosine"
    logq: bool = False

    @property
    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """What the loss itself learns, by name; only some losses of pytorch-metric-learning do."""
        return list(self.loss.named_parameters()) if isinstance(self.loss, nn.Module) else []

    def __call__(self, sessions: Tensor, items: Tensor, batch: Minibatch) -> Tensor:
        """The loss, a scalar, of sessions [B, D] and the distinct candidates of the batch [C, D]."""
        if isinstance(self.loss, MetricLearningLoss):
            positives, negatives = items[batch.positives], items[batch.negatives]
            indices = batch.negative_indices * batch.negative_mask
            if batch.shared:
                # To this loss every item is there for every session: shared negatives are given once, with the first.
                indices = torch.zeros_like(indices)
                indices[0] = batch.negative_indices
                negatives = negatives.expand(len(batch), -1, -1)
            return self.loss(sessions, positives, negatives, batch.positive_indices * batch.positive_mask, indices)
        # The network's towers end in an L2 normalisation where the distance is the cosine.
        between = None
        if self.loss.needs_item_distances:
            between = all_pairs(items[batch.positives], items[batch.negatives], self.distance, normalised=True)
        positive, negative = self._distances(sessions, items, batch)
        return self.loss(
            LossInput(
                positive=positive,
                negative=negative,
                positive_negative=between,
                positive_mask=batch.positive_mask,
                negative_mask=batch.negative_mask,
                log_proposal=batch.log_proposal if self.logq else None,
                weights=batch.weights,
            )
        )

    def _distances(self, sessions: Tensor, items: Tensor, batch: Minibatch) -> tuple[Tensor, Tensor]:
        """Distances of sessions to their positives [B, P] and negatives [B, N]."""
        if batch.shared:  # an item is there many times: all distances are computed once, and read as often
            distances = all_pairs(sessions, items, self.distance, normalised=True)  # [B, C]
            return distances.gather(1, batch.positives), distances.index_select(1, batch.negatives)
        to_positives, to_negatives = (
            to_sets(sessions, items[chosen], self.distance, normalised=True)
            for chosen in (batch.positives, batch.negatives)
        )
        return to_positives, to_negatives


def objective_of(
    loss: Loss | MetricLearning, distance: DistanceName, *, logq: bool, dim: int, n_items: int
) -> Objective:
    """The objective of a loss config; losses of pytorch-metric-learning are built for ``dim`` and ``n_items``."""
    built = loss.build(dim, n_items) if isinstance(loss, MetricLearning) else loss
    return Objective(built, distance, logq)


TABLES = ("item_embedding.weight", "click_embedding.weight")
"""Parameters of which a step reads a few rows."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Training data and how batches are drawn from it."""

    sessions: Sessions  # known items only
    sampler: Sampler  # what makes batches of them
    # candidates for short lists of positives, where the sampler needs them
    neighbours: NeighbourPositives | None = None
    # what epochs are compared by; None: nothing is held out, and the last epoch counts as the best
    validation: Validation | None = None
    seed: int = 0  # of the draws, at least 0


@dataclass(frozen=True, eq=False)
class SampledBatches:
    """The batches of a sampler."""

    examples: Examples
    batch_size: int

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
        yield from map(BatchReader(examples.sessions.n_items), drawn)


def sampled_recipe(
    network: SessionItemNetwork, objective: Objective, examples: Examples, config: TrainingConfig
) -> Recipe[Minibatch]:
    """The recipe that trains a network on sampled examples.

    Paper: §4 and §5.2.
    """
    rule = Adam(config.learning_rate, clip=config.clip)
    return Recipe(
        network=network,
        batches=SampledBatches(examples, config.batch_size),
        loss=partial(_loss, network, objective),
        schedule=config.schedule(),
        tables={name: rule for name, _ in network.named_parameters() if name in TABLES},
        layers=rule,
        learned=dict(objective.parameters),
        validate=None if examples.validation is None else partial(examples.validation.measure, network),
        seed=examples.seed,
        devices=Devices.find(config.device, config.precision),
        alone=isinstance(objective.loss, MetricLearningLoss),  # it compares all examples of a batch
        remedy=f"lower learning_rate ({config.learning_rate:g}) or set clip ({config.clip:g})",
    )


def _loss(network: SessionItemNetwork, objective: Objective, batch: Minibatch, rows: Mapping[str, Tensor]) -> Tensor:
    # Both towers read the one table, or each its own.
    tables = [network.limited(rows[name]) for name in TABLES if name in rows]
    prefixes = batch.prefixes
    if prefixes.shape[1] > network.max_length:
        prefixes = last_known(prefixes, network.max_length)
    clicks = functional.embedding(prefixes, tables[-1], padding_idx=0)
    sessions = network.encode_embedded(clicks, prefixes > 0)
    return objective(sessions, network.encode_limited(tables[0][: batch.n_candidates]), batch)

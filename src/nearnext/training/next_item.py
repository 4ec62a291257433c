"""The recipe of every prefix: one pass of the encoder gives all prefixes of a session, each with its next item.

The default loss is the neighbourhood component loss of the paper (eq. 9) with the items as the points of the
neighbourhood: the probability of the next item is exp(−d / τ), normalised over items that stand for the catalogue.
Each of them counts by the inverse of how probably it is there (logQ). Any loss on distances can replace it.

A step reads and moves only the rows of the table that its batch needs; neither gradient nor optimiser is dense, and
there is no tensor of items × items or examples × items.

References: Goldberger et al. 2004 (NCA); Bengio, Senécal 2008 (logQ); Szegedy et al. 2016 (smoothed labels).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nearnext.data.event_weights import training_weights
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.model.distances import all_pairs, l2_normalised, pairwise
from nearnext.model.losses import Loss, LossInput
from nearnext.model.network import SessionItemNetwork
from nearnext.model.tensors import as_tensor
from nearnext.options import Count, Fraction, NonNegative, Positive, options
from nearnext.sampling.batch import DistinctItems
from nearnext.sampling.proposal import BatchItems
from nearnext.sampling.windows import PrefixWindows
from nearnext.training.config import Schedule
from nearnext.training.optimisers import Adam
from nearnext.training.recipe import Recipe
from nearnext.training.validation import Validation
from nearnext.types import ScoreArray

BETAS = (0.9, 0.98)
TABLE = "item_embedding.weight"

BLOCK = 32
"""Batches whose negatives are drawn together."""


@options
class NextItemTraining:
    """How a network is trained on every prefix; the options of `metric` that the recipe reads."""

    epochs: Count = 3
    batch_size: Count = 300  # next items in a step, about
    learning_rate: Positive = 0.006  # peak rate of Adam for the item embeddings, which have length 1
    encoder_rate: Positive = 0.002  # peak rate for the session encoder
    negatives: Count = 2048  # items drawn for a batch
    alpha: NonNegative = 0.5  # exponent of popularity in the draw; 0 draws uniformly
    temperature: Positive = 0.07  # τ, in units of the cosine distance
    smoothing: Fraction = 0.1  # ε of the labels over the items of a step
    warmup: Fraction = 0.05  # share of all steps in which the rate rises to its peak; then it falls along a cosine
    final: NonNegative = 0.05  # last rate as a share of the peak

    def schedule(self) -> Schedule:
        """Rises, falls along a cosine, and keeps the epoch with the highest sum of HitRate@20 and MRR@20."""
        compared = ("HitRate@20", "MRR@20")
        return Schedule(epochs=self.epochs, warmup=self.warmup, final=self.final, compared=compared)


@dataclass(frozen=True, eq=False)
class PrefixBatch:
    """B windows of clicks and the U distinct items of a step."""

    rows: Tensor  # item index of each distinct item: [U]
    clicks: Tensor  # position of each click among them, 0 where padded: [B, T]
    real: Tensor  # True at clicks: [B, T]
    log_presence: Tensor  # logarithm of how probably each item is in such a batch: [U]
    weights: Tensor | None = None  # of each click in the loss; None: all are 1: [B, T]

    by_example: ClassVar = ("clicks", "real", "weights")  # see `Sharable`

    def __len__(self) -> int:
        return int(self.real[:, 1:].sum())

    @property
    def n_counted(self) -> int:
        """Examples that the loss is the mean over: clicks that follow another one."""
        return len(self)

    def rows_of(self, table: str) -> Tensor:  # noqa: ARG002 - there is one
        """The rows that the step reads: [U]."""
        return self.rows


@dataclass(frozen=True, eq=False)
class PrefixBatches:
    """Batches of windows, each with items that stand for the whole catalogue."""

    windows: PrefixWindows  # what is learned from
    items: BatchItems  # how these are drawn
    n_items: int  # number of items I
    batch_size: int  # next items in a batch, about
    seed: int  # of order and draws
    weights: ScoreArray | None = None  # of each click in the loss; None: all are 1: [E]

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch."""
        return self.windows.n_batches(self.batch_size)

    def epoch(self, number: int, start_batch: int = 0) -> Iterator[PrefixBatch]:
        """The batches of an epoch, counted from 0, from ``start_batch`` on."""
        distinct, order = DistinctItems(self.n_items), np.random.default_rng((self.seed, number))
        drawn = np.zeros((0, self.items.n), dtype=np.int32)
        for batch, windows in enumerate(self.windows.rows(self.batch_size, order, start_batch), start_batch):
            clicks = self.windows.read(self.windows.items, windows)
            if batch == start_batch or batch % BLOCK == 0:
                rng = np.random.default_rng((self.seed, number, 1 + batch // BLOCK))
                drawn = self.items.proposal.draw(rng, (BLOCK, self.items.n))
            real = clicks > 0
            rows, found = distinct(np.concatenate([clicks[real], drawn[batch % BLOCK]]))
            n_clicks = int(np.count_nonzero(real))
            positions = np.zeros(real.shape, dtype=np.int64)
            positions[real] = found[:n_clicks]
            presence = self.items.log_presence(rows, n_clicks)
            weights = None if self.weights is None else as_tensor(self.windows.read(self.weights, windows))
            yield PrefixBatch(as_tensor(rows), as_tensor(positions), as_tensor(real), as_tensor(presence), weights)


def next_item_recipe(
    network: SessionItemNetwork,
    sessions: Sessions,
    config: NextItemTraining,
    *,
    loss: Loss | None = None,
    seed: int = 0,
    validation: Validation | None = None,
) -> Recipe[PrefixBatch]:
    """The recipe that trains a network on every prefix.

    Epochs are compared on ``validation``; None: the last one remains. Clicks of index 0 are neither read nor
    predicted. ``loss`` is on the distances to the next item and to all other items of the step; None: the sampled
    softmax.
    """
    more = (
        network.click_embedding is not None
        or network.item.max_norm is not None
        or list(network.item_encoder.children())
    )
    if network.distance != "cosine" or more:
        raise ConfigError(
            "training on every prefix needs the cosine distance, and one embedding table without layers after it or "
            "max_norm"
        )
    known = sessions.keep_events(sessions.items > 0)
    windows = PrefixWindows.of(known, network.max_length)
    if not len(windows.begins):
        raise DataError("expected sessions with at least two clicks on known items, found none; give a longer log")
    items = BatchItems.of(known, config.negatives, config.alpha)
    return Recipe(
        network=network,
        batches=PrefixBatches(windows, items, network.n_items, config.batch_size, seed, training_weights(known)),
        loss=partial(_loss, network, config, loss),
        schedule=config.schedule(),
        tables={TABLE: Adam(config.learning_rate, BETAS, exact=False)},
        layers=Adam(config.encoder_rate, BETAS, clip=1.0),
        validate=None if validation is None else partial(validation.measure, network),
        seed=seed,
        remedy=f"lower learning_rate ({config.learning_rate}) or raise temperature ({config.temperature})",
    )


def _loss(
    network: SessionItemNetwork,
    config: NextItemTraining,
    loss: Loss | None,
    batch: PrefixBatch,
    rows: Mapping[str, Tensor],
) -> Tensor:
    """The loss of all next items of a batch, N of them, each against the U items of the step."""
    table = rows[TABLE]
    given, follows = batch.real[:, :-1], batch.real[:, 1:]
    encoded = network.session_encoder.every_prefix(functional.embedding(batch.clicks[:, :-1], table), given)
    sessions, items = l2_normalised(encoded[follows]), l2_normalised(table)  # [N, D], [U, D]
    targets = batch.clicks[:, 1:][follows]
    # What a session clicks is there because of the session: it was not drawn, and counts once.
    certain = batch.clicks.where(batch.real, batch.clicks[:, :1])[follows.nonzero()[:, 0]]
    weights = None if batch.weights is None else batch.weights[:, 1:][follows]
    if loss is None:
        return sampled_softmax(
            sessions, items, targets, certain, batch.log_presence, config.temperature, config.smoothing, weights
        )
    next_items = items[targets]
    between = all_pairs(next_items, items, normalised=True)[:, None] if loss.needs_item_distances else None
    return loss(
        LossInput(
            positive=pairwise(sessions, next_items)[:, None],
            negative=all_pairs(sessions, items, normalised=True),
            positive_negative=between,
            negative_mask=targets[:, None] != torch.arange(len(items), device=targets.device),
            log_proposal=batch.log_presence.expand(len(sessions), -1).scatter(1, certain, 0.0),
            weights=weights,
        )
    )


def sampled_softmax(
    sessions: Tensor,
    items: Tensor,
    targets: Tensor,
    certain: Tensor,
    log_presence: Tensor,
    temperature: float,
    smoothing: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of the next items with smoothed labels, over the items that are there: a scalar.

    The logit of item j is cosine / τ − ln(probability that j is there); that of an item of the session itself, the next
    one among them, is cosine / τ alone: it is there because of the session, not because it was drawn. Gradients reach
    ``sessions`` [N, D] and ``items`` [U, D], which have length 1; ``targets`` are rows of next items [N], ``certain``
    those of the session's items, the next one among them, some perhaps twice [N, C], ``log_presence`` is [U], and
    ``smoothing`` is the share of the label that is spread over all U items; ``weights`` multiply the losses [N].
    """
    given = (sessions, items, targets, certain, log_presence, temperature, smoothing, weights)
    return cast("Any", _SampledSoftmax).apply(*given)


class _SampledSoftmax(torch.autograd.Function):
    """The logits of a step are its largest array by far: written once, they are turned in place into what is needed.

    With E = exp(cosine / τ − highest of the row), w = 1 / presence and Z = E w (w of a session's own items taken as 1),
    the probabilities are E w / Z; the gradient by the logits is (probability − (1 − ε) [target] − ε / U) / N.
    """

    @staticmethod
    def forward(
        ctx: Any,
        sessions: Tensor,
        items: Tensor,
        targets: Tensor,
        certain: Tensor,
        log_presence: Tensor,
        temperature: float,
        smoothing: float,
        weights: Tensor | None,
    ) -> Tensor:
        scaled = sessions / temperature
        grown = scaled @ items.T
        highest = grown.amax(dim=1, keepdim=True)
        at_target = grown.gather(1, targets[:, None])
        grown.sub_(highest).exp_()
        # One over the presence of items hardly ever there is huge: relative to the largest it stays finite.
        scarcity = (log_presence.min() - log_presence).exp()
        grown.scatter_(1, certain, grown.gather(1, certain) * log_presence[certain].exp())
        total = grown @ scarcity
        log_total = total.log() - log_presence.min() + highest[:, 0]
        drawn = log_presence.sum() - _sum_once(certain, log_presence)
        spread = (scaled @ items.sum(dim=0) - drawn) / len(items)
        loss = log_total - (1 - smoothing) * at_target[:, 0] - smoothing * spread
        ctx.save_for_backward(sessions, items, targets, grown, scarcity, total)
        ctx.temperature, ctx.smoothing, ctx.weights = temperature, smoothing, weights
        return loss.mean() if weights is None else (loss * weights).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None, None, None]:
        sessions, items, targets, grown, scarcity, total = ctx.saved_tensors
        unit = gradients[0] / (len(sessions) * ctx.temperature)
        even = ctx.smoothing / len(items)
        of_sessions = (grown @ (items * scarcity[:, None])) / total[:, None]
        of_sessions.sub_(items.index_select(0, targets), alpha=1 - ctx.smoothing).sub_(items.sum(dim=0), alpha=even)
        if ctx.weights is not None:
            of_sessions.mul_(ctx.weights[:, None])
            sessions = sessions * ctx.weights[:, None]
        of_items = (grown.T @ (sessions / total[:, None])) * scarcity[:, None]
        of_items.index_add_(0, targets, sessions, alpha=ctx.smoothing - 1).sub_(sessions.sum(dim=0), alpha=even)
        return of_sessions.mul_(unit), of_items.mul_(unit), None, None, None, None, None, None


def _sum_once(rows: Tensor, values: Tensor) -> Tensor:
    """Sum of the values [U] at the different rows of each example: [N, C] → [N]."""
    ordered = rows.sort(dim=1).values
    again = functional.pad(ordered[:, 1:] == ordered[:, :-1], (1, 0))
    return values[ordered].masked_fill(again, 0.0).sum(dim=1)

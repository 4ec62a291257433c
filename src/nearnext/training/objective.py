"""The loss of a minibatch from the embeddings of its sessions and items, whatever kind of loss it is."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nearnext.model.distances import DistanceName, all_pairs, to_sets
from nearnext.model.losses import Loss, LossInput, MetricLearning
from nearnext.model.losses.metric_learning import MetricLearningLoss
from nearnext.training.minibatch import Minibatch

__all__ = ["Objective", "objective_of"]


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss on distances, or one on embeddings, applied to a minibatch.

    Attributes:
        loss: the loss.
        distance: the distance between sessions and items.
        logq: whether the loss is told how often each negative is drawn, and corrects for it.
    """

    loss: Loss | MetricLearningLoss
    distance: DistanceName = "cosine"
    logq: bool = False

    @property
    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """What the loss itself learns, by name; only some losses of pytorch-metric-learning do."""
        return list(self.loss.named_parameters()) if isinstance(self.loss, nn.Module) else []

    def __call__(self, sessions: Tensor, items: Tensor, batch: Minibatch) -> Tensor:
        """The loss, a scalar.

        Args:
            sessions: session embeddings: [B, D].
            items: embeddings of the positives, row by row, then of the negatives: [B P + B N, D] or [B P + N, D].
            batch: the examples.
        """
        n_positives = batch.positives.numel()
        positives = items[:n_positives].view(*batch.positives.shape, -1)  # [B, P, D]
        negatives = items[n_positives:].view(*batch.negatives.shape, -1)  # [B, N, D] or [N, D]
        shared = negatives.ndim == 2  # noqa: PLR2004
        if isinstance(self.loss, MetricLearningLoss):
            mask = batch.negative_mask
            if shared:
                # To this loss every item is there for every session: shared negatives are given once, with the first.
                mask = torch.zeros_like(mask)
                mask[0] = batch.negative_indices > 0
            return self.loss(
                sessions,
                positives,
                negatives.expand(len(batch), -1, -1) if shared else negatives,
                positive_mask=batch.positive_mask,
                negative_mask=mask,
                positive_indices=batch.positive_indices,
                negative_indices=batch.negative_indices.expand(mask.shape),
            )
        # The network's towers end in an L2 normalisation where the distance is the cosine.
        to_negatives = all_pairs if shared else to_sets
        between = None
        if self.loss.needs_item_distances:
            between = all_pairs(positives, negatives, self.distance, normalised=True)
        return self.loss(
            LossInput(
                positive=to_sets(sessions, positives, self.distance, normalised=True),
                negative=to_negatives(sessions, negatives, self.distance, normalised=True),
                positive_negative=between,
                positive_mask=batch.positive_mask,
                negative_mask=batch.negative_mask,
                log_proposal=batch.log_proposal if self.logq else None,
            )
        )


def objective_of(
    loss: Loss | MetricLearning, distance: DistanceName, *, logq: bool, dim: int, n_items: int
) -> Objective:
    """The objective of a loss config; losses of pytorch-metric-learning are built for ``dim`` and ``n_items``.

    Raises:
        ConfigError: such a loss cannot be built.
    """
    built = loss.build(dim, n_items) if isinstance(loss, MetricLearning) else loss
    return Objective(built, distance, logq)

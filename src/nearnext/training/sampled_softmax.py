"""The cross-entropy of a softmax over items that stand for the whole catalogue (`nearnext.sampling.proposal`).

Each item counts by the inverse of how probably it is there (logQ), so that the sum estimates the one over all items.

References: Bengio, Senécal 2008 (logQ); Szegedy et al. 2016 (smoothed labels).
"""

from typing import Any, cast

import torch
from torch import Tensor


def sampled_softmax(
    sessions: Tensor, items: Tensor, targets: Tensor, log_presence: Tensor, temperature: float, smoothing: float
) -> Tensor:
    """Mean cross-entropy of the next items with smoothed labels, over the items that are there: a scalar.

    The logit of item j is cosine / τ − ln(probability that j is there); that of the next item is cosine / τ alone: it
    is there because it is the next item, not because it was drawn. Gradients reach ``sessions`` [N, D] and ``items``
    [U, D], which have length 1; ``targets`` are rows of next items [N], ``log_presence`` is [U], and ``smoothing`` is
    the share of the label that is spread over all U items.
    """
    return cast("Any", _SampledSoftmax).apply(sessions, items, targets, log_presence, temperature, smoothing)


class _SampledSoftmax(torch.autograd.Function):
    """The logits of a step are its largest array by far: written once, they are turned in place into what is needed.

    With E = exp(cosine / τ − highest of the row), w = 1 / presence and Z = E w (w of a row's target taken as 1), the
    probabilities are E w / Z; the gradient by the logits is (probability − (1 − ε) [target] − ε / U) / N.
    """

    @staticmethod
    def forward(
        ctx: Any,
        sessions: Tensor,
        items: Tensor,
        targets: Tensor,
        log_presence: Tensor,
        temperature: float,
        smoothing: float,
    ) -> Tensor:
        scaled = sessions / temperature
        grown = scaled @ items.T
        highest = grown.amax(dim=1, keepdim=True)
        at_target = grown.gather(1, targets[:, None])
        grown.sub_(highest).exp_()
        # Weights of items hardly ever there are huge: relative to the largest they stay finite.
        weights = (log_presence.min() - log_presence).exp()
        target_presence = log_presence[targets]
        own = grown.gather(1, targets[:, None]) * (target_presence[:, None]).exp()
        grown.scatter_(1, targets[:, None], own)
        total = grown @ weights
        log_total = total.log() - log_presence.min() + highest[:, 0]
        n_items = len(items)
        spread = (scaled @ items.sum(dim=0) - log_presence.sum() + target_presence) / n_items
        loss = log_total - (1 - smoothing) * at_target[:, 0] - smoothing * spread
        ctx.save_for_backward(sessions, items, targets, grown, weights, total)
        ctx.temperature, ctx.smoothing = temperature, smoothing
        return loss.mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        sessions, items, targets, grown, weights, total = ctx.saved_tensors
        unit = gradients[0] / (len(sessions) * ctx.temperature)
        even = ctx.smoothing / len(items)
        of_sessions = (grown @ (items * weights[:, None])) / total[:, None]
        of_sessions.sub_(items.index_select(0, targets), alpha=1 - ctx.smoothing).sub_(items.sum(dim=0), alpha=even)
        of_items = (grown.T @ (sessions / total[:, None])) * weights[:, None]
        of_items.index_add_(0, targets, sessions, alpha=ctx.smoothing - 1).sub_(sessions.sum(dim=0), alpha=even)
        return of_sessions.mul_(unit), of_items.mul_(unit), None, None, None, None

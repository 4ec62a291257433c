"""The two listwise objectives of GRU4Rec, on scores of distinct items that count as often as they occur."""

import torch
from torch import Tensor
from torch.nn import functional

TINY = 1e-24
"""Added inside a logarithm, so that a hopeless case costs about 55 and not infinity."""


def cross_entropy(scores: Tensor, target_at: Tensor, occurrences: Tensor) -> Tensor:
    """Softmax cross-entropy of each target among the sampled items: [B].

    An item in n places of the softmax adds n · exp(score); with logQ correction, a place counts 1 / Q^logq, which
    makes the sampled softmax an estimate of the full one.

    Args:
        scores: score of each column: [B, U].
        target_at: column of each target: [B].
        occurrences: places of each column in the softmax, corrected or not; 0 leaves a column out: [U].

    Reference: Hidasi & Karatzoglou 2018, on cross-entropy; Bengio & Senécal 2008 for logQ.

    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([1.0, 3.0])).exp().tolist()
    [4.0]
    """
    target = scores.gather(1, target_at.unsqueeze(1)).squeeze(1)
    return torch.logsumexp(scores + occurrences.log(), dim=1) - target


def bpr_max(
    scores: Tensor, target_at: Tensor, occurrences: Tensor, *, regularisation: float = 0.0, elu: float = 0.0
) -> Tensor:
    """BPR-max: −log Σ s_j σ(r_i − r_j) + λ Σ s_j r_j², where s is the softmax of the negatives' scores: [B].

    Each target's own place is no negative of it; the places of the other sessions' targets and of the extra ones are.

    Args:
        scores: score of each column: [B, U].
        target_at: column of each target: [B].
        occurrences: how often each column is a target or an extra negative; 0 leaves a column out: [U].
        regularisation: λ, at least 0.
        elu: α of the activation elu(score) before the loss; 0: linear.

    Reference: Hidasi & Karatzoglou 2018, BPR-max with score regularisation.

    >>> loss = bpr_max(torch.zeros(1, 2), torch.tensor([0]), torch.ones(2), regularisation=1.0)
    >>> round(loss.exp().item(), 6)
    2.0
    """
    if elu:
        scores = functional.elu(scores, elu)
    target_at = target_at.unsqueeze(1)
    own = torch.zeros_like(scores).scatter_(1, target_at, 1.0)
    softmax = torch.softmax(scores + (occurrences - own).log(), dim=1)
    won = torch.sigmoid(scores.gather(1, target_at) - scores)
    return (softmax * scores.square()).sum(1) * regularisation - torch.log((softmax * won).sum(1) + TINY)

"""Neighbourhood component analysis with smoothing: the session's positives against its sampled set."""

import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from nearnext.model.losses.loss_input import LossInput, MaskedDistances
from nearnext.options import Fraction, Positive, Search, options


@options
class NCAS:
    """Divergence between ``p(i|s) = softmax(−d(s, i) / τ)`` over the sampled set Z and the smoothed labels ``p'``.

    Z holds the session's positives and negatives. With the true distribution uniform over the session's positives,
    ``p'(i) = (1 − ε) [i positive] / P + ε / |Z|``. An item that is repeated in the lists counts once per entry.

    ``direction="paper"`` gives KL(p ‖ p'), as eq. (10) prints it; ``direction="cross_entropy"`` gives KL(p' ‖ p), which
    is the cross-entropy with smoothed labels less the constant entropy of p'. Both are at least 0, and 0 exactly
    where p = p'. At ε = 0 KL(p ‖ p') is infinite as soon as a negative has any probability; divided by ln(1/ε) it
    tends to ``1 − Σ_positives p(i|s)``, the objective of NCA itself, and that limit, in [0, 1], is the loss there.

    Limit of a law: moving a negative farther never raises the loss at ε = 0. With ε > 0 each negative is meant to keep
    the probability ε / |Z|, and one that already has less is drawn nearer again: in KL(p' ‖ p) once p(i|s) < ε / |Z|,
    in KL(p ‖ p') once ln(p(i|s) |Z| / ε) is below the divergence itself.

    ``labels="softmax"`` replaces p' by the softmax of labels that are 1 at the session's positives and 0 elsewhere: a
    positive gets e / (e P + |Z| − P), any other entry 1 / (e P + |Z| − P), whatever ε is. With Z of 512 entries and 8
    positives they keep 4% of the mass, as ε = .974 would leave them.

    Deviation: the authors' code has ``labels="softmax"`` and KL(p' ‖ p); here p' is as the text says and both are a
    choice. N in ``ε / N`` is the size of Z, the set over which p' must sum to 1.

    Attributes:
        smoothing: ε in [0, 1); 0.3 in the paper (§5.3).
        temperature: τ, above 0, in units of distance; 1 in the paper.
        labels: ``smoothed`` or ``softmax``, see above.
        direction: of the divergence, see above. Both train alike at the paper's τ; far below it ``paper`` loses its
            gradient, which is weighted by p(i|s), while ``cross_entropy`` keeps it.

    Where ``log_proposal`` is given it is subtracted from the logits of the negatives (logQ correction), so that the
    softmax denominator estimates the sum over all items without bias when Z is sampled by popularity. Positives are
    given, not sampled, and keep their logits.

    Raises:
        ConfigError: smoothing outside [0, 1), temperature not above 0, or an unknown choice.

    Paper: eq. (9), (10), §4.3. References: Goldberger et al., Neighbourhood Components Analysis, NIPS 2004;
    Bengio, Senécal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model,
    IEEE Transactions on Neural Networks, 2008 (logQ correction).

    >>> batch = LossInput(positive=torch.tensor([[0.5]]), negative=torch.tensor([[0.5]]))
    >>> NCAS(smoothing=0.0, direction="cross_entropy")(batch)  # −ln(1/2)
    tensor(0.6931)
    >>> NCAS(smoothing=0.0, direction="paper")(batch)  # the probability of the negative
    tensor(0.5000)
    """

    smoothing: Annotated[Fraction, Search(0.0, 0.6, why="probability left to negatives; paper: 0.3")] = 0.3
    temperature: Annotated[Positive, Search(0.03, 0.5, log=True, why="lower: the nearest negatives count alone")] = 1.0
    direction: Literal["paper", "cross_entropy"] = "paper"
    labels: Literal["smoothed", "softmax"] = "smoothed"

    needs_item_distances = False

    def __call__(self, batch: LossInput) -> Tensor:
        """The loss of a batch, a scalar."""
        masked = batch.masked()
        log_p, n = self._log_probabilities(masked), masked.positive.shape[1]
        # p' has one value for all positives of a session, and another one for its negatives.
        log_labels = self._log_labels(masked.positive_mask.sum(dim=1), masked.negative_mask.sum(dim=1), log_p.dtype)
        parts, masks = (log_p[:, :n], log_p[:, n:]), (masked.positive_mask, masked.negative_mask)
        if self.direction == "cross_entropy":
            positives, negatives = map(_from_labels, parts, log_labels, masks)
            divergence = positives + negatives
        elif self.smoothing > 0 or self.labels == "softmax":
            positives, negatives = map(_from_probabilities, parts, log_labels)
            divergence = positives + negatives
        else:
            divergence = log_p[:, n:].exp().sum(dim=1)
        return masked.mean_over_sessions(divergence)

    def _log_probabilities(self, masked: MaskedDistances) -> Tensor:
        """``ln p(i|s)`` over the positives, then the negatives: ``[B, P + N]``; far below any other where masked."""
        negative = -masked.negative / self.temperature
        if masked.log_proposal is not None:
            negative = negative - masked.log_proposal
        logits = torch.cat([-masked.positive / self.temperature, negative], dim=1)
        in_set = torch.cat([masked.positive_mask, masked.negative_mask], dim=1)
        # Finite, so that a session without any entry has a gradient of 0 and not NaN.
        return torch.where(in_set, logits, torch.finfo(logits.dtype).min / 2).log_softmax(dim=1)

    def _log_labels(self, n_positives: Tensor, n_negatives: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """``ln p'(i)`` of a positive and of a negative of each session, given how many there are: ``[B]`` each."""
        n_positives, n_negatives = n_positives.to(dtype), n_negatives.to(dtype)
        if self.labels == "softmax":
            log_total = (math.e * n_positives + n_negatives).clamp(min=1).log()
            return 1 - log_total, -log_total
        size = (n_positives + n_negatives).clamp(min=1)
        positive = (1 - self.smoothing) / n_positives.clamp(min=1) + self.smoothing / size
        # Not as the logarithm of the quotient, which is 0 in float32 for the smallest ε.
        return positive.log(), (math.log(self.smoothing) if self.smoothing else -math.inf) - size.log()


def _from_labels(log_p: Tensor, log_label: Tensor, mask: Tensor) -> Tensor:
    """Σ p' (ln p' − ln p) over entries ``[B, N]`` with one p' for each session: ``[B]``."""
    label = log_label.exp()
    return mask.sum(dim=1) * torch.xlogy(label, label) - label * log_p.where(mask, 0.0).sum(dim=1)


def _from_probabilities(log_p: Tensor, log_label: Tensor) -> Tensor:
    """Σ p (ln p − ln p') likewise; where an entry is masked p is 0."""
    p = log_p.exp()
    return (p * log_p).sum(dim=1) - log_label * p.sum(dim=1)

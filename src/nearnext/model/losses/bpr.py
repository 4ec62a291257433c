"""Bayesian personalised ranking in distance form."""

from torch import Tensor
from torch.nn.functional import softplus

from nearnext.model.losses.loss_input import LossInput, mean_where
from nearnext.model.losses.pairing import Pairing, pairs_of
from nearnext.options import options

__all__ = ["BPR"]


@options
class BPR:
    """Bayesian personalised ranking, ``−ln σ(d_kn − d_kp)``, the mean over the pairs of a session, then over sessions.

    In (0, ∞); ln 2 where positive and negative are equally far. Moving a negative farther never raises it. The paper
    gives the loss of one pair only; the mean over a session's pairs is ours.

    Attributes:
        pairing: ``all``: every positive with every negative of its session; ``matched``: the j-th with the j-th.

    Raises:
        ConfigError: an unknown pairing, or unequal numbers in ``matched``.

    Paper: eq. (1), (5), §3. Reference: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback,
    UAI 2009.

    >>> import torch
    >>> BPR()(LossInput(positive=torch.tensor([[0.5]]), negative=torch.tensor([[0.5]])))
    tensor(0.6931)
    """

    pairing: Pairing = "all"

    @property
    def needs_item_distances(self) -> bool:
        """Whether the loss reads ``positive_negative``: no."""
        return False

    def __call__(self, batch: LossInput) -> Tensor:
        """The loss of a batch, a scalar."""
        masked = batch.masked()
        pairs = pairs_of(masked, self.pairing)
        # −ln σ(x) = softplus(−x), which neither overflows nor loses the small end.
        per_pair = softplus(pairs.positive - pairs.negative)
        return masked.mean_over_sessions(mean_where(per_pair.flatten(1), pairs.mask.flatten(1)))

"""LastItem: the embedding of the last click, all that a first-order Markov chain sees.

[B, T, D] → [B, D].
"""

from dataclasses import dataclass

from torch import Tensor

from nearnext.model.encoders.base import SessionEncoder
from nearnext.model.encoders.masking import last_clicks
from nearnext.options import require_at_least, require_same_dim

__all__ = ["LastItem", "LastItemEncoder"]


@dataclass(frozen=True)
class LastItem:
    """Session encoder φ: the last click.

    Attributes:
        dim: dimension D of clicks and session.

    Raises:
        ConfigError: ``dim`` is below 1, or ``build`` is given clicks of another dimension.

    >>> LastItem(dim=8).build(input_dim=8)
    LastItemEncoder()
    """

    dim: int = 400

    def __post_init__(self) -> None:
        require_at_least(1, dim=self.dim)

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder; ``input_dim`` must be ``dim``."""
        require_same_dim("lastitem", self.dim, input_dim)
        return LastItemEncoder()


class LastItemEncoder(SessionEncoder):
    """The last real click, zeros for an empty session: [B, T, D] → [B, D].

    >>> import torch
    >>> LastItemEncoder()(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return last_clicks(clicks, mask, length=1)[0].squeeze(1)

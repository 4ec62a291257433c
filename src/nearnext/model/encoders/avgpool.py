"""AvgPool: the mean of the clicks.

Paper: §4.4, Pooling. [B, T, D] → [B, D]; the order of the clicks is lost.
"""

from dataclasses import dataclass

from torch import Tensor

from nearnext.model.encoders.base import SessionEncoder
from nearnext.model.encoders.masking import zero_padding
from nearnext.options import require_at_least, require_same_dim

__all__ = ["AvgPool", "AvgPoolEncoder"]


@dataclass(frozen=True)
class AvgPool:
    """Session encoder φ: the mean of the clicks.

    Attributes:
        dim: dimension D of clicks and session.

    Raises:
        ConfigError: ``dim`` is below 1, or ``build`` is given clicks of another dimension.

    >>> AvgPool(dim=8).build(input_dim=8)
    AvgPoolEncoder()
    """

    dim: int = 400

    def __post_init__(self) -> None:
        require_at_least(1, dim=self.dim)

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder; ``input_dim`` must be ``dim``."""
        require_same_dim("avgpool", self.dim, input_dim)
        return AvgPoolEncoder()


class AvgPoolEncoder(SessionEncoder):
    """Mean over the real clicks, zeros for an empty session: [B, T, D] → [B, D].

    >>> import torch
    >>> AvgPoolEncoder()(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[True, True, True]]))
    tensor([[3.]])
    """

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return zero_padding(clicks, mask).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)

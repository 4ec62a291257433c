"""MaxPool: the maximum of the clicks in each dimension.

Paper: §4.4, Pooling. [B, T, D] → [B, D]; the order of the clicks is lost.
"""

from dataclasses import dataclass

from torch import Tensor

from nearnext.model.encoders.base import SessionEncoder
from nearnext.model.encoders.masking import max_over_time
from nearnext.options import require_at_least, require_same_dim

__all__ = ["MaxPool", "MaxPoolEncoder"]


@dataclass(frozen=True)
class MaxPool:
    """Session encoder φ: the maximum of the clicks in each dimension.

    Attributes:
        dim: dimension D of clicks and session.

    Raises:
        ConfigError: ``dim`` is below 1, or ``build`` is given clicks of another dimension.

    >>> MaxPool(dim=8).build(input_dim=8)
    MaxPoolEncoder()
    """

    dim: int = 400

    def __post_init__(self) -> None:
        require_at_least(1, dim=self.dim)

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder; ``input_dim`` must be ``dim``."""
        require_same_dim("maxpool", self.dim, input_dim)
        return MaxPoolEncoder()


class MaxPoolEncoder(SessionEncoder):
    """Maximum over the real clicks, zeros for an empty session: [B, T, D] → [B, D].

    >>> import torch
    >>> clicks = torch.tensor([[[1.0, -4.0], [2.0, -5.0]]])
    >>> MaxPoolEncoder()(clicks, torch.tensor([[True, True]]))
    tensor([[ 2., -4.]])
    """

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return max_over_time(clicks, mask)

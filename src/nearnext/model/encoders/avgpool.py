"""AvgPool: the mean of the clicks.

Paper: §4.4, Pooling. [B, T, D_in] → [B, D]; the order of the clicks is lost.
"""

from torch import Tensor

from nearnext.model.encoders.base import SessionEncoder
from nearnext.model.encoders.masking import zero_padding
from nearnext.model.encoders.pooling import Pooling, PoolingEncoder
from nearnext.options import options

__all__ = ["AvgPool", "AvgPoolEncoder"]


@options
class AvgPool(Pooling):
    """Session encoder φ: the mean of the clicks.

    Attributes:
        dim: dimension D of the session, and of the clicks where there is no dense layer.
        dense_layers: fully connected layers of ``dim`` units after the pooling, tanh between them; 0: none.
        last_tanh: whether a tanh follows the last dense layer.

    Raises:
        ConfigError: an option out of range, or ``build`` without dense layers is given clicks of another dimension.

    >>> AvgPool(dim=8).build(input_dim=8)
    AvgPoolEncoder(
      (dense): Sequential()
    )
    """

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder; without dense layers ``input_dim`` must be ``dim``."""
        return AvgPoolEncoder(self.layers("avgpool", input_dim))


class AvgPoolEncoder(PoolingEncoder):
    """Mean over the real clicks, zeros for an empty session, then dense layers: [B, T, D_in] → [B, D].

    >>> import torch
    >>> AvgPoolEncoder()(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[True, True, True]]))
    tensor([[3.]])
    """

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return zero_padding(clicks, mask).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Of the mean so far, at every click: [B, T, D]."""
        return self.dense(zero_padding(clicks, mask).cumsum(dim=1) / mask.cumsum(dim=1).clamp_min(1).unsqueeze(-1))

"""LastItem: the embedding of the last click, all that a first-order Markov chain sees.

[B, T, D_in] → [B, D].
"""

from torch import Tensor

from nearnext.model.encoders.base import SessionEncoder
from nearnext.model.encoders.masking import last_clicks
from nearnext.model.encoders.pooling import Pooling, PoolingEncoder
from nearnext.options import options

__all__ = ["LastItem", "LastItemEncoder"]


@options
class LastItem(Pooling):
    """Session encoder φ: the last click.

    Attributes:
        dim: dimension D of the session, and of the clicks where there is no dense layer.
        dense_layers: fully connected layers of ``dim`` units after the pooling, tanh between them; 0: none.
        last_tanh: whether a tanh follows the last dense layer.

    Raises:
        ConfigError: an option out of range, or ``build`` without dense layers is given clicks of another dimension.

    >>> LastItem(dim=8).build(input_dim=8)
    LastItemEncoder(
      (dense): Sequential()
    )
    """

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder; without dense layers ``input_dim`` must be ``dim``."""
        return LastItemEncoder(self.layers("lastitem", input_dim))


class LastItemEncoder(PoolingEncoder):
    """The last real click, zeros for an empty session, then dense layers: [B, T, D_in] → [B, D].

    >>> import torch
    >>> LastItemEncoder()(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return last_clicks(clicks, mask, length=1)[0].squeeze(1)

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002 - padding comes last
        """Of each click, the last one of its prefix: [B, T, D]."""
        return self.dense(clicks)

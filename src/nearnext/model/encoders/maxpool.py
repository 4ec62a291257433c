"""MaxPool: the maximum of the clicks in each dimension.

Paper: §4.4, Pooling. [B, T, D_in] → [B, D]; the order of the clicks is lost.
"""

from dataclasses import field

from torch import Tensor, nn

from nearnext.model.encoders.base import SessionEncoder
from nearnext.model.encoders.masking import max_over_time
from nearnext.model.encoders.pooling import Pooling, PoolingEncoder
from nearnext.options import Natural, options

__all__ = ["MaxPool", "MaxPoolEncoder"]


@options
class MaxPool(Pooling):
    """Session encoder φ: the maximum of the clicks in each dimension, through dense layers where asked for.

    Attributes:
        dim: dimension D of the session, and of the clicks where there is no dense layer.
        dense_layers: fully connected layers of ``dim`` units after the pooling, tanh between them; 0: none.
        last_tanh: whether a tanh follows the last dense layer.
        zeros_up_to: a session of fewer clicks takes the maximum over its clicks and zero, as if it were padded with
            zeros to this length; 0: never. The authors' program pads to 15 clicks.

    Raises:
        ConfigError: an option out of range, or ``build`` without dense layers is given clicks of another dimension.

    >>> MaxPool(dim=8).build(input_dim=8)
    MaxPoolEncoder(
      (dense): Sequential()
    )
    """

    zeros_up_to: Natural = field(default=0, kw_only=True)

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder; without dense layers ``input_dim`` must be ``dim``."""
        return MaxPoolEncoder(self.layers("maxpool", input_dim), self.zeros_up_to)


class MaxPoolEncoder(PoolingEncoder):
    """Maximum over the real clicks, zeros for an empty session, then dense layers: [B, T, D_in] → [B, D].

    >>> import torch
    >>> clicks = torch.tensor([[[1.0, -4.0], [2.0, -5.0]]])
    >>> MaxPoolEncoder()(clicks, torch.tensor([[True, True]]))
    tensor([[ 2., -4.]])
    >>> MaxPoolEncoder(zeros_up_to=3)(clicks, torch.tensor([[True, True]]))
    tensor([[2., 0.]])
    """

    def __init__(self, dense: nn.Sequential | None = None, zeros_up_to: int = 0) -> None:
        super().__init__(dense)
        self.zeros_up_to = zeros_up_to

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return self._with_zeros(max_over_time(clicks, mask), mask.sum(dim=1, keepdim=True))

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Of the maximum so far, at every click: [B, T, D]."""
        highest = clicks.cummax(dim=1).values
        return self.dense(self._with_zeros(highest, mask.cumsum(dim=1).unsqueeze(-1)))

    def _with_zeros(self, highest: Tensor, n_clicks: Tensor) -> Tensor:
        if self.zeros_up_to == 0:
            return highest
        return highest.where(n_clicks >= self.zeros_up_to, highest.clamp_min(0.0))

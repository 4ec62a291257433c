"""WeightedPool: the mean of the clicks, recent ones weighing more.

Paper: §4.4, Pooling, with the recency weights that §5.4 credits VSKNN's results to. [B, T, D_in] → [B, D].
"""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from nearnext.model.encoders.base import SessionEncoder
from nearnext.model.encoders.masking import zero_padding
from nearnext.model.encoders.pooling import Pooling, PoolingEncoder
from nearnext.options import Search, options

__all__ = ["DecayName", "WeightedPool", "WeightedPoolEncoder"]

DecayName = Literal["linear", "div", "log", "quadratic"]
"""Name of a decay: how a click's weight falls with its age."""


@options
class WeightedPool(Pooling):
    """Session encoder φ: the mean of the clicks weighted by recency.

    With a = 0, 1, ... the age of a click counted from the last one, and n the clicks of the session, a click weighs,
    before the weights of a session are scaled to sum 1:

    - ``linear``: 1 − a / n
    - ``div``: 1 / (1 + a)
    - ``log``: 1 / log₂(2 + a)
    - ``quadratic``: 1 / (1 + a)²

    Attributes:
        dim: dimension D of the session, and of the clicks where there is no dense layer.
        dense_layers: fully connected layers of ``dim`` units after the pooling, tanh between them; 0: none.
        last_tanh: whether a tanh follows the last dense layer.
        decay: name of the decay.

    Raises:
        ConfigError: an option out of range, or ``build`` without dense layers is given clicks of another dimension.

    >>> WeightedPool(dim=8, decay="log").build(input_dim=8)
    WeightedPoolEncoder(
      (dense): Sequential()
    )
    """

    decay: Annotated[
        DecayName,
        Search(why="how fast old clicks are forgotten: all that there are"),
    ] = "div"

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder; without dense layers ``input_dim`` must be ``dim``."""
        return WeightedPoolEncoder(self.decay, self.layers("weightedpool", input_dim))


class WeightedPoolEncoder(PoolingEncoder):
    """Weighted mean over the real clicks, zeros for an empty session, then dense layers: [B, T, D_in] → [B, D].

    >>> clicks = torch.tensor([[[4.0], [1.0]]])
    >>> WeightedPoolEncoder("linear")(clicks, torch.tensor([[True, True]]))  # (1/2 · 4 + 1 · 1) / (3/2)
    tensor([[2.]])
    """

    def __init__(self, decay: DecayName, dense: nn.Sequential | None = None) -> None:
        super().__init__(dense)
        self.decay: DecayName = decay

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        weights = zero_padding(self._weights(mask, clicks.dtype).unsqueeze(-1), mask)  # [B, T, 1]
        total = weights.sum(dim=1)
        return (weights * zero_padding(clicks, mask)).sum(dim=1) / total.where(total > 0, 1.0)

    def _weights(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        clicks = mask.sum(dim=1, keepdim=True).to(dtype)  # [B, 1]
        age = (clicks - 1 - torch.arange(mask.shape[1], device=mask.device)).clamp_min(0)  # [B, T]
        match self.decay:
            case "linear":
                return 1 - age / clicks.clamp_min(1)
            case "div":
                return 1 / (1 + age)
            case "log":
                return 1 / (2 + age).log2()
            case "quadratic":
                return 1 / (1 + age) ** 2

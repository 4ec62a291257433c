"""Pooling encoders: maximum, mean, recency-weighted mean or last of the clicks, then dense layers if any.

Paper: §4.4, Pooling, and §5.4 for recency weights. [B, T, D_in] → [B, D]; but for recency, the order of clicks is lost.
"""

from abc import abstractmethod
from dataclasses import field
from typing import Annotated, Literal

from torch import Tensor, arange

from nearnext.errors import ConfigError
from nearnext.model.encoders.base import Dim, SessionEncoder, require_same_dim
from nearnext.model.layers import feed_forward, last_clicks, max_over_time, zero_padding
from nearnext.options import Natural, Search, options


@options
class Pooling:
    """Options of the pooling encoders.

    Attributes:
        dim: dimension D of the session, and of the clicks where there is no dense layer.
        dense_layers: fully connected layers of ``dim`` units after the pooling, tanh between them; 0: none.
        last_tanh: whether a tanh follows the last dense layer.

    Paper: §4.4 pools the clicks and has no layer after it; the authors' program has two, each with tanh.
    """

    dim: Dim = 400
    dense_layers: Natural = field(default=0, kw_only=True)
    last_tanh: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.last_tanh and self.dense_layers == 0:
            raise ConfigError("last_tanh follows the last dense layer, found none; set dense_layers to 1 or more")

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder, its dense layers drawn from torch's global generator."""
        return PoolingEncoder(self, input_dim)

    @abstractmethod
    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """The clicks of each session in one vector, zeros for an empty session: [B, T, D_in] → [B, D_in]."""

    def pooled_prefixes(self, clicks: Tensor, mask: Tensor) -> Tensor | None:  # noqa: ARG002
        """Likewise of every prefix in one pass, anything at padding: [B, T, D_in]; None where there is no such way."""
        return None


class PoolingEncoder(SessionEncoder):
    """Pooled clicks through dense layers, the identity where there are none: [B, T, D_in] → [B, D]."""

    def __init__(self, pooling: Pooling, input_dim: int) -> None:
        super().__init__()
        if pooling.dense_layers == 0:
            require_same_dim(type(pooling).__name__.lower(), pooling.dim, input_dim)
        self.pooling = pooling
        self.dense = feed_forward(input_dim, [pooling.dim] * pooling.dense_layers, last_tanh=pooling.last_tanh)

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return self.dense(self.pooling.pooled(clicks, mask))

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Of every prefix in one pass where the pooling has one: [B, T, D]."""
        pooled = self.pooling.pooled_prefixes(clicks, mask)
        return super().every_prefix(clicks, mask) if pooled is None else self.dense(pooled)


@options
class MaxPool(Pooling):
    """Session encoder φ: the maximum of the clicks in each dimension; other options and errors are those of `Pooling`.

    Attributes:
        zeros_up_to: a session of fewer clicks takes the maximum over its clicks and zero, as if it were padded with
            zeros to this length; 0: never. The authors' program pads to 15 clicks.

    >>> import torch
    >>> clicks, mask = torch.tensor([[[1.0, -4.0], [2.0, -5.0]]]), torch.tensor([[True, True]])
    >>> MaxPool(dim=2).build(2)(clicks, mask), MaxPool(dim=2, zeros_up_to=3).build(2)(clicks, mask)
    (tensor([[ 2., -4.]]), tensor([[2., 0.]]))
    """

    zeros_up_to: Natural = field(default=0, kw_only=True)

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return self._with_zeros(max_over_time(clicks, mask), mask.sum(dim=1, keepdim=True))

    def pooled_prefixes(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return self._with_zeros(clicks.cummax(dim=1).values, mask.cumsum(dim=1).unsqueeze(-1))

    def _with_zeros(self, highest: Tensor, n_clicks: Tensor) -> Tensor:
        if self.zeros_up_to == 0:
            return highest
        return highest.where(n_clicks >= self.zeros_up_to, highest.clamp_min(0.0))


@options
class AvgPool(Pooling):
    """Session encoder φ: the mean of the clicks. Options and errors are those of `Pooling`.

    >>> AvgPool(dim=8)
    AvgPool(dim=8, dense_layers=0, last_tanh=False)
    """

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return zero_padding(clicks, mask).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)

    def pooled_prefixes(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return zero_padding(clicks, mask).cumsum(dim=1) / mask.cumsum(dim=1).clamp_min(1).unsqueeze(-1)


@options
class WeightedPool(Pooling):
    """Session encoder φ: the mean of the clicks weighted by recency; other options and errors are those of `Pooling`.

    With a = 0, 1, ... the age of a click counted from the last one, and n the clicks of the session, a click weighs,
    before the weights of a session are scaled to sum 1:

    - ``linear``: 1 − a / n
    - ``div``: 1 / (1 + a)
    - ``log``: 1 / log₂(2 + a)
    - ``quadratic``: 1 / (1 + a)²

    Attributes:
        decay: name of the decay.

    >>> import torch
    >>> clicks = torch.tensor([[[4.0], [1.0]]])
    >>> WeightedPool(dim=1, decay="linear").build(1)(clicks, torch.tensor([[True, True]]))  # (1/2 · 4 + 1 · 1) / (3/2)
    tensor([[2.]])
    """

    decay: Annotated[
        Literal["linear", "div", "log", "quadratic"],
        Search(why="how fast old clicks are forgotten: all that there are"),
    ] = "div"

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        n_clicks = mask.sum(dim=1, keepdim=True).to(clicks.dtype)  # [B, 1]
        age = (n_clicks - 1 - arange(mask.shape[1], device=mask.device)).clamp_min(0)  # [B, T]
        match self.decay:
            case "linear":
                weights = 1 - age / n_clicks.clamp_min(1)
            case "div":
                weights = 1 / (1 + age)
            case "log":
                weights = 1 / (2 + age).log2()
            case "quadratic":
                weights = 1 / (1 + age) ** 2
        weights = zero_padding(weights.unsqueeze(-1), mask)  # [B, T, 1]
        total = weights.sum(dim=1)
        return (weights * zero_padding(clicks, mask)).sum(dim=1) / total.where(total > 0, 1.0)


@options
class LastItem(Pooling):
    """Session encoder φ: the last click. Options and errors are those of `Pooling`.

    >>> LastItem(dim=8)
    LastItem(dim=8, dense_layers=0, last_tanh=False)
    """

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return last_clicks(clicks, mask, length=1)[0].squeeze(1)

    def pooled_prefixes(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002 - padding comes last
        return clicks

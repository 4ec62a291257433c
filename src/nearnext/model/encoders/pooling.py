"""Pooling encoders: maximum, mean, recency-weighted mean or last of the clicks, then dense layers if any.

Paper: §4.4, Pooling, and §5.4 for recency weights. [B, T, D_in] → [B, D]; but for recency, the order of clicks is lost.
"""

from abc import abstractmethod
from dataclasses import field
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

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

    def layers(self, name: str, input_dim: int) -> nn.Sequential:
        """The dense layers for clicks of dimension ``input_dim``, drawn from torch's global generator."""
        if self.dense_layers == 0:
            require_same_dim(name, self.dim, input_dim)
        return feed_forward(input_dim, [self.dim] * self.dense_layers, last_tanh=self.last_tanh)


class PoolingEncoder(SessionEncoder):
    """Pooled clicks through dense layers, the identity where there are none: [B, T, D_in] → [B, D]."""

    def __init__(self, dense: nn.Sequential | None = None) -> None:
        super().__init__()
        self.dense = dense if dense is not None else nn.Sequential()

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return self.dense(self.pooled(clicks, mask))

    @abstractmethod
    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """The clicks of each session in one vector, zeros for an empty session: [B, T, D_in] → [B, D_in]."""


@options
class MaxPool(Pooling):
    """Session encoder φ: the maximum of the clicks in each dimension; other options and errors are those of `Pooling`.

    Attributes:
        zeros_up_to: a session of fewer clicks takes the maximum over its clicks and zero, as if it were padded with
            zeros to this length; 0: never. The authors' program pads to 15 clicks.

    >>> MaxPool(dim=8, dense_layers=1).build(input_dim=4).dense[1]
    Linear(in_features=4, out_features=8, bias=True)
    """

    zeros_up_to: Natural = field(default=0, kw_only=True)

    def build(self, input_dim: int) -> SessionEncoder:
        return MaxPoolEncoder(self.layers("maxpool", input_dim), self.zeros_up_to)


class MaxPoolEncoder(PoolingEncoder):
    """Maximum over the real clicks, zeros for an empty session, then dense layers: [B, T, D_in] → [B, D].

    >>> clicks, mask = torch.tensor([[[1.0, -4.0], [2.0, -5.0]]]), torch.tensor([[True, True]])
    >>> MaxPoolEncoder()(clicks, mask), MaxPoolEncoder(zeros_up_to=3)(clicks, mask)
    (tensor([[ 2., -4.]]), tensor([[2., 0.]]))
    """

    def __init__(self, dense: nn.Sequential | None = None, zeros_up_to: int = 0) -> None:
        super().__init__(dense)
        self.zeros_up_to = zeros_up_to

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return self._with_zeros(max_over_time(clicks, mask), mask.sum(dim=1, keepdim=True))

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Of the maximum so far, at every click: [B, T, D]."""
        highest = clicks.cummax(dim=1).values
        return self.dense(self._with_zeros(highest, mask.cumsum(dim=1).unsqueeze(-1)))

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

    def build(self, input_dim: int) -> SessionEncoder:
        return AvgPoolEncoder(self.layers("avgpool", input_dim))


class AvgPoolEncoder(PoolingEncoder):
    """Mean over the real clicks, zeros for an empty session, then dense layers: [B, T, D_in] → [B, D].

    >>> AvgPoolEncoder()(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[True, True, True]]))
    tensor([[3.]])
    """

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return zero_padding(clicks, mask).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Of the mean so far, at every click: [B, T, D]."""
        return self.dense(zero_padding(clicks, mask).cumsum(dim=1) / mask.cumsum(dim=1).clamp_min(1).unsqueeze(-1))


DecayName = Literal["linear", "div", "log", "quadratic"]
"""Name of a decay: how a click's weight falls with its age."""


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

    >>> WeightedPool(dim=8, decay="log").decay
    'log'
    """

    decay: Annotated[DecayName, Search(why="how fast old clicks are forgotten: all that there are")] = "div"

    def build(self, input_dim: int) -> SessionEncoder:
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

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
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


@options
class LastItem(Pooling):
    """Session encoder φ: the last click. Options and errors are those of `Pooling`.

    >>> LastItem(dim=8)
    LastItem(dim=8, dense_layers=0, last_tanh=False)
    """

    def build(self, input_dim: int) -> SessionEncoder:
        return LastItemEncoder(self.layers("lastitem", input_dim))


class LastItemEncoder(PoolingEncoder):
    """The last real click, zeros for an empty session, then dense layers: [B, T, D_in] → [B, D].

    >>> import torch
    >>> LastItemEncoder()(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """

    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return last_clicks(clicks, mask, length=1)[0].squeeze(1)

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002 - padding comes last
        """Of each click, the last one of its prefix: [B, T, D]."""
        return self.dense(clicks)

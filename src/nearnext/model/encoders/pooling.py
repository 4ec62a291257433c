"""Dense layers after the pooled clicks, shared by the pooling encoders, as in the authors' program."""

from abc import abstractmethod
from dataclasses import field

from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.model.encoders.base import Dim, SessionEncoder, require_same_dim
from nearnext.model.feedforward import feed_forward
from nearnext.options import Natural, options

__all__ = ["Pooling", "PoolingEncoder"]


@options
class Pooling:
    """Options of the pooling encoders.

    Attributes:
        dim: dimension D of the session, and of the clicks where there is no dense layer.
        dense_layers: fully connected layers of ``dim`` units after the pooling, tanh between them; 0: none.
        last_tanh: whether a tanh follows the last dense layer.

    Raises:
        ConfigError: ``dim`` is below 1, ``dense_layers`` below 0, or ``last_tanh`` without a dense layer.

    Paper: §4.4 pools the clicks and has no layer after it; the authors' program has two, each with tanh.

    >>> Pooling(dim=8, dense_layers=2).layers("maxpool", input_dim=4)[1]
    Linear(in_features=4, out_features=8, bias=True)
    """

    dim: Dim = 400
    dense_layers: Natural = field(default=0, kw_only=True)
    last_tanh: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.last_tanh and self.dense_layers == 0:
            raise ConfigError("last_tanh follows the last dense layer, found none; set dense_layers to 1 or more")

    def layers(self, name: str, input_dim: int) -> nn.Sequential:
        """The dense layers for clicks of dimension ``input_dim``, drawn from torch's global generator.

        Raises:
            ConfigError: there is no dense layer, and the clicks have another dimension.
        """
        if self.dense_layers == 0:
            require_same_dim(name, self.dim, input_dim)
        return feed_forward(input_dim, [self.dim] * self.dense_layers, last_tanh=self.last_tanh)


class PoolingEncoder(SessionEncoder):
    """Pooled clicks through dense layers, the identity where there are none: [B, T, D_in] → [B, D]."""

    def __init__(self, dense: nn.Sequential | None = None) -> None:
        super().__init__()
        self.dense = dense if dense is not None else nn.Sequential()

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return self.dense(self.pooled(clicks, mask))

    @abstractmethod
    def pooled(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """The clicks of each session in one vector, zeros for an empty session: [B, T, D_in] → [B, D_in]."""

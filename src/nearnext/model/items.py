"""Item encoder ω: from the embedding of an item to its place in the metric space.

Paper: ω in §4; §5.2 for the feed-forward network with tanh. The embedding table and the L2 normalisation, which both
towers share, are the network's (`nearnext.model.network`).
"""

import math
from dataclasses import dataclass

from torch import nn

from nearnext.errors import ConfigError
from nearnext.model.feedforward import feed_forward
from nearnext.options import require_at_least

__all__ = ["ItemTower"]


@dataclass(frozen=True)
class ItemTower:
    """Item encoder ω: the item's embedding, through linear, tanh, linear layers where ``hidden`` is positive.

    Attributes:
        dim: dimension D of the embedding and of the metric space.
        hidden: units of the hidden layer; 0 leaves the embedding as it is.
        initial_std: standard deviation of the embeddings before training, above 0; None lets the network choose.

    Raises:
        ConfigError: ``dim`` is below 1, ``hidden`` below 0, or ``initial_std`` not above 0.

    >>> ItemTower(dim=8).build()
    Sequential()
    """

    dim: int = 400
    hidden: int = 0
    initial_std: float | None = None

    def __post_init__(self) -> None:
        require_at_least(1, dim=self.dim)
        require_at_least(0, hidden=self.hidden)
        if self.initial_std is not None and not 0.0 < self.initial_std < math.inf:
            raise ConfigError(f"initial_std must be above 0 and finite, found {self.initial_std}")

    def build(self) -> nn.Module:
        """The layers after the embedding: [..., D] → [..., D], without normalisation."""
        return feed_forward(self.dim, [self.hidden, self.dim] if self.hidden else [])

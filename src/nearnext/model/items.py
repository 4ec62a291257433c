"""Item encoder ω: from the embedding of an item to its embedding in the metric space.

Paper: ω in §4; §5.2 for the feed-forward network with tanh. The embedding table and the L2 normalisation, which both
towers share, are the network's (`nearnext.model.network`).
"""

from torch import nn

from nearnext.errors import ConfigError
from nearnext.model.layers import feed_forward, freeze
from nearnext.options import Count, Natural, Positive, options


@options
class ItemTower:
    """Item encoder ω: the item's embedding, through linear, tanh, linear layers where ``hidden`` is positive.

    The authors' program ends in another tanh, never trains these layers, so that they are a fixed random map, and keeps
    embeddings within a ball: ``last_tanh``, ``frozen`` and ``max_norm``.

    Attributes:
        dim: dimension D of the embedding and of the metric space.
        hidden: units of the hidden layer; 0 leaves the embedding as it is.
        initial_std: standard deviation of the embeddings before training, above 0; None lets the network choose.
        last_tanh: whether a tanh follows the last layer.
        frozen: whether the layers keep the weights that they begin with.
        max_norm: embeddings longer than this are scaled down to it where they are read, by sessions too; None: never.
    """

    dim: Count = 400
    hidden: Natural = 0
    initial_std: Positive | None = None
    last_tanh: bool = False
    frozen: bool = False
    max_norm: Positive | None = None

    def __post_init__(self) -> None:
        for name, switch in (("last_tanh", self.last_tanh), ("frozen", self.frozen)):
            if switch and self.hidden == 0:
                raise ConfigError(f"{name} needs layers in the item encoder, found none; set hidden to 1 or more")

    def build(self) -> nn.Module:
        """The layers after the embedding: [..., D] → [..., D], without normalisation."""
        layers = feed_forward(self.dim, [self.hidden, self.dim] if self.hidden else [], last_tanh=self.last_tanh)
        if self.frozen:
            freeze(layers)
        return layers

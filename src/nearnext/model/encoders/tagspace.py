"""TagSpace: one wide convolution over the clicks, maximum over time, linear layer.

Paper: §4.4. Reference: Weston, Chopra, Adams, #TagSpace: Semantic Embeddings from Hashtags, 2014, §3.
[B, T, D_in] → [B, D].
"""

from typing import Annotated

import torch
from torch import Tensor

from nearnext.model.encoders.base import Dim, Dropout, SessionEncoder
from nearnext.model.encoders.masking import CentredConvolution, max_over_time, zero_padding
from nearnext.model.feedforward import feed_forward
from nearnext.options import Count, Search, options

__all__ = ["TagSpace", "TagSpaceEncoder"]


@options
class TagSpace:
    """Session encoder φ: convolution, tanh, maximum over time, tanh, linear.

    Beyond the session's ends stand zeros, where the reference has a padding vector of its own.

    Attributes:
        dim: dimension D of the session embedding.
        filter_size: clicks that a filter spans (K of the reference).
        filters: filters, or features of the session (H of the reference).
        dropout: share of the features dropped in training, in [0, 1).
        last_tanh: whether a tanh follows the dense layer.

    Raises:
        ConfigError: a number is below 1, or dropout is out of range.

    >>> TagSpace(dim=8).filter_size
    5
    """

    dim: Dim = 400
    filter_size: Count = 5
    filters: Annotated[Count, Search(64, 1024, log=True, why="paper: 1000, which is slow")] = 1000
    dropout: Dropout = 0.0
    last_tanh: bool = False

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder, its weights drawn from torch's global generator."""
        return TagSpaceEncoder(self, input_dim)


class TagSpaceEncoder(SessionEncoder):
    """Convolution, tanh, maximum over the windows around real clicks, tanh, linear: [B, T, D_in] → [B, D].

    >>> encoder = TagSpaceEncoder(TagSpace(dim=8, filters=4), input_dim=3)
    >>> encoder(torch.ones(2, 1, 3), torch.ones(2, 1, dtype=torch.bool)).shape
    torch.Size([2, 8])
    """

    def __init__(self, config: TagSpace, input_dim: int) -> None:
        super().__init__()
        self.convolution = CentredConvolution(input_dim, config.filters, config.filter_size)
        self.dense = feed_forward(config.filters, [config.dim], config.dropout, last_tanh=config.last_tanh)

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        features = torch.tanh(self.convolution(zero_padding(clicks, mask)))  # [B, T, F]
        return self.dense(torch.tanh(max_over_time(features, mask)))

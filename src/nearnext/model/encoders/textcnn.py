"""TextCNN: convolutions of several widths over the clicks, maximum over time, dense layer.

Paper: §4.4 and §5.2 (filters of sizes 1, 3, 5). Reference: Kim, Convolutional Neural Networks for Sentence
Classification, 2014. [B, T, D_in] → [B, D].
"""

from typing import Annotated

import torch
from torch import Tensor, nn

from nearnext.model.encoders.base import Dim, Dropout, SessionEncoder
from nearnext.model.encoders.masking import CentredConvolution, max_over_time, zero_padding
from nearnext.model.feedforward import feed_forward
from nearnext.options import SOME, Count, Search, options

__all__ = ["TextCNN", "TextCNNEncoder"]


@options
class TextCNN:
    """Session encoder φ: the strongest response of each filter anywhere in the session, through a dense layer.

    Sessions are shorter than sentences: there is one window around each click, zeros beyond the session's ends, so that
    a single click is seen by every filter.

    Attributes:
        dim: dimension D of the session embedding.
        filter_sizes: clicks that a filter spans.
        filters: filters of each size.
        dropout: share of the filter responses dropped in training, in [0, 1).
        last_tanh: whether a tanh follows the dense layer.

    Raises:
        ConfigError: a number is below 1, there is no filter size, or dropout is out of range.

    >>> TextCNN(dim=8, filters=4).filter_sizes
    (1, 3, 5)
    """

    dim: Dim = 400
    filter_sizes: Annotated[tuple[Count, ...], SOME] = (1, 3, 5)
    filters: Annotated[Count, Search(32, 256, log=True, why="filters of each size; paper: 100")] = 100
    dropout: Dropout = 0.0
    last_tanh: bool = False

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder, its weights drawn from torch's global generator."""
        return TextCNNEncoder(self, input_dim)


class TextCNNEncoder(SessionEncoder):
    """Convolutions, ReLU, maximum over the windows around real clicks, dense layer: [B, T, D_in] → [B, D].

    >>> encoder = TextCNNEncoder(TextCNN(dim=8, filters=4), input_dim=3)
    >>> encoder(torch.ones(2, 1, 3), torch.ones(2, 1, dtype=torch.bool)).shape
    torch.Size([2, 8])
    """

    def __init__(self, config: TextCNN, input_dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            CentredConvolution(input_dim, config.filters, size) for size in config.filter_sizes
        )
        self.dense = feed_forward(
            config.filters * len(config.filter_sizes), [config.dim], config.dropout, last_tanh=config.last_tanh
        )

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        clicks = zero_padding(clicks, mask)
        responses = [max_over_time(convolution(clicks), mask) for convolution in self.convolutions]
        return self.dense(torch.cat(responses, dim=1).relu())

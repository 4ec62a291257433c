"""Convolutional encoders: TextCNN, TagSpace and Caser.

Paper: §4.4 and §5.2. [B, T, D_in] → [B, D].
"""

from typing import Annotated

import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.model.encoders.base import Dim, Dropout, SessionEncoder
from nearnext.model.layers import CentredConvolution, feed_forward, last_clicks, max_over_time
from nearnext.options import SOME, Count, Search, options


@options
class TextCNN:
    """Session encoder φ: the strongest response of each filter anywhere in the session, through a dense layer.

    One window around each click, zeros beyond the session's ends: every filter sees even a single click.

    Attributes:
        dim: dimension D of the session embedding.
        filter_sizes: clicks that a filter spans.
        filters: filters of each size.
        dropout: share of the filter responses dropped in training, in [0, 1).
        last_tanh: whether a tanh follows the dense layer.

    Reference: Kim, Convolutional Neural Networks for Sentence Classification, 2014.

    Paper: §5.2 (filters of sizes 1, 3, 5).

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
        return TextCNNEncoder(self, input_dim)


class TextCNNEncoder(SessionEncoder):
    """Convolutions, ReLU, maximum over the windows around real clicks, dense layer: [B, T, D_in] → [B, D]."""

    def __init__(self, config: TextCNN, input_dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            CentredConvolution(input_dim, config.filters, size) for size in config.filter_sizes
        )
        self.dense = feed_forward(
            config.filters * len(config.filter_sizes), [config.dim], config.dropout, last_tanh=config.last_tanh
        )

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        responses = [max_over_time(convolution(clicks, mask), mask) for convolution in self.convolutions]
        return self.dense(torch.cat(responses, dim=1).relu())


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

    Reference: Weston, Chopra, Adams, #TagSpace: Semantic Embeddings from Hashtags, 2014, §3.

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
        return TagSpaceEncoder(self, input_dim)


class TagSpaceEncoder(SessionEncoder):
    """Convolution, tanh, maximum over the windows around real clicks, tanh, linear: [B, T, D_in] → [B, D]."""

    def __init__(self, config: TagSpace, input_dim: int) -> None:
        super().__init__()
        self.convolution = CentredConvolution(input_dim, config.filters, config.filter_size)
        self.dense = feed_forward(config.filters, [config.dim], config.dropout, last_tanh=config.last_tanh)

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        features = torch.tanh(self.convolution(clicks, mask))  # [B, T, F]
        return self.dense(torch.tanh(max_over_time(features, mask)))


@options
class Caser:
    """Session encoder φ: patterns of consecutive clicks and weighted sums of the last ``length`` clicks, dense layer.

    A session is the image of its last ``length`` clicks, the newest in the last row, zeros above the first click. There
    is no user embedding, for a session is all that is known; the dense layer is linear, so that an embedding may point
    anywhere.

    Attributes:
        dim: dimension D of the session embedding.
        length: clicks that are seen (L of the reference).
        heights: clicks that a horizontal filter spans, each at most ``length``.
        horizontal: horizontal filters of each height.
        vertical: vertical filters, each a weighted sum over the clicks.
        dropout: share of the features dropped in training, in [0, 1).

    Reference: Tang, Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, 2018,
    §3.2 and §3.3.

    Raises:
        ConfigError: a number is below 1, there is no height, a height exceeds ``length``, or dropout is out of range.

    >>> Caser(dim=8, length=3)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: caser: heights (1, 2, 3, 4, 5) must not exceed the length of 3 clicks; lower the ...
    """

    dim: Dim = 400
    length: Count = 15
    heights: Annotated[tuple[Count, ...], SOME] = (1, 2, 3, 4, 5)
    horizontal: Annotated[Count, Search(4, 64, log=True, why="filters over neighbouring clicks")] = 16
    vertical: Annotated[Count, Search(1, 16, log=True, why="filters over single dimensions")] = 4
    dropout: Dropout = 0.0

    def __post_init__(self) -> None:
        if max(self.heights) > self.length:
            raise ConfigError(
                f"caser: heights {self.heights} must not exceed the length of {self.length} clicks; "
                "lower the heights or raise the length"
            )

    def build(self, input_dim: int) -> SessionEncoder:
        return CaserEncoder(self, input_dim)


class CaserEncoder(SessionEncoder):
    """Horizontal maxima and vertical sums, concatenated, dense layer: [B, T, D_in] → [B, D]."""

    def __init__(self, config: Caser, input_dim: int) -> None:
        super().__init__()
        self.length = config.length
        self.horizontal = nn.ModuleList(nn.Conv1d(input_dim, config.horizontal, height) for height in config.heights)
        self.vertical = nn.Linear(config.length, config.vertical, bias=False)
        features = config.horizontal * len(config.heights) + config.vertical * input_dim
        self.dense = feed_forward(features, [config.dim], config.dropout)

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        image, real = last_clicks(clicks, mask, self.length)  # [B, L, D_in], [B, L]
        rows = image.mT  # [B, D_in, L]
        patterns: list[Tensor] = []
        for convolution in self.horizontal:
            windows = convolution(rows).mT  # [B, L − height + 1, F]
            # A window holds a real click just when its last row does.
            patterns.append(max_over_time(windows, real[:, -windows.shape[1] :]).relu())
        sums = self.vertical(rows).flatten(start_dim=1)  # [B, D_in · vertical]
        return self.dense(torch.cat([*patterns, sums], dim=1))

"""Caser: horizontal convolutions over the last clicks, and vertical ones over each dimension of them.

Paper: §4.4. Reference: Tang, Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding,
2018, §3.2 and §3.3. [B, T, D_in] → [B, D].
"""

from typing import Annotated

import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.model.encoders.base import Dim, Dropout, SessionEncoder
from nearnext.model.encoders.masking import last_clicks, max_over_time
from nearnext.model.feedforward import feed_forward
from nearnext.options import SOME, Count, Search, options

__all__ = ["Caser", "CaserEncoder"]


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
        """The encoder, its weights drawn from torch's global generator."""
        return CaserEncoder(self, input_dim)


class CaserEncoder(SessionEncoder):
    """Horizontal maxima and vertical sums, concatenated, dense layer: [B, T, D_in] → [B, D].

    >>> encoder = CaserEncoder(Caser(dim=8), input_dim=3)
    >>> encoder(torch.ones(2, 1, 3), torch.ones(2, 1, dtype=torch.bool)).shape
    torch.Size([2, 8])
    """

    def __init__(self, config: Caser, input_dim: int) -> None:
        super().__init__()
        self.length = config.length
        self.horizontal = nn.ModuleList(nn.Conv1d(input_dim, config.horizontal, height) for height in config.heights)
        self.vertical = nn.Linear(config.length, config.vertical, bias=False)
        features = config.horizontal * len(config.heights) + config.vertical * input_dim
        self.dense = feed_forward(features, [config.dim], config.dropout)

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        image, real = last_clicks(clicks, mask, self.length)  # [B, L, D_in], [B, L]
        rows = image.mT  # [B, D_in, L]
        patterns: list[Tensor] = []
        for convolution in self.horizontal:
            windows = convolution(rows).mT  # [B, L − height + 1, F]
            # A window holds a real click just when its last row does.
            patterns.append(max_over_time(windows, real[:, -windows.shape[1] :]).relu())
        sums = self.vertical(rows).flatten(start_dim=1)  # [B, D_in · vertical]
        return self.dense(torch.cat([*patterns, sums], dim=1))

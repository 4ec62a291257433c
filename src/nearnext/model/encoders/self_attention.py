"""Causal self-attention: every click reads itself and those before it, in several blocks; the session is the last one.

One pass gives every prefix. [B, T, D] → [B, D]. Reference: Kang & McAuley, Self-Attentive Sequential Recommendation
(SASRec), ICDM 2018, §III.
"""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearnext.errors import ConfigError
from nearnext.model.distances import l2_normalised
from nearnext.model.encoders.base import Dim, Dropout, SessionEncoder, require_same_dim
from nearnext.model.layers import last_clicks, zero_padding
from nearnext.options import Count, Search, options


@options
class SelfAttention:
    """Session encoder φ of SASRec: blocks of causal self-attention and a point-wise feed-forward network.

    Attributes:
        dim: dimension D of the session embedding, which is that of the clicks.
        positions: positions from the first click that are distinguished, at least 1; later clicks share the last.
        blocks: blocks of attention and feed-forward network, one after the other.
        heads: heads of each attention, which divide D.
        dropout: share dropped in training of the clicks, and of what each part of a block adds, in [0, 1).

    Deviation: clicks are scaled to length √D before their positions are added, because the engine's items have no
    length; positions count from the first click that is read, where the paper pads at the left.

    Raises:
        ConfigError: an option out of range, or a dimension that is not that of the clicks or that heads do not divide.

    >>> SelfAttention(dim=8, heads=2).blocks
    2
    """

    dim: Dim = 400
    positions: Count = 20
    blocks: Annotated[Count, Search(1, 3, why="deeper: more of the order of clicks, slower; paper: 2")] = 2
    heads: Count = 1
    dropout: Dropout = 0.0

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ConfigError(f"selfattention: expected heads that divide dim ({self.dim}), found {self.heads}")

    def build(self, input_dim: int) -> SessionEncoder:
        require_same_dim("selfattention", self.dim, input_dim)
        return SelfAttentionEncoder(self)


class _Block(nn.Module):
    """x + attention(norm x), then x + feed-forward(norm x), each with dropout: [B, T, D] → [B, T, D]."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.before_attention, self.before_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.queries, self.keys, self.values = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, clicks: Tensor, visible: Tensor) -> Tensor:
        normal = self.before_attention(clicks)
        queries, keys, values = (
            layer(normal).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, D / heads]
            for layer in (self.queries, self.keys, self.values)
        )
        energy = queries @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5
        weight = energy.masked_fill(~visible, torch.finfo(energy.dtype).min / 2).softmax(dim=-1)
        read = (self.dropout(weight) @ values).transpose(1, 2).flatten(2)
        clicks = clicks + self.dropout(read)
        inner = self.dropout(functional.relu(self.inner(self.before_feed(clicks))))
        return clicks + self.dropout(self.outer(inner))


class SelfAttentionEncoder(SessionEncoder):
    """The last click's output of the last block, normalised by layer; its clicks have a learned position each."""

    def __init__(self, config: SelfAttention) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(config.positions, config.dim) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(_Block(config.dim, config.heads, config.dropout) for _ in range(config.blocks))
        self.last_norm = nn.LayerNorm(config.dim)
        self.scale = config.dim**0.5

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return last_clicks(self.every_prefix(clicks, mask), mask, length=1)[0][:, 0]

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Embeddings of all prefixes, not yet normalised; index t is that of the clicks up to t: [B, T, D]."""
        steps = torch.arange(mask.shape[1], device=mask.device)
        placed = l2_normalised(zero_padding(clicks, mask)) * self.scale
        states = self.dropout(placed + self.position[steps.clamp_max(len(self.position) - 1)])
        for block in self.blocks:
            states = block(states, steps[:, None] >= steps)
        return self.last_norm(states)

"""NARM: the last state of a GRU, and an attention read-out of all its states with the last one as query.

One pass gives every prefix. [B, T, D_in] → [B, D]. Reference: Li et al., Neural Attentive Session-based
Recommendation, CIKM 2017, §3.
"""

from typing import cast

import torch
from torch import Tensor, nn

from nearnext.model.distances import l2_normalised
from nearnext.model.encoders.base import Dim, Dropout, Hidden, SessionEncoder
from nearnext.model.encoders.rnn import exported_states
from nearnext.model.layers import last_clicks, zero_padding
from nearnext.options import options


@options
class Narm:
    """Session encoder φ of NARM: B [h_t, Σ_j α_tj h_j] with α_tj = v · σ(A₁ h_t + A₂ h_j) over states h of a GRU.

    Attributes:
        dim: dimension D of the session embedding.
        hidden: units of the GRU.
        dropout: share dropped in training of the clicks, and of the two read-outs before B, in [0, 1); paper: 0.25 and
            0.5.

    Deviation: items enter with length √D, and the score of an item is the cosine with the session embedding over the
    temperature, where the paper has the bilinear product itself.

    Raises:
        ConfigError: an option out of range.

    >>> Narm(dim=8, hidden=16)
    Narm(dim=8, hidden=16, dropout=0.0)
    """

    dim: Dim = 400
    hidden: Hidden = 400
    dropout: Dropout = 0.0

    def build(self, input_dim: int) -> SessionEncoder:
        """The encoder, its weights drawn from torch's global generator."""
        return NarmEncoder(self, input_dim)


class NarmEncoder(SessionEncoder):
    """The global and the local encoder, and the matrix B of the decoder."""

    def __init__(self, config: Narm, input_dim: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(input_dim, config.hidden, batch_first=True)
        self.last = nn.Linear(config.hidden, config.hidden, bias=False)
        self.state = nn.Linear(config.hidden, config.hidden, bias=False)
        self.energy = nn.Linear(config.hidden, 1, bias=False)
        self.decoder = nn.Linear(2 * config.hidden, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.scale = input_dim**0.5

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        states = self._states(clicks, mask)
        last, _ = last_clicks(states, mask, length=1)
        read = self._read(states, last, mask[:, None])[:, 0]
        return read.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Embeddings of all prefixes, not yet normalised; index t is that of the clicks up to t: [B, T, D]."""
        states = self._states(clicks, mask)
        steps = torch.arange(mask.shape[1], device=mask.device)
        return self._read(states, states, mask[:, None] & (steps[:, None] >= steps))

    def _states(self, clicks: Tensor, mask: Tensor) -> Tensor:
        entered = self.dropout(l2_normalised(zero_padding(clicks, mask)) * self.scale)
        if torch.compiler.is_exporting():
            return exported_states(self.recurrent, entered, mask.sum(dim=1).clamp_min(1))[0]
        if not len(clicks):
            return clicks.new_zeros(*mask.shape, self.recurrent.hidden_size)
        return cast("Tensor", self.recurrent(entered)[0])

    def _read(self, states: Tensor, last: Tensor, visible: Tensor) -> Tensor:
        """Session embeddings: states [B, T, H], last states of Q prefixes [B, Q, H], masks [B, Q, T] → [B, Q, D]."""
        pair = self.last(last)[:, :, None] + self.state(states)[:, None]
        weight = self.energy(torch.sigmoid(pair))[..., 0].masked_fill(~visible, 0.0)
        return self.decoder(self.dropout(torch.cat([last, weight @ states], dim=-1)))

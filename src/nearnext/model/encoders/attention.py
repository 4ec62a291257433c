"""Attention: the clicks that matter for the last one, mixed with the last click itself.

A session's embedding is a gated mean of an attention read-out over all clicks and of the last click, plus, by option, a
linear correction that starts at zero. Without the correction a session stays in the span of its items; with it training
may move it out, which helps on some logs and harms on others. One pass gives the embedding of every prefix.
[B, T, D] → [B, D]. For ranking, a compiled form encodes one session after the other: calling a library of tensors takes
ten times as long as computing a single session.

References: Liu et al., STAMP, KDD 2018 (additive attention with the last click as query); Hou et al., CORE, SIGIR 2022
(sessions as combinations of the items' own embeddings); Shaw et al., 2018 (relative positions).
"""

from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable  # pyright: ignore[reportUnknownVariableType]

from nearnext.compiled import compiled
from nearnext.model.arithmetic import add_product, copy_to, tanh
from nearnext.model.distances import l2_normalised, normalise_rows
from nearnext.model.encoders.base import CompiledEncoder, Dim, SessionEncoder, require_same_dim
from nearnext.model.layers import last_clicks, zero_padding
from nearnext.model.tensors import as_array, as_tensor
from nearnext.options import Count, Fraction, options
from nearnext.types import IndexArray, Int64Array, ScoreArray


@options
class Attention:
    """Session encoder φ: additive attention over the clicks with the last one as query, and the last click, gated.

    Attributes:
        dim: dimension D of the session embedding, which is that of the clicks.
        positions: distances from the last click that are distinguished, at least 1; older clicks share the last.
        dropout: share of a click's dimensions dropped in training, in [0, 1).
        correction: whether the session may leave the span of its clicks.

    Raises:
        ConfigError: an option out of range, or a dimension that is not that of the clicks.

    >>> Attention(dim=8)
    Attention(dim=8, positions=20, dropout=0.0, correction=True)
    """

    dim: Dim = 400
    positions: Count = 20
    dropout: Fraction = 0.0
    correction: bool = True

    def build(self, input_dim: int) -> SessionEncoder:
        require_same_dim("attention", self.dim, input_dim)
        return AttentionEncoder(self)


class AttentionEncoder(SessionEncoder):
    """β₁ g + β₂ h (+ P [g, h]) of the attention read-out g and the last click h, all clicks normalised to length 1.

    The weight of click j for the prefix that ends at click t is the softmax over j ≤ t of
    ``v · tanh(W₁ x_t + W₂ x_j + W₃ p_{t−j}) + r_{t−j}``; (β₁, β₂) is a softmax of a linear function of [g, h].
    """

    def __init__(self, config: Attention) -> None:
        super().__init__()
        dim = config.dim
        self.last = nn.Linear(dim, dim)
        self.click = nn.Linear(dim, dim, bias=False)
        self.place = nn.Linear(dim, dim, bias=False)
        self.energy = nn.Linear(dim, 1, bias=False)
        self.gate = nn.Linear(2 * dim, 2)
        self.correction = nn.Linear(2 * dim, dim, bias=False) if config.correction else None
        self.position = nn.Parameter(torch.randn(config.positions, dim) * 0.02)
        self.recency = nn.Parameter(torch.zeros(config.positions))
        self.dropout = nn.Dropout(config.dropout)
        self.scale = dim**0.5  # a click of length 1 has coordinates of size 1 / √D: weights expect size 1
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        if self.correction is not None:
            nn.init.zeros_(self.correction.weight)

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        placed = self._placed(clicks, mask)
        last, _ = last_clicks(placed, mask, length=1)
        steps = torch.arange(placed.shape[1], device=placed.device)
        distance = (mask.sum(dim=1, keepdim=True) - 1 - steps).clamp_min(0)
        return self._read(placed, last, distance[:, None], mask[:, None])[:, 0]

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Embeddings of all prefixes, not yet normalised; index t is that of the clicks up to t: [B, T, D]."""
        placed = self._placed(clicks, mask)
        steps = torch.arange(placed.shape[1], device=placed.device)
        distance = (steps[:, None] - steps).clamp_min(0)
        visible = mask[:, None] & (steps[:, None] >= steps)
        lengths = mask.sum(dim=1) if placed.device.type == "cpu" and placed.dtype == torch.float32 else None
        return self._read(placed, placed, distance[None], visible, lengths)

    def compiled(self) -> CompiledEncoder:
        """The encoder as it is now, without dropout, for arrays."""
        with torch.no_grad():
            place = self.place(self.position * self.scale)
            correction = None if self.correction is None else as_array(self.correction.weight.T)
            weights = AttentionWeights(
                last=as_array(self.last.weight.T * self.scale),
                last_bias=as_array(self.last.bias),
                click=as_array(self.click.weight.T * self.scale),
                place=as_array(place),
                energy=as_array(self.energy.weight[0]),
                recency=as_array(self.recency),
                gate=as_array(self.gate.weight * self.scale),
                gate_bias=as_array(self.gate.bias),
                correction=np.zeros((0, place.shape[1]), np.float32) if correction is None else correction,
            )

        return partial(encode_by_attention, weights)

    def _placed(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return self.dropout(l2_normalised(zero_padding(clicks, mask)))

    def _read(
        self, clicks: Tensor, last: Tensor, distance: Tensor, visible: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """Session embeddings: clicks [B, T, D], last clicks of Q prefixes [B, Q, D], masks [B, Q, T] → [B, Q, D].

        ``lengths`` [B] says that all prefixes are read, and that compiled code can compute their energies.
        """
        distance = distance.clamp_max(len(self.position) - 1)
        place = self.place(self.position * self.scale)
        asked, inner = self.last(last * self.scale), self.click(clicks * self.scale)
        # The sum over dimensions of v · tanh(...) for every pair of a prefix and a click.
        if lengths is None:
            energy = self.energy(torch.tanh(asked[:, :, None] + inner[:, None] + place[distance]))[..., 0]
        else:
            energy: Tensor = cast("Any", _Energies).apply(asked, inner, place, self.energy.weight[0], lengths)
        energy = energy + self.recency[distance]
        weight = energy.masked_fill(~visible, torch.finfo(energy.dtype).min / 2).softmax(dim=-1)
        both = torch.cat([weight @ clicks, last], dim=-1)
        share = self.gate(both * self.scale).softmax(dim=-1)
        mixed = share[..., :1] * both[..., : last.shape[-1]] + share[..., 1:] * last
        return mixed if self.correction is None else mixed + self.correction(both)


class _Energies(torch.autograd.Function):
    """v · tanh(a_t + c_j + p_{t−j}) for all clicks j ≤ t of each session, 0 for other pairs: [B, T, T].

    Of B sessions [B, T, D] the first ``lengths`` clicks count [B]. Neither the vectors of the pairs nor their padding
    are in memory: the backward pass computes them again.
    """

    @staticmethod
    def forward(ctx: Any, asked: Tensor, inner: Tensor, place: Tensor, energy: Tensor, lengths: Tensor) -> Tensor:
        given = tuple(one.detach().contiguous().numpy() for one in (asked, inner, place, energy, lengths))
        energies = asked.new_zeros(*asked.shape[:2], asked.shape[1])
        _add_energies(*given, energies.numpy())  # pyright: ignore[reportCallIssue]
        ctx.given = given
        return energies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients = tuple(np.zeros_like(one) for one in ctx.given[:4])
        _add_gradients(*ctx.given, slopes[0].contiguous().numpy(), *gradients)  # pyright: ignore[reportCallIssue]
        return (*map(as_tensor, gradients), None)


FASTMATH = {"reassoc", "contract"}
"""Sums may be taken in any order, the same one at every call: each depends on nothing but the dimension."""


class AttentionWeights(NamedTuple):
    """Weights of an `AttentionEncoder`, its scale of the clicks √D multiplied in; P positions, input by output."""

    last: ScoreArray  # of the last click: [D, D]
    last_bias: ScoreArray  # [D]
    click: ScoreArray  # of every click: [D, D]
    place: ScoreArray  # what each distance from the last click adds: [P, D]
    energy: ScoreArray  # [D]
    recency: ScoreArray  # of each distance: [P]
    gate: ScoreArray  # [2, 2 D]
    gate_bias: ScoreArray  # [2]
    correction: ScoreArray  # [2 D, D], or [0, D] where there is none


@compiled(fastmath=FASTMATH)
def encode_by_attention(
    weights: AttentionWeights, table: ScoreArray, clicks: IndexArray, known: IndexArray, vectors: ScoreArray
) -> None:
    """Session embeddings, not yet normalised, as `AttentionEncoder` gives them up to rounding.

    Item i has the embedding in row i of ``table`` [I + 1, D]; clicks are known item indices, oldest first [B, L], of
    which ``known`` count [B]; ``vectors`` receives the embeddings, zeros where nothing is known [B, D].
    """
    dim, longest = table.shape[1], clicks.shape[1]
    placed = np.empty((longest, dim), dtype=np.float32)
    share = np.empty(longest, dtype=np.float32)
    asked = np.empty(dim, dtype=np.float32)
    inner = np.empty(dim, dtype=np.float32)
    both = np.empty(2 * dim, dtype=np.float32)
    for row in range(len(clicks)):
        length = known[row]
        if length == 0:
            vectors[row] = 0.0
            continue
        for at in range(length):
            copy_to(placed[at], table[clicks[row, at]])
        normalise_rows(placed[:length], placed)
        last = placed[length - 1]
        copy_to(asked, weights.last_bias)
        add_product(last, weights.last, asked)
        for at in range(length):
            distance = min(length - 1 - at, len(weights.place) - 1)
            copy_to(inner, weights.place[distance])
            add_product(placed[at], weights.click, inner)
            share[at] = weights.recency[distance] + _energy(asked, inner, weights.energy)
        _softmax(share[:length])
        both[:dim] = 0.0
        both[dim:] = last
        add_product(share[:length], placed[:length], both[:dim])
        _mix(weights, both, last, vectors[row])


@compiled(fastmath=FASTMATH)
def _mix(weights: AttentionWeights, both: ScoreArray, last: ScoreArray, vector: ScoreArray) -> None:
    """The read-out and the last click by the gate's shares, and the correction."""
    dim = len(last)
    mean, end = weights.gate_bias[0], weights.gate_bias[1]
    for at in range(2 * dim):
        mean += weights.gate[0, at] * both[at]
        end += weights.gate[1, at] * both[at]
    of_mean = np.float32(1.0) / (np.float32(1.0) + np.exp(end - mean))
    for at in range(dim):
        vector[at] = of_mean * both[at] + (np.float32(1.0) - of_mean) * last[at]
    add_product(both, weights.correction, vector)


@compiled(fastmath=FASTMATH)
def _energy(asked: ScoreArray, inner: ScoreArray, energy: ScoreArray) -> np.float32:
    total = np.float32(0.0)
    for at in range(len(asked)):
        total += energy[at] * tanh(asked[at] + inner[at])
    return total


@compiled(fastmath=FASTMATH)
def _add_energies(
    asked: ScoreArray,
    inner: ScoreArray,
    place: ScoreArray,
    energy: ScoreArray,
    lengths: Int64Array,
    energies: ScoreArray,
) -> None:
    """Energies of the pairs of a prefix and a click, see `_Energies`."""
    for session in range(len(lengths)):
        for end in range(lengths[session]):
            for at in range(end + 1):
                near = place[min(end - at, len(place) - 1)]
                a, c, total = asked[session, end], inner[session, at], np.float32(0.0)
                for d in range(len(energy)):
                    total += energy[d] * tanh(a[d] + c[d] + near[d])
                energies[session, end, at] = total


@compiled(fastmath=FASTMATH)
def _add_gradients(
    asked: ScoreArray,
    inner: ScoreArray,
    place: ScoreArray,
    energy: ScoreArray,
    lengths: Int64Array,
    slopes: ScoreArray,
    of_asked: ScoreArray,
    of_inner: ScoreArray,
    of_place: ScoreArray,
    of_energy: ScoreArray,
) -> None:
    """Gradients by what `_add_energies` reads, given those by the energies [B, T, T]."""
    for session in range(len(lengths)):
        for end in range(lengths[session]):
            for at in range(end + 1):
                far, slope = min(end - at, len(place) - 1), slopes[session, end, at]
                a, c, p = asked[session, end], inner[session, at], place[far]
                of_a, of_c, of_p = of_asked[session, end], of_inner[session, at], of_place[far]
                for d in range(len(energy)):
                    value = tanh(a[d] + c[d] + p[d])
                    of_energy[d] += slope * value
                    move = slope * energy[d] * (np.float32(1.0) - value * value)
                    of_a[d] += move
                    of_c[d] += move
                    of_p[d] += move


@compiled()
def _softmax(values: ScoreArray) -> None:
    highest, total = values.max(), np.float32(0.0)
    for at in range(len(values)):
        values[at] = np.exp(values[at] - highest)
        total += values[at]
    for at in range(len(values)):
        values[at] /= total

"""Distances between sessions and items in the common metric space, defined here only.

Every distance is at least 0; lower is nearer. With u = x / ‖x‖ and v = y / ‖y‖:

- ``cosine``: 1 − u·v, in [0, 2]. A zero vector has no direction and has distance 1 to everything.
- ``euclidean``: ‖x − y‖.
- ``squared_euclidean``: ‖x − y‖².

Values are float32 at least, whatever the precision of the embeddings or of autocast: margins are compared with them.
Gradients are finite everywhere, 0 where two vectors are equal.

Paper: d in §3 and §4; cosine is what the experiments use (§4).
Deviation: ŷ is 1 − d in §3 and d in §4; here a distance is always d, and a score is its negative.
"""

from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from nearnext.compiled import compiled
from nearnext.options import require_known
from nearnext.types import ScoreArray

DistanceName = Literal["cosine", "euclidean", "squared_euclidean"]
"""Name of a distance."""

DISTANCES: tuple[DistanceName, ...] = get_args(DistanceName)
"""Names of the distances."""

_SHORTEST = 1e-12


class _Normalise(torch.autograd.Function):
    """x / ‖x‖ with its gradient (g − u (u·g)) / ‖x‖, in half the operations that autograd would take."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        squared = vectors.square().sum(dim=-1, keepdim=True)
        long = squared > _SHORTEST**2
        scale = squared.where(long, 1.0).rsqrt()
        unit = vectors * scale
        ctx.save_for_backward(unit, scale, scale.where(long, 0.0))
        return unit

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        unit, scale, radial_scale = ctx.saved_tensors
        radial = (unit * gradients[0]).sum(dim=-1, keepdim=True) * radial_scale
        return torch.addcmul(gradients[0] * scale, unit, radial, value=-1)


def l2_normalised(vectors: Tensor) -> Tensor:
    """Vectors of length 1 in the same directions, float32 at least; zero vectors stay zero: [..., D].

    Gradients are finite everywhere, at the zero vector too.

    >>> l2_normalised(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6..., 0.8...], [0.0, 0.0]]
    """
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return cast("Any", _Normalise).apply(wide)


@compiled(fastmath={"reassoc", "contract"})
def normalise_rows(vectors: ScoreArray, units: ScoreArray) -> None:
    """What `l2_normalised` gives, of an array, written into another or the same one: [B, D]."""
    for row in range(len(vectors)):
        squared = np.float32(0.0)
        for position in range(vectors.shape[1]):
            squared += vectors[row, position] * vectors[row, position]
        scale = np.float32(1.0) / np.sqrt(squared) if squared > _SHORTEST**2 else np.float32(1.0)
        for position in range(vectors.shape[1]):
            units[row, position] = vectors[row, position] * scale


def pairwise(anchors: Tensor, others: Tensor, distance: DistanceName = "cosine") -> Tensor:
    """Distance of each anchor to its own other vector: [B, D], [B, D] → [B]."""
    return to_sets(anchors, others.unsqueeze(1), distance).squeeze(1)


def to_sets(anchors: Tensor, sets: Tensor, distance: DistanceName = "cosine", *, normalised: bool = False) -> Tensor:
    """Distances of each anchor to its own set of N vectors: [B, D], [B, N, D] → [B, N].

    ``normalised`` says that all vectors have length 1 or 0 already, which saves work for the cosine distance.
    """
    return all_pairs(anchors.unsqueeze(1), sets, distance, normalised=normalised).squeeze(1)


def all_pairs(anchors: Tensor, items: Tensor, distance: DistanceName = "cosine", *, normalised: bool = False) -> Tensor:
    """Distances of every anchor to every item: [..., B, D], [..., N, D] → [..., B, N].

    ``normalised`` says that all vectors have length 1 or 0 already, which saves work for the cosine distance.
    """
    require_known("distance", distance, DISTANCES)
    precision = torch.promote_types(torch.promote_types(anchors.dtype, items.dtype), torch.float32)
    with torch.autocast(anchors.device.type, enabled=False):
        if distance == "cosine":
            ends = anchors.to(precision), items.to(precision)
            return _cosine(*ends) if normalised else _cosine(*map(l2_normalised, ends))
        squared = _squared_euclidean(anchors.to(precision), items.to(precision))
        return (squared if distance == "squared_euclidean" else _root(squared)).to(precision)


def _cosine(anchors: Tensor, items: Tensor) -> Tensor:
    # In this order the gradient of the items, the larger part, comes out contiguous.
    return (1.0 - (items @ anchors.mT).mT).clamp(0.0, 2.0)


def _squared_euclidean(anchors: Tensor, items: Tensor) -> Tensor:
    shapes = anchors.shape[:-2], items.shape[:-2]
    batch = cast("torch.Size", torch.broadcast_shapes(*shapes))  # pyright: ignore[reportUnknownMemberType]
    ends = [end.expand(*batch, *end.shape[-2:]) for end in (anchors, items)]
    return cast("Any", _SquaredEuclidean).apply(*ends)


class _SquaredEuclidean(torch.autograd.Function):
    """‖x − y‖² in double precision, with its gradient 2 Σ g (x − y) in that of the vectors.

    One matrix product instead of B × N differences; in double precision, for the terms cancel where vectors are near.
    """

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, items: Tensor) -> Tensor:
        ctx.save_for_backward(anchors, items)
        x, y = anchors.double(), items.double()
        lengths = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)  # [..., B, N]
        return (lengths - 2.0 * x @ y.mT).clamp_min(0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        anchors, items = ctx.saved_tensors
        pulls = 2.0 * gradients[0].to(anchors.dtype)
        of_anchors = pulls.sum(-1, keepdim=True) * anchors - pulls @ items
        return of_anchors, pulls.sum(-2).unsqueeze(-1) * items - pulls.mT @ anchors


def _root(squared: Tensor) -> Tensor:
    # The slope of √ is infinite at 0: equal vectors get the subgradient 0 instead.
    equal = squared == 0.0
    return squared.masked_fill(equal, 1.0).sqrt().masked_fill(equal, 0.0)

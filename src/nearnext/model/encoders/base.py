"""The session encoder φ: a frozen config that users write, and the module that it builds.

Paper: §4.4. Shapes: B sessions, T clicks, D_in the dimension of a click's embedding, D that of the metric space.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.options import Count, Fraction, Search
from nearnext.types import IndexArray, ScoreArray

Dim = Annotated[
    Count, Search(choices=(64, 96, 128, 192, 256), why="larger: separates more items, slower, overfits small logs")
]
"""Dimension D of the session embedding."""

Hidden = Annotated[Count, Search(choices=(64, 96, 128, 192, 256), why="units of the recurrent layer")]
"""Units of a recurrent layer."""

Dropout = Annotated[Fraction, Search(0.0, 0.6, why="against overfitting, which sparse logs need")]
"""Share dropped in training."""

CompiledEncoder = Callable[[ScoreArray, IndexArray, IndexArray, ScoreArray], None]
"""Arguments: item embeddings [I + 1, D_in], clicks [B, L], number of clicks [B], and the session embeddings to write,
not normalised: [B, D]."""


class SessionEncoder(nn.Module, ABC):
    """A session encoder φ: the embedding of a session from the embeddings of its clicks.

    Padding never changes a result. A session without clicks is encoded as zeros, through the dense layers if any.

    >>> from nearnext.model.encoders import AvgPool
    >>> encoder = AvgPool(dim=2).build(input_dim=2)
    >>> encoder(torch.tensor([[[1.0, 0.0], [3.0, 2.0], [9.0, 9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2., 1.]])
    """

    @abstractmethod
    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Session embeddings, not yet normalised: [B, D].

        Args:
            clicks: embeddings of the clicks, oldest first, padded at the right; T is at least 1: [B, T, D_in].
            mask: true at real clicks, which come first in each row: [B, T].
        """

    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Embeddings of all prefixes, not yet normalised: at step t that of the clicks up to t: [B, T, D].

        Default: encodes each prefix on its own, which costs up to T times as much as the longest one. Values at
        padding are arbitrary.
        """
        rows, ends = mask.nonzero(as_tuple=True)
        steps = torch.arange(mask.shape[1], device=mask.device)
        encoded = self(clicks[rows], steps <= ends[:, None])
        return encoded.new_zeros(*mask.shape, encoded.shape[1]).index_put((rows, ends), encoded)

    def compiled(self) -> CompiledEncoder | None:
        """A compiled form of the encoder with its present weights; None if there is none."""
        return None


@runtime_checkable
class EncoderConfig(Protocol):
    """The options of a session encoder: frozen, comparable, and all that is needed to build it."""

    @property
    def dim(self) -> int:
        """Dimension D of the session embedding."""
        ...

    def build(self, input_dim: int) -> SessionEncoder:
        """A new encoder for clicks of dimension ``input_dim``, its weights drawn from torch's global generator."""
        ...


def require_same_dim(encoder: str, dim: int, input_dim: int) -> None:
    """Check that an encoder without weights gets clicks of its own dimension, or raise `ConfigError`."""
    if dim != input_dim:
        raise ConfigError(f"{encoder} keeps the clicks' dimension: expected {dim}, found {input_dim}; make them equal")

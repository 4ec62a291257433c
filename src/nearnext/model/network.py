"""The two-tower network: session encoder φ and item encoder ω into one metric space.

Paper: d(φ(s), ω(i)) in §4; common embedding in §5.6 and Table 3.
Deviation: a long session is its last clicks in training and prediction alike, where the authors' code predicts from the
first ones; and the item tower is trained, whose weights never reach the optimiser there.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError, DataError
from nearnext.model.distances import DISTANCES, DistanceName, l2_normalised, normalise_rows
from nearnext.model.encoders.base import EncoderConfig
from nearnext.model.layers import feed_forward, freeze
from nearnext.options import Count, Natural, Positive, checked, options, require_known
from nearnext.types import IndexArray, ScoreArray


@options
class ItemTower:
    """Item encoder ω: the item's embedding, through linear, tanh, linear layers where ``hidden`` is positive.

    The authors' program ends in another tanh, never trains these layers, so that they are a fixed random map, and keeps
    embeddings within a ball. Paper: ω in §4; §5.2.
    """

    dim: Count = 400  # dimension D of the embedding and of the metric space
    hidden: Natural = 0  # units of the hidden layer; 0 leaves the embedding as it is
    initial_std: Positive | None = None  # of the embeddings before training; None lets the network choose
    last_tanh: bool = False  # whether a tanh follows the last layer
    frozen: bool = False  # whether the layers keep the weights that they begin with
    max_norm: Positive | None = None  # longer embeddings are scaled down to it where they are read, by sessions too

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


EncodeClicks = Callable[[IndexArray, IndexArray, ScoreArray], None]
"""Takes known item indices [B, L], how many of them there are [B], and writes embeddings [B, D]."""


class SessionItemNetwork(nn.Module):
    """Embeddings of sessions and of items in one metric space.

    For the cosine distance both towers end in an L2 normalisation; for the Euclidean ones the space is unbounded.
    Embeddings start as normal values, of standard deviation 1 where the session encoder has weights of its own, which
    are initialised for such inputs, and 1/√D where it has none: Adam turns short embeddings faster, and the table is
    then all there is to learn. ``item.initial_std`` overrides it.

    Items are 1..I; index 0 is padding or an unknown item. Both towers have one dimension, and read one embedding
    table (Table 3, Comm. Emb.) unless not ``common_embedding``. φ sees the last ``max_length`` clicks of a session.
    """

    def __init__(
        self,
        n_items: int,
        item: ItemTower,
        encoder: EncoderConfig,
        *,
        common_embedding: bool = True,
        distance: DistanceName = "cosine",
        max_length: int = 15,
    ) -> None:
        super().__init__()
        n_items, max_length = checked("n_items", n_items, Count), checked("max_length", max_length, Count)
        require_known("distance", distance, DISTANCES)
        if encoder.dim != item.dim:
            raise ConfigError(
                f"the item tower has dimension {item.dim}, the session encoder {encoder.dim}; give both the same dim"
            )
        self.n_items = n_items
        self.distance: DistanceName = distance
        self.max_length = max_length
        self.item = item
        self.session_encoder = encoder.build(item.dim)
        self.item_encoder = item.build()
        weighted = any(True for _ in self.session_encoder.parameters())
        std = item.initial_std or (1.0 if weighted else item.dim**-0.5)
        self.item_embedding = _embedding_table(n_items, item.dim, std)
        self.click_embedding = None if common_embedding else _embedding_table(n_items, item.dim, std)
        self.instead: EncodeClicks | None = None  # used at inference: it gives the same up to rounding

    def take_over(self, weights: Mapping[str, Tensor], n_items: int) -> None:
        """Load weights for another number of items without a copy: the network then shares their memory."""
        self.n_items = n_items
        for table in filter(None, (self.item_embedding, self.click_embedding)):
            table.num_embeddings = n_items + 1
            table.weight = nn.Parameter(torch.empty(n_items + 1, table.embedding_dim, device="meta"))
        kinds = {name: tensor.dtype for name, tensor in self.state_dict().items()}
        taken = {name: tensor.to(kinds.get(name, tensor.dtype)) for name, tensor in weights.items()}
        self.load_state_dict(taken, assign=True)

    def forward(self, sessions: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of sessions [B, T] → [B, D] and of candidate items [B, N] → [B, N, D]."""
        return self.encode_sessions(sessions), self.encode_items(candidates)

    def encode_sessions(self, items: Tensor) -> Tensor:
        """Session embeddings φ(s): [B, T] → [B, D], of length 1 for the cosine distance.

        Clicks are item indices, oldest first. Those of index 0 are dropped wherever they stand, then the last
        ``max_length`` of the rest are encoded; a session without known clicks gets a finite embedding that says
        nothing of it.
        """
        if items.ndim != 2:  # noqa: PLR2004 - rows are sessions
            raise DataError(f"expected clicks of shape [B, T], found {list(items.shape)}; pad sessions with 0")
        self._require_indices(items)
        return self.encode_clicks(last_known(items, self.max_length))

    def encode_clicks(self, clicks: Tensor) -> Tensor:
        """Session embeddings as `encode_sessions` gives them, of clicks that need no rearranging: [B, T] → [B, D].

        They are known, oldest first, at most ``max_length``, padded at the right with 0. This is not checked.
        """
        table = self.item_embedding if self.click_embedding is None else self.click_embedding
        return self.encode_embedded(self.limited(table(clicks)), clicks > 0)

    def encode_embedded(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Session embeddings of `limited` rows of clicks, true where they are real: [B, T, D], [B, T] → [B, D]."""
        return self._placed(self.session_encoder(clicks, mask))

    def compiled(self) -> EncodeClicks | None:
        """`encode_clicks` on arrays with the present weights; None where there is no such code."""
        if self.instead is not None:
            return self.instead
        supported = self.item_embedding.weight.device.type == "cpu" and self.item.max_norm is None
        encode = self.session_encoder.compiled() if supported else None
        if encode is None:
            return None
        shared = self.item_embedding if self.click_embedding is None else self.click_embedding
        table = shared.weight.detach().numpy()

        def encode_clicks(clicks: IndexArray, known: IndexArray, vectors: ScoreArray) -> None:
            encode(table, clicks, known, vectors)
            if self.distance == "cosine":
                normalise_rows(vectors, vectors)

        return encode_clicks

    def encode_items(self, indices: Tensor | None = None) -> Tensor:
        """Item embeddings ω(i): [...] → [..., D], of length 1 for the cosine distance.

        None gives items 1..I in order, [I, D]: row j is item j + 1. Index 0 gives a finite embedding that stands for
        none.
        """
        if indices is None:
            return self.encode_rows(self.item_embedding.weight[1:])
        self._require_indices(indices)
        return self.encode_rows(self.item_embedding(indices))

    def encode_rows(self, rows: Tensor) -> Tensor:
        """Item embeddings of rows of the embedding table: [..., D] → [..., D]."""
        return self.encode_limited(self.limited(rows))

    def encode_limited(self, rows: Tensor) -> Tensor:
        """Item embeddings of `limited` rows of the embedding table: [..., D] → [..., D]."""
        return self._placed(self.item_encoder(rows))

    def limited(self, rows: Tensor) -> Tensor:
        """Embeddings as both towers read them, at most ``max_norm`` long: [..., D] → [..., D]."""
        if self.item.max_norm is None:
            return rows
        squared = rows.square().sum(dim=-1, keepdim=True)
        return rows * (self.item.max_norm * squared.clamp_min(self.item.max_norm**2).rsqrt())

    def _placed(self, embeddings: Tensor) -> Tensor:
        return l2_normalised(embeddings) if self.distance == "cosine" else embeddings

    def _require_indices(self, indices: Tensor) -> None:
        if indices.dtype not in {torch.int64, torch.int32}:
            raise DataError(f"expected item indices as int64, found {indices.dtype}; encode raw ids by the vocabulary")
        # On an accelerator the check would wait for the device at every step.
        if indices.device.type == "cpu" and indices.numel():
            lowest, highest = (int(bound) for bound in indices.aminmax())
            if lowest < 0 or highest > self.n_items:
                raise DataError(
                    f"expected item indices in 0..{self.n_items}, found {lowest}..{highest}; "
                    "encode the clicks with the vocabulary that this network was built for"
                )


def _embedding_table(n_items: int, dim: int, std: float) -> nn.Embedding:
    # The padding row gets no gradient, hence stays zero.
    table = nn.Embedding(n_items + 1, dim, padding_idx=0)
    with torch.no_grad():
        table.weight.normal_(std=std)[0] = 0.0
    return table


def last_known(items: Tensor, max_length: int) -> Tensor:
    """The last ``max_length`` known clicks of each session, in order, padded at the right: [B, T] → [B, min(T, L)]."""
    if items.shape[1] == 0:
        return items.new_zeros(len(items), 1)
    known = items > 0
    newer = known.flip(1).cumsum(1).flip(1)  # known clicks from here on: 1 at the last known one
    kept = known & (newer <= max_length)
    steps = torch.arange(items.shape[1], device=items.device)
    front = torch.where(kept, steps, steps + len(steps)).argsort(1)[:, :max_length]  # kept clicks first, in order
    return items.masked_fill(~kept, 0).gather(1, front)

"""Embeddings for ranking, as arrays: all items once, and prefixes in blocks of similar length.

An embedding is the same up to rounding whatever the block. Each call takes one thread: callers that rank in several
threads gain no more from those of torch. Encoders that have a compiled form take one session after the other.
"""

import numpy as np
import torch

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.model.network import SessionItemNetwork
from nearnext.model.tensors import as_tensor, one_thread
from nearnext.types import BoolArray, IndexArray, Int64Array, ScoreArray

BLOCK_ROWS = 256
"""Sessions encoded together: many enough for matrix products, few enough to be of similar length."""

BLOCK_ITEMS = 4096
"""Items encoded together."""


def item_vectors(network: SessionItemNetwork, indices: IndexArray | None = None) -> ScoreArray:
    """Item embeddings ω(i) of item indices, by default of items 1..I in order: [n, D]."""
    device = network.item_embedding.weight.device
    rows = np.arange(1, network.n_items + 1) if indices is None else indices.astype(np.int64)
    training, blocks = network.training, list[torch.Tensor]()
    network.eval()
    with torch.inference_mode(), one_thread():
        for begin in range(0, len(rows), BLOCK_ITEMS):
            block = as_tensor(rows[begin : begin + BLOCK_ITEMS]).to(device)
            blocks.append(network.encode_items(block).cpu())
    network.train(training)
    return torch.cat(blocks).numpy()


def row_vectors(network: SessionItemNetwork, rows: ScoreArray) -> ScoreArray:
    """Item embeddings of rows that are not in the embedding table: [n, D] → [n, D]."""
    with torch.inference_mode(), one_thread():
        return network.encode_rows(as_tensor(rows)).numpy()


class SessionEncoding:
    """Session embeddings φ(s) of a network as it is now, for prefixes in any number."""

    def __init__(
        self, network: SessionItemNetwork, trained: BoolArray | None = None, *, preferred: BoolArray | None = None
    ) -> None:
        """``trained``: item indices with an embedding; ``preferred``: those used alone if a prefix has any: [I + 1]."""
        self._network = network
        self._trained = np.arange(network.n_items + 1) > 0 if trained is None else trained
        self._preferred = self._trained if preferred is None or preferred[1:].all() else preferred
        self._compiled = network.compiled()

    def __call__(self, prefixes: Prefixes) -> tuple[ScoreArray, IndexArray]:
        """Session embeddings and how many clicks of each prefix were encoded: [B, D], [B].

        A prefix without known clicks has a zero vector.
        """
        network = self._network
        size = network.n_items, network.max_length
        clicks, known = last_known_clicks(prefixes, *size, self._preferred)
        if self._preferred is not self._trained and len(rest := np.flatnonzero(known == 0)):
            clicks[rest], known[rest] = last_known_clicks(prefixes.take(rest), *size, self._trained)
        vectors = np.zeros((len(prefixes), network.item_embedding.embedding_dim), dtype=np.float32)
        encode = network.instead or self._compiled
        if encode is not None:
            encode(clicks, known, vectors)
        else:
            _encode_blocks(network, clicks, known, vectors)
        return vectors, known


def _encode_blocks(network: SessionItemNetwork, clicks: IndexArray, known: IndexArray, vectors: ScoreArray) -> None:
    """Embeddings by the network itself, in order of length to pad little, written into ``vectors``."""
    device = network.item_embedding.weight.device
    by_length = np.argsort(known, kind="stable")[np.count_nonzero(known == 0) :]
    with torch.inference_mode(), one_thread():
        for begin in range(0, len(by_length), BLOCK_ROWS):
            rows = by_length[begin : begin + BLOCK_ROWS]
            block = as_tensor(clicks[rows, : known[rows[-1]]]).to(device, torch.int64)
            vectors[rows] = network.encode_clicks(block).cpu().numpy()


def last_known_clicks(
    prefixes: Prefixes, n_items: int, max_length: int, trained: BoolArray | None = None
) -> tuple[IndexArray, IndexArray]:
    """The last known clicks of each prefix, oldest first, padded at the right with 0, and how many: [B, L], [B].

    ``trained`` says which item indices to know, by default all from 1 on: [I + 1].

    >>> clicks, known = last_known_clicks(Prefixes.of([np.array([3, 0, 2, 1], np.int32)]), 3, 2)
    >>> clicks.tolist(), known.tolist()
    ([[2, 1]], [2])
    """
    clicks = np.zeros((len(prefixes), max_length), dtype=np.int32)
    known = np.zeros(len(prefixes), dtype=np.int32)
    listed = np.arange(n_items + 1) > 0 if trained is None else trained
    _last_known(prefixes.items, prefixes.starts, prefixes.ends, listed, clicks, known)
    return clicks, known


@compiled()
def _last_known(
    items: IndexArray, starts: Int64Array, ends: Int64Array, listed: BoolArray, clicks: IndexArray, known: IndexArray
) -> None:
    """The last known clicks of each prefix, in order from the left, written into ``clicks``, and how many."""
    width = clicks.shape[1]
    for row in range(len(starts)):
        position = ends[row]
        while position > starts[row] and known[row] < width:
            position -= 1
            known[row] += listed[items[position]]
        column = 0
        for click in range(position, ends[row]):
            if listed[items[click]]:
                clicks[row, column] = items[click]
                column += 1

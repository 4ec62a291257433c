"""Embeddings for ranking, as arrays: all items once, and prefixes in blocks of one shape.

An embedding must not depend on the company in which it is computed, to the last bit. Matrix products and convolutions
give that only for inputs of one shape: prefixes of one length are therefore encoded together, in blocks of a fixed
number of rows, on one thread; encoders that have a compiled form take one session after the other.
"""

from itertools import pairwise

import numpy as np
import torch

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.model.network import SessionItemNetwork
from nearnext.model.tensors import as_tensor
from nearnext.model.threads import one_thread
from nearnext.types import BoolArray, IndexArray, Int64Array, ScoreArray

__all__ = ["SessionEncoding", "item_vectors", "last_known_clicks", "session_vectors"]

BLOCK_ROWS = 32
"""Sessions encoded together: many enough for matrix products, few enough for the answer to a single session."""

BLOCK_ITEMS = 4096
"""Items encoded together."""


def item_vectors(network: SessionItemNetwork, indices: IndexArray | None = None) -> ScoreArray:
    """Item embeddings ω(i) of item indices, by default of items 1..I in order: [n, D].

    >>> from nearnext.model.encoders import MaxPool
    >>> from nearnext.model.items import ItemTower
    >>> item_vectors(SessionItemNetwork(3, ItemTower(dim=4), MaxPool(dim=4))).shape
    (3, 4)
    """
    device = network.item_embedding.weight.device
    wanted = np.arange(1, network.n_items + 1) if indices is None else indices.astype(np.int64)
    training, blocks = network.training, list[torch.Tensor]()
    network.eval()
    with torch.inference_mode(), one_thread():
        for begin in range(0, len(wanted), BLOCK_ITEMS):
            block = as_tensor(wanted[begin : begin + BLOCK_ITEMS]).to(device)
            blocks.append(network.encode_items(block).cpu())
    network.train(training)
    return torch.cat(blocks).numpy()


class SessionEncoding:
    """Session embeddings φ(s) of a network as it is now, for prefixes in any number.

    Args:
        network: the network, in evaluation mode.
        trained: which item indices to know, by default all from 1 on: [I + 1].

    >>> from nearnext.model.encoders import MaxPool
    >>> from nearnext.model.items import ItemTower
    >>> encode = SessionEncoding(SessionItemNetwork(3, ItemTower(dim=4), MaxPool(dim=4)))
    >>> encode(Prefixes.of([np.array([2], np.int32)]))[0].shape
    (1, 4)
    """

    def __init__(self, network: SessionItemNetwork, trained: BoolArray | None = None) -> None:
        self._network = network
        self._trained = np.arange(network.n_items + 1) > 0 if trained is None else trained
        self._compiled = network.compiled()

    def __call__(self, prefixes: Prefixes) -> tuple[ScoreArray, IndexArray]:
        """Session embeddings and how many clicks of each prefix were encoded: [B, D], [B].

        A prefix without known clicks has a zero vector.

        Args:
            prefixes: item indices of the network's vocabulary: [B].
        """
        network = self._network
        clicks, known = last_known_clicks(prefixes, network.n_items, network.max_length, self._trained)
        vectors = np.zeros((len(prefixes), network.item_embedding.embedding_dim), dtype=np.float32)
        if self._compiled is not None:
            self._compiled(clicks, known, vectors)
        else:
            _encode_blocks(network, clicks, known, vectors)
        return vectors, known


def session_vectors(
    network: SessionItemNetwork, prefixes: Prefixes, trained: BoolArray | None = None
) -> tuple[ScoreArray, IndexArray]:
    """Session embeddings φ(s) as `SessionEncoding` gives them, for a single call: [B, D], [B].

    >>> from nearnext.model.encoders import MaxPool
    >>> from nearnext.model.items import ItemTower
    >>> network = SessionItemNetwork(3, ItemTower(dim=4), MaxPool(dim=4))
    >>> clicks = [np.array([2, 0, 3], np.int32), np.array([0], np.int32)]
    >>> vectors, known = session_vectors(network, Prefixes.of(clicks))
    >>> vectors.shape, known.tolist()
    ((2, 4), [2, 0])
    """
    return SessionEncoding(network, trained)(prefixes)


def _encode_blocks(network: SessionItemNetwork, clicks: IndexArray, known: IndexArray, vectors: ScoreArray) -> None:
    """Embeddings by the network itself, prefixes of one length together, written into ``vectors``."""
    device = network.item_embedding.weight.device
    by_length = np.argsort(known, kind="stable")
    first = np.searchsorted(known[by_length], np.arange(1, network.max_length + 2))
    with torch.inference_mode(), one_thread():
        for length, (begin, end) in enumerate(pairwise(first.tolist()), start=1):
            for at in range(begin, end, BLOCK_ROWS):
                rows = by_length[at : min(at + BLOCK_ROWS, end)]
                block = np.resize(clicks[rows, :length], (BLOCK_ROWS, length))
                encoded = network.encode_clicks(as_tensor(block).to(device, torch.int64))
                vectors[rows] = encoded.cpu().numpy()[: len(rows)]


def last_known_clicks(
    prefixes: Prefixes, n_items: int, max_length: int, trained: BoolArray | None = None
) -> tuple[IndexArray, IndexArray]:
    """The last known clicks of each prefix, oldest first, padded at the right with 0, and how many: [B, L], [B].

    Args:
        prefixes: item indices in 0..I: [B].
        n_items: number of items I.
        max_length: most clicks L.
        trained: which item indices to know, by default all from 1 on: [I + 1].

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
        place = 0
        for click in range(position, ends[row]):
            if listed[items[click]]:
                clicks[row, place] = items[click]
                place += 1

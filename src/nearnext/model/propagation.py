"""Item embeddings before any training: random vectors, averaged over items that are clicked one after the other.

Items that share sessions, directly or through others, end up near one another. On sparse logs, where an item has a
handful of clicks, a network that starts here has learned more before its first step than one that starts at random
does in many epochs. Cost and memory are those of the clicks: no items × items matrix is factorised.

Reference: Chen et al., Fast and Accurate Network Embeddings via Very Sparse Random Projection, CIKM 2019 (FastRP).
Here the graph is weighted by the distance of two clicks, and each step keeps the item's own vector.
"""

from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, diags  # pyright: ignore[reportUnknownVariableType] - scipy is untyped

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.options import Count, Natural, checked
from nearnext.types import FloatArray, IndexArray, ScoreArray

MOST = 20_000_000
"""Clicks whose neighbourhood is counted, at most: about 4 GB of memory."""

WINDOW = 5
"""Clicks that are at most so far apart make their items neighbours, with the weight 1 / distance."""


def propagated_embeddings(sessions: Sessions, dim: int, *, steps: int = 5, seed: int = 0) -> ScoreArray:
    """Embeddings of length 1 for items 1..I, zeros for index 0: [I + 1, D].

    Each of ``steps`` adds the mean of an item's neighbours, which together weigh about 1, to its own vector; 0
    steps leave random directions. Clicks on unknown items (index 0) are left out.
    """
    dim, steps, seed = checked("dim", dim, Count), checked("steps", steps, Natural), checked("seed", seed, Natural)
    graph = neighbouring_items(sessions)
    vectors = np.random.default_rng(seed).standard_normal((sessions.n_items + 1, dim), dtype=np.float32)
    for _ in range(steps):
        vectors = graph @ vectors + vectors
        vectors /= max(float(np.linalg.norm(vectors)) / max(sessions.n_items, 1) ** 0.5, 1e-30)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    vectors[0] = 0.0
    return vectors


def neighbouring_items(sessions: Sessions) -> Any:
    """How near items are clicked to one another, D^−½ A D^−½ of the weights A: sparse [I + 1, I + 1], float32.

    A pair of clicks counts with the weight of the later one. Of a log with more than ``MOST`` clicks so many count, in
    sessions taken evenly from its whole time.
    """
    if sessions.n_events > MOST:
        n_kept = max(1, sessions.n_sessions * MOST // sessions.n_events)
        sessions = sessions.select(np.arange(n_kept) * sessions.n_sessions // n_kept)
    items, owner = sessions.items, sessions.session_of_event()
    first, second, weights = list[IndexArray](), list[IndexArray](), list[ScoreArray]()
    for gap in range(1, min(WINDOW, max(sessions.n_events - 1, 0)) + 1):
        left, right = items[:-gap], items[gap:]
        pair = (owner[:-gap] == owner[gap:]) & (left != right) & (left > 0) & (right > 0)
        first.append(left[pair])
        second.append(right[pair])
        weight = np.full(int(pair.sum()), 1 / gap, dtype=np.float32)
        weights.append(weight if sessions.weights is None else weight * sessions.weights[gap:][pair].astype(np.float32))
    size = sessions.n_items + 1
    positions = (np.concatenate([*first, np.zeros(0, np.int32)]), np.concatenate([*second, np.zeros(0, np.int32)]))
    clicked: Any = coo_matrix(
        (np.concatenate([*weights, np.zeros(0, np.float32)]), positions), shape=(size, size)
    ).tocsr()
    weighted: Any = clicked + clicked.T
    total: FloatArray = np.asarray(weighted.sum(axis=1), dtype=np.float64).ravel()
    scale: Any = diags(np.where(total > 0, 1 / np.sqrt(np.maximum(total, 1e-30)), 0.0))
    return (scale @ weighted @ scale).tocsr().astype(np.float32)


def extended_embeddings(embeddings: ScoreArray, vocabulary: Vocabulary, sessions: Sessions) -> ScoreArray:
    """Embeddings for the J items of other sessions; new ones are at their neighbours' mean: [J + 1, D].

    ``vocabulary`` is that of the embeddings [I + 1, D], in which zeros stand for items without one. New ones have the
    median length of the others, and a random direction without a neighbour that has an embedding.
    """
    table = embeddings[np.append(0, vocabulary.encode(sessions.vocabulary.ids))]
    table[0] = 0.0
    lengths = np.linalg.norm(table, axis=1)
    new = lengths == 0
    new[0] = False
    around: ScoreArray = neighbouring_items(sessions)[np.flatnonzero(new)] @ table
    alone = ~around.any(axis=1)
    around[alone] = np.random.default_rng(len(table)).standard_normal((int(alone.sum()), table.shape[1]))
    length = np.median(lengths[lengths > 0]) if lengths.any() else 1.0
    table[new] = around * (length / np.linalg.norm(around, axis=1, keepdims=True))
    return table

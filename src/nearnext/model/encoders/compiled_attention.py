"""The attention encoder for ranking: compiled, session by session, on arrays instead of tensors.

A single session is far too small for a library of tensors: calling it takes ten times as long as computing. Here one
session after the other is encoded, in the same steps whatever the batch.
"""

from typing import NamedTuple

import numpy as np

from nearnext.compiled import compiled
from nearnext.model.arithmetic import add_product, copy_to, tanh
from nearnext.model.distances import normalise_rows
from nearnext.types import IndexArray, ScoreArray

__all__ = ["AttentionWeights", "encode_by_attention"]

FASTMATH = {"reassoc", "contract"}
"""Sums may be taken in any order, the same one at every call: each depends on nothing but the dimension."""


class AttentionWeights(NamedTuple):
    """Weights of an `AttentionEncoder`, its scale of the clicks √D multiplied in; P positions, input by output.

    Attributes:
        last: of the last click: [D, D].
        last_bias: [D].
        click: of every click: [D, D].
        place: what each distance from the last click adds: [P, D].
        energy: [D].
        recency: of each distance: [P].
        gate: [2, 2 D].
        gate_bias: [2].
        correction: [2 D, D], or [0, D] where there is none.
    """

    last: ScoreArray
    last_bias: ScoreArray
    click: ScoreArray
    place: ScoreArray
    energy: ScoreArray
    recency: ScoreArray
    gate: ScoreArray
    gate_bias: ScoreArray
    correction: ScoreArray


@compiled(fastmath=FASTMATH)
def encode_by_attention(
    weights: AttentionWeights, table: ScoreArray, clicks: IndexArray, known: IndexArray, vectors: ScoreArray
) -> None:
    """Session embeddings, not yet normalised, as `AttentionEncoder` gives them up to rounding.

    Args:
        weights: of the encoder.
        table: embedding of item i in row i: [I + 1, D].
        clicks: known item indices, oldest first: [B, L].
        known: how many of them there are, the others are not read: [B].
        vectors: receives the embeddings, zeros where nothing is known: [B, D].

    >>> zeros = np.zeros((2, 2), np.float32)
    >>> weights = AttentionWeights(
    ...     zeros, zeros[0], zeros, zeros, zeros[0], zeros[0], np.zeros((2, 4), np.float32), zeros[0], zeros[:0]
    ... )
    >>> table, vectors = np.eye(3, 2, -1, np.float32), np.empty((1, 2), np.float32)
    >>> encode_by_attention(weights, table, np.array([[1, 2]], np.int32), np.array([2], np.int32), vectors)
    >>> vectors.tolist()  # half the mean of both clicks, half the last one
    [[0.25, 0.75]]
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
        for place in range(length):
            copy_to(placed[place], table[clicks[row, place]])
        normalise_rows(placed[:length], placed)
        last = placed[length - 1]
        copy_to(asked, weights.last_bias)
        add_product(last, weights.last, asked)
        for place in range(length):
            distance = min(length - 1 - place, len(weights.place) - 1)
            copy_to(inner, weights.place[distance])
            add_product(placed[place], weights.click, inner)
            share[place] = weights.recency[distance] + _energy(asked, inner, weights.energy)
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
    for place in range(2 * dim):
        mean += weights.gate[0, place] * both[place]
        end += weights.gate[1, place] * both[place]
    of_mean = np.float32(1.0) / (np.float32(1.0) + np.exp(end - mean))
    for place in range(dim):
        vector[place] = of_mean * both[place] + (np.float32(1.0) - of_mean) * last[place]
    add_product(both, weights.correction, vector)


@compiled(fastmath=FASTMATH)
def _energy(asked: ScoreArray, inner: ScoreArray, energy: ScoreArray) -> np.float32:
    total = np.float32(0.0)
    for place in range(len(asked)):
        total += energy[place] * tanh(asked[place] + inner[place])
    return total


@compiled()
def _softmax(values: ScoreArray) -> None:
    highest, total = values.max(), np.float32(0.0)
    for place in range(len(values)):
        values[place] = np.exp(values[place] - highest)
        total += values[place]
    for place in range(len(values)):
        values[place] /= total

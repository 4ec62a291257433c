"""Points in the plane that are near where vectors are near: t-SNE, begun at the principal axes.

Reference: van der Maaten & Hinton, Visualizing data using t-SNE, 2008; Belkina et al. 2019 for the learning rate.
Exact: all pairs repel, which a few thousand points afford. Nothing is drawn at random.
"""

import numpy as np

from nearnext.compiled import compiled
from nearnext.types import FloatArray, Int64Array

PERPLEXITY = 20.0
"""Neighbours that a point is drawn to, in effect."""

STEPS, EXAGGERATED = 400, 100
"""Steps of the descent, and how many of them draw neighbours together more strongly."""

EXAGGERATION = 12.0

FEWEST = 8
"""Points below which the principal plane is the layout: there is nothing to unfold."""


def principal_plane(vectors: FloatArray) -> FloatArray:
    """Coordinates along the two principal axes, each turned so that its largest one is positive: [n, D] → [n, 2].

    >>> principal_plane(np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 0.0]])).round(6).tolist()
    [[-1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]]
    """
    centred = vectors - vectors.mean(axis=0)
    sides, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(vectors), 2))
    kept = (sides * lengths)[:, :2]
    turned = kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])] < 0
    points[:, : kept.shape[1]] = np.where(turned, -kept, kept)
    return points


def neighbour_layout(vectors: FloatArray) -> FloatArray:
    """Points whose neighbours are those of the vectors, centred, the farthest at distance 1: [n, D] → [n, 2].

    >>> near = np.repeat(np.eye(3), 20, axis=0) + np.arange(60)[:, None] * 1e-3
    >>> points = neighbour_layout(near)
    >>> bool(np.linalg.norm(points[0] - points[19]) < np.linalg.norm(points[0] - points[20]))
    True
    """
    points = principal_plane(vectors)
    if len(vectors) >= FEWEST:
        rows, columns, weights = _affinities(vectors, min(PERPLEXITY, (len(vectors) - 1) / 3))
        points *= 1e-2 / max(float(points.std()), 1e-12)
        points = _descend(points, rows, columns, weights, max(50.0, len(vectors) / EXAGGERATION))
    points = points - points.mean(axis=0)
    return points / max(float(np.linalg.norm(points, axis=1).max()), 1e-12)


def mixed_place(vector: FloatArray, vectors: FloatArray, points: FloatArray, n_nearest: int = 10) -> FloatArray:
    """Where a further vector belongs: between the points of its nearest vectors, the nearest weighing most: [D] → [2].

    Weights fall with the squared distance over that of the farthest of the nearest.

    >>> mixed_place(np.array([0.0]), np.array([[0.0], [1.0]]), np.array([[0.0, 1.0], [2.0, 1.0]])).round(2).tolist()
    [0.04, 1.0]
    """
    squared = np.square(vectors - vector).sum(axis=1)
    nearest = np.argsort(squared, kind="stable")[:n_nearest]
    weights = np.exp(-4.0 * squared[nearest] / max(float(squared[nearest].max()), 1e-12))
    return weights @ points[nearest] / weights.sum()


def neighbours_kept(vectors: FloatArray, points: FloatArray, n_nearest: int = 10) -> float:
    """Share of each vector's nearest ones that are among its nearest points, on average, in [0, 1]; 1 for one vector.

    >>> line = np.arange(6.0)[:, None]
    >>> neighbours_kept(line, np.hstack([line, line]), n_nearest=2)
    1.0
    """
    n_nearest = min(n_nearest, len(vectors) - 1)
    if n_nearest < 1:
        return 1.0
    near = [np.argpartition(_squared(each), n_nearest - 1, axis=1)[:, :n_nearest] for each in (vectors, points)]
    found = np.zeros((len(vectors), len(vectors)), dtype=np.bool_)
    np.put_along_axis(found, near[0], True, axis=1)
    return float(np.take_along_axis(found, near[1], axis=1).mean())


def _squared(vectors: FloatArray) -> FloatArray:
    """Squared distances of all pairs, ∞ of each to itself: [n, n]."""
    squares = np.square(vectors).sum(axis=1)
    squared = np.maximum(squares[:, None] + squares - 2.0 * vectors @ vectors.T, 0.0)
    np.fill_diagonal(squared, np.inf)
    return squared


def _affinities(vectors: FloatArray, perplexity: float) -> tuple[Int64Array, Int64Array, FloatArray]:
    """Pairs of neighbours and how strongly they are drawn to each other, summing to 1."""
    n = len(vectors)
    squared = _squared(vectors)
    n_near = min(n - 1, int(3 * perplexity))
    near = np.argpartition(squared, n_near - 1, axis=1)[:, :n_near]
    own = _shares(np.take_along_axis(squared, near, axis=1), np.log(perplexity))
    drawn = np.zeros((n, n))
    np.put_along_axis(drawn, near, own, axis=1)
    drawn += drawn.T
    rows, columns = np.nonzero(drawn)
    return rows, columns, drawn[rows, columns] / drawn.sum()


def _shares(squared: FloatArray, entropy: float) -> FloatArray:
    """Gaussian weights of each row's neighbours, of the width at which they have the given entropy: [n, m] → [n, m]."""
    apart = squared - squared.min(axis=1, keepdims=True)
    low, high, precision = (np.full((len(squared), 1), value) for value in (0.0, np.inf, 1.0))
    for _ in range(60):
        weights = np.exp(-apart * precision)
        total = weights.sum(axis=1, keepdims=True)
        spread = np.log(total) + precision * (weights * apart).sum(axis=1, keepdims=True) / total > entropy
        low, high = np.where(spread, precision, low), np.where(spread, high, precision)
        precision = np.where(np.isinf(high), precision * 2.0, (low + high) / 2.0)
    weights = np.exp(-apart * precision)
    return weights / weights.sum(axis=1, keepdims=True)


@compiled()
def _descend(points: FloatArray, rows: Int64Array, columns: Int64Array, weights: FloatArray, rate: float) -> FloatArray:
    n = len(points)
    velocity, gains = np.zeros((n, 2)), np.ones((n, 2))
    pulled, pushed = np.empty((n, 2)), np.empty((n, 2))
    for step in range(STEPS):
        for one in range(n):
            for axis in range(2):
                pulled[one, axis] = pushed[one, axis] = 0.0
        total = 0.0
        for one in range(n):
            x, y = points[one, 0], points[one, 1]
            for other in range(one):
                dx, dy = x - points[other, 0], y - points[other, 1]
                near = 1.0 / (1.0 + dx * dx + dy * dy)
                total += 2.0 * near
                push_x, push_y = near * near * dx, near * near * dy
                pushed[one, 0] += push_x
                pushed[one, 1] += push_y
                pushed[other, 0] -= push_x
                pushed[other, 1] -= push_y
        for pair in range(len(rows)):
            one, other = rows[pair], columns[pair]
            dx, dy = points[one, 0] - points[other, 0], points[one, 1] - points[other, 1]
            pull = weights[pair] / (1.0 + dx * dx + dy * dy)
            pulled[one, 0] += pull * dx
            pulled[one, 1] += pull * dy
        stronger = EXAGGERATION if step < EXAGGERATED else 1.0
        momentum = 0.5 if step < EXAGGERATED else 0.8
        for one in range(n):
            for axis in range(2):
                gradient = 4.0 * (stronger * pulled[one, axis] - pushed[one, axis] / total)
                against = (gradient > 0.0) != (velocity[one, axis] > 0.0)
                gains[one, axis] = gains[one, axis] + 0.2 if against else max(gains[one, axis] * 0.8, 0.01)
                velocity[one, axis] = momentum * velocity[one, axis] - rate * gains[one, axis] * gradient
                points[one, axis] += velocity[one, axis]
    return points

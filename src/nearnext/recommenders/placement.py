"""Items without clicks in a metric space: embedded by ridge regression from attributes.

An item's embedding is the sum of an attribute part and an id part. Ridge regression on the items with clicks gives the
attribute part of every item; the residual is the id part. An item without clicks has no id part: its embedding is its
attribute part. Paper: §4, events "described by a set of attributes".

The missing id part has a length too. Without it, the attribute part would be nearer to every session than items with
an id part, as a mean is nearer than the points that it averages. That length is added in the direction of least
session energy, so that distances are those expected of an item with these attributes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from scipy.sparse import linalg

from nearnext.data.item_features import BINS, SIZE, ItemFeatures, Sparse
from nearnext.data.items import ItemTable
from nearnext.stored_arrays import LARGEST, require_array
from nearnext.types import FloatArray, Int64Array, ScoreArray

HALF_TRUST = 1_000
"""Number of clicks at which an embedding has half of the largest weight."""
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Ridge penalties tried on held-out items."""
HELD_OUT = 0.1
"""Share of items held out to choose the penalty."""
MEASURED = 1_000
"""Items, at least, on which attributes are compared with the mean, if there are so many."""
FEWEST = 15
"""Clicked items with attributes that a measurement needs: a tenth of fewer is one item, which cannot be permuted."""
CRITICAL = 2.326
"""Standard deviations that a sum of gains must exceed: p < 0.01, one-sided."""
LONGEST = 0.999
"""Of an attribute part, where embeddings have length 1."""
STEPS, PRECISION = 200, 1e-6
"""Conjugate-gradient steps of the regression."""


@dataclass(frozen=True, eq=False)
class Placement:
    """A regression from attributes to rows of embedding tables."""

    features: ItemFeatures
    columns: Int64Array  # features present in some item with clicks: [A]
    weights: ScoreArray  # regression weights of these features: [A, D], of two tables [A, 2 D]
    mean: ScoreArray  # attribute part of an item without attributes: [D] or [2 D]
    aside: ScoreArray  # unit vector of least session energy; zeros where it does not apply: [D]
    length: float  # length of the id part; 0: what is missing to length 1
    scale: float  # length of trained embeddings for the cosine distance, else 1
    # Share of the variance of held-out embeddings that attributes predict; 0: not significantly any; None: an older
    # nearnext did not measure it.
    explained: float | None
    described: int  # clicked items with attributes, on which it was measured

    @property
    def uninformed(self) -> bool:
        """Whether attributes were measured and do not predict embeddings."""
        return self.explained == 0

    @property
    def too_few(self) -> bool:
        """Whether too few clicked items have attributes to measure what these predict."""
        return self.described < FEWEST

    @classmethod
    def of(
        cls,
        table: ItemTable,  # of the items with clicks
        clicks: Int64Array,  # of each: [n]
        embeddings: ScoreArray,  # rows of their embedding table, or of two tables side by side: [n, D] or [n, 2 D]
        sessions: ScoreArray | None,  # embeddings of sessions, [S, D]; None where layers after the table move items
        *,
        cosine: bool,  # whether only the direction of a row counts
    ) -> Self:
        """Fit the regression."""
        features = ItemFeatures.of(table)
        rows: Sparse = features.rows(table)
        columns = np.unique(rows.indices).astype(np.int64)
        rows = rows[:, columns]
        scale = float(np.median(np.linalg.norm(embeddings, axis=1))) if cosine else 1.0
        targets = embeddings.astype(np.float64)
        if cosine:
            targets = targets / np.maximum(np.linalg.norm(targets, axis=1, keepdims=True), 1e-12)
        trust = clicks / (clicks + HALF_TRUST)
        drawn = np.random.default_rng(len(clicks)).random(len(clicks))
        held_out = drawn < HELD_OUT
        errors = [_error(rows, targets, trust, held_out, penalty) for penalty in PENALTIES]
        best = int(np.argmin(errors))
        mean, weights = _ridge(rows, targets, trust, PENALTIES[best])
        aside = np.zeros(targets.shape[1])
        if sessions is not None:
            aside[: sessions.shape[1]] = _least_looked_at(sessions)
        return cls(
            features,
            columns,
            weights.astype(np.float32),
            mean.astype(np.float32),
            aside.astype(np.float32),
            0.0 if cosine else float(np.sqrt(errors[best])),
            scale,
            _explained(rows, targets, trust, drawn, PENALTIES[best]),
            len(described_rows(rows)),
        )

    def rows(self, table: ItemTable) -> ScoreArray:
        """Embedding-table rows for the items of an item table: [n, D] or [n, 2 D]."""
        part = self.mean + self.features.rows(table)[:, self.columns] @ self.weights.astype(np.float64)
        if not self.aside.any():
            return (self.scale * part).astype(np.float32)
        if self.length:
            return (part + self.length * self.aside).astype(np.float32)
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        kept = np.minimum(lengths, LONGEST)
        whole = part * (kept / np.maximum(lengths, 1e-12)) + np.sqrt(1 - kept**2) * self.aside
        return (self.scale * whole).astype(np.float32)

    def arrays(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        return {
            "edges": self.features.edges,
            "rarity": self.features.rarity,
            "means": self.features.means,
            "columns": self.columns,
            "weights": self.weights,
            "mean": self.mean,
            "aside": self.aside,
            "widths": np.array([width for _, width in self.features.vectors], dtype=np.int64),
            "lengths": np.array([self.length, self.scale]),
            **({} if self.explained is None else {"explained": np.array([self.explained])}),
            "described": np.array([self.described]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], table: ItemTable, width: int) -> Self:
        """A placement from an artifact, with the table that it was made from; ``width`` is that of all tables."""
        n_vectors, n_numbers = len(table.vectors), len(table.numbers)
        widths = require_array("placement.widths", arrays["widths"], np.int64, (n_vectors,), 0, LARGEST).tolist()
        edges = _require_any_finite("placement.edges", arrays["edges"], np.float64, (n_numbers, BINS - 1))
        rarity = require_array("placement.rarity", arrays["rarity"], np.float32, (SIZE,))
        means = _require_any_finite("placement.means", arrays["means"], np.float32, (sum(widths),))
        features = ItemFeatures(edges, rarity, means, table.numbers, list(zip(table.vectors, widths, strict=True)))
        columns = require_array("placement.columns", arrays["columns"], np.int64, (-1,), 0, SIZE + sum(widths) - 1)
        weights = require_array("placement.weights", arrays["weights"], np.float32, (len(columns), width))
        mean = require_array("placement.mean", arrays["mean"], np.float32, (width,))
        aside = require_array("placement.aside", arrays["aside"], np.float32, (width,))
        length, scale = require_array("placement.lengths", arrays["lengths"], np.float64, (2,), 0).tolist()
        explained = None
        if "explained" in arrays:
            (explained,) = require_array("placement.explained", arrays["explained"], np.float64, (1,), 0, 1).tolist()
        described = FEWEST  # older ones do not say it
        if "described" in arrays:
            (described,) = require_array("placement.described", arrays["described"], np.int64, (1,), 0).tolist()
        return cls(features, columns, weights, mean, aside, length, scale, explained, described)


def _require_any_finite(name: str, found: Any, dtype: type[np.float32 | np.float64], shape: tuple[int, ...]) -> Any:
    """A stored array of finite numbers; `require_array` has a bound that attributes such as barcodes exceed."""
    largest = float(np.finfo(dtype).max)
    return require_array(name, found, dtype, shape, -largest, largest)


def described_rows(rows: Sparse) -> Int64Array:
    """Indices of the rows that have a feature: [n]."""
    return np.flatnonzero(np.diff(rows.indptr)).astype(np.int64)


def _error(rows: Sparse, targets: FloatArray, trust: FloatArray, held_out: Any, penalty: float) -> float:
    """Mean squared distance between held-out items and their attribute parts."""
    if held_out.all() or not held_out.any():
        return penalty
    return float(np.average(_squares(rows, targets, trust, held_out, penalty)[0], weights=trust[held_out]))


def _squares(
    rows: Sparse, targets: FloatArray, trust: FloatArray, held_out: Any, penalty: float
) -> tuple[FloatArray, FloatArray]:
    """Squared distances of held-out items to their attribute parts, and to the mean: [n], [n]."""
    mean, weights = _ridge(rows[~held_out], targets[~held_out], trust[~held_out], penalty)
    beyond = targets[held_out] - mean
    return ((beyond - rows[held_out] @ weights) ** 2).sum(axis=1), (beyond**2).sum(axis=1)


def _explained(rows: Sparse, targets: FloatArray, trust: FloatArray, drawn: FloatArray, penalty: float) -> float:
    """Share of the variance of held-out items that attributes predict; 0: not significant, or below `FEWEST` items.

    Tenths of the items, by numbers drawn in [0, 1), are held out in turn, as many as have `MEASURED` items together.
    """
    if len(described_rows(rows)) < FEWEST:
        return 0.0
    tenth = (drawn / HELD_OUT).astype(np.int64)
    several = range(min(round(1 / HELD_OUT), int(np.ceil(MEASURED / max(HELD_OUT * len(drawn), 1)))))
    folds = [tenth == one for one in several if (tenth == one).any() and (tenth != one).any()]
    if not folds:
        return 0.0
    found = [np.stack(_squares(rows, targets, trust, fold, penalty)) for fold in folds]
    by_attributes, by_mean = np.concatenate(found, axis=1)
    gains = by_mean - by_attributes
    return float(gains.sum() / by_mean.sum()) if significantly_positive(gains) else 0.0


def significantly_positive(gains: FloatArray) -> bool:
    """Whether the sum of independent gains is significantly above 0; that of fewer than six never is.

    >>> [significantly_positive(gains) for gains in (np.ones(6), np.ones(5), np.array([1.0, -1.0] * 50))]
    [True, False, False]
    """
    return bool(gains.sum() > CRITICAL * np.sqrt(np.square(gains).sum()))


def _ridge(rows: Sparse, targets: FloatArray, trust: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
    """Mean [D] and weights [A, D] of the least trust-weighted squared error, by conjugate gradients."""
    trust = trust / trust.mean()
    mean = np.average(targets, axis=0, weights=trust)
    weighted: Sparse = rows.multiply(trust[:, np.newaxis]).tocsr().T
    right = weighted @ (targets - mean)

    def applied(weights: FloatArray) -> FloatArray:
        columns = weights.reshape(right.shape)
        return (weighted @ (rows @ columns) + penalty * columns).ravel()

    scipy = cast("Any", linalg)  # it has no types
    operator = scipy.LinearOperator((right.size, right.size), matvec=applied)
    weights, _ = scipy.cg(operator, right.ravel(), rtol=PRECISION, maxiter=STEPS)
    return mean, weights.reshape(right.shape)


def _least_looked_at(sessions: ScoreArray) -> FloatArray:
    """The direction of least energy of session embeddings, signed away from most of them: [S, D] → [D]."""
    sessions64 = sessions.astype(np.float64)
    direction = np.linalg.eigh(sessions64.T @ sessions64)[1][:, 0]
    return -direction if (sessions64 @ direction).sum() > 0 else direction


def behind(own: Sequence[float], scores: ScoreArray, known: ScoreArray, n: int) -> ScoreArray:
    """Scores of the nearest items [F] that fit into a list of at most n, which has scores ``own``.

    Scores fall; ``known`` are those by distance of the items nearest to the session [K].

    >>> behind([0.5, 0.25], np.array([1.8, 1.2]), np.array([1.9, 1.7, 1.1]), 3).tolist()
    [0.5, 0.25]
    """
    if not own:
        return np.zeros_like(scores)
    ahead = np.maximum(np.searchsorted(-known, -scores, side="right"), 1)
    if len(own) >= n:  # items ranked below a full list are dropped
        ahead = ahead[: np.searchsorted(ahead, len(own))]
    return np.asarray(own, np.float32)[np.minimum(ahead, len(own)) - 1]

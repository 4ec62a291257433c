"""The re-ranker: a small model of the probability that a candidate is the next item, from the candidate's features.

A linear function plus a network with one hidden layer scores every candidate of a session; the softmax over them is
fitted to the next items of held-out sessions. Its some thousand weights are held back by decay where cases are few. It
learns how much each voter is worth, for example after one click or after ten, and in which sessions items come back.

References: Luce, Individual Choice Behavior, 1959 (conditional logit); Cao et al., ICML 2007 (listwise loss).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nearnext.compiled import compiled
from nearnext.errors import DataError
from nearnext.model.arithmetic import add_product, copy_to, tanh
from nearnext.model.tensors import as_tensor, own_randomness, seed_draws
from nearnext.recommenders.method import State
from nearnext.recommenders.metric.features import Candidates
from nearnext.stored_arrays import require_array
from nearnext.training.config import Schedule
from nearnext.training.loop import train
from nearnext.training.optimisers import Adam
from nearnext.training.recipe import Recipe
from nearnext.types import BoolArray, FloatArray, Int64Array, ScoreArray

BATCH, RATE, RISING = 256, 6e-3, 0.3

NEGATIVES = 24
"""Candidates drawn for a step besides each next item, from all of its prefix: as good as all, in half the time."""

FEW_STEPS = 800
"""Steps that a fit on few prefixes takes; with more it learns them by heart."""

PRIOR, MOST_DECAY = 3_000, 10.0
"""Weight decay pulls the weights to the order by distance, by PRIOR over the number of prefixes, at most MOST_DECAY."""


@dataclass(frozen=True, eq=False)
class Reranker:
    """The fitted weights."""

    mean: ScoreArray  # of each feature: [F]
    scale: ScoreArray  # one over the standard deviation of each feature, 0 for one that is not used: [F]
    linear: ScoreArray  # [F]
    inner: ScoreArray  # [H, F]
    inner_bias: ScoreArray  # [H]
    outer: ScoreArray  # [H]

    def probabilities(self, candidates: Candidates) -> ScoreArray:
        """Probability that each candidate is the next item, given that one of its prefix's candidates is: [C]."""
        result = np.empty(len(candidates.items), dtype=np.float32)
        _probabilities(
            candidates.offsets, candidates.features, self.mean, self.scale, self.linear, self._inner_rows,
            self.inner_bias, self.outer, result,
        )  # fmt: skip
        return result

    @cached_property
    def _inner_rows(self) -> ScoreArray:
        """The inner weights with a row for each feature: [F, H]."""
        return self.inner.T.copy()

    @classmethod
    def restored(cls, weights: State, n_features: int) -> "Reranker":
        """The re-ranker of an artifact; raises `DataError` where it is not one for so many features."""
        expected = cls.__dataclass_fields__.keys()
        if weights.keys() != expected:
            names, found = ", ".join(expected), ", ".join(sorted(weights))
            raise DataError(f"expected the re-ranker's arrays {names}, found {found}")
        hidden = len(weights["outer"]) if weights["outer"].ndim else 0
        shapes = {"inner": (hidden, n_features), "inner_bias": (hidden,), "outer": (hidden,)}
        for name, array in weights.items():
            require_array(f"reranker.{name}", array, np.float32, shapes.get(name, (n_features,)))
        return cls(**weights)

    def state(self) -> State:
        """The weights by name, for an artifact."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def fit_reranker(recipe: "Recipe[_Batch]") -> Reranker:
    """The re-ranker that makes the next items most probable; without a case it keeps the order by distance."""
    if recipe.batches.n_batches:
        train(recipe)
    weights = {name: tensor.detach().numpy().copy() for name, tensor in recipe.network.state_dict().items()}
    return Reranker(
        weights["mean"], weights["scale"], weights["linear.weight"][0] + weights["nearness"], weights["inner.weight"],
        weights["inner.bias"], weights["outer.weight"][0],
    )  # fmt: skip


def steps_for(n_prefixes: int, most_prefixes: int, most_steps: int) -> int:
    """Optimiser steps of a fit: fewer where there are fewer prefixes, but at least 800 if so many are asked for.

    >>> [steps_for(n, 30_000, 1600) for n in (30_000, 22_500, 5_000)]
    [1600, 1200, 800]
    """
    return max(min(most_steps, FEW_STEPS), most_steps * n_prefixes // most_prefixes)


def reranker_recipe(
    candidates: Candidates,
    positions: Int64Array,  # of the next items among their prefix's candidates; −1, missing, leaves out the prefix: [B]
    steps: int,  # of an epoch; a step has 256 prefixes
    *,
    used: BoolArray | None = None,  # which features count, all by default: [F]
    hidden: int,
    seed: int = 0,
    epochs: int = 1,
) -> "Recipe[_Batch]":
    """The recipe that fits the weights."""
    rows = np.flatnonzero(positions >= 0)
    mean, scale = _standard(candidates.features, used)
    with own_randomness():
        seed_draws(seed)
        network = _Scores(mean, scale, hidden)
    return Recipe(
        network=network,
        batches=_Batches(candidates, positions, rows, steps if len(rows) else 0, seed),
        loss=partial(_loss, network),
        schedule=Schedule(epochs=epochs, warmup=RISING, final=0.0),
        layers=Adam(RATE, decay=min(PRIOR / max(len(rows), 1), MOST_DECAY)),
        seed=seed,
        title="re-ranker",
        alone=True,
    )


class _Scores(nn.Module):
    """Starts as the order by distance, which weight decay pulls back to."""

    mean: Tensor
    scale: Tensor
    nearness: Tensor

    def __init__(self, mean: ScoreArray, scale: ScoreArray, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(len(mean), 1, bias=False)
        self.inner = nn.Linear(len(mean), hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.outer.weight)
        self.register_buffer("mean", as_tensor(mean))
        self.register_buffer("scale", as_tensor(scale))
        self.register_buffer("nearness", torch.zeros(len(mean)))
        self.nearness[0] = 1 / max(float(scale[0]), 1e-6)

    def forward(self, features: Tensor) -> Tensor:
        standard = (features - self.mean) * self.scale
        learned = self.linear(standard) + self.outer(functional.silu(self.inner(standard)))
        return learned[..., 0] + standard @ self.nearness


def _standard(features: ScoreArray, used: BoolArray | None) -> tuple[ScoreArray, ScoreArray]:
    """Mean of each feature and one over its standard deviation, 0 for one that is constant or not used: [F], [F]."""
    if not len(features):
        return np.zeros_like(features[:0].sum(axis=0)), np.zeros_like(features[:0].sum(axis=0))
    mean, squares = np.zeros((2, features.shape[1]))
    _add_moments(features, mean, squares)
    deviation: FloatArray = np.sqrt(squares / len(features))
    varies = (deviation > 1e-6) & (True if used is None else used)  # noqa: PLR2004
    scale: FloatArray = np.where(varies, 1 / np.maximum(deviation, 1e-6), 0.0)
    return mean.astype(np.float32), scale.astype(np.float32)


@compiled(error_model="numpy")
def _add_moments(features: ScoreArray, mean: FloatArray, squares: FloatArray) -> None:
    """Add up the mean of each feature, and the squared distances to it: numpy copies all features in 64 bits."""
    for row in range(len(features)):
        for column in range(len(mean)):
            mean[column] += np.float64(features[row, column])
    for column in range(len(mean)):
        mean[column] /= len(features)
    for row in range(len(features)):
        for column in range(len(mean)):
            distance = np.float64(features[row, column]) - mean[column]
            squares[column] += distance * distance


@dataclass(frozen=True, eq=False)
class _Batch:
    """C candidates of R prefixes: features, logarithm of how many candidates each stands for, the next item's position.

    Shapes are [R, C, F], [R, C] and [R]; a candidate that only fills a row stands for none.
    """

    features: ScoreArray
    log_weights: ScoreArray
    targets: Int64Array

    def __len__(self) -> int:
        return len(self.targets)

    def rows_of(self, table: str) -> Tensor:
        raise KeyError(table)


@dataclass(frozen=True, eq=False)
class _Batches:
    """Random batches of prefixes whose next item is among their candidates, each with some of the other candidates."""

    candidates: Candidates
    positions: Int64Array
    rows: Int64Array
    n_batches: int
    seed: int

    def epoch(self, number: int, start_batch: int) -> Iterator[_Batch]:
        rng = np.random.default_rng((self.seed, number))
        for step in range(self.n_batches):
            rows = np.sort(rng.choice(self.rows, min(BATCH, len(self.rows)), replace=False))
            keys = rng.random((len(rows), int(np.diff(self.candidates.offsets)[rows].max())), dtype=np.float32)
            if step >= start_batch:
                yield self._batch(rows, keys)

    def _batch(self, rows: Int64Array, keys: ScoreArray) -> _Batch:
        """The next item first, then the other candidates with the smallest keys: [R, C]."""
        begins: Int64Array = self.candidates.offsets[rows]
        counts: Int64Array = self.candidates.offsets[rows + 1] - begins
        keys[np.arange(keys.shape[1]) >= counts[:, None]] = 2.0
        np.put_along_axis(keys, self.positions[rows, None], -1.0, axis=1)
        drawn: Int64Array = keys.argsort(axis=1)[:, : 1 + NEGATIVES]
        real = np.arange(1 + NEGATIVES)[: drawn.shape[1]] < counts[:, None]
        others = np.maximum(counts - 1, 1) / np.clip(counts - 1, 1, NEGATIVES)
        log_weights = np.where(real, np.log(others, dtype=np.float32)[:, None], np.float32(-np.inf))
        log_weights[:, 0] = 0.0
        features = self.candidates.features[np.where(real, begins[:, None] + drawn, 0)]
        return _Batch(features, log_weights, np.zeros(len(rows), dtype=np.int64))


def _loss(network: _Scores, batch: _Batch, _rows: Mapping[str, Tensor]) -> Tensor:
    """Mean of −ln p(next item) over prefixes, with the sum over all candidates estimated from those drawn."""
    scores = network(as_tensor(batch.features)) + as_tensor(batch.log_weights)
    return functional.cross_entropy(scores, as_tensor(batch.targets))


@compiled()
def _probabilities(
    offsets: Int64Array,
    features: ScoreArray,
    mean: ScoreArray,
    scale: ScoreArray,
    linear: ScoreArray,
    inner: ScoreArray,
    inner_bias: ScoreArray,
    outer: ScoreArray,
    result: ScoreArray,
) -> None:
    """Candidate by candidate, so that probabilities do not depend on the batch: inner is [F, H]."""
    hidden, standard = np.empty(len(inner_bias), dtype=np.float32), np.empty(len(mean), dtype=np.float32)
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        highest = -np.inf
        for position in range(begin, end):
            score = np.float32(0.0)
            for feature in range(len(mean)):
                standard[feature] = (features[position, feature] - mean[feature]) * scale[feature]
                score += linear[feature] * standard[feature]
            copy_to(hidden, inner_bias)
            add_product(standard, inner, hidden)
            result[position] = score + _read_out(hidden, outer)
            highest = max(highest, np.float64(result[position]))
        total = 0.0
        for position in range(begin, end):
            total += np.exp(np.float64(result[position]) - highest)
        for position in range(begin, end):
            result[position] = np.exp(np.float64(result[position]) - highest) / total


@compiled(fastmath={"reassoc", "contract"})
def _read_out(hidden: ScoreArray, outer: ScoreArray) -> np.float32:
    """Sum of outer · silu(hidden); silu x = x / (1 + exp(−x)) = x (1 + tanh(x / 2)) / 2."""
    total = np.float32(0.0)
    for position in range(len(hidden)):
        half = np.float32(0.5) * hidden[position]
        total += outer[position] * (half + half * tanh(half))
    return total

"""The training loop of GRU4Rec: one step of the network per click, one step of the optimisers per mini-batch."""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.progress import track
from nearnext.recommenders.gru4rec.batches import (
    ColumnFinder,
    Columns,
    PopularitySampler,
    Step,
    n_pairs,
    session_parallel,
)
from nearnext.recommenders.gru4rec.losses import bpr_max, cross_entropy
from nearnext.recommenders.gru4rec.optimisers import Optimiser, OptimiserName, make_optimiser
from nearnext.recommenders.gru4rec.weights import Layer, Weights
from nearnext.types import FloatArray, Int64Array, ScoreArray

__all__ = ["Objective", "Trainer", "TrainingOptions", "gru_step"]


@dataclass(frozen=True)
class Objective:
    """What a step minimises; see ``GRU4Rec`` for the options.

    Attributes:
        loss: ``cross-entropy`` or ``bpr-max``.
        bpreg: λ of BPR-max.
        elu: α of the activation before BPR-max, 0: linear.
        logq: power of the logQ correction of cross-entropy, 0: none.
        sample_alpha: power of the popularity by which extra negatives were drawn.
    """

    loss: str
    bpreg: float
    elu: float
    logq: float
    sample_alpha: float

    def __call__(self, scores: Tensor, columns: Columns, popularity: Int64Array) -> Tensor:
        """The loss of each session of a step: [B]; ``scores``: [B, U], ``popularity``: clicks of each item [I + 1]."""
        target_at = torch.from_numpy(columns.target_at)
        if self.loss == "bpr-max":
            occurrences = torch.from_numpy(columns.as_target + columns.as_sample)
            return bpr_max(scores, target_at, occurrences, regularisation=self.bpreg, elu=self.elu)
        if not self.logq:
            return cross_entropy(scores, target_at, torch.from_numpy(columns.as_target + columns.as_sample))
        clicks = popularity[columns.items].astype(np.float32)
        places = columns.as_target * clicks**-self.logq + columns.as_sample * clicks ** (-self.logq * self.sample_alpha)
        correction = torch.from_numpy(self.logq * np.log(clicks[columns.target_at]))
        return cross_entropy(scores, target_at, torch.from_numpy(places)) + correction


@dataclass(frozen=True)
class TrainingOptions:
    """How the weights are learned; see ``GRU4Rec`` for the options."""

    objective: Objective
    epochs: int
    batch_size: int
    optimiser: OptimiserName
    learning_rate: float
    momentum: float
    dropout_embedding: float
    dropout_hidden: float
    n_sample: int


def gru_step(inputs: Tensor, hidden: Tensor, layer: tuple[Tensor, ...]) -> Tensor:
    """The next hidden state of one layer: [B, H].

    Args:
        inputs: [B, E].
        hidden: state before the click: [B, H].
        layer: the arrays of a ``Layer`` as tensors.

    Reference: Hidasi et al. 2016, eqs. (2)-(5).

    >>> layer = [torch.zeros(2, 3), torch.zeros(1, 2), torch.zeros(1, 1), torch.zeros(1, 3)]
    >>> gru_step(torch.ones(1, 2), torch.ones(1, 1), tuple(layer)).item()
    0.5
    """
    from_inputs, gates, candidate, bias = layer
    width = hidden.shape[1]
    entered = torch.addmm(bias, inputs, from_inputs)
    reset, update = torch.sigmoid(torch.addmm(entered[:, : 2 * width], hidden, gates)).chunk(2, dim=1)
    proposed = torch.tanh(torch.addmm(entered[:, 2 * width :], reset * hidden, candidate))
    return torch.lerp(hidden, proposed, update)


@contextmanager
def one_thread() -> Generator[None]:
    """One thread for torch: faster for matrices this small, and the same result on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trainer:
    """Weights in training, their optimisers, and the hidden state of every slot.

    The gradient of a step ends at the hidden state that the step began with, as in the reference implementation:
    the network learns to keep what helps the very next click.

    >>> sessions = Sessions.of([["a", "b"], ["a", "b"], ["c", "b"]])
    >>> objective = Objective("cross-entropy", bpreg=0.0, elu=0.0, logq=0.0, sample_alpha=0.5)
    >>> options = TrainingOptions(objective, 5, 2, "adagrad", 0.1, 0.0, 0.0, 0.0, n_sample=4)
    >>> rng = np.random.default_rng(0)
    >>> losses = Trainer(Weights.draw(rng, 3, [4], None), options, rng).train(sessions)
    >>> bool(losses[-1] < losses[0])
    True
    """

    def __init__(self, weights: Weights, options: TrainingOptions, rng: np.random.Generator) -> None:
        self._weights, self._options, self._rng = weights, options, rng
        self._outputs, self._outputs_optimiser = torch.from_numpy(weights.outputs), self._optimiser(weights.outputs)
        self._inputs, self._inputs_optimiser = torch.from_numpy(weights.inputs), self._optimiser(weights.inputs)
        self._layers = [_tensors(layer) for layer in weights.layers]
        self._layer_optimisers = [self._optimiser(array) for layer in weights.layers for array in layer]
        self._columns = ColumnFinder(len(weights.outputs) - 1)

    def _optimiser(self, array: ScoreArray) -> Optimiser:
        options = self._options
        return make_optimiser(options.optimiser, array, options.learning_rate, options.momentum)

    def train(self, sessions: Sessions) -> FloatArray:
        """Change the weights in place; mean loss of each epoch: [epochs], 0 where nothing could be learned.

        Raises:
            ConfigError: the loss is no longer a number.
        """
        options = self._options
        popularity = sessions.item_counts()
        sampler = PopularitySampler.of(popularity, options.objective.sample_alpha)
        losses = np.zeros(options.epochs)
        with track("gru4rec: training", options.epochs * n_pairs(sessions), "events") as advance, one_thread():
            for epoch in range(options.epochs):
                losses[epoch] = self._epoch(epoch, sessions, popularity, sampler, advance)
        return losses

    def _epoch(
        self,
        epoch: int,
        sessions: Sessions,
        popularity: Int64Array,
        sampler: PopularitySampler,
        advance: Callable[[int], None],
    ) -> float:
        options = self._options
        total, seen = 0.0, 0
        states = [torch.zeros(options.batch_size, len(layer.candidate)) for layer in self._weights.layers]
        for step in session_parallel(sessions, options.batch_size, least=1 if options.n_sample else 2):
            slots = torch.from_numpy(step.slots)
            for state in states:
                state[slots[torch.from_numpy(step.begun)]] = 0.0
            samples = sampler.draw(self._rng, options.n_sample)
            loss, after = self._learn(step, samples, [state[slots] for state in states], popularity)
            if not math.isfinite(loss):
                raise ConfigError(
                    f"gru4rec: expected a finite loss, found {loss} in epoch {epoch + 1} after {seen:,} events; "
                    f"lower learning_rate ({options.learning_rate:g}) or momentum ({options.momentum:g})"
                )
            for state, hidden in zip(states, after, strict=True):
                state[slots] = hidden
            total += loss
            seen += len(slots)
            advance(len(slots))
        return total / max(seen, 1)

    def _learn(
        self, step: Step, samples: Int64Array, states: list[Tensor], popularity: Int64Array
    ) -> tuple[float, list[Tensor]]:
        """One step of network and optimisers; gives the summed loss and the states after it, each [B, H]."""
        shared = not len(self._inputs)
        columns = self._columns.columns(step.inputs[: len(step.inputs) * shared], step.targets, samples)
        rows = self._outputs.index_select(0, torch.from_numpy(columns.items)).requires_grad_()
        if shared:
            distinct, at, embedding = columns.items, columns.input_at, rows
        else:
            distinct, at = self._columns.distinct(step.inputs)
            embedding = self._inputs.index_select(0, torch.from_numpy(distinct)).requires_grad_()
        embedded = functional.embedding(torch.from_numpy(at), embedding)[:, : len(self._weights.layers[0].inputs)]
        states = self._forward(self._drop(embedded, self._options.dropout_embedding), states)
        with_bias = functional.pad(states[-1], (0, 1), value=1.0)
        scores = with_bias @ rows.T
        loss = self._options.objective(scores, columns, popularity).sum()
        leaves = [rows, *([] if shared else [embedding]), *(tensor for layer in self._layers for tensor in layer)]
        gradients = [g.numpy() for g in torch.autograd.grad(loss / self._options.batch_size, leaves)]
        self._outputs_optimiser.step(gradients[0], columns.items)
        if not shared:
            self._inputs_optimiser.step(gradients[1], distinct)
        for optimiser, gradient in zip(self._layer_optimisers, gradients[-len(self._layer_optimisers) :], strict=True):
            optimiser.step(gradient)
        return loss.item(), [state.detach() for state in states]

    def _forward(self, inputs: Tensor, states: list[Tensor]) -> list[Tensor]:
        after: list[Tensor] = []
        for layer, state in zip(self._layers, states, strict=True):
            inputs = self._drop(gru_step(inputs, state, layer), self._options.dropout_hidden)
            after.append(inputs)
        return after

    def _drop(self, values: Tensor, rate: float) -> Tensor:
        if not rate:
            return values
        kept = self._rng.random(tuple(values.shape), dtype=np.float32) >= np.float32(rate)
        return values * torch.from_numpy(kept * np.float32(1 / (1 - rate)))


def _tensors(layer: Layer) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array).requires_grad_() for array in layer)

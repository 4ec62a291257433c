"""The training loop of GRU4Rec: one step of the network per click, one step of the optimisers per mini-batch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.model.threads import one_thread
from nearnext.progress import track
from nearnext.recommenders.gru4rec.batches import (
    ColumnFinder,
    Columns,
    Step,
    n_pairs,
    session_parallel,
)
from nearnext.recommenders.gru4rec.losses import bpr_max, cross_entropy
from nearnext.recommenders.gru4rec.weights import Weights
from nearnext.sampling.proposal import Proposal
from nearnext.training.optimisers import RowAdagrad, RowAdam, RowOptimiser
from nearnext.types import FloatArray, IndexArray, Int64Array, ScoreArray

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
        target_at = tensor(columns.target_at)
        if self.loss == "bpr-max":
            occurrences = tensor(columns.as_target + columns.as_sample)
            return bpr_max(scores, target_at, occurrences, regularisation=self.bpreg, elu=self.elu)
        if not self.logq:
            return cross_entropy(scores, target_at, tensor(columns.as_target + columns.as_sample))
        clicks = popularity[columns.items].astype(np.float32)
        places = columns.as_target * clicks**-self.logq + columns.as_sample * clicks ** (-self.logq * self.sample_alpha)
        correction = tensor(self.logq * np.log(clicks[columns.target_at]))
        return cross_entropy(scores, target_at, tensor(places)) + correction


@dataclass(frozen=True)
class TrainingOptions:
    """How the weights are learned; see ``GRU4Rec`` for the options."""

    objective: Objective
    epochs: int
    batch_size: int
    optimiser: str
    learning_rate: float
    momentum: float
    dropout_embedding: float
    dropout_hidden: float
    n_sample: int


def tensor(array: NDArray[Any]) -> Tensor:
    """A tensor in the memory of an array.

    >>> tensor(np.ones(2, dtype=np.float32)).tolist()
    [1.0, 1.0]
    """
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType] - torch leaves its argument untyped


def gru_step(inputs: Tensor, hidden: Tensor, layer: Sequence[Tensor]) -> Tensor:
    """The next hidden state of one layer: [B, H].

    Args:
        inputs: [B, E].
        hidden: state before the click: [B, H].
        layer: the arrays of a ``Layer`` as tensors.

    Reference: Hidasi et al. 2016, eqs. (2)-(5). Deviation: the candidate takes r ∘ (U h) as cuDNN and the authors'
    later implementation do, where eq. (4) has U (r ∘ h); one product gives all three gates then.

    >>> layer = [torch.zeros(2, 3), torch.zeros(1, 3), torch.zeros(1, 3)]
    >>> gru_step(torch.ones(1, 2), torch.ones(1, 1), layer).item()
    0.5
    """
    from_inputs, from_hidden, bias = layer
    width = hidden.shape[1]
    entered, remembered = torch.addmm(bias, inputs, from_inputs), hidden @ from_hidden  # [B, 3H]
    reset, update = torch.sigmoid(entered[:, : 2 * width] + remembered[:, : 2 * width]).chunk(2, dim=1)
    candidate = torch.tanh(torch.addcmul(entered[:, 2 * width :], reset, remembered[:, 2 * width :]))
    return torch.lerp(hidden, candidate, update)


def row_optimiser(options: TrainingOptions, table: Tensor) -> RowOptimiser:
    """The optimiser of one matrix; only Adagrad takes a momentum."""
    if options.optimiser == "adam":
        return RowAdam(table.detach(), exact=False)
    return RowAdagrad(table.detach(), momentum=options.momentum)


class _Table:
    """One matrix of the network and its optimiser."""

    def __init__(self, weights: ScoreArray, options: TrainingOptions) -> None:
        self.tensor = tensor(weights)
        self._optimiser, self._rate = row_optimiser(options, self.tensor), options.learning_rate

    def rows(self, items: Int64Array) -> Tensor:
        """A copy of some rows, to take gradients of: [n, width]."""
        return self.tensor.index_select(0, tensor(items)).requires_grad_()

    def step(self, gradient: Tensor, rows: Int64Array | None = None) -> None:
        """Change distinct rows (None: all) by their gradient: [n, width]."""
        self._optimiser.write(torch.arange(len(self.tensor)) if rows is None else tensor(rows), gradient, self._rate)


class Trainer:
    """Weights in training, their optimisers, and the hidden state of every slot.

    The gradient of a step ends at the hidden state that the step began with, as in the authors' implementation: the
    network learns to keep what helps the very next click.

    >>> sessions = Sessions.of([["a", "b"], ["a", "b"], ["c", "b"]])
    >>> objective = Objective("cross-entropy", bpreg=0.0, elu=0.0, logq=0.0, sample_alpha=0.5)
    >>> options = TrainingOptions(objective, 5, 2, "adagrad", 0.1, 0.0, 0.0, 0.0, n_sample=4)
    >>> rng = np.random.default_rng(0)
    >>> losses = Trainer(Weights.draw(rng, 3, [4], None), options, rng).train(sessions)
    >>> bool(losses[-1] < losses[0])
    True
    """

    def __init__(self, weights: Weights, options: TrainingOptions, rng: np.random.Generator) -> None:
        self._options, self._rng = options, rng
        self._outputs = _Table(weights.outputs, options)
        self._inputs = _Table(weights.inputs, options) if len(weights.inputs) else None
        self._layers = [[_Table(array, options) for array in layer] for layer in weights.layers]
        for table in chain.from_iterable(self._layers):
            table.tensor.requires_grad_()
        self._widths = [len(layer.hidden) for layer in weights.layers]
        self._entered = len(weights.layers[0].inputs)
        self._columns = ColumnFinder(len(weights.outputs) - 1)

    def train(self, sessions: Sessions, watch: Callable[[Mapping[str, float]], None] | None = None) -> FloatArray:
        """Change the weights in place; mean loss of each epoch: [epochs], 0 where nothing could be learned.

        Args:
            sessions: to learn from.
            watch: called after each epoch with its number, from 1, and its loss; what it raises ends the training.

        Raises:
            ConfigError: the loss is no longer a number.
        """
        options = self._options
        popularity = sessions.item_counts()
        sampler = Proposal.by_popularity(popularity, options.objective.sample_alpha)
        losses = np.zeros(options.epochs)
        with track("gru4rec: training", options.epochs * n_pairs(sessions), "events") as advance, one_thread():
            for epoch in range(options.epochs):
                losses[epoch] = self._epoch(epoch, sessions, popularity, sampler, advance)
                if watch is not None:
                    watch({"epoch": epoch + 1, "loss": float(losses[epoch])})
        return losses

    def _epoch(
        self,
        epoch: int,
        sessions: Sessions,
        popularity: Int64Array,
        sampler: Proposal,
        advance: Callable[[int], None],
    ) -> float:
        options = self._options
        total, seen = 0.0, 0
        states = [torch.zeros(options.batch_size, width) for width in self._widths]
        for step in session_parallel(sessions, options.batch_size, least=1 if options.n_sample else 2):
            slots = tensor(step.slots)
            for state in states:
                state[slots[tensor(step.begun)]] = 0.0
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
        self, step: Step, samples: IndexArray, states: list[Tensor], popularity: Int64Array
    ) -> tuple[float, list[Tensor]]:
        """One step of network and optimisers; gives the summed loss and the states after it, each [B, H]."""
        nothing = step.inputs[:0]
        columns = self._columns.columns(nothing if self._inputs else step.inputs, step.targets, samples)
        rows = self._outputs.rows(columns.items)
        leaves = [rows]
        entered_items, input_at = columns.items, columns.input_at
        if self._inputs:
            entered_items, input_at = self._columns.distinct(step.inputs)
            leaves.append(self._inputs.rows(entered_items))
        embedded = functional.embedding(tensor(input_at), leaves[-1])[:, : self._entered]
        after = self._forward(self._drop(embedded, self._options.dropout_embedding), states)
        scores = functional.pad(after[-1], (0, 1), value=1.0) @ rows.T  # [B, U], the last column of a row is its bias
        loss = self._options.objective(scores, columns, popularity).sum()
        tables = list(chain.from_iterable(self._layers))
        leaves += [table.tensor for table in tables]
        gradients = list(torch.autograd.grad(loss / self._options.batch_size, leaves))
        self._outputs.step(gradients.pop(0), columns.items)
        if self._inputs:
            self._inputs.step(gradients.pop(0), entered_items)
        for table, gradient in zip(tables, gradients, strict=True):
            table.step(gradient)
        return loss.item(), [state.detach() for state in after]

    def _forward(self, entered: Tensor, states: list[Tensor]) -> list[Tensor]:
        """State of each layer after the click, dropped out as it is carried on: each [B, H]."""
        after: list[Tensor] = []
        for layer, state in zip(self._layers, states, strict=True):
            stepped = gru_step(entered, state, [table.tensor for table in layer])
            entered = self._drop(stepped, self._options.dropout_hidden)
            after.append(entered)
        return after

    def _drop(self, values: Tensor, rate: float) -> Tensor:
        if not rate:
            return values
        kept = self._rng.random(tuple(values.shape), dtype=np.float32) >= np.float32(rate)
        return values * tensor(kept * np.float32(1 / (1 - rate)))

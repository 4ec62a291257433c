"""GRU4Rec in training: batches of session-parallel clicks, the network that reads them, and its two losses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nearnext.data.event_weights import training_weights
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.model.tensors import as_tensor
from nearnext.recommenders.gru4rec.scoring import Layer, Weights
from nearnext.sampling.batch import DistinctItems
from nearnext.sampling.proposal import Proposal
from nearnext.sampling.windows import Step, n_steps, session_parallel
from nearnext.types import IndexArray, Int64Array, ScoreArray

BLOCK = 64
"""Steps whose extra negatives are drawn together."""


@dataclass(frozen=True, eq=False)
class ClickBatch:
    """A step over the U distinct items that it scores, each a column however often it occurs."""

    rows: dict[str, Tensor]  # item index of each column, by table: [U]
    slots: Tensor  # which slot of the mini-batch each session occupies, rising: [B]
    begun: Tensor  # whether each session begins with this click: [B]
    input_at: Tensor  # row of each click among those of its table: [B]
    target_at: Tensor  # column of each next click: [B]
    # how often each column is a target or an extra negative, corrected for how it was drawn; 0 leaves it out: [U]
    occurrences: Tensor
    correction: Tensor  # what each session's loss is raised by: [B]
    n_slots: int  # slots of the mini-batch, empty ones included
    weights: Tensor | None = None  # of each next click in the loss; None: all are 1: [B]

    by_example: ClassVar = ("slots", "begun", "input_at", "target_at", "correction", "weights")  # see `Sharable`

    def __len__(self) -> int:
        """Slots: as in the authors' program, the loss is the mean over all of them."""
        return self.n_slots

    @property
    def n_counted(self) -> int:
        """Slots, which a share has all of: its loss is a sum over its sessions, divided by them."""
        return self.n_slots

    def rows_of(self, table: str) -> Tensor:
        """The rows that the step reads of a table: [U]."""
        return self.rows[table]


@dataclass(frozen=True, eq=False)
class SessionParallel:
    """Batches of session-parallel clicks, of sessions in order of their start, items known; options as in `GRU4Rec`.

    ``inputs``: whether clicks have a table of their own. ``logq``: 0 where the loss is not corrected.
    """

    sessions: Sessions
    batch_size: int
    n_sample: int
    sample_alpha: float
    logq: float
    inputs: bool
    seed: int

    @property
    def _least(self) -> int:
        return 1 if self.n_sample else 2  # a session alone has nothing to compare with

    @property
    def n_batches(self) -> int:
        """Number of steps in an epoch."""
        n = n_steps(self.sessions, self.batch_size, self._least)
        if not n:
            raise DataError(f"expected sessions of two clicks, {self._least} of them side by side, found none")
        return n

    def epoch(self, number: int, start_batch: int = 0) -> Iterator[ClickBatch]:
        """The steps of an epoch, counted from 0, from ``start_batch`` on."""
        popularity = self.sessions.item_counts()
        proposal = Proposal.by_popularity(popularity, self.sample_alpha)
        read, drawn = StepReader(self, popularity), np.zeros((0, 0), dtype=np.int32)
        for at, step in enumerate(session_parallel(self.sessions, self.batch_size, self._least)):
            if at < start_batch:
                continue
            if at == start_batch or at % BLOCK == 0:
                rng = np.random.default_rng((self.seed, number, at // BLOCK))
                drawn = proposal.draw(rng, (BLOCK, self.n_sample))
            yield read(step, drawn[at % BLOCK])


class StepReader:
    """A function from steps and their extra negatives [N] to batches; items have ``popularity`` clicks: [I + 1]."""

    def __init__(self, options: SessionParallel, popularity: Int64Array) -> None:
        self._options, self._distinct = options, DistinctItems(len(popularity) - 1)
        clicks = np.maximum(popularity, 1).astype(np.float32)
        self._as_target = clicks**-options.logq
        self._as_sample = clicks ** (-options.logq * options.sample_alpha)
        self._correction = options.logq * np.log(clicks)
        self._weights = training_weights(options.sessions)

    def __call__(self, step: Step, samples: IndexArray) -> ClickBatch:
        """The batch of a step."""
        own_table = self._options.inputs
        shared = step.inputs[:0] if own_table else step.inputs
        items, found = self._distinct(np.concatenate([step.targets, samples, shared]))
        n_targets, n_scored = len(step.targets), len(step.targets) + len(samples)
        rows, input_at = {"outputs": as_tensor(items)}, found[n_scored:]
        if own_table:
            entered, input_at = self._distinct(step.inputs)
            rows["inputs"] = as_tensor(entered)
        occurrences = _counted(found[:n_targets], len(items)) * self._as_target[items]
        occurrences += _counted(found[n_targets:n_scored], len(items)) * self._as_sample[items]
        begun = np.zeros(n_targets, dtype=np.bool_)
        begun[step.begun] = True
        return ClickBatch(
            rows=rows,
            slots=as_tensor(step.slots),
            begun=as_tensor(begun),
            input_at=as_tensor(input_at),
            target_at=as_tensor(found[:n_targets]),
            occurrences=as_tensor(occurrences),
            correction=as_tensor(self._correction[step.targets]),
            n_slots=self._options.batch_size,
            weights=None if self._weights is None else as_tensor(self._weights[step.at]),
        )


def _counted(columns: Int64Array, n_columns: int) -> ScoreArray:
    return np.bincount(columns, minlength=n_columns).astype(np.float32)


TINY = 1e-24
"""Added inside a logarithm, so that a hopeless case costs about 55 and not infinity."""


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From scores [B, U], the column of each target [B], and how often each column occurs, 0 leaving it out [U], to [B]."""


def cross_entropy(scores: Tensor, target_at: Tensor, occurrences: Tensor) -> Tensor:
    """Softmax cross-entropy of each target among the sampled items: [B].

    An item in n entries of the softmax adds n · exp(score); with logQ correction, an entry counts 1 / Q^logq, which
    makes the sampled softmax an estimate of the full one. Reference: Hidasi & Karatzoglou 2018, on cross-entropy;
    Bengio & Senécal 2008 for logQ.
    """
    target = scores.gather(1, target_at.unsqueeze(1)).squeeze(1)
    return torch.logsumexp(scores + occurrences.log(), dim=1) - target


def bpr_max(
    scores: Tensor, target_at: Tensor, occurrences: Tensor, *, regularisation: float = 0.0, elu: float = 0.0
) -> Tensor:
    """BPR-max: −log Σ s_j σ(r_i − r_j) + λ Σ s_j r_j², where s is the softmax of the negatives' scores: [B].

    A target is no negative of itself; those of the other sessions are, and the extra ones. λ is ``regularisation``,
    ``elu`` the α of the activation elu(score) before the loss, 0: linear. Reference: Hidasi & Karatzoglou 2018.
    """
    if elu:
        scores = functional.elu(scores, elu)
    target_at = target_at.unsqueeze(1)
    own = torch.zeros_like(scores).scatter_(1, target_at, 1.0)
    softmax = torch.softmax(scores + (occurrences - own).log(), dim=1)
    won = torch.sigmoid(scores.gather(1, target_at) - scores)
    return (softmax * scores.square()).sum(1) * regularisation - torch.log((softmax * won).sum(1) + TINY)


def gru_step(inputs: Tensor, hidden: Tensor, layer: Sequence[Tensor]) -> Tensor:
    """The next hidden state of one layer, from the arrays of a `Layer` as tensors: [B, E], [B, H] → [B, H].

    Reference: Hidasi et al. 2016, eqs. (2)-(5). Deviation: the candidate takes r ∘ (U h) as cuDNN and the authors'
    later implementation do, where eq. (4) has U (r ∘ h); one product gives all three gates then.
    """
    from_inputs, from_hidden, bias = layer
    width = hidden.shape[1]
    entered, remembered = torch.addmm(bias, inputs, from_inputs), hidden @ from_hidden  # [B, 3H]
    reset, update = torch.sigmoid(entered[:, : 2 * width] + remembered[:, : 2 * width]).chunk(2, dim=1)
    candidate = torch.tanh(torch.addcmul(entered[:, 2 * width :], reset, remembered[:, 2 * width :]))
    return torch.lerp(hidden, candidate, update)


class _Layer(nn.Module):
    """One layer's weights, in the memory of the arrays, and the state of every slot."""

    state: Tensor

    def __init__(self, layer: Layer, n_slots: int) -> None:
        super().__init__()
        self.inputs, self.hidden, self.bias = (nn.Parameter(as_tensor(array)) for array in layer)
        self.register_buffer("state", torch.zeros(n_slots, len(layer.hidden)))


class GRU4RecNetwork(nn.Module):
    """Weights in training, which change in the memory of their arrays, and the state of ``n_slots`` sessions.

    The gradient of a step ends at the hidden state that the step began with, as in the authors' implementation: the
    network learns to keep what helps the very next click. ``dropouts`` are shares of the input embedding and of the
    hidden state.
    """

    def __init__(self, weights: Weights, n_slots: int, loss: Loss, dropouts: tuple[float, float]) -> None:
        super().__init__()
        self.outputs = nn.Parameter(as_tensor(weights.outputs))
        self.inputs = nn.Parameter(as_tensor(weights.inputs)) if len(weights.inputs) else None
        self.layers = nn.ModuleList(_Layer(layer, n_slots) for layer in weights.layers)
        self._entered = len(weights.layers[0].inputs)
        self._loss, self._dropouts = loss, dropouts

    def forward(self, batch: ClickBatch, rows: Mapping[str, Tensor]) -> Tensor:
        """The loss of a step, a scalar; the state of every slot advances by one click."""
        outputs, (of_embedding, of_hidden) = rows["outputs"], self._dropouts
        entered = functional.embedding(batch.input_at, rows.get("inputs", outputs))[:, : self._entered]
        entered = functional.dropout(entered, of_embedding) if of_embedding else entered
        for layer in self.layers:
            assert isinstance(layer, _Layer)  # noqa: S101 - a list of modules has no type of its own
            layer.state[batch.slots[batch.begun]] = 0.0
            entered = gru_step(entered, layer.state[batch.slots], (layer.inputs, layer.hidden, layer.bias))
            entered = functional.dropout(entered, of_hidden) if of_hidden else entered
            layer.state[batch.slots] = entered.detach()
        scores = functional.pad(entered, (0, 1), value=1.0) @ outputs.T  # [B, U], the last column of a row is its bias
        loss = self._loss(scores, batch.target_at, batch.occurrences) + batch.correction
        return (loss if batch.weights is None else loss * batch.weights).sum() / len(batch)

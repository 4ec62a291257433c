"""The batches of GRU4Rec: a click of each of B sessions, the next ones, and extra negatives by popularity."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.model.tensors import as_tensor
from nearnext.sampling.batch import DistinctItems
from nearnext.sampling.proposal import Proposal
from nearnext.sampling.windows import Step, n_steps, session_parallel
from nearnext.types import IndexArray, Int64Array, ScoreArray

BLOCK = 64
"""Steps whose extra negatives are drawn together."""


@dataclass(frozen=True, eq=False)
class ClickBatch:
    """A step over the U distinct items that it scores, each a column however often it occurs.

    Attributes:
        rows: item index of each column, by table: [U].
        slots: which slot of the mini-batch each session occupies, rising: [B].
        begun: slots of the sessions that begin with this click.
        input_at: row of each click among those of its table: [B].
        target_at: column of each next click: [B].
        occurrences: how often each column is a target or an extra negative, corrected for how it was drawn; 0 leaves a
            column out: [U].
        correction: what each session's loss is raised by: [B].
        n_slots: slots of the mini-batch, empty ones included.
    """

    rows: dict[str, Tensor]
    slots: Tensor
    begun: Tensor
    input_at: Tensor
    target_at: Tensor
    occurrences: Tensor
    correction: Tensor
    n_slots: int

    def __len__(self) -> int:
        """Slots: as in the authors' program, the loss is the mean over all of them."""
        return self.n_slots

    def rows_of(self, table: str) -> Tensor:
        """The rows that the step reads of a table: [U]."""
        return self.rows[table]


@dataclass(frozen=True, eq=False)
class SessionParallel:
    """Batches of session-parallel clicks; see ``GRU4Rec`` for the options.

    Attributes:
        sessions: in order of their start, items known.
        batch_size: number of slots.
        n_sample: extra negatives of each step.
        sample_alpha: power of the popularity by which they are drawn.
        logq: power of the logQ correction, 0: none.
        inputs: whether clicks have a table of their own.
        seed: of the extra negatives.

    >>> log = Sessions.of([["a", "b", "c"], ["c", "b"], ["b", "a"]])
    >>> batches = SessionParallel(log, 2, n_sample=0, sample_alpha=0.5, logq=0.0, inputs=False, seed=0)
    >>> [(batch.rows["outputs"].tolist(), batch.occurrences.tolist()) for batch in batches.epoch(0)]
    [([1, 2, 3], [2.0, 0.0, 0.0]), ([3, 2, 1], [1.0, 1.0, 0.0])]
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
    """A function from steps and their extra negatives [N] to batches, with scratch memory of its own.

    Args:
        options: of the batches.
        popularity: clicks of each item: [I + 1].
    """

    def __init__(self, options: SessionParallel, popularity: Int64Array) -> None:
        self._options, self._distinct = options, DistinctItems(len(popularity) - 1)
        clicks = np.maximum(popularity, 1).astype(np.float32)
        self._as_target = clicks**-options.logq
        self._as_sample = clicks ** (-options.logq * options.sample_alpha)
        self._correction = options.logq * np.log(clicks)

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
        return ClickBatch(
            rows=rows,
            slots=as_tensor(step.slots),
            begun=as_tensor(step.slots[step.begun]),
            input_at=as_tensor(input_at),
            target_at=as_tensor(found[:n_targets]),
            occurrences=as_tensor(occurrences),
            correction=as_tensor(self._correction[step.targets]),
            n_slots=self._options.batch_size,
        )


def _counted(columns: Int64Array, n_columns: int) -> ScoreArray:
    return np.bincount(columns, minlength=n_columns).astype(np.float32)

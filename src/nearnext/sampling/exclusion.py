"""Negatives that leave out what an example excludes, drawn for each example or shared in the batch."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearnext.compiled import compiled
from nearnext.sampling.batch import Examples
from nearnext.sampling.proposal import Proposal, log_counts
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

HEAVY = 0.5


@dataclass(frozen=True, eq=False)
class Exclusion:
    """Which items are no negatives of R examples: clicks of their sessions, and their positives."""

    items: IndexArray  # item index of each click of the log: [E]
    begin: Int64Array  # first click of each example that is excluded, with all that follow it in the session: [R]
    end: Int64Array  # one past the session's last click: [R]
    positives: IndexArray  # positives of each example, 0 where masked; excluded as well: [R, P]
    marked: BoolArray  # scratch memory, all False between uses: [I + 1]

    @classmethod
    def of(
        cls, items: IndexArray, examples: Examples, positives: IndexArray, *, whole_session: bool, marked: BoolArray
    ) -> "Exclusion":
        """The future and the positives of the examples, and their prefixes too if the whole session is excluded."""
        begin = examples.first if whole_session else examples.next_click
        return cls(items, begin, examples.end, positives, marked)

    def rows(self, which: Int64Array) -> "Exclusion":
        """The same for some of the examples."""
        return Exclusion(self.items, self.begin[which], self.end[which], self.positives[which], self.marked)

    def of_candidates(self, candidates: IndexArray, shares: FloatArray) -> tuple[BoolArray, FloatArray]:
        """Which candidates [R, N] are excluded (0 always is), and the mass of what each example excludes: [R]."""
        excluded = np.empty(candidates.shape, dtype=np.bool_)
        mass = np.empty(len(candidates))
        _exclude(self.items, self.begin, self.end, self.positives, self.marked, candidates, shares, excluded, mass)
        return excluded, mass

    def draw(
        self, proposal: Proposal, n_negatives: int, rng: np.random.Generator
    ) -> tuple[IndexArray, BoolArray, ScoreArray]:
        """Negatives [R, N] drawn from the proposal among what is not excluded, their mask, and log expected counts.

        An example that excludes all that the proposal can give has no negatives: 0, masked.
        """
        negatives = proposal.draw(rng, (len(self.begin), n_negatives))
        refused, mass = self.of_candidates(negatives, proposal.shares)
        remaining = 1.0 - mass
        # Where more than half is excluded, draws are made from the remaining items themselves: elsewhere each redraw
        # succeeds with probability at least 1/2, so redrawing ends.
        heavy = np.flatnonzero(mass > HEAVY)
        if len(heavy):
            exactly, left = self.rows(heavy)._draw_exactly(proposal.shares, rng.random((len(heavy), n_negatives)))
            negatives[heavy], refused[heavy], remaining[heavy] = exactly, False, left
        self._redraw(proposal, negatives, refused, rng)
        mask = negatives > 0
        expected = n_negatives * proposal.shares[negatives] / np.where(remaining > 0, remaining, 1.0)[:, None]
        return negatives, mask, log_counts(expected, mask)

    def _redraw(self, proposal: Proposal, negatives: IndexArray, refused: BoolArray, rng: np.random.Generator) -> None:
        """Refused draws replaced in place until none is left."""
        while len(rows := np.flatnonzero(refused.any(axis=1))):
            redrawn, again = negatives[rows], refused[rows]
            redrawn[again] = proposal.draw(rng, int(np.count_nonzero(again)))
            refused[rows], _ = self.rows(rows).of_candidates(redrawn, proposal.shares)
            negatives[rows] = redrawn

    def _draw_exactly(self, shares: FloatArray, uniforms: FloatArray) -> tuple[IndexArray, FloatArray]:
        """Negatives [R, N] from the items that are left, 0 where there are none, and the mass of what is left: [R]."""
        negatives = np.zeros(uniforms.shape, dtype=np.int32)
        left = np.zeros(len(uniforms))
        _draw_exactly(self.items, self.begin, self.end, self.positives, self.marked, shares, uniforms, negatives, left)
        return negatives, left


@compiled()
def _mark(
    items: IndexArray, begin: int, end: int, positives: IndexArray, value: bool, marked: BoolArray, shares: FloatArray
) -> float:
    """Marks of one example's excluded items set (or cleared); gives the mass of those whose mark changed."""
    mass = 0.0
    for click in range(begin, end):
        if marked[items[click]] != value:
            marked[items[click]] = value
            mass += float(shares[items[click]])
    for item in positives:
        if marked[item] != value:
            marked[item] = value
            mass += float(shares[item])
    return mass


@compiled()
def _exclude(
    items: IndexArray,
    begin: Int64Array,
    end: Int64Array,
    positives: IndexArray,
    marked: BoolArray,
    candidates: IndexArray,
    shares: FloatArray,
    excluded: BoolArray,
    mass: FloatArray,
) -> None:
    """Which candidates each example excludes, written to ``excluded`` [R, N], and the mass of all it excludes: [R]."""
    for row in range(len(begin)):
        mass[row] = _mark(items, begin[row], end[row], positives[row], True, marked, shares)
        for column in range(candidates.shape[1]):
            item = candidates[row, column]
            excluded[row, column] = item == 0 or marked[item]
        _mark(items, begin[row], end[row], positives[row], False, marked, shares)


@compiled()
def _draw_exactly(
    items: IndexArray,
    begin: Int64Array,
    end: Int64Array,
    positives: IndexArray,
    marked: BoolArray,
    shares: FloatArray,
    uniforms: FloatArray,
    negatives: IndexArray,
    left: FloatArray,
) -> None:
    """Items by inverse distribution function over those that are not excluded, written to ``negatives``: [R, N]."""
    allowed: NDArray[np.int32] = np.empty(len(shares), dtype=np.int32)
    cumulated: FloatArray = np.empty(len(shares))
    for row in range(len(begin)):
        _mark(items, begin[row], end[row], positives[row], True, marked, shares)
        n_allowed, total = 0, 0.0
        for item in range(1, len(shares)):
            if shares[item] > 0 and not marked[item]:
                total += shares[item]
                allowed[n_allowed] = item
                cumulated[n_allowed] = total
                n_allowed += 1
        _mark(items, begin[row], end[row], positives[row], False, marked, shares)
        left[row] = total
        if n_allowed == 0:
            continue
        for column in range(negatives.shape[1]):
            position = int(np.searchsorted(cumulated[:n_allowed], float(uniforms[row, column]) * total, side="right"))
            negatives[row, column] = allowed[min(position, n_allowed - 1)]


class Drawn(NamedTuple):
    """Negatives of one batch, their mask and log expected counts, shaped as in `Batch`."""

    items: IndexArray
    mask: BoolArray
    log_proposal: ScoreArray


@dataclass(frozen=True, eq=False)
class Sharing:
    """One list of negatives for all examples of a batch, masked for each where it excludes them."""

    items: IndexArray  # item index of each click of the log: [E]
    proposal: Proposal  # what extra negatives are drawn from
    # how often each item is expected as a positive in an epoch, where the positives of the other examples are
    # negatives: [I + 1]; None: they are none
    expected: FloatArray | None
    whole_session: bool  # whether an example excludes the prefix too
    marked: BoolArray  # scratch memory, all False between uses: [I + 1]

    def of(self, examples: Examples, positives: IndexArray, extra: IndexArray, others: float) -> Drawn:
        """Negatives [N] of one batch, their masks [B, N] and log expected counts [N].

        The expected count of an item is that for an example of a session without it, over all orders of the epoch, as
        if no other example excluded it from what was drawn. ``positives`` are 0 where masked [B, P], ``extra`` is
        what was drawn, 0 where an example has no negatives [n]; ``others`` is the share, of all examples but one,
        that the batch holds besides one of its own.
        """
        items = extra if self.expected is None else np.concatenate([positives.ravel(), extra])
        excluded, _ = Exclusion.of(
            self.items, examples, positives, whole_session=self.whole_session, marked=self.marked
        ).of_candidates(np.broadcast_to(items, (len(examples), len(items))), self.proposal.shares)
        counts = len(extra) * self.proposal.shares[items]
        if self.expected is not None:
            counts += others * self.expected[items]
        return Drawn(items, ~excluded, log_counts(counts, (items > 0) & (counts > 0)))

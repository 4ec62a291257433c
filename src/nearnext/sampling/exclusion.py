"""Negatives that leave out what an example excludes, drawn for each example or shared in the batch."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearnext.compiled import compiled
from nearnext.data.sessions import Sessions
from nearnext.sampling.batch import Examples
from nearnext.sampling.proposal import Proposal, log_counts
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

HEAVY = 0.5


class Drawn(NamedTuple):
    """Negatives of one batch, their mask and log expected counts, shaped as in `Batch`."""

    items: IndexArray
    mask: BoolArray
    log_proposal: ScoreArray


@dataclass(frozen=True, eq=False)
class Exclusion:
    """Draws from a proposal that leave out what an example excludes: its positives, and clicks of its session."""

    items: IndexArray  # item index of each click of the log: [E]
    proposal: Proposal
    whole_session: bool  # whether an example excludes its prefix too, and not only what follows
    marked: BoolArray  # scratch memory, all False between uses: [I + 1]

    @classmethod
    def over(cls, sessions: Sessions, proposal: Proposal, *, whole_session: bool) -> "Exclusion":
        """With scratch memory of its own."""
        return cls(sessions.items, proposal, whole_session, np.zeros(sessions.n_items + 1, dtype=np.bool_))

    def each(self, examples: Examples, positives: IndexArray, n: int, rng: np.random.Generator) -> Drawn:
        """Negatives drawn for each of R examples: [R, n].

        An example that excludes all that the proposal can give has no negatives: 0, masked.
        """
        shares, given = self.proposal.shares, self._of(examples, positives)
        negatives = self.proposal.draw(rng, (len(examples), n))
        refused, mass = self._refused(given, negatives)
        remaining = 1.0 - mass
        # Where more than half is excluded, draws are made from the remaining items themselves: elsewhere each redraw
        # succeeds with probability at least 1/2, so redrawing ends.
        heavy = np.flatnonzero(mass > HEAVY)
        if len(heavy):
            uniforms = rng.random((len(heavy), n))
            exactly, left = _draw_exactly(self.items, _rows(given, heavy), self.marked, shares, uniforms)
            negatives[heavy], refused[heavy], remaining[heavy] = exactly, False, left
        while len(rows := np.flatnonzero(refused.any(axis=1))):
            redrawn, again = negatives[rows], refused[rows]
            redrawn[again] = self.proposal.draw(rng, int(np.count_nonzero(again)))
            refused[rows], _ = self._refused(_rows(given, rows), redrawn)
            negatives[rows] = redrawn
        expected = n * shares[negatives] / np.where(remaining > 0, remaining, 1.0)[:, None]
        return Drawn(negatives, negatives > 0, log_counts(expected, negatives > 0))

    def shared(
        self,
        examples: Examples,
        positives: IndexArray,
        extra: IndexArray,
        others: float,
        expected_positives: FloatArray | None,
    ) -> Drawn:
        """Negatives [N] that all examples of a batch share, their masks [B, N] and log expected counts [N].

        They are ``extra``, what was drawn, 0 where an example has no negatives [n], and the positives of the batch, 0
        where masked [B, P], if their expected numbers in an epoch are given [I + 1]; ``others`` is the share, of all
        examples but one, that the batch holds besides one of its own. The expected count of an item is that for an
        example of a session without it, over all orders of the epoch, as if no other example excluded it from what
        was drawn.
        """
        items = extra if expected_positives is None else np.concatenate([positives.ravel(), extra])
        columns = np.broadcast_to(items, (len(examples), len(items)))
        refused, _ = self._refused(self._of(examples, positives), columns)
        counts = len(extra) * self.proposal.shares[items]
        if expected_positives is not None:
            counts += others * expected_positives[items]
        return Drawn(items, ~refused, log_counts(counts, (items > 0) & (counts > 0)))

    def _of(self, examples: Examples, positives: IndexArray) -> "_Excluded":
        return examples.first if self.whole_session else examples.next_click, examples.end, positives

    def _refused(self, given: "_Excluded", candidates: IndexArray) -> tuple[BoolArray, FloatArray]:
        """Which candidates [R, N] are excluded (0 always is), and the mass of what each example excludes: [R]."""
        return _exclude(self.items, given, self.marked, candidates, self.proposal.shares)


_Excluded = tuple[Int64Array, Int64Array, IndexArray]
"""Where the excluded clicks of each example begin and end, [R] and [R], and its positives: [R, P]."""


def _rows(given: _Excluded, rows: Int64Array) -> _Excluded:
    begin, end, positives = given
    return begin[rows], end[rows], positives[rows]


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
    items: IndexArray, given: _Excluded, marked: BoolArray, candidates: IndexArray, shares: FloatArray
) -> tuple[BoolArray, FloatArray]:
    """Which candidates each example excludes [R, N], and the mass of all it excludes: [R]."""
    begin, end, positives = given
    excluded, mass = np.empty(candidates.shape, np.bool_), np.empty(len(candidates))
    for row in range(len(begin)):
        mass[row] = _mark(items, begin[row], end[row], positives[row], True, marked, shares)
        for column in range(candidates.shape[1]):
            item = candidates[row, column]
            excluded[row, column] = item == 0 or marked[item]
        _mark(items, begin[row], end[row], positives[row], False, marked, shares)
    return excluded, mass


@compiled()
def _draw_exactly(
    items: IndexArray, given: _Excluded, marked: BoolArray, shares: FloatArray, uniforms: FloatArray
) -> tuple[IndexArray, FloatArray]:
    """Items by inverse distribution function over those not excluded [R, N], and the sum of the shares of these: [R].

    An example that excludes all has the items 0.
    """
    begin, end, positives = given
    negatives, left = np.zeros(uniforms.shape, np.int32), np.zeros(len(uniforms))
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
        for column in range(uniforms.shape[1]):
            position = int(np.searchsorted(cumulated[:n_allowed], float(uniforms[row, column]) * total, side="right"))
            negatives[row, column] = allowed[min(position, n_allowed - 1)]
    return negatives, left

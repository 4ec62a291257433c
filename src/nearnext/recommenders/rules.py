"""MARKOV-1, SR and AR: rules "who clicked this then clicks that", counted over sessions."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import polars as pl
from scipy import sparse

from nearnext.compiled import compiled
from nearnext.data.event_weights import item_weights
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.options import Count, Natural, Search
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.decay import step_weights
from nearnext.recommenders.method import State
from nearnext.recommenders.ranking import RankChunk, Request
from nearnext.stored_arrays import require_array, require_distinct, require_offsets
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

MOST_PAIRS = 10_000_000
"""Pairs of items, over all sessions, that association rules count at most, unless all sessions are short."""

PAIRS = 8_000_000
"""Approximate number of click pairs counted per block."""

LARGE, STRONGEST = 20_000_000, 200
"""Clicks of a log above which the rules per item are pruned to the second number, unless ``pruning`` is given."""

ALWAYS_WHOLE = 200
"""Clicks up to which no session is cut for that."""


@dataclass(frozen=True, eq=False)
class RuleTable:
    """Weighted rules from each item, strongest first, equal ones in the order of the index."""

    offsets: Int64Array  # rules of item i are at offsets[i]..offsets[i + 1]: [I + 2]
    items: IndexArray  # item that is recommended: [R]
    weights: FloatArray  # weight of each rule, positive: [R]

    @classmethod
    def of(cls, blocks: Iterable[Any], pruning: int) -> "RuleTable":
        """Rules from sparse weights of consecutive items, [n, I + 1] each, at most ``pruning`` per item (0: all)."""
        lengths, items, weights = list[Int64Array](), list[IndexArray](), list[FloatArray]()
        for matrix in blocks:
            matrix.sum_duplicates()
            indptr = np.asarray(matrix.indptr, dtype=np.int64)
            found = np.asarray(matrix.indices, dtype=np.int32)
            weighed = np.asarray(matrix.data, dtype=np.float64)
            n_rows = len(indptr) - 1
            source = np.repeat(np.arange(n_rows), np.diff(indptr))
            order = np.lexsort((found, -weighed.astype(np.float32), source))
            kept = order[weighed[order] > 0]
            if pruning:
                first = np.searchsorted(source[kept], np.arange(n_rows))
                kept = kept[np.arange(len(kept)) - first[source[kept]] < pruning]
            lengths.append(np.bincount(source[kept], minlength=n_rows))
            items.append(found[kept])
            weights.append(weighed[kept])
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
        return cls(offsets, np.concatenate(items), np.concatenate(weights))


@dataclass(eq=False)
class _Rules(Recommender):
    """Shared part: the rules of the last click are the recommendation."""

    pruning: Natural = 0

    table: RuleTable = field(init=False, repr=False)

    def _kept(self, sessions: Sessions) -> int:
        """Rules kept per item, 0 for all."""
        kept = self.pruning or (STRONGEST if sessions.n_events > LARGE * self.share else 0)
        return math.ceil(kept * self.share)

    def _add_unclicked(self, ids: pl.Series) -> None:
        super()._add_unclicked(ids)
        offsets = self.table.offsets
        self.table = replace(self.table, offsets=np.append(offsets, np.full(len(ids), offsets[-1])))

    def _state(self) -> State:
        return {"offsets": self.table.offsets, "items": self.table.items, "weights": self.table.weights}

    def _restore(self, state: State) -> None:
        n_items, n_rules = len(self.vocabulary), len(state["items"])
        self.table = RuleTable(
            require_offsets("offsets of rules", state["offsets"], n_items + 1, n_rules),
            require_array("items of rules", state["items"], np.int32, (n_rules,), 1, n_items),
            require_array("weights of rules", state["weights"], np.float64, (n_rules,), 0.0),
        )
        require_distinct("rules", self.table.offsets, self.table.items)

    def _ranker(self) -> RankChunk:
        table = self.table

        def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            rules = table.offsets, table.items, table.weights
            clicks = prefixes.items, prefixes.starts, prefixes.ends
            return _follow(*rules, *clicks, request.admissible, request.exclude_seen, items, scores)

        return rank_chunk


@compiled()
def _follow(
    rule_offsets: Int64Array,
    rule_items: IndexArray,
    rule_weights: FloatArray,
    clicks: IndexArray,
    starts: Int64Array,
    ends: Int64Array,
    admissible: BoolArray,
    exclude_seen: bool,
    items: IndexArray,
    scores: ScoreArray,
) -> IndexArray:
    own = np.zeros(len(starts), dtype=np.int32)
    seen = np.zeros(len(admissible), dtype=np.int64)
    for row in range(len(starts)):
        if ends[row] == starts[row]:
            continue
        if exclude_seen:
            for position in range(starts[row], ends[row]):
                seen[clicks[position]] = row + 1
        last = clicks[ends[row] - 1]
        for rule in range(rule_offsets[last], rule_offsets[last + 1]):
            if own[row] == items.shape[1]:
                break
            item = rule_items[rule]
            if admissible[item] and seen[item] != row + 1:
                items[row, own[row]] = item
                scores[row, own[row]] = rule_weights[rule]
                own[row] += 1
    return own


def _ranges(pairs: Int64Array | FloatArray, share: float) -> list[tuple[int, int]]:
    """Ranges of items with about ``share · PAIRS`` pairs, at least one item each; pairs of each item: [I + 1]."""
    groups = np.cumsum(pairs) // (share * PAIRS)
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(pairs)]
    return list(pairwise(edges))


def _sequential(sessions: Sessions, weights: FloatArray, share: float) -> Iterator[Any]:
    """Weight of "b after a": sum over all pairs at distance i of weights[i − 1] times the weight of the click on b.

    Blocks of rows of [I + 1, I + 1].
    """
    counts = sessions.item_counts()
    for low, high in _ranges(counts * len(weights), share):
        sources, followers, steps = _pairs(sessions.items, sessions.offsets, len(weights), low, high)
        targets = sessions.items[followers]
        shape = (high - low, len(counts))
        total: Any = sparse.csr_array(shape, dtype=np.float64)
        for step, weight in enumerate(weights, start=1):
            pair = steps == step
            if weight and pair.any():
                values = np.full(np.count_nonzero(pair), weight)
                if sessions.weights is not None:
                    values *= sessions.weights[followers[pair]]
                total = total + sparse.csr_array((values, (sources[pair], targets[pair])), shape=shape)
        yield total


@compiled()
def _pairs(
    items: IndexArray, offsets: Int64Array, most: int, low: int, high: int
) -> tuple[IndexArray, Int64Array, IndexArray]:
    """Items low..high − 1 of clicks, from 0, positions of the clicks up to ``most`` steps later, and the steps: [P]."""
    n = 0
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        for click in range(offsets[session], end):
            if low <= items[click] < high:
                n += min(most, end - 1 - click)
    sources, followers, steps = np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n, np.int32)
    n = 0
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        for click in range(offsets[session], end):
            if low <= items[click] < high:
                for later in range(click + 1, min(click + most + 1, end)):
                    sources[n], followers[n], steps[n] = items[click] - low, later, later - click
                    n += 1
    return sources, followers, steps


@dataclass(eq=False)
class Markov(_Rules):
    """MARKOV-1: how often an item directly followed the last click.

    Attributes:
        pruning: rules kept per item, 0 for all, or for 200 of a log with over 20 million clicks (session-rec: 20).

    Paper: §5.1. Reference: session-rec ``MarkovModel``.

    >>> markov = Markov().fit(Sessions.of([["a", "b"], ["a", "c"], ["a", "c"]]))
    >>> markov.recommend([["b", "a"]], k=2)[0].items
    ['c', 'b']
    """

    name: ClassVar[str] = "markov-1"

    def _learn(self, sessions: Sessions) -> None:
        self.table = RuleTable.of(_sequential(sessions, np.ones(1), self.share), self._kept(sessions))


@dataclass(eq=False)
class SequentialRules(_Rules):
    """SR: items that followed the last click within some steps, nearer ones weighing more.

    Attributes:
        steps: how many clicks after an item count, at least 1.
        weighting: weight of a follower at distance i: same 1, div 1/i, linear 1 − i/10, quadratic 1/i²,
            log 1/log10(i + 1.7).
        pruning: rules kept per item, 0 for all, or for 200 of a log with over 20 million clicks (session-rec: 20).

    The defaults are the options published for RSC15/64. Reference: Ludewig & Jannach, Evaluation of session-based
    recommendation algorithms, 2018, §3; session-rec ``SequentialRules``.

    >>> sr = SequentialRules(steps=2, weighting="div").fit(Sessions.of([["a", "b", "c"], ["a", "c"]]))
    >>> sr.recommend([["a"]], k=2)[0]
    Recommendation(items=['c', 'b'], scores=[1.5, 1.0], own=2, unknown=[], shortage=None, unmatched=[])
    """

    name: ClassVar[str] = "sr"

    steps: Annotated[Count, Search(1, 20, why="how far behind a follower may be; published choices: 4-15")] = 4
    weighting: Annotated[
        Literal["same", "div", "linear", "quadratic", "log"],
        Search(why="how its weight falls with the distance: all that there are"),
    ] = "quadratic"

    def _learn(self, sessions: Sessions) -> None:
        steps = min(self.steps, int(sessions.lengths.max()))
        weights = step_weights(self.weighting, steps)
        self.table = RuleTable.of(_sequential(sessions, weights, self.share), self._kept(sessions))


def _click_sums(sessions: Sessions, values: FloatArray) -> Any:
    """Sum of the values [E] of each session's clicks on each item: sparse [S, I + 1]."""
    clicks: Any = sparse.csr_array(
        (values.copy(), sessions.items.copy(), sessions.offsets.copy()),
        shape=(sessions.n_sessions, sessions.n_items + 1),
    )
    clicks.sum_duplicates()
    return clicks


def _together(clicks: Any, weighed: Any, totals: Int64Array | FloatArray, share: float) -> Iterator[Any]:
    """Weights of the clicks on b together with those on a, each pair of clicks once: blocks of rows of [I + 1, I + 1].

    ``clicks`` and ``weighed`` are the clicks of sessions on items and their weights, ``totals`` their sums [I + 1].
    """
    of_item = clicks.T.tocsr()
    n_pairs = np.bincount(clicks.indices, np.repeat(np.diff(clicks.indptr), np.diff(clicks.indptr)), len(totals))
    for low, high in _ranges(n_pairs, share):
        pairs = of_item[low:high] @ weighed
        pairs.setdiag(pairs.diagonal(low) - totals[low:high], low)
        yield pairs.tocsr()


def _longest_window(distinct: Int64Array, most: float) -> int:
    """The most clicks per session with which the sessions have no more than ``most`` pairs of items."""
    rising = np.sort(distinct).astype(np.float64)
    below = np.concatenate([[0.0], np.cumsum(rising**2)])[:-1]  # pairs of the shorter sessions
    room = np.sqrt(np.maximum(most - below, 0) / np.arange(len(rising), 0, -1))
    # All sessions up to this one are whole, the longer ones share the pairs that are left.
    cut = np.flatnonzero(rising > room)
    return int(rising[-1]) if len(cut) == 0 else max(int(room[cut[0]]), ALWAYS_WHOLE)


@dataclass(eq=False)
class AssociationRules(_Rules):
    """AR: how often two items were clicked in one session, in any order.

    With c clicks of item a and d of item b in a session, the rule a → b gains c · d, and a → a gains c · (c − 1); with
    weights, each pair of clicks gains that of the click on b.

    Time and memory grow with the square of a session's distinct items. Where all sessions together have more than
    10 million pairs, only the last clicks of the longest ones count, 200 or more; ``note`` says how many.

    Attributes:
        pruning: rules kept per item, 0 for all, or for 200 of a log with over 20 million clicks (session-rec: 20).

    Reference: Ludewig & Jannach 2018, §3; session-rec ``AssociationRules``.

    >>> ar = AssociationRules().fit(Sessions.of([["a", "b", "b"], ["a", "c"]]))
    >>> ar.recommend([["a"]], k=2)[0].items
    ['b', 'c']
    """

    name: ClassVar[str] = "ar"

    note: str = field(init=False, repr=False, default="")

    def _learn(self, sessions: Sessions) -> None:
        clicks = _click_sums(sessions, np.ones(sessions.n_events))
        distinct = np.diff(clicks.indptr)
        longest = _longest_window(distinct, MOST_PAIRS * self.share)
        self.note = ""
        if (too_long := distinct > longest).any():
            from_end = np.repeat(sessions.offsets[1:], sessions.lengths) - np.arange(sessions.n_events)
            sessions = sessions.keep_events((from_end <= longest) | ~np.repeat(too_long, sessions.lengths))
            clicks = _click_sums(sessions, np.ones(sessions.n_events))
            self.note = f"ar: of {too_long.sum():,} long sessions only the last {longest:,} clicks count"
        weighed = clicks if sessions.weights is None else _click_sums(sessions, sessions.weights)
        blocks = _together(clicks, weighed, item_weights(sessions), self.share)
        self.table = RuleTable.of(blocks, self._kept(sessions))

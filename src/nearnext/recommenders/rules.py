"""MARKOV-1, SR and AR: rules "who clicked this then clicks that", counted over sessions."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import numpy as np
import polars as pl

from nearnext.compiled import compiled
from nearnext.data.event_weights import item_weights
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.options import Count, Natural, Search
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.decay import Decay, step_weights
from nearnext.recommenders.method import State
from nearnext.recommenders.ranking import RankChunk, Request
from nearnext.recommenders.rule_counts import RuleTable, click_sums, ordered_pairs, session_pairs
from nearnext.stored_arrays import require_array, require_distinct, require_offsets
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray

MOST_PAIRS = 10_000_000
"""Pairs of items, over all sessions, that association rules count at most, unless all sessions are short."""

LARGE, STRONGEST = 20_000_000, 200
"""Clicks of a log above which the rules per item are pruned to the second number, unless ``pruning`` is given."""

ALWAYS_WHOLE = 200
"""Clicks up to which no session is cut for that."""


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
        self.table = RuleTable.of(ordered_pairs(sessions, np.ones(1), self.share), self._kept(sessions))


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
    weighting: Annotated[Decay, Search(why="how its weight falls with the distance: all that there are")] = "quadratic"

    def _learn(self, sessions: Sessions) -> None:
        steps = min(self.steps, int(sessions.lengths.max()))
        weights = step_weights(self.weighting, steps)
        self.table = RuleTable.of(ordered_pairs(sessions, weights, self.share), self._kept(sessions))


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
        clicks = click_sums(sessions, np.ones(sessions.n_events))
        distinct = np.diff(clicks.indptr)
        longest = _longest_window(distinct, MOST_PAIRS * self.share)
        self.note = ""
        if (too_long := distinct > longest).any():
            from_end = np.repeat(sessions.offsets[1:], sessions.lengths) - np.arange(sessions.n_events)
            sessions = sessions.keep_events((from_end <= longest) | ~np.repeat(too_long, sessions.lengths))
            clicks = click_sums(sessions, np.ones(sessions.n_events))
            self.note = f"ar: of {too_long.sum():,} long sessions only the last {longest:,} clicks count"
        weighed = clicks if sessions.weights is None else click_sums(sessions, sessions.weights)
        blocks = session_pairs(clicks, weighed, item_weights(sessions), self.share)
        self.table = RuleTable.of(blocks, self._kept(sessions))

"""POP and SPOP: the most popular items, of the log and of the session."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.event_weights import item_weights
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.method import State
from nearnext.recommenders.ranking import RankChunk, Request
from nearnext.stored_arrays import LARGEST, require_array
from nearnext.topk import best_scored, fill_from_popularity
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray


@dataclass(eq=False)
class _Popularity(Recommender):
    """Shared part: supp, the sum of the weights of each item's clicks, 1 each without weights: [I + 1]."""

    support: FloatArray = field(init=False, repr=False)

    def _learn(self, sessions: Sessions) -> None:
        self.support = item_weights(sessions).astype(np.float64)

    def _state(self) -> State:
        return {"support": self.support}

    def _restore(self, state: State) -> None:
        self.support = require_array("support", state["support"], np.float64, self.popularity.shape, 0, LARGEST)

    def _prior(self) -> FloatArray:
        return self.support / (1.0 + self.support)


@dataclass(eq=False)
class Pop(_Popularity):
    """POP: the most clicked items of the training log for every session, score supp / (1 + supp).

    Paper: §5.1. Reference: session-rec ``Pop``.

    >>> from nearnext.data.sessions import Sessions
    >>> pop = Pop().fit(Sessions.of([["a", "b"], ["b", "c", "b"]]))
    >>> pop.recommend([["c"]], k=2)[0].items
    ['b', 'a']
    """

    name: ClassVar[str] = "pop"

    def _ranker(self) -> RankChunk:
        score = self._prior().astype(np.float32)

        def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            own = np.zeros(len(prefixes), dtype=np.int32)
            clicks, starts, ends = prefixes.items, prefixes.starts, prefixes.ends
            fill_from_popularity(items, own, request.admissible, clicks, starts, ends, request.exclude_seen)
            scores[:] = score[items]
            return np.count_nonzero(items, axis=1).astype(np.int32)

        return rank_chunk


@dataclass(eq=False)
class SessionPop(_Popularity):
    """SPOP: items of the session by number of clicks, then the popular ones; score = clicks + supp / (1 + supp).

    Paper: §5.1. Reference: session-rec ``SessionPop``; there only the 100 most popular items break ties, here all do.

    >>> from nearnext.data.sessions import Sessions
    >>> spop = SessionPop().fit(Sessions.of([["a", "b"], ["b", "c"]]))
    >>> spop.recommend([["c", "a", "c"]], k=3)[0].items
    ['c', 'a', 'b']
    """

    name: ClassVar[str] = "spop"

    def _ranker(self) -> RankChunk:
        prior = self._prior()
        counts = np.zeros(len(prior))

        def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            own = np.zeros(len(prefixes), dtype=np.int32)
            if request.exclude_seen:
                return own  # nothing of the session may return: what is left is popularity, which the caller fills in
            clicks, starts, ends = prefixes.items, prefixes.starts, prefixes.ends
            _rank_seen(clicks, starts, ends, request.admissible, prior, counts, items, scores, own)
            # The popular items behind the session's own are part of this method, so they count as its own.
            fill_from_popularity(items, own, request.admissible, clicks, starts, ends, False)
            filled = np.arange(request.k) >= own[:, None]
            scores[filled] = prior[items[filled]]
            return np.count_nonzero(items, axis=1).astype(np.int32)

        return rank_chunk


@compiled()
def _rank_seen(
    clicks: IndexArray,
    starts: Int64Array,
    ends: Int64Array,
    admissible: BoolArray,
    prior: FloatArray,
    counts: FloatArray,
    items: IndexArray,
    scores: ScoreArray,
    own: IndexArray,
) -> None:
    longest = 0
    for row in range(len(starts)):
        longest = max(longest, ends[row] - starts[row])
    candidates = np.zeros(longest, dtype=np.int32)
    for row in range(len(starts)):
        n_candidates = 0
        for position in range(starts[row], ends[row]):
            item = clicks[position]
            if not admissible[item]:
                continue
            if counts[item] == 0:
                candidates[n_candidates] = item
                n_candidates += 1
                counts[item] = prior[item]
            counts[item] += 1
        own[row] = best_scored(candidates, n_candidates, counts, items[row], scores[row])
        for position in range(n_candidates):
            counts[candidates[position]] = 0

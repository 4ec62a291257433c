"""Evaluation cases: every proper prefix of every test session, and the clicks that follow it; a few as examples."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender
from nearnext.types import BoolArray, IndexArray, Int64Array, RawId, Rows


@dataclass(frozen=True, eq=False)
class LastClicks:
    """The last click on each item of each session: an item remains at click e if its last click is not before e.

    One sorted table of all pairs (session, item), ``keys`` [U] with the ``positions`` of the last clicks [U], answers
    every case by binary search: E clicks and C lists of k items cost O((E + C k) log E) and O(E) memory.
    """

    keys: Int64Array
    positions: Int64Array
    n_items: int

    @classmethod
    def of(cls, sessions: Sessions) -> "LastClicks":
        """The last clicks of every session; unknown items (index 0) have none."""
        positions = np.flatnonzero(_last_of_item(sessions) & (sessions.items > 0))
        keys = sessions.session_of_event()[positions] * (sessions.n_items + 1) + sessions.items[positions]
        order = np.argsort(keys)
        return cls(keys[order], positions[order], sessions.n_items)

    def remain(self, items: IndexArray, session: Int64Array, first: Int64Array) -> BoolArray:
        """Whether items [B, k] are clicked in their row's session [B] at or after position ``first`` [B]: [B, k]."""
        if len(self.keys) == 0:
            return np.zeros(items.shape, dtype=np.bool_)
        keys_of_items = session[:, np.newaxis] * (self.n_items + 1) + items
        found = np.minimum(np.searchsorted(self.keys, keys_of_items), len(self.keys) - 1)
        return (self.keys[found] == keys_of_items) & (self.positions[found] >= first[:, np.newaxis])


def _last_of_item(sessions: Sessions) -> BoolArray:
    """Whether a click to predict is its session's last one on that item; unknown ones are, as their own items: [E]."""
    session_of_event = sessions.session_of_event()
    order = np.lexsort((sessions.items, session_of_event))
    order = order if sessions.targets is None else order[sessions.targets[order]]
    items, owner = sessions.items[order], session_of_event[order]
    last = np.zeros(sessions.n_events, dtype=np.bool_)
    last[order] = True
    last[order[:-1]] = (items[1:] != items[:-1]) | (owner[1:] != owner[:-1]) | (items[:-1] == 0)
    return last


@dataclass(frozen=True, eq=False)
class Cases:
    """C cases without look-ahead: a recommender sees the prefix, the metrics see the clicks after it.

    If only some clicks are to be predicted, such as purchases, a case is a prefix right before one, and of the clicks
    after it only these count.

    A click on an item unknown to training (index 0) is never hit but stays in every denominator: as target it is a
    miss, and it is one remaining click. Its raw id is not kept, so each unknown click is also counted as one distinct
    item of its own, which can only lower AP, and is exact where no unknown item repeats.

    Attributes:
        prefixes: what the recommender may see, the last ``max_prefix`` clicks where a maximum was given: [C].
        session: index of the session that each case belongs to: [C], in 0..S − 1, never falling.
        prefix_lengths: clicks before the target, not cut by ``max_prefix``: [C], from 1.
        targets: item index of the next click, 0 where unknown: [C].
        remaining: clicks after the prefix, the target and repeats included: [C], from 1.
        distinct: distinct items among them: [C], from 1.
        last_clicks: the last click on each item of each session.
        n_sessions: number of sessions S, those without a case included.

    >>> cases = Cases.of(Sessions.of([["a", "b", "a"], ["b", "a"]]))
    >>> len(cases), cases.targets.tolist(), cases.remaining.tolist(), cases.prefix_lengths.tolist()
    (3, [2, 1, 1], [2, 1, 1], [1, 2, 1])
    """

    prefixes: Prefixes
    session: Int64Array
    prefix_lengths: Int64Array
    targets: IndexArray
    remaining: Int64Array
    distinct: Int64Array
    last_clicks: LastClicks
    n_sessions: int

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def n_items(self) -> int:
        """Number of known items I."""
        return self.last_clicks.n_items

    def remain(self, items: IndexArray) -> BoolArray:
        """Whether each item (0..I) of a list is among its case's remaining clicks: [C, k] → [C, k]."""
        return self.last_clicks.remain(items, self.session, self.prefixes.ends)

    @classmethod
    def of(cls, sessions: Sessions, max_prefix: int | None = None) -> "Cases":
        """Every proper prefix of every session, session by session, shortest prefix first."""
        max_prefix = checked("max_prefix", max_prefix, Count | None)
        prefixes = Prefixes.every(sessions)
        if len(prefixes) == 0:
            what = (
                "a test session of 2 or more clicks" if sessions.targets is None else "a click to predict after another"
            )
            raise DataError(
                f"expected {what}, found none among {sessions.n_sessions} test sessions; choose a larger test part"
            )
        session = sessions.session_of_event()[prefixes.starts]
        first, end = prefixes.ends, sessions.offsets[1:][session]
        last_until = np.concatenate([[0], np.cumsum(_last_of_item(sessions))]).astype(np.int64)
        until = np.concatenate([[0], np.cumsum(sessions.predicted)]).astype(np.int64)
        starts = prefixes.starts if max_prefix is None else np.maximum(prefixes.starts, first - max_prefix)
        return cls(
            prefixes=replace(prefixes, starts=starts),
            session=session,
            prefix_lengths=prefixes.lengths,
            targets=sessions.items[first],
            remaining=until[end] - until[first],
            distinct=last_until[end] - last_until[first],
            last_clicks=LastClicks.of(sessions),
            n_sessions=sessions.n_sessions,
        )

    def take(self, rows: Rows) -> "Cases":
        """Some cases, with the same numbering of sessions; the clicks are shared, not copied."""
        return replace(
            self,
            prefixes=self.prefixes.take(rows),
            session=self.session[rows],
            prefix_lengths=self.prefix_lengths[rows],
            targets=self.targets[rows],
            remaining=self.remaining[rows],
            distinct=self.distinct[rows],
        )


N_EXAMPLES, N_ITEMS = 5, 10
"""Cases of a result, and items of each list."""

N_CLICKS = 8
"""Last clicks of a session that are kept."""


@dataclass(frozen=True, eq=False)
class ExampleCases:
    """A few cases of a test log whose clicks and next item are known to training, each of another session.

    Attributes:
        prefixes: what a recommender sees: [n].
        clicks: the last clicks of each prefix as raw ids, oldest first: n lists.
        next: raw id of the click that follows each prefix: [n].

    >>> one = ExampleCases.draw(Sessions.of([["a", "b", "c"]]), seed=1)
    >>> one.clicks, one.next
    ([['a', 'b']], ['c'])
    """

    prefixes: Prefixes
    clicks: list[list[RawId]]
    next: list[RawId]

    @classmethod
    def draw(cls, test: Sessions, *, seed: int, max_prefix: int | None = None) -> "ExampleCases":
        """At most `N_EXAMPLES` cases, those with several clicks first; none if each has an unknown item."""
        every = Prefixes.every(test)
        drawn = np.random.default_rng(seed).permutation(len(every))
        unknown = np.concatenate([[0], np.cumsum(test.items == 0)])
        starts = every.starts if max_prefix is None else np.maximum(every.starts, every.ends - max_prefix)
        drawn = drawn[unknown[starts[drawn]] == unknown[every.ends[drawn] + 1]]  # the next click is known too
        drawn = drawn[np.argsort(every.ends[drawn] - starts[drawn] == 1, kind="stable")]
        _, firsts = np.unique(every.starts[drawn], return_index=True)  # of each session
        drawn = drawn[np.sort(firsts)[:N_EXAMPLES]]
        prefixes = replace(every, starts=starts).take(drawn)
        spans = zip(prefixes.starts, prefixes.ends, strict=True)
        return cls(
            prefixes,
            [test.vocabulary.decode(test.items[max(start, end - N_CLICKS) : end]) for start, end in spans],
            test.vocabulary.decode(test.items[prefixes.ends]),
        )

    def facts(self) -> list[dict[str, Any]]:
        """The cases as plain data for a result."""
        return [{"clicks": clicks, "next": item} for clicks, item in zip(self.clicks, self.next, strict=True)]

    def lists(self, recommender: Recommender) -> list[list[RawId]]:
        """The first items that the recommender lists for each case, as raw ids."""
        if not self.next:
            return []
        ranking = recommender.rank(self.prefixes, min(N_ITEMS, len(recommender.vocabulary)), threads=1)
        return [recommender.vocabulary.decode(row[row > 0]) for row in ranking.items]

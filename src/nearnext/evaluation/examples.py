"""Example cases: a few test sessions drawn at random, and what a recommender lists for them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.recommenders.base import Recommender
from nearnext.types import RawId

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

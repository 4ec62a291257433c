"""The factor of the scores of items without clicks in re-ranked lists, chosen on held-out sessions.

Some of the clicked items are scored as if they had no clicks: by the other items most like them in attributes. If
attributes predict what is clicked next, lists with these items have more hits than lists without. If attributes say
nothing, such items only take the ranks of better ones, and get the factor 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix

from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.data.vocabulary import Vocabulary
from nearnext.recommenders.metric.features import Candidates
from nearnext.recommenders.metric.unclicked import ClickedItems, Likeness
from nearnext.recommenders.placement import FEWEST, Placement, described_rows, significantly_positive
from nearnext.types import FloatArray, IndexArray, Int64Array, ScoreArray

K = 20
"""Length of the lists that are compared."""

FACTORS = np.array([1.0, 0.7, 0.5, 0.35, 0.25, 0.1])
"""Factors tried, besides 0."""
MOST_LISTS = 4_000
"""Lists, at most, that a fit keeps."""
FOLDS, SHARE, MOST_ITEMS = 5, 0.1, 1_000
"""How often items are scored as if they had no clicks, the share of the clicked items, and how many at most."""


@dataclass(frozen=True, eq=False)
class HeldOutLists:
    """Re-ranked candidates of held-out sessions, and what was clicked next."""

    prefixes: Prefixes  # in item indices, 0 for items that the re-ranker's training lacks
    sessions: Int64Array  # of each prefix: [B]
    targets: IndexArray  # next items, 0 where unknown: [B]
    owners: Int64Array  # prefix of each candidate: [C]
    items: IndexArray  # of each candidate: [C]
    probabilities: ScoreArray  # [C]
    known: IndexArray  # items that the re-ranker's training has: [n]

    @classmethod
    def of(
        cls,
        prefixes: Prefixes,
        sessions: Int64Array,
        targets: IndexArray,
        found: Candidates,
        probabilities: Callable[[Candidates], ScoreArray],
        known: IndexArray,
    ) -> Self:
        """The last lists, at most `MOST_LISTS`."""
        begin = max(0, len(prefixes) - MOST_LISTS)
        kept, last = prefixes.slice(begin, len(prefixes)), found.last(MOST_LISTS)
        owners = np.repeat(np.arange(len(kept)), np.diff(last.offsets))
        return cls(kept, sessions[begin:], targets[begin:], owners, last.items, probabilities(last), known)

    def numbered(self, index: IndexArray) -> "HeldOutLists":
        """The same lists in other item indices, given for each of these: [I + 1]."""
        prefixes = Prefixes(index[self.prefixes.items], self.prefixes.starts, self.prefixes.ends, self.prefixes.times)
        candidates = self.owners, index[self.items], self.probabilities
        return HeldOutLists(prefixes, self.sessions, index[self.targets], *candidates, index[self.known])

    def pairs(self, owners: Int64Array, items: Any) -> Int64Array:
        """Numbers of pairs of a prefix and an item: [n]."""
        return owners * (int(max(self.items.max(initial=0), self.prefixes.items.max(initial=0))) + 1) + items

    def clicked(self) -> Int64Array:
        """Numbers of the pairs in which the prefix contains the item, each once."""
        lengths = self.prefixes.lengths
        owners = np.repeat(np.arange(len(lengths)), lengths)
        at = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        clicks = self.prefixes.items[np.arange(len(owners)) - np.repeat(at - self.prefixes.starts, lengths)]
        return np.unique(self.pairs(owners, clicks))


def cold_factor(lists: HeldOutLists, placement: Placement, table: ItemTable, vocabulary: Vocabulary) -> float | None:
    """The largest factor that is significantly better than 0, and not significantly worse than the best; 0: none is.

    None: fewer than `FEWEST` of the clicked items have attributes, too few to measure.
    Better is a larger sum of hits and reciprocal ranks. It must also be significantly larger than if these items had
    each other's scores: in a small catalogue, any further item finds some clicks.
    """
    clicked = np.zeros(len(vocabulary) + 1, np.int64)
    clicked[lists.known] = 1
    features = placement.features.rows(table.of(vocabulary.ids.gather(lists.known - 1)))
    described = lists.known[described_rows(features)]
    if len(described) < FEWEST:
        return None
    order = np.random.default_rng(len(described)).permutation(described)
    n = min(MOST_ITEMS, round(SHARE * len(described)))
    quality = np.zeros((2, len(FACTORS) + 1, len(lists.targets)))
    for taken in order[: len(order) // n * n].reshape(-1, n)[:FOLDS]:
        others = ClickedItems.of(
            placement, table, vocabulary, np.where(np.isin(range(len(clicked)), taken), 0, clicked)
        )
        means = _means(lists, others.most_like(table.of(vocabulary.ids.gather(taken - 1))), len(clicked))
        for at, items in enumerate((taken, np.roll(taken, 1))):
            columns = csr_matrix((means.data, (means.row, items[means.col])), (len(lists.targets), len(clicked)))
            quality[at] += _quality(lists, taken, columns)
    _, session = np.unique(lists.sessions, return_inverse=True)
    gains, against = (
        np.stack([np.bincount(session, weights=gain) for gain in one])
        for one in (quality[0, :-1] - quality[0, -1], quality[0, :-1] - quality[1, :-1])
    )
    best = gains[np.argmax(gains.sum(axis=1))]
    better = [
        significantly_positive(gain) and significantly_positive(other) and not significantly_positive(best - gain)
        for gain, other in zip(gains, against, strict=True)
    ]
    return next(iter(FACTORS[better].tolist()), 0.0)


def _means(lists: HeldOutLists, alike: Likeness, n: int) -> Any:
    """Mean probabilities of C items, by the others most like them, as a sparse array: [B, C]."""
    shape = len(lists.targets), n
    probabilities: Any = csr_matrix((lists.probabilities, (lists.owners, lists.items)), shape=shape)
    return (probabilities @ alike.transposed(n - 1)).tocoo()


def _quality(lists: HeldOutLists, taken: IndexArray, means: Any) -> FloatArray:
    """Hit plus reciprocal rank of each next item, with each factor and at last with 0: [F + 1, B].

    Taken items, [n], are scored by ``means``, a sparse array [B, I + 1], unless the session clicked them.
    """
    n, clicked, quality = len(lists.targets), lists.clicked(), np.zeros((len(FACTORS) + 1, len(lists.targets)))
    rows = np.arange(n)
    cold = np.isin(lists.targets, taken) & ~np.isin(lists.pairs(rows, lists.targets), clicked)
    listed = ~np.isin(lists.items, taken) | np.isin(lists.pairs(lists.owners, lists.items), clicked)
    owners, items, values = lists.owners[listed], lists.items[listed], lists.probabilities[listed].astype(np.float64)
    own = np.zeros(n)
    of_target = items == lists.targets[owners]
    own[owners[of_target]] = values[of_target]
    joined = means.tocoo()
    unseen = ~np.isin(lists.pairs(joined.row, joined.col), clicked)
    joining, mean = joined.row[unseen].astype(np.int64), joined.data[unseen].astype(np.float64)
    expected = np.asarray(means[rows, lists.targets], np.float64).ravel()
    for at, factor in enumerate([*FACTORS.tolist(), 0.0]):
        score = np.where(cold, factor * expected, own)
        better = np.bincount(owners[values > score[owners]], minlength=n)
        better += np.bincount(joining[factor * mean > score[joining]], minlength=n)
        found = (score > 0) & (better < K) & (lists.targets > 0)
        quality[at, found] = 1 + 1 / (better[found] + 1)
    return quality

"""Insert items without clicks into re-ranked lists, whose scores do not cover them.

Such an item has the rank that its distance gives it among the items with clicks, but never the first, and takes the
score of the item above it.
"""

from collections.abc import Sequence

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.model.encoding import item_vectors
from nearnext.model.network import SessionItemNetwork
from nearnext.recommenders.ranking import Request
from nearnext.retrieval import ExactIndex
from nearnext.types import IndexArray, Int64Array, ScoreArray


def behind(own: Sequence[float], scores: ScoreArray, known: ScoreArray, n: int) -> ScoreArray:
    """Scores of the nearest items [F] that fit into a list of at most n, which has scores ``own``.

    Scores fall; ``known`` are those by distance of the items nearest to the session [K].

    >>> behind([0.5, 0.25], np.array([1.8, 1.2]), np.array([1.9, 1.7, 1.1]), 3).tolist()
    [0.5, 0.25]
    """
    if not own:
        return np.zeros_like(scores)
    ahead = np.maximum(np.searchsorted(-known, -scores, side="right"), 1)
    if len(own) >= n:  # items ranked below a full list are dropped
        ahead = ahead[: np.searchsorted(ahead, len(own))]
    return np.asarray(own, np.float32)[np.minimum(ahead, len(own)) - 1]


class UnclickedItems:
    """The items without clicks of a metric space, inserted into lists without changing the order of other items.

    Items that the session has clicked are not inserted: the list has them already, or excludes them.
    """

    def __init__(self, indices: IndexArray, index: ExactIndex) -> None:
        self._indices, self._index = indices, index  # ascending item indices [C], and these items in this order

    @classmethod
    def of(cls, network: SessionItemNetwork, clicks: Int64Array) -> "UnclickedItems | None":
        """Those of a network, by the clicks of each item index [I + 1]; None where every item has some."""
        indices = np.flatnonzero(clicks[1:] == 0).astype(np.int32) + 1
        return cls(indices, ExactIndex(item_vectors(network, indices), network.distance)) if len(indices) else None

    def join(
        self,
        sessions: ScoreArray,  # embeddings of the prefixes: [B, D]
        prefixes: Prefixes,
        request: Request,
        known: ScoreArray,  # scores by distance of the nearest items with clicks, falling: [B, K]
        own: IndexArray,  # lengths of the lists: [B]
        items: IndexArray,  # the lists, 0 from their length on: [B, k]
        scores: ScoreArray,  # falling: [B, k]
    ) -> IndexArray:
        """Insert them into lists; returns the new lengths: [B]."""
        admissible = np.append(False, request.admissible[self._indices])
        if not admissible.any():
            return own
        n = min(items.shape[1], len(self._indices))
        found = self._index.search(sessions, n, admissible=admissible, seen=self._among(prefixes))
        lengths = own.copy()
        for row in np.flatnonzero(sessions.any(axis=1)).tolist():  # one without known clicks has no embedding
            listed = scores[row, : own[row]].tolist()
            joined = behind(listed, found.scores[row, : found.found[row]], known[row], items.shape[1])
            merged = np.array([*listed, *joined], np.float32)
            every = np.append(items[row, : own[row]], self._indices[found.items[row, : len(joined)] - 1])
            order = np.argsort(-merged, kind="stable")[: items.shape[1]]
            lengths[row] = len(order)
            items[row, : len(order)], scores[row, : len(order)] = every[order], merged[order]
        return lengths

    def _among(self, prefixes: Prefixes) -> Prefixes:
        """The same prefixes in positions of these items from 1 on, 0 for others."""
        at = np.minimum(np.searchsorted(self._indices, prefixes.items), len(self._indices) - 1)
        positions = np.where(self._indices[at] == prefixes.items, at + 1, 0).astype(np.int32)
        return Prefixes(positions, prefixes.starts, prefixes.ends, prefixes.times)

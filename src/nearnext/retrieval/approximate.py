"""Approximate nearest items: a graph proposes, exact scores decide, and exact search answers what the graph cannot.

A filter may leave out most of what a graph proposes. So more is proposed, in proportion to what may be listed; where
that is too much, or too little comes back, the search is exact: no list is shorter than an exact one.
"""

import math
from pathlib import Path

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.options import Count, checked
from nearnext.retrieval.exact import ExactIndex
from nearnext.retrieval.graph import ItemGraph
from nearnext.retrieval.index import Neighbours
from nearnext.types import BoolArray, IndexArray, ScoreArray

__all__ = ["ApproximateIndex", "proposals"]

REFINED = 2
"""Proposals for each place of a list: coordinates of 8 bits mistake the order of near neighbours."""

MOST_PROPOSALS = 1_000
"""More proposals than this take longer than the exact search that they would spare."""

NO_CLICKS = np.zeros(0, dtype=np.int32)


def proposals(k: int, n_seen: int, n_admissible: int, n_items: int) -> int:
    """How many items to propose for a list of ``k``, 0: search exactly.

    A share of them may not be listed: the expected number of the others is ``REFINED`` times k, seen items apart.

    >>> proposals(20, n_seen=0, n_admissible=1000, n_items=1000), proposals(20, 5, n_admissible=500, n_items=1000)
    (40, 90)
    >>> proposals(20, n_seen=0, n_admissible=10, n_items=1000)
    0
    """
    if n_admissible - n_seen < k:
        return 0
    wanted = math.ceil((REFINED * k + n_seen) * n_items / n_admissible)
    return wanted if wanted <= min(MOST_PROPOSALS, n_items) else 0


class ApproximateIndex:
    """Item embeddings searched along a graph; lists may miss some of the nearest items, and hold no wrong score.

    Args:
        exact: the items; its scores are those of the lists, and it answers what the graph cannot.
        graph: of the same items.
        breadth: candidates held on a walk, at least 1.

    Raises:
        ConfigError: the two are not of the same items.
    """

    def __init__(self, exact: ExactIndex, graph: ItemGraph, breadth: int) -> None:
        breadth = checked("breadth", breadth, Count)
        if (graph.n_items, graph.dim) != (exact.n_items, exact.dim):
            raise ConfigError(
                f"expected a graph of {exact.n_items} items of dimension {exact.dim}, found {graph.n_items} of "
                f"dimension {graph.dim}; rebuild it with nearnext index"
            )
        self.exact, self.graph, self.breadth = exact, graph, breadth

    @classmethod
    def load(cls, exact: ExactIndex, file: Path) -> "ApproximateIndex":
        """The index of these items whose graph was saved; the file is mapped into memory.

        Raises:
            ArtifactError: the file is missing or damaged.
            ConfigError: it is of other items, or the extra ``ann`` is not installed.
        """
        graph = ItemGraph.load(file)
        return cls(exact, graph, graph.breadth)

    def save(self, file: Path) -> None:
        """Write all but the embeddings of the items, which whoever loads it must have.

        Raises:
            ArtifactError: the file cannot be written.
        """
        self.graph.save(file, self.breadth)

    @property
    def n_items(self) -> int:
        """Number of items I, indexed 1..I."""
        return self.exact.n_items

    @property
    def dim(self) -> int:
        """Dimension D of the embeddings."""
        return self.exact.dim

    def search(
        self, queries: ScoreArray, k: int, *, admissible: BoolArray | None = None, seen: Prefixes | None = None
    ) -> Neighbours:
        """Nearly the k nearest items of each query, see `Index.search`.

        Raises:
            ConfigError: k below 1, or shapes that do not fit the index.
        """
        self.exact.check(queries, k, admissible, seen)
        mask = self._all() if admissible is None else admissible
        n_admissible = int(np.count_nonzero(mask[1:]))
        items = np.zeros((len(queries), k), dtype=np.int32)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        left: list[int] = []
        for row, query in enumerate(np.ascontiguousarray(queries, dtype=np.float32)):
            clicks = NO_CLICKS if seen is None else np.unique(seen.items[seen.starts[row] : seen.ends[row]])
            near, their_scores = self._along_graph(query, k, mask, n_admissible, clicks)
            if len(near) < k:
                left.append(row)
            else:
                items[row], scores[row] = near, their_scores
        found = Neighbours(items, scores, np.full(len(queries), k, dtype=np.int32))
        if left:
            some = None if seen is None else Prefixes(seen.items, seen.starts[left], seen.ends[left], seen.times[left])
            exact = self.exact.search(queries[left], k, admissible=admissible, seen=some)
            found.items[left], found.scores[left], found.found[left] = exact
        return found

    def _along_graph(
        self, query: ScoreArray, k: int, admissible: BoolArray, n_admissible: int, clicks: IndexArray
    ) -> tuple[IndexArray, ScoreArray]:
        n = proposals(k, len(clicks), n_admissible, self.n_items)
        candidates = self.graph.propose(query, n, self.breadth) if n else np.zeros(0, dtype=np.int64)
        return self.exact.best_of(candidates, query, admissible, clicks, k)

    def _all(self) -> BoolArray:
        mask = np.ones(self.n_items + 1, dtype=np.bool_)
        mask[0] = False
        return mask

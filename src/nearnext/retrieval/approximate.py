"""Approximate nearest items: a graph proposes, exact scores decide, and exact search answers what the graph cannot.

A filter may leave out most of what a graph proposes. So more is proposed, in proportion to what may be listed; where
that is too much, or too little comes back, the search is exact: no list is shorter than an exact one.
"""

import math
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ArtifactError, ConfigError
from nearnext.extras import needed
from nearnext.model.distances import DistanceName
from nearnext.options import Count, checked
from nearnext.progress import track
from nearnext.retrieval.exact import ExactIndex, Neighbours
from nearnext.topk import no_lists
from nearnext.types import BoolArray, IndexArray, Int64Array, ScoreArray

LINKS = 16
"""Neighbours that an item is linked to; twice as many on the lowest level."""

EF_CONSTRUCTION = 80
"""Candidates kept while an item is linked."""

BLOCK = 10_000
"""Items added between two moves of the progress bar."""

SAMPLE = 100_000
"""Items from which the range of each dimension's 8 bits is taken."""


def can_build_graphs() -> bool:
    """Whether the package that builds graphs is installed."""
    try:
        _faiss()
    except ConfigError:
        return False
    return True


def build_graph(vectors: ScoreArray, distance: DistanceName, *, threads: int = 1) -> Any:
    """A graph of near items [I, D] that a search walks along: hierarchical navigable small worlds, of faiss.

    It holds each coordinate in 8 bits and only proposes. Built on one thread it is the same every time; with several,
    links depend on which is faster. Reference: Malkov, Yashunin, Efficient and Robust Approximate Nearest Neighbor
    Search Using Hierarchical Navigable Small World Graphs, 2018.
    """
    threads = checked("threads", threads, Count)
    faiss = _faiss()
    metric = faiss.METRIC_INNER_PRODUCT if distance == "cosine" else faiss.METRIC_L2
    graph = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, LINKS, metric)
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    step = max(1, len(vectors) // SAMPLE)
    with _threads(faiss, threads), track("linking items", len(vectors), "items") as advance:
        graph.train(np.ascontiguousarray(vectors[::step]))
        for begin in range(0, len(vectors), BLOCK):
            block = np.ascontiguousarray(vectors[begin : begin + BLOCK])
            graph.add(block)
            advance(len(block))
    return graph


def _read_graph(file: Path) -> Any:
    """The graph of a file, which is mapped into memory, not read."""
    faiss = _faiss()
    try:
        graph = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        sound = not isinstance(graph, faiss.IndexHNSWSQ) or _is_sound(faiss, graph)
    except (RuntimeError, ValueError, LookupError, MemoryError) as error:
        raise ArtifactError(f"{file} is no graph of items, or damaged; rebuild it with nearnext index") from error
    if not isinstance(graph, faiss.IndexHNSWSQ):
        raise ArtifactError(f"{file} holds another kind of index; rebuild it with nearnext index")
    if not sound:
        raise ArtifactError(f"{file} holds a graph with impossible links; rebuild it with nearnext index")
    return graph


def _is_sound(faiss: Any, index: Any) -> bool:
    """Whether every link leads to an item of its level: a search follows links without looking."""
    graph, codes = index.hnsw, faiss.downcast_index(index.storage)
    levels, offsets, links, most = (
        faiss.vector_to_array(getattr(graph, name)).astype(np.int64)
        for name in ("levels", "offsets", "neighbors", "cum_nneighbor_per_level")
    )
    n, dim = int(index.ntotal), int(index.d)
    if (len(levels), len(offsets), int(codes.ntotal), int(codes.d), int(codes.codes.size())) != (
        n, n + 1, n, dim, n * dim,
    ):  # fmt: skip
        return False
    if n == 0 or levels.min() < 1 or levels.max() >= len(most) or most[0] != 0 or np.any(np.diff(most) < 0):
        return False
    if int(graph.max_level) != levels.max() - 1 or not 0 <= int(graph.entry_point) < n:
        return False
    room = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != len(links) or not np.array_equal(room, most[levels]):
        return False
    within = np.arange(len(links)) - np.repeat(offsets[:-1], room)
    level, used = np.searchsorted(most, within, side="right"), links >= 0
    return bool(
        levels[int(graph.entry_point)] == levels.max()
        and links.min() >= -1
        and links.max() < n
        and np.all(levels[links[used]] >= level[used])
        and np.isfinite(faiss.vector_to_array(codes.sq.trained)).all()
    )


@contextmanager
def _threads(faiss: Any, threads: int) -> Generator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _faiss() -> Any:
    return needed("faiss", "ann", "approximate search")


REFINED = 2
"""Proposals for each rank of a list: coordinates of 8 bits mistake the order of near neighbours."""

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

    Scores are those of ``exact``, which answers what the graph cannot; ``ef_search`` candidates are kept in a search.
    """

    def __init__(self, exact: ExactIndex, graph: Any, ef_search: int) -> None:
        ef_search = checked("ef_search", ef_search, Count)
        if (graph.ntotal, graph.d) != (exact.n_items, exact.dim):
            raise ConfigError(
                f"expected a graph of {exact.n_items} items of dimension {exact.dim}, found {graph.ntotal} of "
                f"dimension {graph.d}; rebuild it with nearnext index"
            )
        self.exact, self.graph, self.ef_search = exact, graph, ef_search

    @classmethod
    def load(cls, exact: ExactIndex, file: Path) -> "ApproximateIndex":
        """The index of these items whose graph was saved; the file is mapped into memory."""
        graph = _read_graph(file)
        return cls(exact, graph, int(graph.hnsw.efSearch))

    def save(self, file: Path) -> None:
        """Write the graph; the item embeddings are stored elsewhere."""
        self.graph.hnsw.efSearch = self.ef_search
        try:
            _faiss().write_index(self.graph, str(file))
        except RuntimeError as error:
            raise ArtifactError(f"cannot write {file}; choose a writable folder with space") from error

    @property
    def n_graph_bytes(self) -> int:
        """Bytes of the graph, as a file."""
        return len(_faiss().serialize_index(self.graph))

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
        """Nearly the k nearest items of each query, see `Index.search`."""
        self.exact.check(queries, k, admissible, seen)
        mask = np.arange(self.n_items + 1) > 0 if admissible is None else admissible
        n_admissible = int(np.count_nonzero(mask[1:]))
        found, left = Neighbours(*no_lists(len(queries), k)), list[int]()
        for row, query in enumerate(np.ascontiguousarray(queries, dtype=np.float32)):
            clicks = NO_CLICKS if seen is None else np.unique(seen.items[seen.starts[row] : seen.ends[row]])
            near, their_scores = self._along_graph(query, k, mask, n_admissible, clicks)
            if len(near) < k:
                left.append(row)
            else:
                found.items[row], found.scores[row], found.found[row] = near, their_scores, k
        if left:
            some = None if seen is None else seen.take(left)
            exact = self.exact.search(queries[left], k, admissible=admissible, seen=some)
            found.items[left], found.scores[left], found.found[left] = exact
        return found

    def _along_graph(
        self, query: ScoreArray, k: int, admissible: BoolArray, n_admissible: int, clicks: IndexArray
    ) -> tuple[IndexArray, ScoreArray]:
        n = proposals(k, len(clicks), n_admissible, self.n_items)
        candidates = self.propose(query, n) if n else np.zeros(0, dtype=np.int64)
        return self.exact.best_of(candidates, query, admissible, clicks, k)

    def propose(self, query: ScoreArray, n: int) -> Int64Array:
        """Up to ``n`` distinct items that are probably the nearest to a query [D]; more ``ef_search`` finds more."""
        options = _faiss().SearchParametersHNSW(efSearch=max(self.ef_search, n))
        found = self.graph.search(query[np.newaxis], n, params=options)[1][0]
        return cast("Int64Array", found[found >= 0] + 1)

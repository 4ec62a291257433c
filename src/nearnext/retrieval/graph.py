"""A graph of near items that a search walks along: hierarchical navigable small worlds, of faiss (the extra ``ann``).

The graph only proposes: it holds each coordinate in 8 bits, and how near a proposal is, is computed elsewhere from the
embeddings themselves. Built on one thread it is the same every time.

Reference: Malkov, Yashunin, Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical Navigable Small
World Graphs, 2018.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from nearnext.errors import ArtifactError, ConfigError
from nearnext.model.distances import DistanceName
from nearnext.options import Count, checked
from nearnext.progress import track
from nearnext.types import Int64Array, ScoreArray

__all__ = ["ItemGraph", "can_build_graphs"]

LINKS = 16
"""Neighbours that an item is linked to; twice as many on the lowest level."""

BUILD_BREADTH = 80
"""Candidates that are held while an item is linked."""

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


class ItemGraph:
    """Items linked to their near ones; made by `build` or `load`."""

    def __init__(self, index: Any) -> None:
        self._faiss: Any = _faiss()
        self._index: Any = index

    @classmethod
    def build(cls, vectors: ScoreArray, distance: DistanceName, *, threads: int = 1) -> "ItemGraph":
        """The graph of item embeddings.

        Args:
            vectors: embedding of item j + 1 in row j: [I, D].
            distance: between them.
            threads: with more than one, links depend on who is faster: the graph is another one each time.

        Raises:
            ConfigError: fewer than 1 thread, or the extra is not installed.
        """
        threads = checked("threads", threads, Count)
        faiss = _faiss()
        metric = faiss.METRIC_INNER_PRODUCT if distance == "cosine" else faiss.METRIC_L2
        index = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, LINKS, metric)
        index.hnsw.efConstruction = BUILD_BREADTH
        step = max(1, len(vectors) // SAMPLE)
        with _threads(faiss, threads), track("linking items", len(vectors), "items") as advance:
            index.train(np.ascontiguousarray(vectors[::step]))
            for begin in range(0, len(vectors), BLOCK):
                block = np.ascontiguousarray(vectors[begin : begin + BLOCK])
                index.add(block)
                advance(len(block))
        return cls(index)

    @property
    def n_items(self) -> int:
        """Number of items I."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Dimension D of the embeddings."""
        return int(self._index.d)

    def propose(self, query: ScoreArray, n: int, breadth: int) -> Int64Array:
        """Up to ``n`` distinct items that are probably the nearest ones, as item indices.

        Args:
            query: embedding: [D].
            n: most items.
            breadth: candidates that are held on the walk; more find more of the nearest, and take longer.
        """
        options = self._faiss.SearchParametersHNSW(efSearch=max(breadth, n))
        found = self._index.search(query[np.newaxis], n, params=options)[1][0]
        return cast("Int64Array", found[found >= 0] + 1)

    @property
    def breadth(self) -> int:
        """The breadth that was saved with it."""
        return int(self._index.hnsw.efSearch)

    def save(self, file: Path, breadth: int) -> None:
        """Write the graph, and the breadth by which it is to be searched.

        Raises:
            ArtifactError: the file cannot be written.
        """
        self._index.hnsw.efSearch = breadth
        try:
            self._faiss.write_index(self._index, str(file))
        except RuntimeError as error:
            raise ArtifactError(f"cannot write {file}; choose a writable folder with space") from error

    @classmethod
    def load(cls, file: Path) -> "ItemGraph":
        """The graph of a file, which is mapped into memory, not read.

        Raises:
            ArtifactError: the file is missing, damaged, or no graph.
            ConfigError: the extra is not installed.
        """
        faiss = _faiss()
        try:
            index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ArtifactError(f"{file} is no graph of items, or damaged; rebuild it with nearnext index") from error
        if not isinstance(index, faiss.IndexHNSWSQ):
            raise ArtifactError(f"{file} holds another kind of index; rebuild it with nearnext index")
        return cls(index)

    @property
    def n_bytes(self) -> int:
        """Bytes of the graph, as a file."""
        return len(self._faiss.serialize_index(self._index))


@contextmanager
def _threads(faiss: Any, threads: int) -> Generator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "approximate search needs the package faiss-cpu; install it with: pip install 'nearnext[ann]'"
        ) from error
    return cast("Any", faiss)

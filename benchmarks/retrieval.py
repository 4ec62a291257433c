"""Approximate search against exact search: recall@20, latency of single queries, build time and bytes per item.

    python benchmarks/retrieval.py [--items 1000000] [--dim 128] [--clusters 20000]   # synthetic, clustered
    python benchmarks/retrieval.py --model DIR [--log TEST]                           # a fitted metric model's items
    python benchmarks/retrieval.py --crossover                                        # where exact search gets slow

Synthetic items lie around centres in random directions, popular clusters holding more of them; a query is an item moved
in a random direction. Latency is the computing time of one thread, so that other programs do not count; every ef_search
is measured on the same graph. With usearch installed, its graph of the same links is measured too.
"""

import argparse
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.retrieval import ApproximateIndex, ExactIndex
from nearnext.retrieval.approximate import EF_CONSTRUCTION, LINKS, build_graph
from nearnext.retrieval.building import EF_SEARCH, recall
from nearnext.types import IndexArray, ScoreArray

K = 20
QUERIES = 300
BLOCK = 100_000
SPREAD, MOVED = 0.8, 0.6


def unit(vectors: ScoreArray) -> ScoreArray:
    """The vectors at length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(n_items: int, dim: int, n_clusters: int) -> tuple[ScoreArray, ScoreArray]:
    """Items and queries."""
    rng = np.random.default_rng(0)
    centres = unit(rng.standard_normal((n_clusters, dim), dtype=np.float32))
    weights = np.arange(1, n_clusters + 1) ** -0.5
    own = rng.choice(n_clusters, size=n_items, p=weights / weights.sum())
    items = np.empty((n_items, dim), np.float32)
    for begin in range(0, n_items, BLOCK):
        block = centres[own[begin : begin + BLOCK]]
        items[begin : begin + BLOCK] = unit(
            block + rng.standard_normal(block.shape, dtype=np.float32) * SPREAD / dim**0.5
        )
    queries = items[rng.choice(n_items, min(QUERIES, n_items), replace=False)]
    return items, unit(queries + rng.standard_normal(queries.shape, dtype=np.float32) * MOVED / dim**0.5)


def fitted(model: str, log: str | None) -> tuple[ScoreArray, ScoreArray]:
    """Items of a model, and the embeddings of sessions of a log or of those that it remembers."""
    from nearnext.artifact import load_artifact
    from nearnext.data.sessionise import read_sessions
    from nearnext.recommenders.space import space_of

    recommender = load_artifact(model).recommender
    space = space_of(recommender)
    if space is None or (log is None and recommender.memory is None):
        raise SystemExit("expected a metric model, with --log where it remembers no sessions")
    sessions = read_sessions(log).with_vocabulary(recommender.vocabulary) if log else recommender.memory.sessions  # pyright: ignore[reportOptionalMemberAccess]
    every = Prefixes.every(sessions)
    chosen = np.random.default_rng(0).choice(len(every), QUERIES, replace=False)
    queries, known = space.sessions(
        Prefixes(every.items, every.starts[chosen], every.ends[chosen], every.times[chosen])
    )
    exact = space.index.exact if isinstance(space.index, ApproximateIndex) else space.index
    assert isinstance(exact, ExactIndex)
    return exact.vectors, queries[known > 0]


def latency(search: Callable[[ScoreArray], object], queries: ScoreArray) -> str:
    """Median and 99th percentile of single queries."""
    search(queries[:1])
    milliseconds = list[float]()
    for row in range(len(queries)):
        begin = time.thread_time()
        search(queries[row : row + 1])
        milliseconds.append((time.thread_time() - begin) * 1e3)
    return "p50 {:.3f} ms, p99 {:.3f} ms".format(*np.percentile(milliseconds, [50, 99]))


def compare(items: ScoreArray, queries: ScoreArray) -> None:
    """Print the figures of exact search, of ours at each ef_search, and of usearch."""
    exact = ExactIndex(items)
    print(f"{exact.n_items:,} items of dimension {exact.dim}, {len(queries)} queries", flush=True)
    nearest = exact.search(queries, K).items
    print(
        f"exact: {latency(lambda query: exact.search(query, K), queries[:100])}, {4 * exact.dim} bytes per item",
        flush=True,
    )
    begin = time.thread_time()
    graph = build_graph(items, "cosine")
    seconds = time.thread_time() - begin
    more = ApproximateIndex(exact, graph, EF_SEARCH[0]).n_graph_bytes / len(items)
    print(f"graph of faiss: built in {seconds:.0f} s of one thread, {more:.0f} bytes per item more")
    for ef_search in EF_SEARCH:
        index = ApproximateIndex(exact, graph, ef_search)
        found = recall(index.search(queries, K).items, nearest)
        taken = latency(lambda query: index.search(query, K), queries)  # noqa: B023 - called before the next turn
        print(f"  ef_search {ef_search}: recall@20 {found:.4f}, {taken}", flush=True)
    if find_spec("usearch") is not None:  # not a dependency: measured too faiss where it is installed
        of_usearch(import_module("usearch.index").Index, exact, queries, nearest)


def of_usearch(index_type: Any, exact: ExactIndex, queries: ScoreArray, nearest: IndexArray) -> None:
    """Print the figures of usearch's graph in 8 bits, its proposals scored exactly like ours."""
    graph = index_type(
        ndim=exact.dim, metric="ip", dtype="i8", connectivity=LINKS, expansion_add=EF_CONSTRUCTION, expansion_search=64
    )
    begin = time.thread_time()
    graph.add(np.arange(1, exact.n_items + 1), exact.vectors, threads=1)
    seconds = time.thread_time() - begin
    size = graph.serialized_length / exact.n_items
    print(f"graph of usearch: built in {seconds:.0f} s of one thread, {size:.0f} bytes per item more", flush=True)
    listed, nothing = np.ones(exact.n_items + 1, np.bool_), np.zeros(0, np.int32)

    def search(query: ScoreArray) -> IndexArray:
        candidates = graph.search(query[0], 2 * K, threads=1).keys.astype(np.int64)
        return exact.best_of(candidates, query[0], listed, nothing, K)[0]

    for ef_search in EF_SEARCH:
        graph.expansion_search = ef_search
        found = recall(np.array([search(queries[row : row + 1]) for row in range(len(queries))]), nearest)
        print(f"  ef_search {ef_search}: recall@20 {found:.4f}, {latency(search, queries)}", flush=True)


def crossover(dim: int) -> None:
    """Print the latency of exact search for catalogues of growing size."""
    for n_items in (1_000, 4_000, 16_000, 32_000, 65_536, 131_072, 262_144):
        items, queries = clustered(n_items, dim, 1_000)
        exact = ExactIndex(items)
        taken = latency(lambda query: exact.search(query, K), queries[:100])  # noqa: B023 - called before the next turn
        print(f"{n_items:,} × {dim}: {taken}", flush=True)


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--clusters", type=int, default=20_000)
    parser.add_argument("--model", help="a fitted metric model instead of synthetic items")
    parser.add_argument("--log", help="its queries are the sessions of this log")
    parser.add_argument("--crossover", action="store_true")
    given = parser.parse_args()
    if given.crossover:
        crossover(given.dim)
    else:
        compare(*(fitted(given.model, given.log) if given.model else clustered(given.items, given.dim, given.clusters)))


if __name__ == "__main__":
    main()

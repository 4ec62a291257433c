"""The choice of an index when a model is saved: exact if fast enough, else approximate if recall allows."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from nearnext.errors import ConfigError
from nearnext.options import Probability, checked, require_known
from nearnext.retrieval.approximate import ApproximateIndex, build_graph, can_build_graphs
from nearnext.retrieval.exact import ExactIndex, Index
from nearnext.types import BoolArray, ScoreArray

IndexKind = Literal["auto", "exact", "approximate"]
"""Which index to build: ``auto`` decides by size, recall and latency."""

RECALL_FLOOR = 0.95
"""Least share of the exact lists that an approximate index must find."""

EXACT_NUMBERS = 2**25
"""Numbers in the item embeddings up to which exact search of one query takes a few milliseconds at most."""

K = 20
EF_SEARCH = (64, 128, 256, 512, 1024)
"""Values that are tried, the fastest first."""

TRIAL, HELD_OUT = 200, 400
"""Queries by which ef_search is chosen, and further ones on which recall is measured."""

TIMED = 50
"""Queries that are searched one by one to measure the latency."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds that a search for one query computes on one thread, median and 99th percentile.

    Time in which other programs had the processor is not counted, so that a busy machine decides nothing.
    """

    p50: float
    p99: float


@dataclass(frozen=True)
class IndexReport:
    """What was built, why, and what was measured.

    Attributes:
        kind: ``exact`` or ``approximate``.
        reason: why.
        items: number of items I.
        dim: dimension D.
        bytes_per_item: embeddings of 32 bits, and the graph where there is one.
        build_seconds: time to build the graph; 0 without one.
        queries: what the measurements were made on.
        recall: mean share of the 20 exactly nearest items that the approximate lists hold; None where none was built.
        recall_floor: the least recall that was asked for.
        ef_search: candidates kept during a search; None where no graph was built.
        exact: latency of the exact search; None where no graph was built.
        approximate: latency of the approximate search; None where no graph was built.
    """

    kind: Literal["exact", "approximate"]
    reason: str
    items: int
    dim: int
    bytes_per_item: float
    recall_floor: float
    queries: str = ""
    build_seconds: float = 0.0
    recall: float | None = None
    ef_search: int | None = None
    exact: Latency | None = None
    approximate: Latency | None = None


def build_index(
    exact: ExactIndex,
    queries: Callable[[], ScoreArray | None] | None = None,
    *,
    kind: IndexKind = "auto",
    recall_floor: float = RECALL_FLOOR,
    listed: BoolArray | None = None,
    threads: int = 1,
) -> tuple[Index, IndexReport]:
    """An index of the items, and how it was chosen.

    ``auto`` gives the exact index for up to 2²⁵ numbers (262,144 items of dimension 128), and for more than that
    where the approximate one has too low a recall@20 or is no faster. ``approximate`` is refused below the floor.
    ``queries`` gives embeddings of sessions that nothing was learned from, at least 2 [Q, D]; by default, and where
    it gives None, perturbed items. ``listed`` says which item indices are ever listed [I + 1].
    """
    require_known("kind of index", kind, get_args(IndexKind))
    recall_floor = checked("recall_floor", recall_floor, Probability)
    numbers = exact.n_items * exact.dim
    plain = IndexReport("exact", "asked for", exact.n_items, exact.dim, 4.0 * exact.dim, recall_floor)
    if kind == "exact":
        return exact, plain
    if kind == "auto" and numbers <= EXACT_NUMBERS:
        return exact, replace(plain, reason=f"{numbers:,} numbers are searched exactly in a few milliseconds")
    if kind == "auto" and not can_build_graphs():
        return exact, replace(plain, reason="approximate search needs an extra: pip install 'nearnext[ann]'")
    given = queries() if queries else None
    asked = perturbed_items(exact, listed) if given is None else given
    source = "perturbed item embeddings" if given is None else "session embeddings"
    begin = time.perf_counter()
    graph = build_graph(exact.vectors, exact.distance, threads=threads)
    built = replace(plain, build_seconds=time.perf_counter() - begin, queries=source)
    index, measured = _measured(exact, graph, asked, listed, built)
    return _decided(index, measured, kind)


def _measured(
    exact: ExactIndex, graph: Any, queries: ScoreArray, listed: BoolArray | None, built: IndexReport
) -> tuple[ApproximateIndex, IndexReport]:
    """The index with the least ef_search that reaches the recall, and what it reaches on other queries."""
    n_trial = max(1, min(TRIAL, len(queries) // 3))
    trial, rest = queries[:n_trial], queries[n_trial : n_trial + HELD_OUT]
    least = (1.0 + built.recall_floor) / 2  # on other queries it may come out lower
    index = ApproximateIndex(exact, graph, EF_SEARCH[0])
    nearest = exact.search(trial, K, admissible=listed).items
    for ef_search in EF_SEARCH:
        index = ApproximateIndex(exact, graph, ef_search)
        if recall(index.search(trial, K, admissible=listed).items, nearest) >= least:
            break
    found = index.search(rest, K, admissible=listed).items
    return index, replace(
        built,
        kind="approximate",
        queries=f"{len(rest)} {built.queries}",
        bytes_per_item=4.0 * exact.dim + index.n_graph_bytes / exact.n_items,
        recall=recall(found, exact.search(rest, K, admissible=listed).items),
        ef_search=index.ef_search,
        exact=_latency(lambda query: exact.search(query, K, admissible=listed), rest),
        approximate=_latency(lambda query: index.search(query, K, admissible=listed), rest),
    )


def _decided(index: ApproximateIndex, measured: IndexReport, kind: IndexKind) -> tuple[Index, IndexReport]:
    assert measured.recall is not None and measured.exact and measured.approximate  # noqa: S101, PT018 - all measured
    reached = f"recall@{K} {measured.recall:.4f}, floor {measured.recall_floor:g}"
    faster = measured.approximate.p50 < measured.exact.p50
    if measured.recall >= measured.recall_floor and (faster or kind == "approximate"):
        return index, replace(measured, reason=reached)
    if kind == "approximate":
        raise ConfigError(
            f"the approximate index misses too much: {reached}; lower the floor or let the kind be auto, which takes "
            "the exact index then"
        )
    reason = f"the approximate index is no faster ({reached})" if faster is False else f"too low a {reached}"
    return index.exact, replace(measured, kind="exact", reason=reason, bytes_per_item=4.0 * measured.dim)


def recall(found: np.typing.NDArray[np.int32], exact: np.typing.NDArray[np.int32]) -> float:
    """Mean share of the items of the exact lists that the found ones hold: [Q, k], [Q, k], 0 after the end of a list.

    >>> recall(np.array([[1, 2], [3, 0]], np.int32), np.array([[2, 4], [3, 0]], np.int32))
    0.75
    """
    shares = [
        len(np.intersect1d(a[a > 0], b[b > 0])) / max(np.count_nonzero(b), 1) for a, b in zip(found, exact, strict=True)
    ]
    return float(np.mean(shares))


def perturbed_items(exact: ExactIndex, listed: BoolArray | None = None, n: int = TRIAL + HELD_OUT) -> ScoreArray:
    """Queries without sessions: items moved by half of their length in a random direction: [n, D], n or fewer.

    For the cosine distance they have length 1.
    """
    rng = np.random.default_rng(0)
    rows = np.arange(exact.n_items) if listed is None else np.flatnonzero(listed[1:])
    chosen = exact.vectors[np.sort(rng.choice(rows, min(n, len(rows)), replace=False))]
    moves = rng.standard_normal(chosen.shape, dtype=np.float32)
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True) / np.linalg.norm(moves, axis=1, keepdims=True)
    moved = rng.permutation(chosen + 0.5 * lengths * moves)
    if exact.distance == "cosine":
        moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return moved.astype(np.float32)


def _latency(search: Callable[[ScoreArray], object], queries: ScoreArray) -> Latency:
    milliseconds = list[float]()
    search(queries[:1])  # kernels are compiled on first use
    for row in range(min(TIMED, len(queries))):
        begin = time.thread_time()
        search(queries[row : row + 1])
        milliseconds.append((time.thread_time() - begin) * 1e3)
    return Latency(*(float(value) for value in np.percentile(milliseconds, [50, 99])))

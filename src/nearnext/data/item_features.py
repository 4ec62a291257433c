"""Item features from attributes: categories, binned numbers, hashed words, and the user's own vectors."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from zlib import crc32

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix, diags, hstack  # pyright: ignore[reportUnknownVariableType] - scipy is untyped

from nearnext.data.items import ItemTable
from nearnext.types import FloatArray, ScoreArray

SIZE = 1 << 15
"""Hash buckets of categories, bins and words."""
BINS = 10
"""Quantile bins per numeric column."""
LARGEST = 1e300
"""Numbers are clipped to this magnitude when bins are made: quantiles need a finite difference of any two."""
WORD = re.compile(r"\w+")

Sparse = Any
"""A scipy CSR matrix (scipy has no type hints)."""


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """A feature extractor for items, fitted on an item table.

    Each kind of attribute gives a block of unit norm: categories, bins of numbers, words by TF-IDF, and vectors
    minus their mean over the items.

    Attributes:
        edges: lower edges of the bins of each numeric column, without the first: [numbers, BINS − 1].
        rarity: inverse document frequency of each hashed word: [SIZE].
        means: mean of all vector columns, concatenated: [V].
        numbers: names of the numeric columns.
        vectors: names and lengths of the vector columns.

    >>> table = ItemTable(pl.DataFrame({"item_id": ["a", "b"], "title": ["red tent", "red stove"]}))
    >>> features = ItemFeatures.of(table)
    >>> rows = features.rows(table)
    >>> rows.shape[0], round(float((rows @ rows.T)[0, 1]), 2)
    (2, 0.34)
    """

    edges: FloatArray
    rarity: ScoreArray
    means: ScoreArray
    numbers: Sequence[str]
    vectors: Sequence[tuple[str, int]]

    @classmethod
    def of(cls, table: ItemTable) -> "ItemFeatures":
        """Fit the extractor on a table."""
        inside = np.arange(1, BINS) / BINS
        edges = [
            np.quantile(np.clip(known, -LARGEST, LARGEST), inside)
            if len(known := table.frame[name].drop_nulls().to_numpy())
            else np.zeros(len(inside))
            for name in table.numbers
        ]
        rows, columns = _positions(_words(table))
        document = np.unique(rows * SIZE + columns)
        frequency = np.bincount(document % SIZE, minlength=SIZE)
        widths = (cast("int | None", table.frame[name].list.len().max()) for name in table.vectors)
        vectors = [(name, width or 0) for name, width in zip(table.vectors, widths, strict=True)]
        dense = [_dense(table, name, width)[0] for name, width in vectors]
        return cls(
            np.array(edges, dtype=np.float64).reshape(len(table.numbers), BINS - 1),
            (np.log((1 + len(table)) / (1 + frequency)) + 1).astype(np.float32),
            np.concatenate([*(each.mean(axis=0) for each in dense), np.zeros(0)]).astype(np.float32),
            table.numbers,
            vectors,
        )

    def rows(self, table: ItemTable) -> Sparse:
        """Feature rows of the items of a table, zeros for missing attributes: [n, SIZE + V]."""
        hashed = _hashed(len(table), *_positions(self._categories(table)), None)
        for number, name in enumerate(self.numbers):
            hashed = hashed + self._binned(table, number, name)
        rows, columns = _positions(_words(table))
        hashed = hashed + _hashed(len(table), rows, columns, self.rarity)
        blocks, at = [hashed], 0
        for name, width in self.vectors:
            dense, known = _dense(table, name, width)
            dense = np.where(known[:, None], dense - self.means[at : at + width], 0)
            blocks.append(csr_matrix(dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)))
            at += width
        return cast("Any", hstack)(blocks, format="csr", dtype=np.float64)

    def _categories(self, table: ItemTable) -> Iterable[list[str]]:
        if "categories" not in table.frame.columns:
            return [list[str]()] * len(table)
        return [[f"category:{name}" for name in names or ()] for names in table.frame["categories"].to_list()]

    def _binned(self, table: ItemTable, number: int, name: str) -> Sparse:
        if name not in table.frame.columns:
            return csr_matrix((len(table), SIZE))
        values = table.frame[name].cast(pl.Float64).to_numpy()
        known = np.flatnonzero(np.isfinite(values))
        bins = np.searchsorted(self.edges[number], values[known], side="right")
        slots = np.array([_slot(f"{name}#{at}") for at in range(BINS)])
        return csr_matrix((np.ones(len(known)), (known, slots[bins])), shape=(len(table), SIZE))


def unit_rows(rows: Sparse) -> Sparse:
    """Rows of length 1; zeros stay zeros."""
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return (diags(1 / np.maximum(lengths, 1e-12)) @ rows).tocsr()


def _slot(token: str) -> int:
    return crc32(token.encode()) % SIZE


def _words(table: ItemTable) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(len(table))]
    for column in ("title", "text"):
        if column in table.frame.columns:
            texts = cast("list[str | None]", table.frame[column].to_list())
            for words, text in zip(found, texts, strict=True):
                words.extend(WORD.findall((text or "").lower()))
    return found


def _positions(tokens: Iterable[list[str]]) -> tuple[Any, Any]:
    """Row and hashed column of each token: [n], [n]."""
    known: dict[str, int] = {}
    rows, columns = list[int](), list[int]()
    for row, each in enumerate(tokens):
        for token in each:
            if token not in known:
                known[token] = _slot(token)
            rows.append(row)
            columns.append(known[token])
    return np.array(rows, np.int64), np.array(columns, np.int64)


def _hashed(n: int, rows: Any, columns: Any, weights: ScoreArray | None) -> Sparse:
    """Weighted counts per column, rows normalised to length 1: [n, SIZE]."""
    counts: Sparse = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, SIZE))
    if weights is not None:
        counts = counts @ diags(weights.astype(np.float64))
    return unit_rows(counts)


def _dense(table: ItemTable, name: str, width: int) -> tuple[FloatArray, Any]:
    """Vector of each item, zeros if missing or of another length, and a mask of those present: [n, V], [n]."""
    found = np.zeros((len(table), width))
    known = np.zeros(len(table), np.bool_)
    if name in table.frame.columns:
        column = table.frame[name]
        known = (column.list.len() == width).fill_null(False).to_numpy()
        if known.any() and width:
            found[known] = np.array(column.filter(pl.Series(known)).to_list())
    return found, known

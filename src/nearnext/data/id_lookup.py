"""Positions of ids in a column, by sorted hashes: 12 bytes for each id, where a dictionary takes 150."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from nearnext.types import IndexArray, Int64Array, RawId

BLOCK = 100_000
"""Ids that are hashed together: as Python objects they take several times the memory."""


class IdLookup:
    """Finds ids among distinct ids of one type, integers or texts; those of equal hashes are compared.

    >>> IdLookup(pl.Series(["sku-7", "007"])).find(["007", "sku-8"]).tolist()
    [2, 0]
    """

    def __init__(self, ids: pl.Series) -> None:
        self._ids = ids
        blocks = [_hashes(ids.slice(at, BLOCK).to_list()) for at in range(0, max(len(ids), 1), BLOCK)]
        hashes = np.concatenate(blocks)
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = hashes[self._order]

    def __reduce__(self) -> tuple[type["IdLookup"], tuple[pl.Series]]:
        """Rebuild after pickling: another process of Python has other hashes of texts."""
        return IdLookup, (self._ids,)

    def find(self, ids: Sequence[RawId]) -> IndexArray:
        """Positions of ids, of the type of the column, counted from 1; 0 where there is no such id: [n]."""
        hashes, found = _hashes(ids), np.zeros(len(ids), np.int32)
        begins, ends = (np.searchsorted(self._hashes, hashes, side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(ids)), ends - begins)
        at = np.arange(len(rows)) + np.repeat(ends - np.cumsum(ends - begins), ends - begins)
        for row, position in zip(rows.tolist(), self._order[at].tolist(), strict=True):
            if ids[row] == self._ids.item(position):
                found[row] = position + 1
        return found


def _hashes(ids: Sequence[RawId]) -> Int64Array:
    return np.fromiter(map(hash, ids), np.int64, len(ids))

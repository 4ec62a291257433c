"""The two-way map between the user's raw item ids and internal item indices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from nearnext.data.ids import ids_as, series_of, tidy_text
from nearnext.data.raw import indices, raw_ids
from nearnext.errors import DataError
from nearnext.forks import polars_is_lost
from nearnext.options import require_type
from nearnext.types import IndexArray, Int64Array, RawId

HASHED = 100_000
"""Ids that are hashed together: as Python objects they take several times the memory."""


class IdLookup:
    """Finds ids among distinct ids of one type, integers or texts; those of equal hashes are compared.

    Sorted hashes take 12 bytes for each id, where a dictionary takes 150.

    >>> IdLookup(pl.Series(["sku-7", "007"])).find(["007", "sku-8"]).tolist()
    [2, 0]
    """

    def __init__(self, ids: pl.Series) -> None:
        self._ids = ids
        blocks = [_hashes(ids.slice(at, HASHED).to_list()) for at in range(0, max(len(ids), 1), HASHED)]
        hashes = np.concatenate(blocks)
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = hashes[self._order]

    def __reduce__(self) -> tuple[type["IdLookup"], tuple[pl.Series]]:
        """Rebuild after pickling: another process of Python has other hashes of texts."""
        return IdLookup, (self._ids,)

    def find(self, ids: Sequence[RawId]) -> IndexArray:
        """Positions of ids, of the type of the column, counted from 1; 0 where there is no such id: [n]."""
        hashes, found = _hashes(ids), np.zeros(len(ids), np.int32)
        begins = self._hashes.searchsorted(hashes).tolist()
        for row, (hashed, begin) in enumerate(zip(hashes.tolist(), begins, strict=True)):
            at = begin
            while at < len(self._hashes) and self._hashes[at] == hashed:
                position = int(self._order[at])
                if ids[row] == self._ids.item(position):
                    found[row] = position + 1
                at += 1
        return found


def _hashes(ids: Sequence[RawId]) -> Int64Array:
    return np.fromiter(map(hash, ids), np.int64, len(ids))


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Raw ids of the known items: ``ids[j]`` is the item with ``item_index`` j + 1; index 0 stands for unknown.

    Attributes:
        ids: distinct raw ids, integers or strings, without nulls: [I].

    Raises:
        DataError: an id occurs twice or is null.

    >>> vocabulary = Vocabulary.of(["sku-7", "007"])
    >>> vocabulary.encode(["007", "sku-8"]).tolist()
    [2, 0]
    >>> vocabulary.decode([2, 1])
    ['007', 'sku-7']
    """

    ids: pl.Series

    def __post_init__(self) -> None:
        require_type("ids", self.ids, pl.Series, "make it with Vocabulary.of(ids)")
        n_distinct = len(set(self.ids.to_list())) if polars_is_lost() else self.ids.n_unique()
        if self.ids.null_count() or n_distinct != len(self.ids):
            raise DataError("expected distinct item ids without nulls; give each item of a vocabulary once")

    @classmethod
    def of(cls, ids: Iterable[RawId]) -> "Vocabulary":
        """A vocabulary over the given ids, in this order: all integers, or all strings where one is.

        Raises:
            DataError: a text instead of several ids, a value that is no id, or an id that occurs twice.
        """
        return cls(series_of(raw_ids("item ids", ids))[0].alias("item_id"))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def integer(self) -> bool:
        """Whether the raw ids are integers (otherwise they are strings)."""
        return self.ids.dtype == pl.Int64

    @cached_property
    def _lookup(self) -> IdLookup:
        return IdLookup(self.ids)

    def encode(self, raw: Iterable[RawId] | pl.Series) -> IndexArray:
        """Item indices of raw ids, 0 where unknown: [n].

        An id that is not in the vocabulary as it is given is looked up by the rule of `nearnext.data.ids`, in lists
        and in columns alike: ``"12"`` is 12 and ``" a"`` is ``"a"``, but ``"007"`` is not 7.

        Raises:
            DataError: a text instead of several ids, or a value that is no id.
        """
        if isinstance(raw, pl.Series) and not polars_is_lost():
            return self._encode_series(raw)
        raw = raw_ids("item ids", raw)
        if self.integer:
            return self._lookup.find(self.as_stored(raw))
        texts = list(map(str, raw))
        found = self._lookup.find(texts)
        left = np.flatnonzero(found == 0)
        if len(left):
            found[left] = self._lookup.find([tidy_text(texts[at]) for at in left])
        return found

    def as_stored(self, raw: Iterable[RawId]) -> list[RawId]:
        """Ids as the vocabulary would have them: ``"12"`` becomes 12 where ids are integers, 12 ``"12"`` where not."""
        if self.integer:
            return [_as_integer(one) if isinstance(one, str) else one for one in raw]
        texts = list(map(str, raw))
        return [text if at else tidy_text(text) for text, at in zip(texts, self._lookup.find(texts), strict=True)]

    def _encode_series(self, raw: pl.Series) -> IndexArray:
        if self.integer or raw.dtype != pl.String:
            return self._positions(ids_as(raw, self.ids.dtype))
        found = self._positions(raw)
        left = np.flatnonzero(found == 0)
        if len(left):
            found[left] = self._positions(ids_as(raw.gather(left), self.ids.dtype))
        return found

    def _positions(self, ids: pl.Series) -> IndexArray:
        known = pl.DataFrame({"id": self.ids, "item_index": np.arange(1, len(self) + 1, dtype=np.int32)})
        joined = pl.DataFrame({"id": ids}).join(known, on="id", how="left", maintain_order="left")
        return joined["item_index"].fill_null(0).to_numpy().astype(np.int32)

    def decode(self, item_indices: Sequence[int] | IndexArray) -> list[RawId]:
        """Raw ids of known items, as the log had them.

        Raises:
            DataError: an index that is not in 1..I.
        """
        known = indices("item indices", item_indices, 1, len(self), "0 stands for an unknown item: leave it out")
        return list(map(self.ids.item, (known - 1).tolist()))  # gather takes 0.2 ms, whatever it gathers


def _as_integer(value: str) -> RawId:
    text = tidy_text(value)
    canonical = text.removeprefix("-").isdecimal() and text.isascii() and str(int(text)) == text
    return int(text) if canonical else value


def joined_ids(*columns: pl.Series) -> pl.Series:
    """One column of several; text where any of them is."""
    text = any(ids.dtype == pl.String for ids in columns)
    return pl.concat([ids.cast(pl.String) for ids in columns] if text else columns)

"""The two-way map between the user's raw item ids and internal item indices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from nearnext.errors import DataError
from nearnext.types import IndexArray, RawId

__all__ = ["Vocabulary"]


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
        if self.ids.null_count() or self.ids.n_unique() != len(self.ids):
            raise DataError("expected distinct item ids without nulls; give each item of a vocabulary once")

    @classmethod
    def of(cls, ids: Iterable[RawId]) -> "Vocabulary":
        """A vocabulary over the given ids, all integers or all strings, in this order."""
        values = list(ids)
        integer = bool(values) and all(isinstance(value, int) for value in values)
        return cls(pl.Series("item_id", values, dtype=pl.Int64 if integer else pl.String))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def integer(self) -> bool:
        """Whether the raw ids are integers (otherwise they are strings)."""
        return self.ids.dtype == pl.Int64

    @cached_property
    def index(self) -> dict[RawId, int]:
        """``item_index`` of each raw id."""
        return {raw: position for position, raw in enumerate(self.ids.to_list(), start=1)}

    def encode(self, raw: Sequence[RawId] | pl.Series) -> IndexArray:
        """Item indices of raw ids, 0 where unknown; text that spells a known integer id counts as that id: [n]."""
        if isinstance(raw, pl.Series):
            return self._encode_series(raw)
        known, kind = self.index, int if self.integer else str
        indices = [known.get(value if type(value) is kind else self.as_stored(value), 0) for value in raw]
        return np.array(indices, dtype=np.int32)

    def as_stored(self, value: RawId) -> RawId:
        """The id in the vocabulary's own type: ``"12"`` becomes 12 where ids are integers, 12 ``"12"`` where not."""
        if not self.integer:
            return str(value)
        if isinstance(value, str):
            text = value.strip()
            canonical = text.removeprefix("-").isdecimal() and text.isascii() and str(int(text)) == text
            return int(text) if canonical else value
        return value

    def _encode_series(self, raw: pl.Series) -> IndexArray:
        position = pl.DataFrame({"id": self.ids, "item_index": np.arange(1, len(self) + 1, dtype=np.int32)})
        wanted = pl.DataFrame({"id": raw.cast(self.ids.dtype, strict=False)})
        joined = wanted.join(position, on="id", how="left", maintain_order="left")
        return joined["item_index"].fill_null(0).to_numpy().astype(np.int32)

    def decode(self, item_indices: Sequence[int] | IndexArray) -> list[RawId]:
        """Raw ids of known items, as the log had them; every index must be in 1..I."""
        positions = np.asarray(item_indices, dtype=np.int64) - 1
        return self.ids.gather(positions).to_list()

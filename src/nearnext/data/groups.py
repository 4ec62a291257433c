"""The values of a column that may have several for each item, as hashes."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import polars as pl

from nearnext.types import BoolArray, Int64Array


class Groups(NamedTuple):
    """The values of a column, as hashes; those of item j are ``codes[starts[j] : starts[j + 1]]``."""

    starts: Int64Array  # [n + 1]
    codes: Int64Array

    def of(self, item: int) -> list[int]:
        """The values of an item."""
        return self.codes[self.starts[item] : self.starts[item + 1]].tolist()

    def without(self, values: Collection[int]) -> BoolArray:
        """Which items have none of the values: [n]."""
        among = np.concatenate([[0], np.cumsum(np.isin(self.codes, list(values)))])
        return among[self.starts[1:]] == among[self.starts[:-1]]


def group_codes(values: pl.Series) -> Int64Array:
    """The hash of each value, as in `Groups`: [n]."""
    return values.hash(seed=0).reinterpret(signed=True).to_numpy()

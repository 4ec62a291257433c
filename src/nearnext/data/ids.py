"""Raw ids of a log: integers stay integers and strings stay strings, whatever a later chunk brings."""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import polars as pl

from nearnext.errors import DataError
from nearnext.types import BoolArray

__all__ = ["IdColumn", "canonical_integers", "missing_ids", "series_of"]

EXACT_FLOAT = 2**53
MAX_INTEGER = 2**63 - 1


def canonical_integers(text: pl.Series) -> pl.Series:
    """The integers that text spells as an integer prints itself, null elsewhere: not "007", "+1", "1.0" or "-0".

    >>> canonical_integers(pl.Series(["7", "-7", "007", "1.0"])).to_list()
    [7, -7, None, None]
    """
    integers = text.cast(pl.Int64, strict=False)
    same = (integers.cast(pl.String) == text).fill_null(False)
    return integers if same.all() else integers.set(~same, None)


def missing_ids(raw: pl.Series) -> BoolArray:
    """Rows without an id: null, NaN or an empty string: [n].

    >>> missing_ids(pl.Series(["a", "", None])).tolist()
    [False, True, True]
    """
    missing = raw.is_null()
    if raw.dtype.is_float():
        missing = raw.is_null() | raw.is_nan().fill_null(False)
    elif raw.dtype == pl.String:
        missing = (raw == "").fill_null(True)
    return missing.to_numpy()


class IdColumn:
    """The ids of one kind in a log, read chunk by chunk, none of them missing.

    Text files do not say what an id is: there, ids are integers only while every id so far is a canonical one. Once
    one is not, this and all later chunks are strings; earlier chunks then become strings by a cast, without loss.

    >>> column = IdColumn("item")
    >>> column.read(pl.Series(["12", "3"]), untyped=True).to_list(), column.text
    ([12, 3], False)
    >>> column.read(pl.Series(["007", "3"]), untyped=True).to_list(), column.text
    (['007', '3'], True)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = False

    @property
    def dtype(self) -> pl.DataType:
        """What ids are, so far."""
        return pl.String() if self.text else pl.Int64()

    def read(self, raw: pl.Series, *, untyped: bool) -> pl.Series:
        """Ids as Int64 or String; ``untyped``: the source cannot tell integers from strings.

        Raises:
            DataError: values that are no ids, such as fractions or dates.
        """
        ids = self._exact(raw)
        if ids.dtype == pl.String and len(ids):
            if untyped and not self.text:
                integers = canonical_integers(ids)
                if integers.null_count() == 0:
                    return integers
            self.text = True
        return ids.cast(self.dtype)

    def _exact(self, raw: pl.Series) -> pl.Series:
        dtype = raw.dtype
        if dtype == pl.UInt64 and (raw > MAX_INTEGER).any():
            return raw.cast(pl.String)
        if dtype.is_integer() or dtype == pl.Null:
            return raw.cast(pl.Int64)
        if dtype.is_float():
            return self._whole(raw.cast(pl.Float64))
        if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
            return raw.cast(pl.String)
        if isinstance(dtype, pl.Decimal) and dtype.scale == 0:
            return self._exact_decimal(raw)
        raise DataError(f"expected integers or strings as {self.name} ids, found values of type {dtype}; convert them")

    def _exact_decimal(self, raw: pl.Series) -> pl.Series:
        text = raw.cast(pl.String)
        integers = canonical_integers(text)
        return integers if integers.null_count() == text.null_count() else text

    def _whole(self, raw: pl.Series) -> pl.Series:
        whole = (raw == raw.round()) & (raw.abs() < EXACT_FLOAT)
        if not whole.all():
            value = raw.filter(~whole)[0]
            raise DataError(
                f"expected whole numbers below 2^53 as {self.name} ids in a column of floats, found {value!r}; give "
                "them as integers or strings"
            )
        return raw.cast(pl.Int64)


def series_of(values: Sequence[object]) -> tuple[pl.Series, BoolArray]:
    """Python values as a column, and which of them are no ids (fractions, booleans, lists): [n].

    Integers and whole floats become Int64; where there is anything else, all become strings, each as it prints.

    >>> series_of([1, None, 2.0])[0].to_list(), series_of([7, "007"])[0].to_list()
    ([1, None, 2], ['7', '007'])
    """
    kinds = set(map(type, values)) - {type(None)}
    foreign = np.zeros(len(values), np.bool_)
    if not kinds <= {int, str}:
        values = [_plain(value) for value in values]
        foreign[:] = [isinstance(value, _Foreign) for value in values]
        kinds = set(map(type, values)) - {type(None)}
    if kinds == {int}:
        try:
            return pl.Series(values, dtype=pl.Int64), foreign
        except TypeError:  # some integer has more than 64 bits
            kinds = {int, str}
    if kinds <= {str}:
        return pl.Series(values, dtype=pl.String), foreign
    return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String), foreign


class _Foreign(str):
    """The text of a value that is no id."""

    __slots__ = ()


def _plain(value: object) -> int | str | None:
    """A value as an id; a float or a missing value of whatever library as what it stands for."""
    if isinstance(value, np.generic):
        value = cast("object", value.item())
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer() and abs(value) < EXACT_FLOAT:
            return int(value)
    return _Foreign(str(value))

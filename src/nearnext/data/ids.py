"""Raw ids of a log, by one rule for every source and every lookup.

Blanks, byte order marks and other zero-width characters around an id are dropped. An id that is empty, or equal to
one of `NOTHING`, is missing. A whole number that a float column wrote, ``123.0``, is ``123``. All
else stays as it is written: ``007`` is not ``7``, and the forms of Unicode are not mixed. An id is an integer where its
source says so, or where a text file has canonical integers only; an integer and the text that spells it are the same id
when two logs meet.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import numpy as np
import polars as pl

from nearnext.errors import DataError
from nearnext.types import BoolArray, Int64Array

NOTHING = ("NULL", "null", "Null", r"\N", "NaN", "nan", "NA", "<NA>", "N/A", "None", "undefined")
"""Missing-value markers of databases, pandas, R, Python and JavaScript."""
NO_ID = ("", *NOTHING)
"""Texts that a log has where there is no id."""
BLANKS = "".join(letter for letter in map(chr, range(0x3001)) if letter.isspace()) + "\0\u200b\u2060\ufeff"
FIRST_BYTES, LAST_BYTES = (np.isin(np.arange(256), [letter.encode()[end] for letter in BLANKS]) for end in (0, -1))
"""Whether the UTF-8 form of a blank starts, or ends, with a byte: [256] each."""
WHOLE_FLOAT = r"^(0|-?[1-9][0-9]{0,14})\.0$"
TRIMMED = "blanks around ids dropped"
SHORTENED = "ids written as 123.0 read as 123"
EXACT_DIGITS: dict[object, int] = {pl.Float64: 53, pl.Float32: 24, pl.Float16: 11}
"""Binary digits of the floats of each type; larger whole numbers are not exact."""
EXACT_FLOAT = 2**53
BEYOND_64_BITS = ("UInt64", "Int128", "UInt128")
"""Integer types wider than Int64."""


def canonical_integers(text: pl.Series) -> pl.Series:
    """The integers that text spells as an integer prints itself, null elsewhere: not "007", "+1", "1.0" or "-0".

    >>> canonical_integers(pl.Series(["7", "-7", "007", "1.0"])).to_list()
    [7, -7, None, None]
    """
    integers = text.cast(pl.Int64, strict=False)
    if integers.null_count() == len(integers):
        return integers
    if _n_characters(integers) == int(text.filter(integers.is_not_null()).str.len_bytes().sum()):
        return integers  # another spelling of a number is longer than its own
    same = (integers.cast(pl.String) == text).fill_null(False)
    return integers if same.all() else integers.set(~same, None)


def _n_characters(integers: pl.Series) -> int:
    """Characters of all integers together, as they print themselves."""
    values = integers.drop_nulls().to_numpy()
    sizes = np.abs(values).view(np.uint64)  # of the least Int64 too, whose absolute value needs UInt64
    more = sum(np.count_nonzero(sizes >= 10**power) for power in range(1, len(str(sizes.max(initial=0)))))
    return len(values) + int(more + np.count_nonzero(values < 0))


def tidy_text(text: str) -> str:
    """One id of text by the rule."""
    text = text.strip(BLANKS)
    return text[:-2] if re.match(WHOLE_FLOAT, text) else text


def tidy(text: pl.Series) -> tuple[pl.Series, Counter[str]]:
    """A column of text by the same rule, and how many ids were changed in which way."""
    suspects = _suspects(text)
    if len(suspects) == 0:
        return text, Counter()
    written = text.gather(suspects)
    ids = written.str.strip_chars(BLANKS)
    whole = ids.str.extract(WHOLE_FLOAT, 1)
    changed = {
        TRIMMED: int((ids.str.len_bytes() != written.str.len_bytes()).sum()),
        SHORTENED: len(whole) - whole.null_count(),
    }
    return text.clone().scatter(suspects, whole.fill_null(ids)), +Counter(changed)


def _suspects(text: pl.Series) -> Int64Array:
    """Positions of the ids that `tidy` may change: few begin or end with the bytes of a blank, or end with ``.0``."""
    array = cast("Any", text).to_arrow(compat_level=pl.CompatLevel.oldest())
    offsets = np.frombuffer(array.buffers()[1] or b"", np.int64)[array.offset : array.offset + len(text) + 1]
    if len(text) == 0 or offsets[0] == offsets[-1]:
        return np.zeros(0, np.int64)
    letters = np.frombuffer(array.buffers()[2], np.uint8)
    last = letters.take(offsets[1:] - 1, mode="clip")
    suspect = FIRST_BYTES.take(letters.take(offsets[:-1], mode="clip")) | LAST_BYTES.take(last)
    zeros = np.flatnonzero(last == ord("0"))
    suspect[zeros] |= letters.take(offsets[zeros + 1] - 2, mode="clip") == ord(".")
    return np.flatnonzero(suspect)


class IdColumn:
    """The ids of one role in a log, read chunk by chunk; ``changed`` counts those read otherwise than written.

    Text files do not say what an id is: there, ids are integers only while every id so far is a canonical one. Once
    one is not, this and all later chunks are strings; earlier chunks then become strings by a cast, without loss.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = False
        self.changed: Counter[str] = Counter()

    def read(self, raw: pl.Series, *, untyped: bool) -> tuple[pl.Series, list[tuple[str, BoolArray]]]:
        """Ids as Int64 or String, and why rows have none, with masks: [n]; ``untyped``: text may be integers."""
        ids = self._exact(raw)
        if untyped and not self.text:
            ids = _integers(ids)
        if ids.dtype != pl.String:
            return ids, [(f"missing {self.name} id", ids.is_null().to_numpy())]
        ids, changed = tidy(ids)
        self.changed += changed
        nothing = ids.is_in(NO_ID).fill_null(True)
        words = ids.filter(nothing).fill_null("").unique(maintain_order=True) if nothing.any() else ()
        faults = [
            (f"missing {self.name} id{f' ({word})' * bool(word)}", (ids == word).fill_null(not word).to_numpy())
            for word in words
        ]
        return ids, faults

    def settle(self, ids: pl.Series, *, untyped: bool) -> pl.Series:
        """Ids that are used, none of them missing, in the type that the log has so far."""
        if ids.dtype == pl.String and len(ids) and not self.text:
            ids = _integers(ids) if untyped else ids
            self.text = ids.dtype == pl.String
        return ids.cast(pl.String if self.text else pl.Int64)

    def _exact(self, raw: pl.Series) -> pl.Series:
        """Values as integers where that is their type, else as text."""
        dtype = raw.dtype
        if dtype.is_integer() or dtype == pl.Null:
            integers = raw.cast(pl.Int64, strict=False)
            return integers if integers.null_count() == raw.null_count() else raw.cast(pl.String)
        if dtype.is_float():
            digits = EXACT_DIGITS[dtype]
            raw = raw.cast(pl.Float64).fill_nan(None)
            whole = ((raw == raw.round()) & (raw.abs() < 2**digits)).fill_null(True)
            if not whole.all():
                raise DataError(
                    f"expected whole numbers below 2^{digits} as {self.name} ids in a column of floats, found "
                    f"{raw.filter(~whole)[0]!r}; give them as integers or strings"
                )
            return raw.cast(pl.Int64)
        if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
            return raw.cast(pl.String)
        if isinstance(dtype, pl.Decimal) and dtype.scale == 0:
            return _integers(raw.cast(pl.String))
        raise DataError(f"expected integers or strings as {self.name} ids, found values of type {dtype}; convert them")


def _integers(text: pl.Series) -> pl.Series:
    """Text as integers where every value is a canonical one or missing, else as it is."""
    head = text.head(100)
    if canonical_integers(head).null_count() > head.null_count():
        return text
    integers = canonical_integers(text)
    return text if integers.null_count() > text.null_count() else integers


def ids_as(raw: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Ids of any column in the type of other ids (Int64 or String), null where that type has no such id.

    >>> ids_as(pl.Series(["7", "007", " 7.0"]), pl.Int64()).to_list(), ids_as(pl.Series([7]), pl.String()).to_list()
    ([7, None, 7], ['7'])
    """
    if raw.dtype.is_float():
        whole = (raw == raw.round()) & (raw.abs() < EXACT_FLOAT)
        raw = raw.set(~whole.fill_null(False), None).cast(pl.Int64)
    if raw.dtype.is_integer():
        return raw.cast(dtype, strict=False)
    text = tidy(raw.cast(pl.String, strict=False))[0]
    return canonical_integers(text) if dtype == pl.Int64 else text


def user_codes(raw: pl.Series) -> pl.Series:
    """Users as they are in a column of integers (Int64), else a number for each, 0 for none (UInt64): [n]."""
    if raw.dtype.is_nested():
        return pl.Series(np.zeros(len(raw), np.uint64))
    if raw.dtype.is_integer() and str(raw.dtype) not in BEYOND_64_BITS:
        return raw.cast(pl.Int64)
    users = ids_as(raw, pl.String())
    return users.hash(seed=0).set(users.is_in(NO_ID).fill_null(True), 0)


def series_of(values: Sequence[object]) -> tuple[pl.Series, BoolArray]:
    """Python values as a column, and which of them are no ids (fractions, booleans, lists): [n].

    Integers and whole floats become Int64; where there is anything else, all become strings, each as it prints.
    """
    kinds = set(map(type, values)) - {type(None)}
    foreign = np.zeros(len(values), np.bool_)
    if not kinds <= {int, str}:
        values = [plain_id(value) for value in values]
        foreign[:] = [isinstance(value, Foreign) for value in values]
        kinds = set(map(type, values)) - {type(None)}
    if kinds == {int}:
        try:
            return pl.Series(values, dtype=pl.Int64), foreign
        except TypeError:  # some integer has more than 64 bits
            kinds = {int, str}
    texts = values if kinds <= {str} else [None if value is None else str(value) for value in values]
    return pl.Series(texts, dtype=pl.String), foreign


class Foreign(str):
    """The text of a value that is no id."""

    __slots__ = ()


def plain_id(value: object) -> int | str | None:
    """A value as an id; a float or a missing value of any library as what it stands for."""
    if isinstance(value, np.generic):
        value = cast("object", value.item())
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer() and abs(value) < EXACT_FLOAT:
            return int(value)
    return Foreign(str(value))

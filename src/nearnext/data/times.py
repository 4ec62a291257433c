"""Times of clicks: numbers in any unit, compact dates, ISO 8601 text, timestamps; all become microseconds UTC."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from nearnext.data import units
from nearnext.data.arrow import arrow, arrow_compute
from nearnext.data.ids import BEYOND_64_BITS, EXACT_DIGITS, NO_ID
from nearnext.data.raw import microseconds_of
from nearnext.data.units import MICROSECONDS, PER_SECOND, UNIT_NAMES
from nearnext.errors import ConfigError, DataError
from nearnext.types import BoolArray, FloatArray, Int64Array

NANOSECONDS = "timestamps in nanoseconds"
LONGEST_WORD = max(map(len, NO_ID))
"""Letters of the longest word for nothing."""


class _Part(NamedTuple):
    """What some rows say: the name of the unit and how many make a second; "" and 0 until it is detected."""

    rows: Int64Array | slice
    values: Int64Array | FloatArray
    kind: str = ""
    per_second: float = 0.0


class Times:
    """Times of one chunk of rows: ``micros`` since 1970 UTC, 0 where unusable, rows without a time as ``missing``: [n].

    ``parsed`` and ``in_range`` mark rows that say a time, and those that say one that can be: [n].
    """

    def __init__(self, raw: pl.Series) -> None:
        self.micros: Int64Array = np.zeros(len(raw), np.int64)
        self.missing, self.parsed, self.in_range = np.zeros((3, len(raw)), np.bool_)
        self.parts: list[_Part] = []
        if isinstance(raw.dtype, pl.String | pl.Categorical | pl.Enum | pl.Decimal | pl.Null):
            self._parse_text(raw.cast(pl.String))
            return
        kind, per_second = "", 0.0
        if isinstance(raw.dtype, pl.Datetime):
            kind, per_second = f"timestamps in {UNIT_NAMES[raw.dtype.time_unit]}", PER_SECOND[raw.dtype.time_unit]
        elif raw.dtype == pl.Date:
            kind, per_second = "dates", PER_SECOND["d"]
        elif not raw.dtype.is_numeric():
            raise DataError(f"expected numbers, ISO 8601 text or timestamps as times, found values of type {raw.dtype}")
        raw = raw.to_physical()
        if raw.dtype.is_float() and raw.dtype != pl.Float64:
            exact = 2 ** EXACT_DIGITS[raw.dtype]
            rounded = raw.filter(raw.is_finite() & (raw.abs() > exact))
            if len(rounded):
                raise DataError(
                    f"times in a column of type {raw.dtype} are exact up to {exact:,} only, found {rounded[0]:,.0f}; "
                    "give them as 64-bit floats, integers or timestamps"
                )
        beyond = raw.dtype.is_float() or str(raw.dtype) in BEYOND_64_BITS
        raw = raw.cast(pl.Float64).fill_nan(None) if beyond else raw.cast(pl.Int64)
        self.missing = raw.is_null().to_numpy()
        self.add(slice(None), raw, kind, per_second)

    @property
    def unparsable(self) -> BoolArray:
        """Rows whose time is neither a number nor ISO 8601: [n]."""
        return ~self.missing & ~self.parsed

    @property
    def out_of_range(self) -> BoolArray:
        """Rows before 1973 (before 0 for relative counters), after 2099 or, in a log of compact dates, no date: [n]."""
        return self.parsed & ~self.in_range

    def add(self, rows: Int64Array | slice, values: pl.Series, kind: str = "", per_second: float = 0.0) -> None:
        """Take what some rows say, null where they say nothing."""
        if values.dtype == pl.Float64:
            values = values.set(values.is_infinite(), None)
        if values.null_count():
            rows = np.arange(len(self.micros))[rows][values.is_not_null().to_numpy()]
            values = values.drop_nulls()
        if len(values):
            self.parsed[rows] = True
            self.parts.append(_Part(rows, values.to_numpy(), kind, per_second))

    def settle(self, part: _Part, per_second: float, begin: float) -> int:
        """Set the times of a part that are in range, from ``begin`` seconds on; how many they are."""
        rows, values, *_ = part
        usable = (values >= begin * per_second) & (values < units.CALENDAR_END * per_second)
        count = int(np.count_nonzero(usable))
        if 0 < count < len(values):
            rows, values = np.arange(len(self.micros))[rows][usable], values[usable]
        if count:
            self.micros[rows] = _micros(values, per_second)
            self.in_range[rows] = True
        return count

    def _parse_text(self, raw: pl.Series) -> None:
        integers = raw.cast(pl.Int64, strict=False)
        self.add(slice(None), integers)
        if integers.null_count() == 0:
            return
        left = np.flatnonzero(integers.is_null().to_numpy())
        text = raw.gather(left).str.strip_chars()
        integers = text.cast(pl.Int64, strict=False)
        fractions = text.cast(pl.Float64, strict=False).set(integers.is_not_null(), None)
        missing = (text.str.len_bytes() <= LONGEST_WORD).fill_null(True)
        if missing.any():
            missing &= (text.is_in(NO_ID) | fractions.is_nan().fill_null(False)).fill_null(True)
        self.missing[left] = missing.to_numpy()
        self.add(left, integers)
        self.add(left, fractions.fill_nan(None))
        words = (integers.is_null() & fractions.is_null() & ~missing).to_numpy()
        if words.any():
            self.add(left[words], _parse_iso(text.filter(pl.Series(words))), "ISO 8601 text", MICROSECONDS)


class Clock:
    """A reader of the raw times of one log, chunk by chunk, that remembers what it detected.

    The first chunk decides. Numbers that are dates without punctuation (20240131, 202401311530, ...) are read as
    dates. Else, when their median is after 1973 in s, ms, us or ns, the log has calendar times, and each row's unit
    is found by its magnitude (the ranges do not overlap). Otherwise times are a relative counter of seconds; numbers
    that rather look like days, minutes, years or the like are refused. A given ``unit`` holds for every number.
    """

    def __init__(self, unit: str | None = None) -> None:
        if unit is not None and unit not in units.UNITS:
            raise ConfigError(f"unknown time unit '{unit}'; known: {', '.join(units.UNITS)}")
        self.unit = unit
        self.calendar: bool | None = None
        self.kinds: Counter[str] = Counter()

    @property
    def detected(self) -> str:
        """How the usable times were written, in words, with shares where there are several ways."""
        total = self.kinds.total()
        if len(self.kinds) < 2:  # noqa: PLR2004 - one way needs no shares
            return next(iter(self.kinds), "none")
        shares = ((kind, 100 * count / total) for kind, count in self.kinds.most_common())
        return ", ".join(f"{kind} ({share:.0f}%)" if share >= 1 else f"{kind} (<1%)" for kind, share in shares)

    def read(self, raw: pl.Series, day: pl.Series | None = None) -> Times:
        """The times that raw values of any type stand for; with ``day``, raw milliseconds counted from that date."""
        times = Times(raw)
        if day is not None:
            return self._since_day(times, day)
        loose = [part for part in times.parts if not part.kind]
        longest = max((part.values for part in loose), key=len, default=np.zeros(0, np.int64))
        if self.calendar is None and self.unit is None and units.is_compact(longest):
            self.unit = units.COMPACT
        if self.unit == units.COMPACT:
            times.parts = [part for part in times.parts if part.kind]
            for part in loose:
                times.add(part.rows, units.compact(part.values), units.COMPACT_NAME, MICROSECONDS)
        elif self.unit == "excel":
            times.parts = [
                part if part.kind else part._replace(values=part.values - units.EXCEL_1970) for part in times.parts
            ]
        if self.calendar is None:
            self.calendar = self._looks_like_calendar(times.parts)
        for part in sorted(times.parts, key=lambda part: not part.kind):
            tried = (self.unit,) if self.unit else units.BY_MAGNITUDE if self.calendar else ("s",)
            left = len(part.values)  # the ranges of the units do not overlap
            for kind, size in [part[2:]] if part.kind else [(UNIT_NAMES[unit], PER_SECOND[unit]) for unit in tried]:
                found = times.settle(part, size, units.CALENDAR_START if self.calendar else 0) if left else 0
                left -= found
                self.kinds[kind if self.calendar else f"{kind} of a relative counter"] += found
        self.kinds = +self.kinds
        return times

    def _looks_like_calendar(self, parts: Sequence[_Part]) -> bool | None:
        """Whether the median, without zeros and others that mean no time, is in the calendar; None without times."""
        scale = PER_SECOND.get(self.unit or "", 1)
        numbers = np.concatenate([*(part.values / scale for part in parts if not part.kind), np.zeros(0)])
        seen = np.concatenate([numbers, *(part.values / part.per_second for part in parts if part.kind)])
        if self.unit is None and len(numbers):
            units.refuse_doubtful(numbers)
        for part in parts:
            if part.kind == NANOSECONDS:
                units.refuse_misread(part.values)
        said = units.telling(seen)
        return bool(np.median(said if len(said) else seen) >= units.CALENDAR_START) if len(seen) else None

    def _since_day(self, times: Times, day: pl.Series) -> Times:
        dates = Clock().read(day)
        for part in times.parts:
            if part.kind:
                times.parsed[part.rows] = False
            else:
                times.settle(part, PER_SECOND["ms"], 0)
        times.missing |= dates.missing
        times.parsed &= ~dates.unparsable
        times.in_range &= ~dates.out_of_range
        usable = times.parsed & times.in_range & ~times.missing
        times.micros = np.where(usable, times.micros + dates.micros, 0)
        self.kinds["dates plus milliseconds"] += int(np.count_nonzero(usable))
        return times


def _micros(values: Int64Array | FloatArray, per_second: float) -> Int64Array:
    """Microseconds of values in range: exact for integers, rounded to the nearest for fractions."""
    if values.dtype == np.float64:
        return np.rint(values * (MICROSECONDS / per_second)).astype(np.int64)
    if per_second > MICROSECONDS:
        return values.astype(np.int64, copy=False) // round(per_second / MICROSECONDS)
    return values.astype(np.int64, copy=False) * round(MICROSECONDS / per_second)


def _parse_iso(text: pl.Series) -> pl.Series:
    """Microseconds since 1970 UTC of ISO 8601 text, null where it is none."""
    values = cast("Any", text.to_frame()).to_arrow(compat_level=pl.CompatLevel.oldest())[0]
    for target in (arrow.timestamp("us", "UTC"), arrow.timestamp("us")):
        try:
            return pl.Series(arrow_compute.cast(values, target)).to_physical()
        except arrow.ArrowInvalid:
            continue
    return text.map_elements(_iso_micros, return_dtype=pl.Int64)


def _iso_micros(text: str) -> int | None:
    plain = re.sub(r"\s?(UTC|GMT)$|\s(?=[+Zz-])", "", text.replace("/", "-")).upper()
    try:
        return microseconds_of("time", datetime.fromisoformat(plain))
    except ValueError:
        return None

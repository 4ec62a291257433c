"""Times of clicks: numbers in any unit, compact dates, ISO 8601 text, timestamps; all become microseconds UTC."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.arrow import arrow, arrow_compute
from nearnext.data.units import (
    BY_MAGNITUDE,
    CALENDAR_END,
    CALENDAR_START,
    COMPACT,
    COMPACT_NAME,
    EXCEL_1970,
    MICROSECONDS,
    PER_SECOND,
    UNIT_NAMES,
    UNITS,
    compact,
    is_compact,
    refuse_doubtful,
    refuse_misread,
)
from nearnext.errors import ConfigError, DataError
from nearnext.types import BoolArray, FloatArray, Int64Array

NANOSECONDS = "timestamps in nanoseconds"
ISO_8601 = (
    r"^(?P<year>[0-9]{4})[-/](?P<month>[0-9]{2})[-/](?P<day>[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2})"
    r"(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?)?"
    r"\s?(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)


@dataclass(frozen=True)
class Times:
    """Times of one chunk of rows.

    Attributes:
        micros: microseconds since 1970 UTC, 0 where unusable: [n].
        missing: rows without a time: [n].
        unparsable: rows whose time is neither a number nor ISO 8601: [n].
        out_of_range: rows whose time is before 1973 (before 0 for relative counters), after 2099 or, in a log of
            compact dates, no date: [n].
    """

    micros: Int64Array
    missing: BoolArray
    unparsable: BoolArray
    out_of_range: BoolArray


class _Reading:
    """Times of one chunk while they are worked out: what is settled so far."""

    def __init__(self, size: int) -> None:
        self.micros: Int64Array = np.zeros(size, np.int64)
        self.missing: BoolArray = np.zeros(size, np.bool_)
        self.parsed: BoolArray = np.zeros(size, np.bool_)
        self.in_range: BoolArray = np.zeros(size, np.bool_)
        self.numbers: list[tuple[Int64Array, Int64Array | FloatArray]] = []
        self.fixed: list[tuple[Int64Array, Int64Array, str, float]] = []

    def finish(self) -> Times:
        return Times(self.micros, self.missing, ~self.missing & ~self.parsed, self.parsed & ~self.in_range)


class Clock:
    """A reader of the raw times of one log, chunk by chunk, that remembers what it detected.

    The first chunk decides. Numbers that are dates without punctuation (20240131, 202401311530, ...) are read as
    dates. Else, when their median lies after 1973 in s, ms, us or ns, the log has calendar times, and each row's unit
    is found by its magnitude (the ranges do not overlap). Otherwise times are a relative counter of seconds; numbers
    that rather look like days, minutes, years or the like are refused. A given ``unit`` holds for every number.

    Raises:
        ConfigError: unknown unit.

    >>> clock = Clock()
    >>> clock.read(pl.Series([1400000000, 1400000000500, 0])).micros.tolist()
    [1400000000000000, 1400000000500000, 0]
    >>> clock.detected
    'seconds (50%), milliseconds (50%)'
    """

    def __init__(self, unit: str | None = None) -> None:
        if unit is not None and unit not in UNITS:
            raise ConfigError(f"unknown time unit '{unit}'; known: {', '.join(UNITS)}")
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
        """The times that raw values of any type stand for; with ``day``, raw milliseconds counted from that date.

        Raises:
            DataError: values that are no times, such as lists, or numbers whose unit is unclear.
        """
        reading = _Reading(len(raw))
        _parse(raw, reading)
        if day is not None:
            return self._since_day(reading, day)
        if self.calendar is None and self.unit is None and is_compact(_longest(reading)):
            self.unit = COMPACT
        if self.unit == COMPACT:
            for rows, values in reading.numbers:
                _fix(reading, rows, compact(values), COMPACT_NAME, MICROSECONDS)
            reading.numbers.clear()
        elif self.unit == "excel":
            reading.numbers = [(rows, values - EXCEL_1970) for rows, values in reading.numbers]
        if self.calendar is None:
            self.calendar = self._looks_like_calendar(reading)
        for rows, values, kind, per_second in reading.fixed:
            self._settle(reading, rows, values, per_second, kind)
        for rows, numbers in reading.numbers:
            left = len(rows)  # the ranges of the units do not overlap
            for unit in self._units():
                left -= self._settle(reading, rows, numbers, PER_SECOND[unit], UNIT_NAMES[unit]) if left else 0
        return reading.finish()

    def _units(self) -> tuple[str, ...]:
        if self.unit:
            return (self.unit,)
        return BY_MAGNITUDE if self.calendar else ("s",)

    def _looks_like_calendar(self, reading: _Reading) -> bool | None:
        scale = PER_SECOND.get(self.unit or "", 1)
        numbers = np.concatenate([*(values / scale for _, values in reading.numbers), np.zeros(0)])
        seconds = [values / per_second for _, values, _, per_second in reading.fixed]
        seen = np.concatenate([numbers, *seconds])
        if self.unit is None and len(numbers):
            refuse_doubtful(numbers)
        for _, values, kind, _ in reading.fixed:
            if kind == NANOSECONDS:
                refuse_misread(values)
        return bool(np.median(seen) >= CALENDAR_START) if len(seen) else None

    def _settle(
        self, reading: _Reading, rows: Int64Array, values: Int64Array | FloatArray, per_second: float, kind: str
    ) -> int:
        """Sets the times of the values that are in range; how many they are."""
        begin = CALENDAR_START if self.calendar else 0
        usable = (values >= begin * per_second) & (values < CALENDAR_END * per_second)
        count = int(np.count_nonzero(usable))
        if count == 0:
            return 0
        self.kinds[kind if self.calendar else f"{kind} of a relative counter"] += count
        if count < len(rows):
            rows, values = rows[usable], values[usable]
        _put(reading.micros, rows, _micros(values, per_second))
        _put(reading.in_range, rows, True)
        return count

    def _since_day(self, reading: _Reading, day: pl.Series) -> Times:
        dates = Clock().read(day)
        for rows, values in reading.numbers:
            usable = (values >= 0) & (values < CALENDAR_END * PER_SECOND["ms"])
            reading.micros[rows[usable]] = _micros(values[usable], PER_SECOND["ms"])
            reading.in_range[rows[usable]] = True
        for rows, *_ in reading.fixed:
            reading.parsed[rows] = False
        reading.missing |= dates.missing
        reading.parsed &= ~dates.unparsable
        reading.in_range &= ~dates.out_of_range
        times = reading.finish()
        usable = ~(times.missing | times.unparsable | times.out_of_range)
        times.micros[:] = np.where(usable, times.micros + dates.micros, 0)
        self.kinds["dates plus milliseconds"] += int(np.count_nonzero(usable))
        return times


def _put(array: NDArray[Any], rows: Int64Array, values: object) -> None:
    """Sets the values of some rows, quickly where these are all."""
    array[rows if len(rows) < len(array) else slice(None)] = values


def _longest(reading: _Reading) -> Int64Array | FloatArray:
    return max((values for _, values in reading.numbers), key=len, default=np.zeros(0, np.int64))


def _micros(values: Int64Array | FloatArray, per_second: float) -> Int64Array:
    """Microseconds of values in range: exact for integers, rounded to the nearest for fractions."""
    if values.dtype == np.float64:
        return np.rint(values * (MICROSECONDS / per_second)).astype(np.int64)
    if per_second > MICROSECONDS:
        return values.astype(np.int64, copy=False) // round(per_second / MICROSECONDS)
    return values.astype(np.int64, copy=False) * round(MICROSECONDS / per_second)


def _parse(raw: pl.Series, reading: _Reading) -> None:
    """What each raw value says, before its unit is known."""
    everything = np.arange(len(raw))
    if isinstance(raw.dtype, pl.Datetime):
        unit = raw.dtype.time_unit
        _fix(reading, everything, raw.to_physical(), f"timestamps in {UNIT_NAMES[unit]}", PER_SECOND[unit])
        reading.missing = raw.is_null().to_numpy()
    elif raw.dtype == pl.Date:
        _fix(reading, everything, raw.to_physical().cast(pl.Int64), "dates", PER_SECOND["d"])
        reading.missing = raw.is_null().to_numpy()
    elif raw.dtype.is_integer():
        reading.missing = raw.is_null().to_numpy()
        _number(reading, everything, raw.cast(pl.Float64 if raw.dtype == pl.UInt64 else pl.Int64))
    elif raw.dtype.is_float():
        raw = raw.cast(pl.Float64).fill_nan(None)
        reading.missing = raw.is_null().to_numpy()
        _number(reading, everything, raw)
    elif isinstance(raw.dtype, pl.String | pl.Categorical | pl.Enum | pl.Decimal | pl.Null):
        _parse_text(raw.cast(pl.String), reading)
    else:
        raise DataError(f"expected numbers, ISO 8601 text or timestamps as times, found values of type {raw.dtype}")


def _parse_text(raw: pl.Series, reading: _Reading) -> None:
    integers = raw.cast(pl.Int64, strict=False)
    _number(reading, np.arange(len(raw)), integers)
    if integers.null_count() == 0:
        return
    left = np.flatnonzero(integers.is_null().to_numpy())
    text = raw.gather(left).str.strip_chars()
    missing = text.is_null() | (text == "")
    reading.missing[left] = missing.fill_null(True).to_numpy()
    integers = text.cast(pl.Int64, strict=False)
    _number(reading, left, integers)
    fractions = text.cast(pl.Float64, strict=False).set(integers.is_not_null(), None).fill_nan(None)
    _number(reading, left, fractions)
    words = (integers.is_null() & fractions.is_null() & ~missing.fill_null(True)).to_numpy()
    if words.any():
        _fix(reading, left[words], _parse_iso(text.filter(pl.Series(words))), "ISO 8601 text", MICROSECONDS)


def _number(reading: _Reading, rows: Int64Array, values: pl.Series) -> None:
    if values.dtype == pl.Float64:
        values = values.set(values.is_infinite(), None)
    if values.null_count():
        rows = rows[values.is_not_null().to_numpy()]
        values = values.drop_nulls()
    if len(values):
        _put(reading.parsed, rows, True)
        reading.numbers.append((rows, values.to_numpy()))


def _fix(reading: _Reading, rows: Int64Array, values: pl.Series, kind: str, per_second: float) -> None:
    present = values.is_not_null().to_numpy()
    rows = rows[present]
    if len(rows):
        _put(reading.parsed, rows, True)
        reading.fixed.append((rows, values.drop_nulls().to_numpy(), kind, per_second))


def _parse_iso(text: pl.Series) -> pl.Series:
    """Microseconds since 1970 UTC of ISO 8601 text, null where it is none."""
    frame = cast("Any", text.to_frame())
    values = frame.to_arrow(compat_level=pl.CompatLevel.oldest())[0]
    for target in (arrow.timestamp("us", "UTC"), arrow.timestamp("us")):
        try:
            micros: Any = arrow_compute.cast(values, target)
        except arrow.ArrowInvalid:
            continue
        return pl.Series(micros).to_physical()
    return _parse_mixed_iso(text)


def _parse_mixed_iso(text: pl.Series) -> pl.Series:
    part = pl.col("parts").struct.field
    clock = pl.concat_str(
        part("year"),
        part("month"),
        part("day"),
        *(part(name).fill_null("00") for name in ("hour", "minute", "second")),
    )
    zone = pl.when(part("zone").str.contains("^[+-]")).then(part("zone").str.replace(":", "", literal=True))
    minutes = zone.str.slice(1, 2).cast(pl.Int64) * 60 + zone.str.slice(3, 2).str.pad_start(2, "0").cast(pl.Int64)
    offset = pl.when(zone.str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0)
    fraction = part("fraction").str.head(6).str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    start = clock.str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="us").to_physical()
    parts = text.to_frame("text").select(pl.col("text").str.extract_groups(ISO_8601).alias("parts"))
    return parts.select((start + fraction - offset * (60 * MICROSECONDS)).alias("micros"))["micros"]

"""The units of numeric times, dates without punctuation, and numbers of no clear unit."""

from typing import TypeVar

import numpy as np
import polars as pl

from nearnext.errors import DataError
from nearnext.types import FloatArray, Int64Array

AnyNumbers = TypeVar("AnyNumbers", Int64Array, FloatArray, Int64Array | FloatArray)

MICROSECONDS = 1_000_000
DAY_SECONDS = 86_400
PER_SECOND = {
    "s": 1,
    "ms": 1_000,
    "us": 1_000_000,
    "ns": 1_000_000_000,
    "min": 1 / 60,
    "h": 1 / 3600,
    "d": 1 / DAY_SECONDS,
    "excel": 1 / DAY_SECONDS,
}
NAMES = ("seconds", "milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "Excel days")
UNIT_NAMES = dict(zip(PER_SECOND, NAMES, strict=True))
BY_MAGNITUDE = ("s", "ms", "us", "ns")
"""Units that magnitude tells apart."""
COMPACT = "date"
COMPACT_NAME = "dates such as 20240131"
UNITS = (*PER_SECOND, COMPACT)
EXCEL_1970 = 25_569
"""1970-01-01 as Excel counts days."""

CALENDAR_START = 100_000_000
"""Seconds: March 1973. From here to the end, no time in one unit can be read as a time in another."""
CALENDAR_END = 4_100_000_000
"""Seconds: December 2099."""
CREDIBLE_START = 788_918_400
"""Seconds: January 1995. Earlier clicks are numbers in a unit that magnitude does not tell."""
MOST = 0.95
"""The share of a log's first times that decides what they are."""
SAMPLE = 5_000
"""Numbers that are looked at for that."""
YEAR_LAST = (1_011_970, 31_122_101, "dates as 29082024 or 08292024", "write whole dates, e.g. 2024-08-29")
"""A month and a day in front of a year."""
DOUBTFUL = (
    YEAR_LAST,
    (1970, 2100, "years", "write whole dates, e.g. 2024-08-29"),
    (101, 1231, "months and days without a year", "write whole dates, e.g. 2024-08-29"),
    (7_305, 75_000, "numbers of days", "name the time unit d (since 1970) or excel (since 1899-12-30)"),
    (175_000, 1_141_000, "hours since 1970 or dates of six digits", "name the time unit h, or write 2024-08-29"),
    (2_440_000, 2_489_000, "Julian days", "write dates, e.g. 2024-08-29"),
    (1_001_010_000, 3_612_312_360, "dates as 2411271530", "write whole dates, e.g. 2024-11-27T15:30"),
    (10_500_000, 68_500_000, "minutes since 1970 or dates as 29082024", "name the time unit min, or write 2024-08-29"),
)
"""Ranges of small numbers that are seldom seconds: from, below, what they look like, what to do."""


def refuse_doubtful(numbers: FloatArray) -> None:
    """Stops at times that are not seconds, milliseconds, microseconds or nanoseconds, nor likely a counter: [n]."""
    numbers = telling(numbers[:: len(numbers) // SAMPLE + 1])
    if not len(numbers):
        return
    span = f"times from {numbers.min():,.0f} to {numbers.max():,.0f}"
    seconds = [numbers / PER_SECOND[unit] for unit in BY_MAGNITUDE]
    if sum(((unit >= CALENDAR_START) & (unit < CREDIBLE_START)).mean() for unit in seconds) >= MOST:
        raise DataError(f"{span} would be clicks before 1995 in s, ms, us or ns; name the time unit, or write dates")
    for least, end, what, remedy in DOUBTFUL:
        inside = (numbers >= least) & (numbers < end)
        if what == YEAR_LAST[2]:
            inside &= (numbers % 10_000 >= 1970) & (numbers % 10_000 <= 2100)  # noqa: PLR2004 - years
        if least > CALENDAR_START:
            month, day, hour, minute = (numbers // unit % 100 for unit in (1_000_000, 10_000, 100, 1))
            inside &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (hour < 24) & (minute < 60)  # noqa: PLR2004
        if what.startswith("months"):
            inside &= (numbers // 100 <= 12) & (numbers % 100 >= 1) & (numbers % 100 <= 31)  # noqa: PLR2004 - MMDD
        if inside.mean() >= MOST:
            raise DataError(
                f"{span} look like {what}; {remedy}, or name the time unit s if they are a counter of seconds"
            )


def telling(values: AnyNumbers) -> AnyNumbers:
    """Numbers that say something of their unit: not 0, -1 or 99991231, which stand for no time in many logs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first_four = values // 10.0 ** np.maximum(np.floor(np.log10(np.abs(values))) - 3, 0)
    return values[(values > 0) & (first_four != 9999)]  # noqa: PLR2004 - the year 9999


def refuse_misread(nanoseconds: Int64Array | FloatArray) -> None:
    """Stops at timestamps that are numbers of another unit taken for nanoseconds: [n]."""
    median = float(np.median(nanoseconds))
    if 0 < median < DAY_SECONDS * 1e9 or any(
        CALENDAR_START <= median / PER_SECOND[unit] < CALENDAR_END for unit in ("s", "ms", "us")
    ):
        first = np.datetime64(int(nanoseconds.min()), "ns")
        raise DataError(
            f"timestamps begin at {first}: numbers of another unit were taken for nanoseconds; give the numbers, or "
            "convert them with their unit, e.g. pandas.to_datetime(numbers, unit='s')"
        )


def is_compact(values: Int64Array | FloatArray) -> bool:
    """Whether numbers are dates without punctuation."""
    found = compact(telling(values[:SAMPLE]))
    begin, end = CALENDAR_START * MICROSECONDS, CALENDAR_END * MICROSECONDS
    credible = found.is_between(begin, end).fill_null(False).to_numpy()
    return len(found) > 0 and bool(credible.mean() >= MOST)


def compact(values: Int64Array | FloatArray) -> pl.Series:
    """Microseconds since 1970 UTC of numbers such as 20240131 or 20240131153000, null where they are no dates."""
    numbers = pl.Series(values)
    whole = numbers.cast(pl.Int64, strict=False)
    text = whole.set(whole.cast(numbers.dtype) != numbers, None).cast(pl.String).alias("text").to_frame()
    written = pl.col("text")
    start = written.str.head(14).str.pad_end(14, "0").str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="us")
    milliseconds = written.str.slice(14).cast(pl.Int64, strict=False).fill_null(0)
    known = written.str.len_bytes().is_in([8, 10, 12, 14, 17])
    return text.select(pl.when(known).then(start.to_physical() + milliseconds * 1000))["text"]

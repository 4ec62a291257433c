"""Numbers as a reader wants them, and which values of a column are the best and the second."""

import math
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

ABSENT = "–"
"""What stands where a number is not known."""

Mark = Literal["", "best", "second"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, HOUR = 60, 3600
TEN, THOUSAND = 10, 1000


def fixed(value: float | None) -> str:
    """A metric's value with four digits after the point."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.4f}"


def count(value: float | None) -> str:
    """A whole number with its thousands set apart."""
    return ABSENT if value is None or math.isnan(value) else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage."""
    return ABSENT if share is None or math.isnan(share) else f"{100 * share:.1f}%"


def compact(value: float | None) -> str:
    """A rate, size or time with three significant digits or so, whatever its size.

    >>> compact(0.01234), compact(3.14159), compact(31.4159), compact(31415.9)
    ('0.012', '3.14', '31.4', '31,416')
    """
    if value is None or math.isnan(value):
        return ABSENT
    if abs(value) >= THOUSAND:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= TEN else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """A length of time."""
    if seconds is None or math.isnan(seconds):
        return ABSENT
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"


def moment(time: int | str | None) -> str:
    """A time of the log in UTC, from microseconds since 1970 or from text, which stays as it is.

    >>> moment(1_439_974_903_000_000), moment("2015-08-19"), moment(None)
    ('2015-08-19 09:01 UTC', '2015-08-19', '–')
    """
    if time is None:
        return ABSENT
    if isinstance(time, str):
        return time
    try:
        return f"{EPOCH + timedelta(microseconds=time):%Y-%m-%d %H:%M} UTC"
    except OverflowError:
        return f"{time / 1e6:.0f} s since 1970"


def plain(value: Any) -> str:
    """Any value of a result as one line of text.

    >>> plain({"k": [5, 10], "strict": True, "device": None})
    'k: 5, 10; strict: yes; device: –'
    """
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return "; ".join(f"{key}: {plain(each)}" for key, each in named.items()) or ABSENT
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(each) for each in cast("list[Any]", value)) or ABSENT
    if value is None or value == "":
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def command_lines(command: str) -> str:
    r"""A command as a shell takes it over several lines, an option on each.

    >>> print(command_lines("nearnext compare log.csv --k 5 --column 'item=the id'"))
    nearnext compare log.csv \
      --k 5 \
      --column 'item=the id'
    """
    try:
        words = shlex.split(command)
    except ValueError:  # not from a shell
        return command
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--") and lines[-1]:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n  ".join(" ".join(line) for line in lines)


def marks(values: Sequence[float | None]) -> list[Mark]:
    """Which values are the highest and the second highest as they are shown; equal ones share a mark."""
    shown = [None if value is None or math.isnan(value) else round(value, 4) for value in values]
    highest = sorted({value for value in shown if value is not None}, reverse=True)
    names: dict[float | None, Mark] = dict(zip(highest, ("best", "second"), strict=False))
    return [names.get(value, "") for value in shown]

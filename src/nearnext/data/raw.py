"""Ids, sessions and times from Python callers: converted to one form, or refused with an example of what to give.

An id is an integer or a text; numpy's count as such, and so does a whole float (``7.0``), because pandas makes floats
of integer columns with gaps. Ids and sessions may come in any collection that keeps an order: lists, tuples,
generators, numpy arrays, columns of pandas and polars. A text is never taken for a list of its letters.
"""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import Any, cast

import numpy as np

from nearnext.data.ids import Foreign, plain_id
from nearnext.data.units import MICROSECONDS
from nearnext.errors import ConfigError, DataError
from nearnext.types import BoolArray, Int64Array, RawId

Moment = float | datetime | str
"""A time: seconds since 1970 UTC, a datetime (without zone: UTC), or its ISO text."""

LATEST = 1e11
"""Seconds since 1970 of the latest time, in the year 5138: larger numbers are milliseconds by mistake."""


def raw_sessions(sessions: object) -> list[list[RawId]]:
    """The clicks of each session.

    >>> raw_sessions(session for session in [("a", "b"), np.array([7, 8])])
    [['a', 'b'], [7, 8]]
    """
    wanted = "expected a list of sessions, each a list of item ids"
    listed = _listed(sessions)
    if listed is None or _unordered(sessions):
        raise DataError(f"{wanted}, found {_shown(sessions)}; write one session as [['a', 'b']]")
    found: list[list[RawId]] = []
    for number, session in enumerate(listed):
        clicks = _listed(session)
        if clicks is None or _unordered(session):
            raise DataError(f"{wanted}, found {_shown(session)} as session {number}; write one session as [['a', 'b']]")
        found.append(_ids(f"session {number}", clicks))
    return found


def raw_ids(name: str, ids: object) -> list[RawId]:
    """The ids of the option ``name``, which takes several.

    >>> raw_ids("exclude", {7}), raw_ids("exclude", np.array(["a"]))
    ([7], ['a'])
    """
    listed = _listed(ids)
    if listed is None:
        remedy = f"write [{_shown(ids)}]" if isinstance(ids, str | int) else "write ['a', 'b']"
        raise DataError(f"expected a list of item ids as {name}, found {_shown(ids)}; {remedy}")
    return _ids(name, listed)


def indices(name: str, values: object, first: int, last: int, remedy: str) -> Int64Array:
    """Whole numbers of a range: [n].

    >>> indices("sessions", (2, 0), 0, 2, "count from 0").tolist()
    [2, 0]
    """
    given: Any = values
    wrong: list[object]
    if isinstance(values, np.ndarray) and given.ndim == 1 and given.dtype.kind in "iu":
        array: Int64Array = np.asarray(given, dtype=np.int64)
        wrong = array[(array < first) | (array > last)][:1].tolist()
    else:
        listed = _listed(given)
        if listed is None:
            raise DataError(f"expected a list of {name}, found {_shown(given)}; {remedy}")
        numbers = [_python(one) for one in listed]
        wrong = [one for one in numbers if type(one) is not int or not first <= one <= last][:1]
        array = np.array([] if wrong else numbers, dtype=np.int64)
    if wrong:
        raise DataError(f"expected {name} in {first}..{last}, found {_shown(wrong[0])}; {remedy}")
    return array


def _unordered(values: object) -> bool:
    """Whether a collection does not keep the order of clicks."""
    return isinstance(values, Set)


def _listed(values: Any) -> Sequence[object] | None:
    """The values of a collection; None for what is none, or is one of letters, keys or columns."""
    if type(values) is list or type(values) is tuple:
        return cast("Sequence[object]", values)
    if isinstance(values, str | bytes | bytearray | Mapping) or hasattr(values, "columns"):
        return None
    if getattr(values, "dtype", None) is not None and getattr(values.dtype, "kind", "") == "M":
        values = values.astype("datetime64[us]")  # as nanoseconds they would become integers
    convert: Any = getattr(values, "tolist", None) or getattr(values, "to_list", None)
    if convert is not None:  # numpy, pandas, polars, pyarrow: an array without dimensions gives a single value
        values = convert()
    if isinstance(values, str) or not isinstance(values, Iterable):
        return None
    return list(cast("Iterable[object]", values))


def _ids(where: str, values: Sequence[object]) -> list[RawId]:
    if {str, int}.issuperset(map(type, values)):
        return cast("list[RawId]", values if type(values) is list else list(values))
    found: list[RawId] = []
    for value in values:
        one = plain_id(value)
        if one is None or isinstance(one, Foreign):
            raise DataError(
                f"expected integers or strings as items in {where}, found {_shown(value)}; leave it out or convert it"
            )
        found.append(one)
    return found


def _python(value: object) -> object:
    """Numpy's value as Python has it, a time in any unit as a datetime."""
    if isinstance(value, np.datetime64):
        return cast("object", value.astype("datetime64[us]").item())
    return cast("object", cast("Any", value).item()) if isinstance(value, np.generic) else value


def _shown(value: object) -> str:
    if isinstance(value, str | int | float | bytes | date) or value is None:
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:60]}..."  # noqa: PLR2004 - one line
    return f"a {type(value).__name__}"


def microseconds_of(name: str, moment: object) -> int:
    """Microseconds since 1970 UTC of a number of seconds, a date, a date and time, or its ISO text; without zone: UTC.

    >>> microseconds_of("time", 1.5), microseconds_of("time", "1970-01-01T02:00:02+02:00")
    (1500000, 2000000)
    """
    moment = _python(moment)
    if isinstance(moment, str):
        with suppress(ValueError):  # what is no time is refused below
            moment = datetime.fromisoformat(moment.strip())
    if isinstance(moment, date) and moment == moment:  # noqa: PLR0124 - pandas' missing time is not equal to itself
        found = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
        known = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        passed = known.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return (passed.days * 86_400 + passed.seconds) * MICROSECONDS + passed.microseconds
    if isinstance(moment, int | float) and not isinstance(moment, bool) and math.isfinite(moment):
        if abs(moment) <= LATEST:
            return int(moment * MICROSECONDS)
        raise ConfigError(
            f"expected seconds since 1970 as {name}, found {moment!r}, which is after the year 5000; are these "
            "milliseconds? divide them by 1000"
        )
    raise ConfigError(f"expected seconds since 1970, a datetime or its ISO text as {name}, found {_shown(moment)}")


def mask(name: str, values: object, n: int) -> BoolArray:
    """Check and convert a mask of n booleans: [n]."""
    given = np.asarray(values)
    if given.dtype != np.bool_ or given.shape != (n,):
        raise DataError(
            f"expected a mask of {n} {name}, found values of type {given.dtype} in shape {list(given.shape)}; "
            "give True or False for each"
        )
    return given


def begins(starts: object, n_sessions: int) -> Int64Array:
    """The start of each session in microseconds, checked: [S]."""
    listed = _listed(starts)
    if listed is None:
        raise ConfigError(f"expected a list as starts, found {_shown(starts)}")
    if len(listed) != n_sessions:
        raise ConfigError(f"expected a start for each of {n_sessions} sessions, found {len(listed)}")
    moments = (microseconds_of(f"start of session {number}", one) for number, one in enumerate(listed))
    return np.fromiter(moments, np.int64, count=n_sessions)

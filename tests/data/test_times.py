"""Times in every unit and shape become microseconds since 1970 UTC."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.times import CALENDAR_END, CALENDAR_START, Clock
from nearnext.errors import ConfigError

# 2014-04-07T10:51:09Z
SECONDS = 1_396_867_869
MICROS = SECONDS * 1_000_000
FACTORS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def micros_of(values: list[object], unit: str | None = None) -> list[int]:
    return Clock(unit).read(pl.Series(values)).micros.tolist()


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2014-04-07T10:51:09.277Z", MICROS + 277_000),
        ("2014-04-07 10:51:09", MICROS),
        ("2014-04-07t10:51:09z", MICROS),
        ("2014-04-07T10:51:09.1", MICROS + 100_000),
        ("2014-04-07T10:51:09.123456789Z", MICROS + 123_456),
        ("2014-04-07T10:51:09,5+02:00", MICROS + 500_000 - 7_200_000_000),
        ("2014-04-07T10:51:09+0530", MICROS - 19_800_000_000),
        ("2014-04-07T10:51:09-01", MICROS + 3_600_000_000),
        ("2014-04-07 10:51:09 UTC", MICROS),
        ("2014/04/07 10:51:09", MICROS),
        ("2014-04-07T10:51", MICROS - 9_000_000),
        ("2014-04-07", MICROS - (10 * 3600 + 51 * 60 + 9) * 1_000_000),
        (" 2014-04-07T10:51:09Z ", MICROS),
        ("1396867869", MICROS),
        ("1396867869.25", MICROS + 250_000),
        ("1.396867869E9", MICROS),
        (" 1396867869 ", MICROS),
    ],
)
def test_each_shape_is_read_alone_and_among_others(text: str, micros: int) -> None:
    assert micros_of([text]) == [micros]
    assert micros_of([text, "2014-04-07T10:51:09Z", "1396867869123", "nonsense"]) == [
        micros,
        MICROS,
        MICROS + 123_000,
        0,
    ]


@pytest.mark.parametrize(
    "text", ["x", "2014-02-30", "2014-04-07T25:00:00", "07.04.2014", "nan", "inf", "0x10", "2014-04", "２０１４-04-07"]
)
def test_what_is_no_time_is_unparsable(text: str) -> None:
    times = Clock().read(pl.Series([text, "2014-04-07"]))
    assert times.unparsable.tolist() == [True, False]
    assert not times.out_of_range.any()


@pytest.mark.parametrize(
    "value", [0, -5, 5, CALENDAR_END, 50_000_000_000, 99_999_999_999_999_999, 4_100_000_000_000_000_000, -(2**63)]
)
def test_numbers_of_no_calendar_unit_are_out_of_range(value: int) -> None:
    times = Clock().read(pl.Series([value, SECONDS, SECONDS]))
    assert times.out_of_range.tolist() == [True, False, False]
    assert times.micros.tolist() == [0, MICROS, MICROS]


@given(st.lists(st.tuples(st.integers(CALENDAR_START, CALENDAR_END - 1), st.sampled_from(list(FACTORS))), min_size=1))
def test_every_row_of_a_mixed_log_is_read_in_its_own_unit(rows: list[tuple[int, str]]) -> None:
    numbers = [seconds * FACTORS[unit] for seconds, unit in rows]
    expected = [seconds * 1_000_000 for seconds, _ in rows]
    assert micros_of(list(numbers)) == expected
    assert micros_of([str(number) for number in numbers]) == expected


@given(st.datetimes(datetime(1974, 1, 1), datetime(2099, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_iso_text_of_any_zone_is_the_same_moment(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert micros_of([zoned.isoformat()]) == [expected]
    assert micros_of([zoned.isoformat(sep=" "), "x"]) == [expected, 0]


def test_shares_of_units_are_told() -> None:
    clock = Clock()
    clock.read(pl.Series([SECONDS] * 3 + [SECONDS * 1000] * 2))
    assert clock.detected == "seconds (60%), milliseconds (40%)"
    clock.read(pl.Series([SECONDS] * 995))
    assert clock.detected == "seconds (100%), milliseconds (<1%)"


def test_small_numbers_are_a_counter_of_seconds() -> None:
    clock = Clock()
    times = clock.read(pl.Series([0, 1, 5, -1, 4_100_000_000]))
    assert times.micros.tolist() == [0, 1_000_000, 5_000_000, 0, 0]
    assert times.out_of_range.tolist() == [False, False, False, True, True]
    assert clock.detected == "seconds of a relative counter"


def test_the_first_times_decide_for_later_chunks() -> None:
    clock = Clock()
    clock.read(pl.Series([None, None], dtype=pl.Int64))
    clock.read(pl.Series(["2014-04-07"]))
    assert clock.read(pl.Series(["0", "5"])).out_of_range.tolist() == [True, True]


@pytest.mark.parametrize("unit", list(FACTORS))
def test_a_given_unit_holds_for_every_number(unit: str) -> None:
    other = SECONDS * (1000 if unit == "s" else 1)
    times = Clock(unit).read(pl.Series([SECONDS * FACTORS[unit], SECONDS * FACTORS[unit], other]))
    assert times.micros.tolist() == [MICROS, MICROS, 0]
    assert times.out_of_range.tolist() == [False, False, True]


def test_a_given_unit_counts_from_zero_where_times_are_small() -> None:
    assert micros_of([0, 1500], "ms") == [0, 1_500_000]


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown time unit 'min'; known: s, ms, us, ns"):
        Clock("min")


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Warsaw"])
def test_timestamps_of_any_unit_and_zone_are_the_same_moment(unit: str, zone: str | None) -> None:
    moment = pl.Series([MICROS, None]).cast(pl.Datetime("us", "UTC"))
    typed = moment.dt.convert_time_zone(zone) if zone else moment.dt.replace_time_zone(None)
    times = Clock().read(typed.dt.cast_time_unit(unit))  # pyright: ignore[reportArgumentType] - a literal in a list
    assert times.micros.tolist() == [MICROS, 0]
    assert times.missing.tolist() == [False, True]


def test_dates_begin_at_midnight_utc() -> None:
    assert Clock().read(pl.Series([date(1974, 1, 2)])).micros.tolist() == [1462 * 86_400_000_000]


def test_timestamps_out_of_the_calendar_are_rejected() -> None:
    moments = [datetime(2014, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)]
    assert Clock().read(pl.Series(moments)).out_of_range.tolist() == [False, True, True]


def test_fractions_and_missing_values_of_a_float_column() -> None:
    times = Clock().read(pl.Series([SECONDS + 0.5, float("nan"), None, float("inf")]))
    assert times.micros.tolist() == [MICROS + 500_000, 0, 0, 0]
    assert times.missing.tolist() == [False, True, True, False]
    assert times.unparsable.tolist() == [False, False, False, True]


def test_milliseconds_count_from_a_day() -> None:
    clock = Clock()
    times = clock.read(pl.Series(["0", "1500", "-1", "", "5"]), pl.Series(["2014-04-07"] * 4 + ["soon"]))
    midnight = MICROS - (10 * 3600 + 51 * 60 + 9) * 1_000_000
    assert times.micros.tolist() == [midnight, midnight + 1_500_000, 0, 0, 0]
    assert times.out_of_range.tolist() == [False, False, True, False, False]
    assert times.missing.tolist() == [False, False, False, True, False]
    assert times.unparsable.tolist() == [False, False, False, False, True]
    assert clock.detected == "dates plus milliseconds"

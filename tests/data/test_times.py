"""Times in every unit and shape become microseconds since 1970 UTC."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.times import Clock
from nearnext.data.units import CALENDAR_END, CREDIBLE_START
from nearnext.errors import ConfigError, DataError

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
    "text",
    ["x", "2014-02-30", "2014-04-07T25:00:00", "07.04.2014", "inf", "never", "0x10", "2014-04", "２０１４-04-07"],
)
def test_what_is_no_time_is_unparsable(text: str) -> None:
    times = Clock().read(pl.Series([text, "2014-04-07"]))
    assert times.unparsable.tolist() == [True, False]
    assert not times.out_of_range.any()


@pytest.mark.parametrize("word", ["nan", " NaN ", "NAN", "-nan", "NULL", "None", "<NA>", "", " "])
@pytest.mark.parametrize("others", [["2014-04-07"], ["1396867869"], []])
def test_a_word_for_nothing_is_a_missing_time_in_text_as_in_numbers(word: str, others: list[str]) -> None:
    times = Clock().read(pl.Series([word, *others]))
    assert times.missing.tolist() == [True, *(False for _ in others)]
    assert not (times.unparsable | times.out_of_range).any()


@pytest.mark.parametrize(
    "value", [0, -5, 5, CALENDAR_END, 50_000_000_000, 99_999_999_999_999_999, 4_100_000_000_000_000_000, -(2**63)]
)
def test_numbers_of_no_calendar_unit_are_out_of_range(value: int) -> None:
    times = Clock().read(pl.Series([value, SECONDS, SECONDS]))
    assert times.out_of_range.tolist() == [True, False, False]
    assert times.micros.tolist() == [0, MICROS, MICROS]


# Without numbers that are dates as 2411271530 as well: a short log of these is refused.
NO_DATES = st.integers(CREDIBLE_START, CALENDAR_END - 1).filter(lambda second: not 0 < second // 1_000_000 % 100 <= 12)


@given(st.lists(st.tuples(NO_DATES, st.sampled_from(list(FACTORS))), min_size=1))
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


def test_shares_of_units_are_reported() -> None:
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
    with pytest.raises(ConfigError, match="unknown time unit 'week'; known: s, ms, us, ns, min, h, d, excel, date"):
        Clock("week")


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


# 2024-01-31T15:30:00Z
HALF_PAST = 1_706_715_000_000_000
DAY = HALF_PAST - (15 * 3600 + 30 * 60) * 1_000_000


@pytest.mark.parametrize(
    ("number", "micros"),
    [
        (20240131, DAY),
        (2024013115, HALF_PAST - 30 * 60 * 1_000_000),
        (202401311530, HALF_PAST),
        (20240131153007, HALF_PAST + 7_000_000),
        (20240131153007250, HALF_PAST + 7_250_000),
    ],
)
@pytest.mark.parametrize("unit", [None, "date"])
def test_dates_without_punctuation_are_dates(number: int, micros: int, unit: str | None) -> None:
    as_float = float(number) if number < 2**53 else number
    for column in (
        pl.Series([number, None]),
        pl.Series([as_float, None]),
        pl.Series([str(number), " "]),
        pl.Series([str(number), ""], dtype=pl.Categorical),
    ):
        clock = Clock(unit)
        times = clock.read(column)
        assert times.micros.tolist() == [micros, 0]
        assert times.missing.tolist() == [False, True]
        assert clock.detected == "dates such as 20240131"


def test_a_log_of_compact_dates_rejects_what_is_no_date() -> None:
    clock = Clock()
    assert clock.read(pl.Series([20240131] * 50 + [20240230, SECONDS])).out_of_range.sum() == 2
    assert clock.read(pl.Series([20240229, 5])).out_of_range.tolist() == [False, True]


def test_compact_dates_and_dates_with_dashes_go_together() -> None:
    assert micros_of(["2024-01-31", "20240131"]) == [DAY, DAY]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["0829", "1111", "0601"], "months and days without a year; write whole dates"),
        ([829, 830], "months and days without a year"),
        ([2023, 2024.5], "look like years"),
        ([45322.5, 45323], "numbers of days; name the time unit d .* or excel"),
        ([19753, 19754], "numbers of days; .* or name the time unit s if they are a counter"),
        ([474087, 474088], "hours since 1970"),
        (["240131", "240201"], "dates of six digits"),
        ([28445250, 28445251], "minutes since 1970"),
        ([31012024, 1022024 + 10**7], "dates as 29082024"),
        ([2460341, 2460342.5], "Julian days"),
        ([638_423_118_000_000_000], "clicks before 1995"),  # .NET ticks
        ([133_511_886_000_000_000], "clicks before 1995"),  # Windows file times
        ([728_400_600.0], "clicks before 1995"),  # seconds since 2001
    ],
)
def test_numbers_whose_unit_is_unclear_are_refused(values: list[object], message: str) -> None:
    for column in (pl.Series(values, strict=False), pl.Series(list(map(str, values)))):
        with pytest.raises(DataError, match=message):
            Clock().read(column)
        with pytest.raises(DataError, match=message):
            Clock().read(pl.concat([column] * 50 + [pl.Series([0]).cast(column.dtype)]))


@pytest.mark.parametrize(
    ("unit", "value", "micros"),
    [
        ("min", 28_445_250, HALF_PAST),
        ("h", 474_087.5, HALF_PAST),
        ("d", 19_753, DAY),
        ("d", 19_753.5, DAY + 43_200_000_000),
        ("excel", 45_322, DAY),
        ("excel", 45_322.25, DAY + 21_600_000_000),
    ],
)
def test_days_hours_and_minutes_are_read_when_the_unit_is_named(unit: str, value: float, micros: int) -> None:
    assert micros_of([value], unit) == micros_of([str(value)], unit) == [micros]


@pytest.mark.parametrize("values", [[0, 1, 2], [1, 1, 1], [100, 101, 102], [3, 86_400, 250_000], [0, 5, 20_240_131]])
def test_a_counter_is_read_and_named_as_one(values: list[int]) -> None:
    clock = Clock()
    assert clock.read(pl.Series(values)).micros.tolist() == [value * 1_000_000 for value in values]
    assert clock.detected == "seconds of a relative counter"


def test_a_named_unit_is_never_doubted() -> None:
    assert micros_of([829, 2024, 45322, 20240131], "s") == [829_000_000, 2_024_000_000, 45322 * 10**6, 20240131 * 10**6]


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000])
def test_numbers_taken_for_nanoseconds_are_refused(scale: int) -> None:
    moments = pl.Series([SECONDS * scale, SECONDS * scale + 1]).cast(pl.Datetime("ns"))
    with pytest.raises(DataError, match=r"timestamps begin at 1970-.* were taken for nanoseconds"):
        Clock().read(moments)
    assert Clock().read(pl.Series([1_000_000, 2_000_000]).cast(pl.Datetime("us"))).micros.tolist() == [10**6, 2 * 10**6]


@pytest.mark.parametrize("stand_in", [0, -1, 99991231])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_values_that_stand_for_no_time_hide_no_unit(stand_in: int, share: float):
    times = [20240101 + day for day in range(20)]
    rows = pl.Series([*times, *[stand_in] * int(share / (1 - share) * len(times))])
    read = Clock().read(rows)
    assert read.micros[0] == 1_704_067_200_000_000
    assert not (read.missing | read.unparsable | read.out_of_range)[: len(times)].any()
    assert (read.unparsable | read.out_of_range)[len(times) :].all()


@pytest.mark.parametrize("number", [45322, 2024, 829, 28_400_000, 1312024, 31012024])
def test_doubtful_times_are_refused_among_values_that_stand_for_no_time(number: int):
    with pytest.raises(DataError, match="look like"):
        Clock().read(pl.Series([number] * 9 + [0]))


def test_dates_without_century_and_seconds_are_not_taken_for_seconds():
    with pytest.raises(DataError, match="look like dates as 2411271530; write whole dates"):
        micros_of([2411271530, 2411271531, 2412010000])
    assert micros_of([1700000000, 1700000060]) == [1_700_000_000_000_000, 1_700_000_060_000_000]


def test_calendar_times_after_many_zeros_are_not_read_as_a_counter():
    read = Clock().read(pl.Series([0] * 8 + [SECONDS, SECONDS + 1]))
    assert read.out_of_range.tolist() == [True] * 8 + [False] * 2
    assert not Clock().read(pl.Series([0] * 8 + [1, 2])).out_of_range.any()

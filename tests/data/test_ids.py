"""Ids come back by one rule: integers as integers, text as text, the same from every kind of column."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.events import read_events
from nearnext.data.ids import NOTHING, IdColumn, canonical_integers, series_of, tidy, tidy_text
from nearnext.errors import DataError

EMPTY = ["", " ", "\u2003", "\u3000\u00a0"]


def test_only_integers_as_they_print_are_canonical() -> None:
    text = pl.Series(
        ["0", "-5", "123", "007", "+1", "1.0", "-0", " 1", "1e3", "9223372036854775807", "9223372036854775808", "٣"]
    )
    expected = [0, -5, 123, None, None, None, None, None, None, 9223372036854775807, None, None]
    assert canonical_integers(text).to_list() == expected


def read(values: pl.Series, *, untyped: bool = True) -> tuple[list[object], dict[str, int]]:
    """Ids of one chunk that are used, and how many rows lack one, by reason."""
    column = IdColumn("item")
    ids, faults = column.read(values, untyped=untyped)
    missing = np.logical_or.reduce([np.zeros(len(ids), np.bool_), *(mask for _, mask in faults)])
    used = column.settle(ids.filter(pl.Series(~missing)), untyped=untyped)
    return used.to_list(), {reason: int(mask.sum()) for reason, mask in faults if mask.any()}


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_every_int64_survives_as_an_integer(value: int) -> None:
    assert read(pl.Series([str(value)])) == ([value], {})


@given(st.lists(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), min_size=1))
def test_text_ids_survive_but_for_what_the_rule_says(values: list[str]) -> None:
    used, _ = read(pl.Series(["x", *values]), untyped=False)
    assert used == ["x", *(tidy_text(value) for value in values if tidy_text(value) not in ("", *NOTHING))]


@given(st.text(alphabet=st.sampled_from(" \t\n\u00a0\ufeff\u2003\u3000\u3042.0123-+xé"), max_size=8))
def test_one_id_and_a_column_of_ids_are_tidied_alike(value: str) -> None:
    assert tidy(pl.Series([value]))[0].to_list() == [tidy_text(value)]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (" a", "a"),
        ("a\u00a0", "a"),
        ("\u2003a\u3000", "a"),
        ("\u2028\x85a\u200b", "a"),
        ("a\u2003b", "a\u2003b"),
        ("\u3042", "\u3042"),
        ("\ufeffs9", "s9"),
        ("9\ufeff", "9"),
        ("a b", "a b"),
        ("123.0", "123"),
        ("-5.0", "-5"),
        ("0.0", "0"),
        ("-0.0", "-0.0"),
        ("007.0", "007.0"),
        ("123.00", "123.00"),
        ("123.5", "123.5"),
        ("1234567890123456.0", "1234567890123456.0"),
        ("007", "007"),
        ("+7", "+7"),
        ("1e3", "1e3"),
        ("99999999999999999999", "99999999999999999999"),
        ("caf\u00e9", "caf\u00e9"),
        ("cafe\u0301", "cafe\u0301"),
    ],
)
@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_each_spelling_of_an_id_is_read_by_the_rule(written: str, stored: str, dtype: pl.DataType) -> None:
    assert read(pl.Series(["x", written], dtype=dtype), untyped=False) == (["x", stored], {})


@pytest.mark.parametrize(
    "dtype", [pl.String, pl.Categorical, pl.Enum(["a", "", " ", "\u2003", "\u3000\u00a0", *NOTHING, "\tNA "])]
)
@pytest.mark.parametrize("untyped", [True, False])
def test_each_spelling_of_nothing_is_a_missing_id_in_every_column_of_text(dtype: pl.DataType, untyped: bool) -> None:
    values = ["a", None, *EMPTY, *NOTHING, "\tNA "]
    expected = {"missing item id": 5} | {f"missing item id ({word})": 1 + (word == "NA") for word in NOTHING}
    assert read(pl.Series(values, dtype=dtype), untyped=untyped) == (["a"], expected)


def test_a_spelling_of_nothing_does_not_make_integers_text() -> None:
    assert read(pl.Series(["12", "NULL", "3.0", " 4"])) == ([12, 3, 4], {"missing item id (NULL)": 1})


def test_changed_ids_are_counted() -> None:
    column = IdColumn("item")
    column.read(pl.Series([" a", "b ", "7.0", "c"]), untyped=True)
    assert column.changed == {"blanks around ids dropped": 2, "ids written as 123.0 read as 123": 1}


def test_a_later_text_id_makes_all_ids_text() -> None:
    column = IdColumn("item")
    chunks = [pl.Series(values) for values in (["12", "-3"], ["12", "007"], ["5"])]
    first, second, third = (column.settle(column.read(raw, untyped=True)[0], untyped=True) for raw in chunks)
    assert first.to_list() == [12, -3]
    assert first.cast(pl.String).to_list() == ["12", "-3"]
    assert (second.to_list(), third.to_list()) == (["12", "007"], ["5"])


def test_text_of_a_typed_source_stays_text() -> None:
    assert read(pl.Series(["12", "3"]), untyped=False) == (["12", "3"], {})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (pl.Series([1, 2], dtype=pl.UInt8), [1, 2]),
        (pl.Series([2**63, 1], dtype=pl.UInt64), ["9223372036854775808", "1"]),
        (pl.Series([1.0, -2.0]), [1, -2]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
        (pl.Series(["12", "7"]).cast(pl.Decimal(20, 0)), [12, 7]),
    ],
)
def test_ids_of_every_usual_type_are_read(raw: pl.Series, expected: list[int | str]) -> None:
    assert read(raw, untyped=False) == (expected, {})


@pytest.mark.parametrize("raw", [pl.Series([1.5]), pl.Series([2.0**53]), pl.Series([True]), pl.Series([[1]])])
def test_values_that_are_no_ids_are_refused(raw: pl.Series) -> None:
    with pytest.raises(DataError, match="item ids"):
        IdColumn("item").read(raw, untyped=False)


def test_null_and_nan_are_missing() -> None:
    assert read(pl.Series([1.0, None, float("nan")]), untyped=False) == ([1], {"missing item id": 2})


def test_mixed_python_values_become_text_and_foreign_ones_are_reported() -> None:
    series, foreign = series_of([7, "007", None, 2.0, True, 1.5, [1], float("nan"), np.int64(4)])
    assert series.to_list() == ["7", "007", None, "2", "True", "1.5", "[1]", None, "4"]
    assert foreign.tolist() == [False, False, False, False, True, True, True, False, False]


def test_integers_beyond_64_bits_become_text() -> None:
    assert series_of([1, 2**63])[0].to_list() == ["1", "9223372036854775808"]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series(["5", " 5", "5.0", None, "", "NULL", "x"]),
        pl.Series(["5", "5", "5", None, None, None, "x"], dtype=pl.Categorical()),
        pl.Series([5, 5, 5, None, None, None, 6]),
        pl.Series([5.0, 5.0, 5.0, None, math.nan, None, 6.0]),
        pl.Series([5, 5, 5, None, None, None, 2**64 - 1], dtype=pl.UInt64),
    ],
)
@pytest.mark.parametrize("other", [5, "5", 5.0])
def test_a_user_has_one_number_in_every_column_type(tmp_path: Path, column: pl.Series, other: float | str) -> None:
    for name, users in {"a": column, "b": pl.Series([other, None])}.items():
        frame = pl.DataFrame({"user": users}).with_columns(session=pl.lit(1), item=pl.lit(2), time=pl.lit(3))
        frame.write_parquet(tmp_path / f"{name}.parquet")
    codes = read_events(tmp_path).users
    assert codes is not None
    five, missing, last = set(codes[:3]), set(codes[3:6]), codes[6]
    assert len(five) == 1
    assert missing == {0}
    assert last not in five | missing
    assert codes[7:].to_list() == [*five, 0]

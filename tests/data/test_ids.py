"""Ids come back as they were: integers as integers, text as text."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.ids import IdColumn, canonical_integers, missing_ids, series_of
from nearnext.errors import DataError


def test_only_integers_as_they_print_are_canonical() -> None:
    text = pl.Series(
        ["0", "-5", "123", "007", "+1", "1.0", "-0", " 1", "1e3", "9223372036854775807", "9223372036854775808", "٣"]
    )
    expected = [0, -5, 123, None, None, None, None, None, None, 9223372036854775807, None, None]
    assert canonical_integers(text).to_list() == expected


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_every_int64_survives_as_an_integer(value: int) -> None:
    assert IdColumn("item").read(pl.Series([str(value)]), untyped=True).to_list() == [value]


@given(st.lists(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), min_size=1))
def test_text_ids_survive_whatever_they_are(values: list[str]) -> None:
    ids = IdColumn("item").read(pl.Series(values), untyped=True)
    assert [str(value) for value in ids.to_list()] == values


def test_a_later_text_id_makes_all_ids_text() -> None:
    column = IdColumn("item")
    first = column.read(pl.Series(["12", "-3"]), untyped=True)
    second = column.read(pl.Series(["12", "007"]), untyped=True)
    third = column.read(pl.Series(["5"]), untyped=True)
    assert first.to_list() == [12, -3]
    assert first.cast(pl.String).to_list() == ["12", "-3"]
    assert (second.to_list(), third.to_list()) == (["12", "007"], ["5"])


def test_text_of_a_typed_source_stays_text() -> None:
    assert IdColumn("item").read(pl.Series(["12", "3"]), untyped=False).to_list() == ["12", "3"]


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
    assert IdColumn("item").read(raw, untyped=False).to_list() == expected


@pytest.mark.parametrize("raw", [pl.Series([1.5]), pl.Series([2.0**53]), pl.Series([True]), pl.Series([[1]])])
def test_values_that_are_no_ids_are_refused(raw: pl.Series) -> None:
    with pytest.raises(DataError, match="item ids"):
        IdColumn("item").read(raw, untyped=False)


def test_null_nan_and_empty_text_are_missing() -> None:
    assert missing_ids(pl.Series([1.0, None, float("nan")])).tolist() == [False, True, True]
    assert missing_ids(pl.Series([" ", "", None])).tolist() == [False, True, True]


def test_mixed_python_values_become_text_and_foreign_ones_are_told() -> None:
    series, foreign = series_of([7, "007", None, 2.0, True, 1.5, [1], float("nan"), np.int64(4)])
    assert series.to_list() == ["7", "007", None, "2", "True", "1.5", "[1]", None, "4"]
    assert foreign.tolist() == [False, False, False, False, True, True, True, False, False]


def test_integers_beyond_64_bits_become_text() -> None:
    assert series_of([1, 2**63])[0].to_list() == ["1", "9223372036854775808"]

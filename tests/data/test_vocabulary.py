"""Ids of a query find the items of a log by one rule, whatever holds them and whichever type either side has."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_parts
from nearnext.data.vocabulary import Vocabulary
from nearnext.types import RawId

SPELLINGS = ["7", "007", "+7", " 7", "7 ", "7.0", "-7", "7e0", "٧", "", "NULL", "99999999999999999999", "9"]


def indices(vocabulary: Vocabulary, value: RawId) -> set[int]:
    """The item that a value finds in a list and in a column of each type that can hold it."""
    columns = [pl.Series([value])]
    if isinstance(value, str):
        columns += [columns[0].cast(pl.Categorical), columns[0].cast(pl.Enum([value]))]
    else:
        columns += [columns[0].cast(pl.Int8), columns[0].cast(pl.UInt64), columns[0].cast(pl.Float64)]
    return {vocabulary.encode([value]).item(), *(vocabulary.encode(column).item() for column in columns)}


@pytest.mark.parametrize("ids", [[7, 9], ["7", "9"], ["7", "007"], ["a", "7"]])
@pytest.mark.parametrize("value", SPELLINGS)
def test_lists_and_columns_find_the_same_item(ids: list[RawId], value: str) -> None:
    vocabulary = Vocabulary.of(ids)
    same = {"7", " 7", "7 ", "7.0"}
    wanted = next((place for place, known in enumerate(ids, 1) if str(known) == ("7" if value in same else value)), 0)
    assert indices(vocabulary, value) == {wanted}


@pytest.mark.parametrize("ids", [[7, 9], ["7", "9"], ["9", "007"]])
def test_integers_find_the_text_that_spells_them_only(ids: list[RawId]) -> None:
    assert indices(Vocabulary.of(ids), 7) == {1 if str(ids[0]) == "7" else 0}


@given(st.lists(st.text(max_size=4), unique=True, min_size=1))
def test_every_id_of_a_vocabulary_is_found_as_it_is(ids: list[str]) -> None:
    vocabulary = Vocabulary.of(ids)
    expected = list(range(1, len(ids) + 1))
    assert vocabulary.encode(ids).tolist() == vocabulary.encode(pl.Series(ids)).tolist() == expected


def test_fractions_and_missing_values_of_a_column_are_unknown() -> None:
    column = pl.Series([7.0, 7.5, None, float("nan")])
    for ids in ([7], ["7"]):
        assert Vocabulary.of(ids).encode(column).tolist() == [1, 0, 0, 0]


def log(folder: Path, name: str, sessions: list[object], items: list[object], first: int) -> Sessions:
    frame = pl.DataFrame({"session_id": map(str, sessions), "item_id": map(str, items)})
    frame.with_columns(timestamp=pl.int_range(first, first + frame.height)).write_csv(folder / name)
    return read_sessions(folder / name)


@pytest.mark.parametrize("kind", ["items", "sessions", "both"])
@pytest.mark.parametrize("swapped", [False, True])
def test_logs_whose_ids_have_different_types_join_as_text(tmp_path: Path, kind: str, swapped: bool) -> None:
    integers = log(tmp_path, "a.csv", [1, 1, 2, 2], [100, 101, 100, 101], 1_700_000_000)
    sessions = ["w", "w", "w"] if kind != "items" else [3, 3, 3]
    items = [100, "A17", 101] if kind != "sessions" else [100, 102, 101]
    text = log(tmp_path, "b.csv", list(sessions), list(items), 1_700_100_000)
    first, second = (text, integers) if swapped else (integers, text)
    joined = first.followed_by(second)
    raw = [[str(item) for item in joined.raw(session)] for session in range(joined.n_sessions)]
    expected = [
        [str(item) for item in part.raw(session)] for part in (first, second) for session in range(part.n_sessions)
    ]
    assert raw == expected
    assert joined.n_items == 3
    assert joined.session_ids.dtype == (pl.Int64 if kind == "items" else pl.String)
    split = split_parts(first, second)
    assert split.unknown_clicks == (0 if swapped else 1)


def test_other_products_with_zeros_before_their_number_stay_others(tmp_path: Path) -> None:
    train = log(tmp_path, "a.csv", [1, 1], [7, 9], 1_700_000_000)
    test = log(tmp_path, "b.csv", [2, 2, 2], ["007", "+9", "7"], 1_700_100_000)
    assert split_parts(train, test).unknown_clicks == 2
    assert train.followed_by(test).vocabulary.ids.to_list() == ["7", "9", "007", "+9"]

"""Conditions on items: what matches, what is unknown, and where a condition is wrong."""

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.conditions import DEEPEST, LONGEST, matching_rows
from nearnext.data.item_columns import ItemColumns
from nearnext.data.items import read_items
from nearnext.errors import ConfigError

TABLE = read_items(
    pl.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "title": ["It's a tent", "Lamp", None, "Stove"],
            "category": ["tent|sale", "lamp", "", "1089"],
            "brand": ["acme", "acme", "other", None],
            "price": ["89.90", None, "9", "20"],
            "available": ["true", "True", "false", None],
            "until": ["2030-01-01", "2020-01-01", None, None],
            "net weight": [1.0, 2.0, 3.0, None],
        }
    ),
    {"until": "until"},
)
COLUMNS = ItemColumns.of(TABLE.frame)
NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def matching(condition: str) -> str:
    """Ids of the items that match."""
    return "".join(TABLE.frame["item_id"].filter(pl.Series(matching_rows(COLUMNS, condition, NOW))))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("price < 50", "cd"),
        ("price = 20 or price >= 89.9", "ad"),
        ("not price < 50", "a"),
        ("not (price < 50 or price > 50)", ""),
        ("price < 50 or category = 'lamp'", "bcd"),
        ("category = 'tent'", "a"),
        ("category = 'sale' and category = 'tent'", "a"),
        ("category != 'tent'", "bd"),
        ("not category = 'tent'", "bd"),
        ("category != 'tent' or brand = 'other'", "bcd"),
        ("category not in ('sale', 'lamp')", "d"),
        ("brand != 'acme'", "c"),
        ("category = 1089", "d"),
        ("category in ('lamp', 'sale')", "ab"),
        ("brand = 'acme'", "ab"),
        ("brand not in ('acme', \"none\")", "c"),
        ("title = 'It''s a tent'", "a"),
        ('title = "Lamp" OR title != "Lamp"', "abd"),
        ("available", "a"),
        ("available = true", "a"),
        ("available = false", "bc"),
        ("available < 1", "c"),
        ("not available", "bc"),
        ("`net weight` >= 2.", "bc"),
        ("`net weight` in (1, 3e0, -7)", "ac"),
        ("available_until > '2026-06-01'", "a"),
        ("available_until <= 1577836800", "b"),
    ],
)
def test_what_matches(condition: str, expected: str) -> None:
    assert matching(condition) == expected


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("", "expected a column at character 1, found the end"),
        ("price <", "expected a value at character 8, found the end"),
        ("colour = 1", "expected a column at character 1, found 'colour'; known: title, available_until, price, "),
        ("price < 'a'", "expected a number for price at character 9"),
        ("category < 'a'", "expected =, != or in for category, which is text, at character 10, found '<'"),
        ("title", "expected a comparison after title at character 6"),
        ("(price < 5", "expected ')' at character 11, found the end"),
        ("price < 5)", "expected 'and', 'or' or the end at character 10"),
        ("price = tent", "expected a value at character 9, found 'tent'; write a text as 'tent'"),
        ("title = 'a", "expected a closing quote at character 9"),
        ("price # 5", "expected a column, a value or a sign at character 7"),
        ("price == 5", "expected a value at character 8, found '='; write one sign"),
        ("available_until > 2030", "expected a time such as '2030-01-31' for available_until at character 19"),
        ("price in ()", "expected a value at character 11"),
        ("price not 5", "expected 'in' at character 11"),
        ("available_until > 'soon'", "expected a time such as '2030-01-31' for available_until at character 19"),
        ("item_id = 'a'", "expected a column at character 1"),
        ("not " * (DEEPEST + 1) + "price", f"expected at most {DEEPEST} brackets and negations within each other"),
        (" " * (LONGEST + 1), "expected a condition of at most 1,000 characters, found 1,001"),
    ],
)
def test_an_error_says_where_and_what_was_expected(condition: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        matching_rows(COLUMNS, condition)
    assert reason in str(caught.value)


def test_availability_by_dates_alone_can_be_compared() -> None:
    dated = ItemColumns.of(TABLE.frame.drop("available"))
    for condition, expected in (("available = true", "acd"), ("available != true", "b"), ("available in (1)", "acd")):
        assert "".join(TABLE.frame["item_id"].filter(pl.Series(matching_rows(dated, condition, NOW)))) == expected


def test_brackets_may_be_as_deep_as_is_said() -> None:
    assert matching("(" * DEEPEST + "price < 50" + ")" * DEEPEST) == "cd"


@pytest.mark.parametrize("more", [{}, {"brand": ["b=2", None, "size=1"]}])
def test_a_category_with_an_equals_sign_is_a_category(more: dict[str, list[str | None]]) -> None:
    frame = pl.DataFrame({"id": ["a", "b", "c"], "category": ["size=1", "category=x|=", "plain"], **more})
    columns = ItemColumns.of(read_items(frame).frame)
    assert columns.names == ["category", *more]
    for condition, expected in {
        "category = 'size=1'": "a",
        "category in ('category=x')": "b",
        "category = '='": "b",
        "category != 'plain'": "ab",
        "category not in ('size=1')": "bc",
        **({"brand = 'b=2'": "a", "brand = 'size=1'": "c"} if more else {}),
    }.items():
        assert "".join(frame["id"].filter(pl.Series(matching_rows(columns, condition)))) == expected
    assert np.diff(columns.groups("category").starts).tolist() == [1, 2, 1]


def test_groups_keep_category_columns_apart() -> None:
    category, brand, price = (COLUMNS.groups(name) for name in ("category", "brand", "price"))
    assert np.diff(category.starts).tolist() == [2, 1, 0, 1]
    assert np.diff(brand.starts).tolist() == [1, 1, 1, 0]
    assert brand.codes[0] == brand.codes[1] != brand.codes[2]
    assert np.diff(price.starts).tolist() == [1, 0, 1, 1]
    with pytest.raises(ConfigError, match="at most: expected a column, found 'colour'; known: title"):
        COLUMNS.groups("colour")


WORDS = st.sampled_from(
    ["price", "category", "(", ")", "not", "and", "or", "in", "=", "<", ",", "'tent'", "5", "`", "é"]
)


@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=40))
def test_any_text_is_evaluated_or_refused(text: str) -> None:
    with suppress(ConfigError):
        assert matching_rows(COLUMNS, text).shape == (4,)


NUMBERS = st.sampled_from([None, 1.0, 2.0, 3.0])
LEAVES = st.sampled_from(["x < 2", "x = 2", "x != 3", "y >= 2", "y in (1, 3)", "y"])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) and ({two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) or ({two[1]})"),
    ),
    max_leaves=6,
)


@given(TREES, st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8))
def test_conditions_follow_the_logic_of_unknown_values(
    condition: str, values: list[tuple[float | None, float | None]]
) -> None:
    """The independent evaluation: SQLite has the same three-valued logic."""
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE item (number INTEGER, x REAL, y REAL)")
        database.executemany("INSERT INTO item VALUES (?, ?, ?)", [(at, x, y) for at, (x, y) in enumerate(values)])
        found = {row[0] for row in database.execute(f"SELECT number FROM item WHERE {condition}")}
    database.close()
    frame = pl.DataFrame(values, schema={"x": pl.Float64, "y": pl.Float64}, orient="row")
    assert set(np.flatnonzero(matching_rows(ItemColumns.of(frame), condition)).tolist()) == found

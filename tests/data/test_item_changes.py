"""Attributes of single items, given by name, as rows of an item table."""

from typing import Any

import polars as pl
import pytest

from nearnext.data.item_columns import ItemColumns
from nearnext.data.item_values import changed_rows, require_attributes
from nearnext.data.items import read_items
from nearnext.errors import ConfigError

TABLE = read_items(
    pl.DataFrame(
        {
            "id": [1, 2],
            "title": ["Tent", "Lamp"],
            "category": ["tent|sale", ""],
            "brand": ["acme", "other"],
            "price": [89.9, None],
            "available_until": ["2030-01-01", None],
            "vector": [[1.0, 2.0], [0.5, 0.5]],
        }
    )
)
COLUMNS = ItemColumns.of(TABLE.frame)


def changed(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    rows, unreadable = changed_rows(COLUMNS, TABLE.frame, changes)
    assert not unreadable
    assert rows.schema == TABLE.frame.schema
    return rows.to_dicts()


def test_what_is_given_replaces_what_was_known_and_null_makes_it_missing() -> None:
    before = TABLE.frame.to_dicts()
    first, second = changed({"price": "1.299,50 €".replace("1.", "1"), "title": None}, {"category": ["lamp", "new"]})
    assert first == before[0] | {"price": 1299.5, "title": None}
    assert second == before[1] | {"categories": ["brand=other", "lamp", "new"]}


def test_category_columns_are_replaced_one_by_one() -> None:
    first, second = changed({"brand": "b|c"}, {"category": 7, "brand": None})
    assert first["categories"] == ["tent", "sale", "brand=b", "brand=c"]
    assert second["categories"] == ["7"]


def test_times_and_vectors_are_read_as_in_tables() -> None:
    first, second = changed({"available_until": 1_800_000_000}, {"available_until": "2031-02-03", "vector": [3, 4]})
    assert first["available_until"].year == 2027
    assert second["available_until"].isoformat() == "2031-02-03T00:00:00+00:00"
    assert second["vector"] == [3.0, 4.0]
    assert first["vector"] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("title", [1, 2.5, True, "x", None]),
        ("price", [1, "12,50", [2], 2**70, True]),
        ("available_until", [20300131, 1_900_000_000, "2031-02-03", "20300131", 1_900_000_000_000, None]),
        ("vector", [[1, 2], [1, 2, 3], [1, 2, 3], ["a", "b"], "x", None]),
        ("category", ["a|b", ["c", None], [True], 7, 7.5, {"a": 1}, [["d"]], [{"e": 1}], None]),
    ],
)
def test_no_value_is_read_by_others(name: str, values: list[Any]) -> None:
    column = "categories" if name == "category" else name
    alone = [changed_rows(COLUMNS, TABLE.frame.clear(1), [{name: value}])[0][column].to_list()[0] for value in values]
    together, _ = changed_rows(COLUMNS, TABLE.frame.clear(len(values)), [{name: value} for value in values])
    assert together[column].to_list() == alone
    assert any(alone)


def test_lists_of_objects_are_no_categories() -> None:
    with pytest.raises(ConfigError, match="expected categories as category"):
        require_attributes(COLUMNS, {"category": [{"a": 1}]})


def test_unknown_names_are_ignored_and_unreadable_values_missing_and_named() -> None:
    rows, unreadable = changed_rows(COLUMNS, TABLE.frame, [{"colour": 1, "price": "cheap"}, {"title": "Stove"}])
    assert unreadable == ["price"]
    assert rows["price"].to_list() == [None, None]
    assert rows["title"].to_list() == ["Tent", "Stove"]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"colour": "red"}, "expected attributes of the item table, found 'colour'; known: title, available_until, "),
        ({"item_id": 3}, "found 'item_id'"),
        ({"price": "cheap"}, "expected a number as price, found 'cheap'"),
        ({"price": [1, 2]}, r"expected a number as price, found '\[1, 2\]'"),
        ({"title": {"en": "Tent"}}, "expected a text as title"),
        ({"available_until": "soon"}, "expected a time as available_until, found 'soon'"),
        ({"category": {"a": 1}}, "expected categories as category"),
        ({"vector": [1.0]}, "expected numbers, as many as other items have as vector"),
        ({"vector": []}, "expected numbers, as many as other items have as vector"),
        ({"vector": "x"}, "expected numbers, as many as other items have as vector"),
    ],
)
def test_attributes_that_the_table_cannot_hold_are_refused(attributes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        require_attributes(COLUMNS, attributes)


def test_attributes_that_the_table_can_hold_are_accepted() -> None:
    require_attributes(COLUMNS, {"title": "Tent", "category": ["a"], "brand": "x", "price": None, "vector": [1, 2.5]})

"""Item tables: columns found by name or mapped, messy values counted, known layouts, the synthetic shop's own."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nearnext.data.items import read_items
from nearnext.data.shop_items import product_lines, synthetic_items, write_items
from nearnext.data.synthetic import Catalogue, SyntheticShop, generate
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError

MESSY = """id,name,category,price,weight,note
1,"Tent, blue",tents|outdoor,"1,299.00",3,soft
2,7" tablet,tablets,abc,,flat
3,Stove
,Lamp,lamps,1,1,k
NULL,Lamp,lamps,1,1,k
4,"open,lamps,1,1,k
5,Old kettle,kettles,7,2,k
5,Kettle,kettles,"8,50",2,k
"""


def test_messy_values_are_missing_or_rejected_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(MESSY)
    table = read_items(path)
    assert table.frame.rows() == [
        (1, "Tent, blue", ["tents", "outdoor"], 1299.0, 3.0),
        (2, '7" tablet', ["tablets"], None, None),
        (5, "Kettle", ["kettles"], 8.5, 2.0),
    ]
    assert table.report is not None
    assert table.report.rows == 8
    assert table.report.rejected == {
        "missing item id": 1,
        "missing item id (NULL)": 1,
        "wrong column count": 1,
        "quote never closed": 1,
    }
    assert (table.report.twice, table.report.unreadable, table.report.unused) == (1, {"price": 1}, ["note"])
    summary = table.summary()
    assert "\n" not in summary
    assert "3 items with title, categories, price, weight" in summary
    assert "unreadable, so missing: price 1" in summary


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "csv.gz"])
def test_every_format_gives_the_same_table(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"items.{kind}"
    frame = pl.DataFrame(
        {"sku": ["007", "8"], "title": ["Tent", "Stove"], "categories": ["a|b", ""], "price": [1.5, 2]}
    )
    lists = frame.with_columns(pl.Series("categories", [["a", "b"], []]))
    if kind == "parquet":
        lists.write_parquet(path)
    elif kind == "jsonl":
        lists.write_ndjson(path)
    else:
        text = frame.write_csv(separator="\t" if kind == "tsv" else ",").encode()
        path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
    assert read_items(path).frame.rows() == [("007", "Tent", ["a", "b"], 1.5), ("8", "Stove", [], 2.0)]


def test_frames_of_every_library_give_the_same_table() -> None:
    frame = pl.DataFrame(
        {"item_id": [1, 2], "title": ["a", None], "categories": [["x"], ["y", "z"]], "v": [[0.5], [1.0]]}
    )
    expected = [(1, "a", ["x"], [0.5]), (2, None, ["y", "z"], [1.0])]
    arrow = pa.table({"item_id": [1, 2], "title": ["a", None], "categories": [["x"], ["y", "z"]], "v": [[0.5], [1.0]]})
    pandas = pd.DataFrame(
        {"item_id": [1.0, 2.0], "title": ["a", None], "categories": [["x"], ["y", "z"]], "v": [[0.5], [1.0]]}
    )
    indexed = pandas.set_index("item_id")
    for source in (frame, frame.lazy(), arrow, arrow.to_batches()[0], arrow.to_reader(), pandas, indexed):
        assert read_items(source).frame.rows() == expected


def test_a_column_given_twice_is_named() -> None:
    twice = pd.DataFrame([[1, "x", "y"]], columns=["id", "title", "title"])
    with pytest.raises(DataError, match="'title' 2 times"):
        read_items(twice)


def test_json_lines_may_mix_types(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(
        '{"id": 7, "categories": ["a"], "price": "3"}\nno json\n{"id": "x", "categories": "b", "price": 4}\n'
    )
    table = read_items(path)
    assert table.frame.rows() == [("7", ["a"], 3.0), ("x", ["b"], 4.0)]
    assert table.report is not None
    assert table.report.rejected == {"malformed JSON": 1}


def test_columns_are_mapped_and_categories_of_several_columns_kept_apart() -> None:
    frame = pl.DataFrame({"key": ["a"], "what": ["Tent"], "kind": ["x"], "maker": ["x"], "since": ["2024-05-01"]})
    columns = {"item": "key", "title": "what", "category": ["kind", "maker"], "from": "since"}
    row = read_items(frame, columns).frame.row(0, named=True)
    assert row == {
        "item_id": "a",
        "title": "Tent",
        "categories": ["x", "maker=x"],
        "available_from": datetime(2024, 5, 1, tzinfo=UTC),
    }


def test_unreadable_dates_and_vectors_are_missing() -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 2, 3],
            "available_until": ["2024-05-01", "soon", None],
            "vector": [[1.0, 2.0], [1.0], [float("nan"), 1.0]],
        }
    )
    table = read_items(frame)
    assert table.frame["available_until"].null_count() == 2
    assert table.frame["vector"].to_list() == [[1.0, 2.0], None, None]
    assert table.report is not None
    assert table.report.unreadable == {"available_until": 1, "vector": 2}


OBJECTS = pl.Series([object()], dtype=pl.Object)


@pytest.mark.parametrize(
    ("role", "column", "said"),
    [
        ("title", OBJECTS, "text in the column odd, found Object"),
        ("category", pl.Series([[["a"]]]), r"categories in the column odd, found List\(List\(String\)\)"),
        ("category", OBJECTS, "categories in the column odd, found Object"),
        ("price", pl.Series([1]).cast(pl.Duration("us")), "numbers in the column odd, found Duration"),
        ("number", OBJECTS, "numbers in the column odd, found Object"),
        ("from", pl.Series([2019]), "the column odd: times from 2,019 to 2,019 look like years"),
        ("vector", pl.Series(["[1, 2]"]), "lists of numbers, as in Parquet or JSONL, in the column odd, found String"),
        ("vector", pl.Series([[{"a": 1}]]), "lists of numbers"),
    ],
)
def test_a_column_of_a_type_that_holds_no_such_values_is_refused(role: str, column: pl.Series, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_items(pl.DataFrame({"id": ["a"], "odd": column}), {role: "odd"})


def test_columns_without_a_name_are_not_used(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"]}, index=[7, 3])
    frame.to_csv(tmp_path / "indexed.csv")
    frame.to_parquet(tmp_path / "indexed.parquet")
    (tmp_path / "open.csv").write_text("item_id,title,,\na,A,1,\nb,B,2,\n")
    pd.read_csv(tmp_path / "indexed.csv").to_csv(tmp_path / "again.csv", index=False)
    for name, unused in {
        "indexed.csv": ["column 1"],
        "indexed.parquet": ["__index_level_0__"],
        "open.csv": ["column 3", "column 4"],
        "again.csv": ["Unnamed: 0"],
    }.items():
        table = read_items(tmp_path / name)
        assert (table.frame.columns, table.titles(["b"])) == (["item_id", "title"], ["B"])
        assert table.report is not None
        assert table.report.unused == unused
    assert read_items(tmp_path / "open.csv", {"number": "column 3"}).numbers == ["column 3"]


@pytest.mark.parametrize(
    ("frame", "columns", "names"),
    [
        ({"price": [1], "cost": [2]}, {"price": "cost"}, {"price_": 1, "price": 2}),
        ({"price": [[1.0]], "cost": [2]}, {"price": "cost", "vector": "price"}, {"price": 2, "price_": [1]}),
        ({"title": [[1.0]]}, {"vector": "title"}, {"title_": [1]}),
        ({"item_id_": [1], "item_id": [2], "key": ["a"]}, {"item": "key"}, {"item_id_": 1, "item_id__": 2}),
        ({"category": [1], "kind": ["x"]}, {"category": "kind"}, {"categories": ["x"], "category_": 1}),
    ],
)
def test_columns_of_the_same_name_as_a_role_are_kept_apart(
    frame: dict[str, list[object]], columns: dict[str, str], names: dict[str, object]
) -> None:
    row = read_items(pl.DataFrame({"id": ["a"], **frame}), columns).frame.row(0, named=True)
    assert {name: row.get(name) for name in names} == names


def test_items_that_end_before_they_begin_are_counted() -> None:
    until = ["2020-01-01", "2031-01-01", "2020-01-01"]
    frame = pl.DataFrame(
        {"id": ["a", "b", "c"], "available_from": ["2030-01-01"] * 2 + [None], "available_until": until}
    )
    table = read_items(frame)
    assert table.report is not None
    assert table.report.ended == 1
    assert "never available, as available_until is not after available_from: 1" in table.summary()


def test_retailrocket_properties_give_the_latest_category_with_those_above_it(tmp_path: Path) -> None:
    header = "timestamp,itemid,property,value\n"
    (tmp_path / "item_properties_part1.csv").write_text(
        f"{header}20,7,categoryid,12\n10,7,categoryid,11\n10,8,888,61 62\n"
    )
    (tmp_path / "item_properties_part2.csv").write_text(f"{header}30,8,888,63\n10,8,categoryid,11\n40,8,available,1\n")
    (tmp_path / "category_tree.csv").write_text("categoryid,parentid\n12,2\n2,\n11,2\n")
    table = read_items([str(tmp_path / "item_properties*.csv"), tmp_path / "category_tree.csv"])
    found = {row["item_id"]: row for row in table.frame.iter_rows(named=True)}
    assert found[7]["categories"] == ["12", "2"]
    assert (found[8]["categories"], found[8]["text"]) == (["11", "2"], "63")
    assert table.report is not None
    assert table.report.layout == "Retailrocket item properties"
    assert [found[item]["available"] for item in (7, 8)] == [None, 1]
    with pytest.raises(DataError, match="only a category tree"):
        read_items(tmp_path / "category_tree.csv")


def test_sessions_and_times_of_a_log_are_no_attributes_of_its_items() -> None:
    log = pl.DataFrame(
        {
            "session_id": [1, 2],
            "user": [3, 3],
            "ts": [10, 20],
            "item_id": ["a", "a"],
            "title": ["A", "B"],
            "size": [1, 2],
        }
    )
    table = read_items(log)
    assert table.frame.rows(named=True) == [{"item_id": "a", "title": "B", "size": 2}]
    assert table.summary().endswith("not used: session_id, user, ts")
    assert read_items(log, {"number": "ts"}).numbers == ["ts", "size"]
    assert read_items(log.select("item_id", "title", "ts")).numbers == ["ts"]


def test_diginetica_products_and_their_categories_are_joined(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("itemId;pricelog2;product.name.tokens\n1;10;48,77\n2;11;5\n")
    (tmp_path / "product-categories.csv").write_text("itemId;categoryId\n2;301\n3;302\n")
    table = read_items([tmp_path / "products.csv", tmp_path / "product-categories.csv"])
    assert table.frame.select("item_id", "title", "pricelog2", "categories").rows() == [
        (1, "48 77", 10.0, None),
        (2, "5", 11.0, ["301"]),
        (3, None, None, ["302"]),
    ]


def test_rows_follow_a_vocabulary_and_new_ids_take_its_type() -> None:
    table = read_items(pl.DataFrame({"id": ["1", "2", "x"], "title": ["a", "b", "c"]}))
    known = Vocabulary.of([2, 9])
    assert table.of(known.ids).frame.rows() == [(2, "b"), (9, None)]
    assert table.titles([9, 2]) == [None, "b"]
    assert table.beyond(known).to_list() == [1]  # an item called x cannot be among integers


@pytest.mark.parametrize(
    ("frame", "columns", "message"),
    [
        ({"name": ["a"]}, None, "no item column; found columns name"),
        ({"id": ["a"]}, {"price": "cost"}, "no column 'cost' for price"),
        ({"id": [None]}, None, "no items in frame: missing item id 1"),
    ],
)
def test_what_is_no_item_table_is_refused(
    frame: dict[str, list[object]], columns: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_items(pl.DataFrame(frame), columns)


def test_unknown_roles_and_sources_are_refused(tmp_path: Path) -> None:
    for columns in ("title", ["title"], {"title": 3}, {"item": None}):
        with pytest.raises(ConfigError, match=r"expected the columns of each role|must be a list of texts"):
            read_items(pl.DataFrame({"id": [1]}), columns)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="unknown role 'colour'"):
        read_items(pl.DataFrame({"id": [1]}), {"colour": "c"})
    with pytest.raises(DataError, match="expected a path or a pandas"):
        read_items(7)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="is empty"):
        read_items(tmp_path / "empty.csv")
    (tmp_path / "latin.csv").write_bytes("id,title\n1,Köcher\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"no items in latin\.csv: not valid UTF-8 1; convert it to UTF-8"):
        read_items(tmp_path / "latin.csv")


SHOP = SyntheticShop(sessions=50, items=400, categories=4, successors=8, affinity=1.0, complements=1.0)


def test_successors_of_a_synthetic_item_share_the_line_that_its_own_leads_to() -> None:
    catalogue = Catalogue.of(SHOP)
    lines = product_lines(catalogue.begins, SHOP.seed)
    following = lines[catalogue.successors]
    for line in range(20):
        led_to, counts = pl.Series(following[lines == line].ravel()).value_counts(sort=True)[0].row(0)
        assert led_to != line
        assert counts == (lines == line).sum() * SHOP.successors
    assert all(len(set(row)) == SHOP.successors for row in catalogue.successors.tolist())


def test_titles_and_prices_of_a_synthetic_shop_say_the_line(tmp_path: Path) -> None:
    table = synthetic_items(SHOP)
    lines = product_lines(Catalogue.of(SHOP).begins, SHOP.seed)
    names = table["title"].str.split(" ").list.first()
    assert pl.DataFrame({"line": lines, "name": names}).unique().height == 20 == names.n_unique()
    spread = pl.DataFrame({"line": lines, "price": table["price"].log()}).group_by("line").agg(pl.col("price").std())
    assert spread["price"].to_numpy().max() < 0.2
    for kind in ("csv", "parquet", "jsonl"):
        assert write_items(SHOP, tmp_path / f"items.{kind}") == 400
        assert read_items(tmp_path / f"items.{kind}").frame.rows() == table.rows()
    with pytest.raises(ConfigError, match="rename it"):
        write_items(SHOP, tmp_path / "items.txt")


def test_a_shop_whose_attributes_mean_nothing_is_the_one_it_was() -> None:
    plain, other = (
        SyntheticShop(sessions=50, items=200, categories=2),
        SyntheticShop(sessions=50, items=200, categories=2, complements=0.0),
    )
    assert generate(plain).equals(generate(other))

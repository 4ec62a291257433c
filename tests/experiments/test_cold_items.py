"""The comparison on items without clicks: what is taken, which cases are cold, and figures by brute force."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from nearnext.data.items import ItemTable, read_items
from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.data.shop_items import synthetic_items
from nearnext.data.synthetic import SyntheticShop, generate
from nearnext.errors import ConfigError, DataError
from nearnext.experiments.cold_items import compare_cold
from nearnext.experiments.comparison import Comparison
from nearnext.experiments.plan import SplitPlan
from nearnext.recommenders.content import ContentKNN

SHOP = SyntheticShop(sessions=400, items=150, categories=2, affinity=0.9)


@pytest.fixture(scope="module")
def shop() -> tuple[Sessions, ItemTable]:
    return read_sessions(generate(SHOP)), read_items(synthetic_items(SHOP))


def chosen(**options: object) -> Comparison:
    return Comparison(methods=("pop", "content-knn"), ks=(5, 20), replicates=50, **options)  # type: ignore[arg-type]


def test_figures_are_those_of_lists_on_a_log_without_the_items(shop: tuple[Sessions, ItemTable]) -> None:
    log, table = shop
    result = compare_cold(log, table, comparison=chosen(), share=0.2)
    again = compare_cold(log, table, comparison=chosen(), share=0.2)
    assert result["methods"] == again["methods"]
    rows = {row["name"]: row for row in result["methods"]}
    assert list(rows) == ["category-pop", "content-knn", "pop"]
    assert rows["pop"]["cold"]["HitRate@20"]["value"] == 0  # it knows clicked items alone
    assert 0 < rows["content-knn"]["cold"]["HitRate@20"]["value"] <= 1
    assert rows["content-knn"]["cold"]["HitRate@5"]["value"] <= rows["content-knn"]["cold"]["HitRate@20"]["value"]
    for group in ("cold", "warm"):
        cell = rows["content-knn"][group]["MRR@20"]
        assert cell["low"] <= cell["value"] <= cell["high"]
    # By hand: the same share of items, taken by the same seed, and every list one by one.
    order = np.argsort(log.starts, kind="stable")
    train, test = log.select(order[:360]), log.select(order[360:])
    clicked = train.vocabulary.ids.filter(pl.Series(train.item_counts()[1:] > 0))
    competing = ItemTable(table.frame.filter(pl.col("item_id").is_in(clicked.implode())))
    kept = {item for session in range(train.n_sessions) for item in train.raw(session)}
    taken = result["data"]["taken_items"]
    assert taken == round(0.2 * len(clicked))
    assert result["data"]["train"]["items"] <= len(kept) - taken
    assert len(competing) == len(clicked)
    hits = 0
    cold = 0
    known = set(competing.frame["item_id"].to_list())
    model_items = set(result_items(log, table))
    model = ContentKNN().fit(without(train, model_items), items=competing)
    for session in range(test.n_sessions):
        clicks = test.raw(session)
        for at in range(1, len(clicks)):
            if clicks[at] in known and clicks[at] in model_items:
                cold += 1
                hits += clicks[at] in model.recommend([clicks[:at]], k=20)[0].items
    assert cold == result["protocol"]["cold_cases"]
    assert hits / cold == pytest.approx(rows["content-knn"]["cold"]["HitRate@20"]["value"])


def result_items(log: Sessions, table: ItemTable) -> Sequence[object]:
    """The items that are taken: drawn here by the rule that the comparison states."""
    train = log.select(np.argsort(log.starts, kind="stable")[:360])
    clicked = train.vocabulary.ids.filter(pl.Series(train.item_counts()[1:] > 0))
    among = np.sort(
        train.vocabulary.encode(table.frame["item_id"].filter(table.frame["item_id"].is_in(clicked.implode())))
    )
    drawn = np.random.default_rng([7, 1]).permutation(among)[: round(0.2 * len(among))]
    return train.vocabulary.decode(drawn)


def without(train: Sessions, items: set[object]) -> Sessions:
    raw = [[one for one in train.raw(session) if one not in items] for session in range(train.n_sessions)]
    return Sessions.of([session for session in raw if len(session) > 1])


def test_with_no_share_items_that_only_the_test_part_has_are_cold() -> None:
    log = Sessions.of([["a", "b"], ["b", "a"]] * 10 + [["a", "new"], ["b", "new"]])
    table = read_items(pl.DataFrame({"id": ["a", "b", "new"], "title": ["tent", "lamp", "tent"]}))
    result = compare_cold(log, table, comparison=Comparison(methods=("pop",), ks=(1,), replicates=20), share=0)
    assert (result["protocol"]["cases"], result["protocol"]["cold_cases"]) == (3, 2)


def test_what_cannot_be_compared_is_refused(shop: tuple[Sessions, ItemTable]) -> None:
    log, table = shop
    with pytest.raises(ConfigError, match="one split in time"):
        compare_cold(log, table, comparison=chosen(plan=SplitPlan.parse("windows:2")))
    with pytest.raises(ConfigError, match="cold_items"):
        compare_cold(log, table, comparison=chosen(), share=1.0)
    other = read_items(pl.DataFrame({"id": ["z1"], "title": ["no item of the log"]}))
    with pytest.raises(DataError, match="found none"):
        compare_cold(log, other, comparison=chosen())


def test_a_table_of_ids_alone_is_refused(shop: tuple[Sessions, ItemTable]) -> None:
    log, table = shop
    ids = read_items(table.frame.select("item_id"))
    with pytest.raises(DataError, match="expected attributes of items, found ids alone; give a table with titles"):
        compare_cold(log, ids, comparison=chosen(), share=0.2)

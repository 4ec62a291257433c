"""Rules on items against brute force: a list by rules is taken from the whole list of all items."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.artifact import save_artifact
from nearnext.data.items import read_items
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.recommenders import ruled
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.item_rules import ItemRules, numbered
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.ranking import Recommendation
from nearnext.types import BoolArray
from training_support import seeded

Command = Callable[..., Any]

LOG = Sessions.of([[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(60)])
ROWS: list[dict[str, Any]] = [
    {
        "id": f"i{n}",
        "title": f"Thing {n}",
        "category": "|".join(name for name, has in (("even", n % 2 == 0), ("third", n % 3 == 0)) if has),
        "price": None if n % 7 == 0 else float(n),
    }
    for n in range(22)  # the table lacks i22
]
OF = {str(row["id"]): row for row in ROWS}
SMALL: dict[str, dict[str, Any]] = {
    "sml-maxpool-ncas": {"dim": 8, "epochs": 1, "batch_size": 16, "extra": 32, "device": "cpu"},
    "metric-fast": {
        "dim": 8, "epochs": 1, "negatives": 16, "hidden": 4, "reranker_steps": 5, "reranker_prefixes": 100,
    },
}  # fmt: skip
METHODS = ("pop", "markov", "vsknn", "sml-maxpool-ncas")
"""Methods whose score of an item does not depend on the other admissible ones."""


@cache
def fitted(name: str) -> Recommender:
    return make_recommender(name, seeded(name, SMALL.get(name))).fit(LOG, items=read_items(pl.DataFrame(ROWS)))


CONDITIONS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "price < 10": lambda item: item["price"] is not None and item["price"] < 10,
    "not price < 10": lambda item: item["price"] is not None and item["price"] >= 10,
    "category = 'even'": lambda item: "even" in item["category"],
    "category != 'even'": lambda item: bool(item["category"]) and "even" not in item["category"],
    "title in ('Thing 3', 'Thing 4') or price >= 15": lambda item: (
        item["id"] in ("i3", "i4") or (item["price"] or 0) >= 15
    ),
}
"""Conditions and what they mean, written independently; no item outside the table matches."""


def matches(condition: str, item: object) -> bool:
    return item in OF and CONDITIONS[condition](OF[str(item)])


def by_hand(
    whole: Recommendation, k: int, where: str | None, boost: Mapping[str, float], at_most: int | None
) -> tuple[list[Any], int]:
    """The list by rules, and how many leading items the method ranked, from the list of all items."""
    kept = [(at < whole.own, item) for at, item in enumerate(whole.items) if where is None or matches(where, item)]
    listed, counts, n_own = list[Any](), Counter[str](), 0
    for own in (True, False):
        ranked = list[tuple[float, object]]()
        for rank, item in enumerate((item for mine, item in kept if mine == own), start=1):
            factor = 1.0
            for condition, one in boost.items():
                factor *= one if matches(condition, item) else 1.0
            ranked.append((rank / min(max(factor, 0.1), 10.0), item))
        for _, item in sorted(ranked, key=lambda pair: pair[0]):
            values = [value for value in OF.get(str(item), {"category": ""})["category"].split("|") if value]
            if len(listed) < k and (at_most is None or all(counts[value] < at_most for value in values)):
                listed.append(item)
                counts.update(values)
                n_own += own
    return listed, n_own


factors = st.sampled_from([0.2, 0.5, 1.0, 1.5, 2.0, 7.0])


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(METHODS),
    session=st.lists(st.sampled_from([f"i{n}" for n in range(23)]), max_size=3),
    k=st.integers(1, 25),
    where=st.sampled_from([None, *CONDITIONS]),
    boost=st.dictionaries(st.sampled_from([*CONDITIONS]), factors, max_size=2),
    at_most=st.sampled_from([None, 1, 2, 5]),
    exclude_seen=st.booleans(),
)
def test_lists_by_rules_are_those_of_brute_force(
    name: str, session: list[str], k: int, where: str | None, boost: dict[str, float], at_most: int | None,
    exclude_seen: bool,
) -> None:  # fmt: skip
    model = fitted(name)
    whole = model.recommend([session], 23, exclude_seen=exclude_seen)[0]
    limits = None if at_most is None else {"category": at_most}
    with pytest.MonkeyPatch.context() as patch:
        # Limits alone are exact however many items are ranked at once; together with boosts, where all of them are.
        patch.setattr(ruled, "AHEAD", 23 if boost else 1)
        patch.setattr(ruled, "DEEPEST", 5_000 if boost else 1)
        found = model.recommend(
            [session], k, where=where, boost=boost, at_most=limits, exclude_seen=exclude_seen
        )[0]  # fmt: skip
    expected, own = by_hand(whole, k, where, boost, at_most)
    assert (found.items, found.own) == (expected, own)
    score_of = dict(zip(whole.items, whole.scores, strict=True))
    assert found.scores == pytest.approx([score_of[item] for item in expected], rel=1e-5, abs=1e-6)
    assert (found.shortage is None) == (len(expected) == k)


def test_limits_take_from_one_list_where_a_method_ranks_a_part_in_another_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = ruled.ItemColumns.of(read_items(pl.DataFrame(ROWS)).frame)
    rules = ItemRules.of(at_most={"category": 1})
    assert rules is not None
    applied, admissible = ruled.RuledItems([columns], np.arange(-1, 22), {}).apply(rules), np.arange(23) > 0

    def rank(n: int, among: BoolArray) -> ruled.Listed:
        found = np.flatnonzero(among)[:: 1 if among[1:].all() else -1][:n].astype(np.int32)
        return found, np.ones(len(found), np.float32), len(found)

    expected = applied.ruled_list(6, admissible, rank, rank(22, admissible))
    monkeypatch.setattr(ruled, "AHEAD", 1)
    for deeper in (2, 3, 100):
        monkeypatch.setattr(ruled, "DEEPER", deeper)
        assert applied.ruled_list(6, admissible, rank) == expected


@pytest.mark.slow
def test_a_condition_gives_the_list_of_the_allowed_items_in_a_re_ranked_method() -> None:
    model = fitted("metric-fast")
    for condition in CONDITIONS:
        allowed = [item for item in OF if matches(condition, item)]
        assert model.recommend([["i1", "i4"]], 9, where=condition) == model.recommend([["i1", "i4"]], 9, allow=allowed)
    limited = model.recommend([["i1", "i4"]], 23, boost={"price < 10": 3}, at_most={"category": 2})[0]
    counts = Counter(value for item in limited.items if item in OF for value in OF[str(item)]["category"].split("|"))
    assert max(counts["even"], counts["third"]) == 2
    outside = [item for item in limited.items if item not in OF or not OF[str(item)]["category"]]
    assert len(outside) == sum(not row["category"] for row in ROWS) + 1


def test_a_boost_moves_an_item_to_its_rank_by_the_factor() -> None:
    plain = fitted("pop").recommend([[]], 23)[0].items
    last = plain[7]
    boosted = fitted("pop").recommend([[]], 5, boost={f"title = '{OF[str(last)]['title']}'": 4})[0].items
    assert boosted == [*plain[:2], last, *plain[2:4]] or boosted == [plain[0], last, *plain[1:4]]
    assert boosted.index(last) == 2  # rank 8 is moved to rank 2, after the item that is there


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (
            {"where": "colour = 'red'"},
            "expected a column at character 1, found 'colour'; known: title, price, category",
        ),
        ({"where": 5}, "where must be a text, found 5"),
        (
            {"boost": {"price": 11}},
            "boost of 'price' must be a finite number of at least 0.1 and at most 10.0, found 11",
        ),
        ({"boost": {"price": float("nan")}}, "boost of 'price' must be a finite number"),
        ({"boost": {"price": True}}, "boost of 'price' must be a finite number"),
        ({"boost": ["price"]}, r"boost must be a mapping of texts, found \['price'\]"),
        ({"boost": {1: 2}}, r"boost must be a mapping of texts, found \{1: 2\}"),
        ({"at_most": 0}, "at_most must be a mapping of texts, found 0"),
        ({"boost": {f"price < {n}": 1 for n in range(11)}}, "expected at most 10 rules of boost, found 11"),
        ({"at_most": {"category": 0}}, "at_most of 'category' must be a whole number of at least 1, found 0"),
        ({"at_most": {"colour": 2}}, "at most: expected a column, found 'colour'; known: title, price, category"),
    ],
)
def test_rules_that_mean_nothing_are_refused(rules: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        fitted("pop").recommend([["i1"]], **rules)


def test_rules_need_an_item_table() -> None:
    with pytest.raises(ConfigError, match=r"rules need an item table, and this model \(pop\) has none; fit it with"):
        make_recommender("pop", {}).fit(LOG).recommend([["i1"]], where="price < 5")


def test_the_horizon_of_a_boost_is_bounded() -> None:
    columns = ruled.ItemColumns.of(read_items(pl.DataFrame(ROWS)).frame)
    rules = ItemRules.of(boost={"price < 10": 10, "price >= 10": 0.1})
    assert rules is not None
    applied = ruled.RuledItems([columns], np.tile(np.arange(22), 1000), {}).apply(rules)
    assert applied.horizon(20, np.ones(22_000, np.bool_)) == 2_000
    assert applied.horizon(500, np.ones(22_000, np.bool_)) == ruled.DEEPEST


@pytest.mark.parametrize("text", ["2", "2:", "x:category", ":category"])
def test_texts_of_rules_name_a_number_and_what_it_is_for(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--at-most .*: expected NUMBER:TEXT, e.g. 2:category"):
        numbered("--at-most", [text], int)


@pytest.mark.slow
def test_the_command_line_takes_rules_for_sessions_and_for_logs(nearnext: Command, tmp_path: Path) -> None:
    model = save_artifact(fitted("vsknn"), tmp_path / "model", {})
    rules = ["--where", "price < 15", "--boost", "3:category = 'even'", "--at-most", "2:category", "--k", 4]
    expected = fitted("vsknn").recommend(
        [["i1"]], 4, where="price < 15", boost={"category = 'even'": 3}, at_most={"category": 2}
    )[0]
    done = nearnext("recommend", model, "--session", "i1", *rules, "--json", tmp_path / "list.json")
    assert done.code == 0, done.err
    assert pl.read_json(tmp_path / "list.json")["items"].to_list() == [expected.items]
    Sessions.of([["i1"]]).to_frame().write_parquet(tmp_path / "log.parquet")
    done = nearnext("recommend", model, "--log", tmp_path / "log.parquet", *rules, "--out", tmp_path / "lists.parquet")
    assert done.code == 0, done.err
    assert pl.read_parquet(tmp_path / "lists.parquet")["items"].to_list() == [expected.items]
    done = nearnext("recommend", model, "--session", "i1", "--where", "colour")
    assert done.code == 2
    assert "expected a column at character 1, found 'colour'; known: title, price, category" in done.err

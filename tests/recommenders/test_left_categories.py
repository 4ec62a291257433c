"""Lists after an event such as a purchase leave out the categories that sessions leave, against brute force."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nearnext.artifact import load, save_artifact
from nearnext.data.items import read_items
from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.batch import batch_request, write_lists
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.left_categories import (
    _membership,  # pyright: ignore[reportPrivateUsage]
    _next_clicks,  # pyright: ignore[reportPrivateUsage]
    left_categories,
)
from nearnext.recommenders.named import make_recommender
from nearnext.serving.served import Query
from serving_support import click, served_model, started

Command = Callable[..., Any]

KINDS = [f"c{n}" for n in range(8)]
ITEMS = [f"{kind}-{n}" for kind in KINDS for n in range(5)]
TABLE = read_items(pl.DataFrame({"id": ITEMS, "category": [f"{item[:2]}|all" for item in ITEMS]}))
LEFT = ["c0", "c1", "c2"]
"""Categories that sessions leave after a purchase, more often than the others and than after a view."""


def shop(n_sessions: int = 600, seed: int = 7, moved: float = 0.9, usual: float = 0.2) -> pl.DataFrame:
    """A log of views and purchases, each purchase after a view of the item."""
    rng = np.random.default_rng(seed)
    rows = list[tuple[int, str, int, str]]()
    for session in range(n_sessions):
        item, at = str(rng.choice(ITEMS)), session * 10_000
        for _ in range(int(rng.integers(2, 7))):
            bought = rng.random() < 0.4
            for event in ("view", "purchase")[: 1 + bought]:
                rows.append((session, item, at, event))
                at += 1
            leaves = rng.random() < (moved if bought and item[:2] in LEFT else usual)
            others = [one for one in ITEMS if one != item and (one[:2] == item[:2]) != leaves]
            item = str(rng.choice(others))
    return pl.DataFrame(rows, schema=["session_id", "item_id", "time", "event"], orient="row")


@pytest.fixture(scope="module")
def model() -> Recommender:
    return make_recommender("markov-1", {}).fit(read_sessions(shop()), items=TABLE)


def test_next_clicks_are_counted_by_type_and_category() -> None:
    sessions = read_sessions(shop(40))
    assert sessions.event_types == ("view", "purchase")
    assert sessions.types is not None
    names = pl.Series([*KINDS, "all"]).sort()
    lists = TABLE.of(sessions.vocabulary.ids).frame["categories"]
    nexts, stays = _next_clicks(sessions, _membership(lists, names))
    by_hand = Counter[tuple[int, str]]()
    for number in range(sessions.n_sessions):
        types = sessions.types[sessions.offsets[number] :]
        for at, (one, other) in enumerate(pairwise(sessions.raw(number))):
            if one != other:
                by_hand[int(types[at]), str(one)[:2]] += 1
                by_hand[int(types[at]), f"stays {str(one)[:2]}"] += str(one)[:2] == str(other)[:2]
    for kind in KINDS:
        column = names.to_list().index(kind)
        for at in (0, 1):
            assert nexts[at, column] == by_hand[at, kind]
            assert stays[at, column] == by_hand[at, f"stays {kind}"]
    np.testing.assert_array_equal(nexts[:, 0], stays[:, 0])  # nothing leaves "all"


def test_categories_that_sessions_leave_after_a_purchase_are_found(model: Recommender) -> None:
    assert model.left_categories["purchase"].left == LEFT
    assert model.left_categories["purchase"].tested == len(KINDS) + 1
    for no_difference in (0.2, 0.7):
        alike = read_sessions(shop(300, moved=no_difference, usual=no_difference))
        assert left_categories(alike, TABLE)["purchase"].left == []


def test_lists_are_those_of_brute_force_everywhere(model: Recommender, tmp_path: Path) -> None:
    sessions = [["c0-1"], ["c5-1", "c1-2"], ["c1-2", "c5-1"], ["c0-1", "unknown"], []]
    whole = model.recommend(sessions, len(ITEMS))
    found = model.recommend(sessions, 12, after=" Purchase")
    for session, every, one in zip(sessions, whole, found, strict=True):
        left = session[-1][:2] if session and session[-1][:2] in LEFT else None
        assert one.items == [item for item in every.items if str(item)[:2] != left][:12]
        assert one.shortage is None
    limited = model.recommend(sessions, 12, after="purchase", where="category != 'c3'", at_most={"category": 2})
    assert not any(str(item)[:2] in ("c0", "c3") for item in limited[0].items)
    served = served_model(model, tmp_path)
    rules = ItemRules.of(after="purchase")
    answers = served.answer([Query(session, 12, rules=rules) for session in sessions])
    assert [answer.items for answer in answers] == [one.items for one in found]
    restored = load(save_artifact(model, tmp_path / "saved"))
    assert restored.left_categories == model.left_categories
    assert [one.items for one in restored.recommend(sessions, 12, after="purchase")] == [one.items for one in found]
    log = Sessions.of([session for session in sessions if session])
    write_lists(model, log, tmp_path / "lists.parquet", batch_request(model, 12, rules=rules))
    assert pl.read_parquet(tmp_path / "lists.parquet")["items"].to_list() == [one.items for one in found[:4]]
    types = np.array([1, 0, 0, 0, 1, 1, 1], np.uint8)  # the first and the last session end with a purchase
    typed = replace(log, types=types, event_types=("view", "purchase"))
    write_lists(model, typed, tmp_path / "lists.parquet", batch_request(model, 12, rules=rules))
    ends = [True, False, False, True]
    expected = [one.items if end else every.items[:12] for one, every, end in zip(found, whole, ends, strict=False)]
    assert pl.read_parquet(tmp_path / "lists.parquet")["items"].to_list() == expected


def test_event_types_that_were_not_measured_are_refused(model: Recommender) -> None:
    with pytest.raises(ConfigError, match=r"categories were measured, found 'sale'; measured: purchase$"):
        model.recommend([["c0-1"]], after="sale")
    without_types = read_sessions(shop(20), events=["view"])
    untyped = make_recommender("markov-1", {}).fit(without_types, items=TABLE)
    with pytest.raises(ConfigError, match="did not measure which categories sessions leave after purchase; fit it on"):
        untyped.recommend([["c0-1"]], after="purchase")
    without_table = make_recommender("markov-1", {}).fit(read_sessions(shop(20)))
    with pytest.raises(ConfigError, match="rules need an item table"):
        without_table.recommend([["c0-1"]], after="purchase")


def test_the_command_says_what_it_measured(nearnext: Command, tmp_path: Path) -> None:
    shop().write_csv(tmp_path / "log.csv")
    TABLE.frame.with_columns(pl.col("categories").list.join("|")).write_csv(tmp_path / "items.csv")
    out = tmp_path / "model"
    fitted = nearnext(
        "fit", tmp_path / "log.csv", "--method", "markov-1", "--items", tmp_path / "items.csv", "--out", out
    )
    assert "after purchase, sessions leave 3 of 9 categories that were tested" in " ".join(fitted.out.split())
    listed = nearnext("recommend", out, "--session", "c0-1", "--after", "Purchase", "--k", "10")
    assert "c0-" not in listed.out.replace("after c0-1", "")


def test_a_service_leaves_out_categories_after_a_purchase(model: Recommender, tmp_path: Path) -> None:
    where = "category != 'c3'"
    answers = [model.recommend([["c5-1", "c0-1"]], 30, where=where, after=after) for after in (None, "purchase")]
    whole, left = (one.items for (one,) in answers)
    assert len(left) == 30
    assert not any(str(item).startswith("c0") for item in left)
    folder = save_artifact(model, tmp_path / "model")
    with started(folder, "--after", "purchase", "--where", where, folder=tmp_path) as server:
        client = server.client

        def listed(session: str, event: str | None, **asked: Any) -> Any:
            click(client, session, "c5-1", event="purchase")
            answer = click(client, session, "c0-1", **({} if event is None else {"event": event}), k=30, **asked)
            stored = client("GET", f"/v1/sessions/{session}/recommendations?k=30").json["items"]
            assert asked or stored == answer["recommendations"]["items"]
            return answer["recommendations"]["items"]

        assert listed("s1", "Purchase") == left
        assert listed("s2", "view") == listed("s3", None) == whole
        assert listed("s4", "view", after="purchase") == left  # a request says so itself
        bought = click(client, "s1", "c0-1", event="view", k=30)["recommendations"]["items"]
        assert bought == left  # a view of what was bought is the same click
        alone = {"items": ["c5-1", "c0-1"], "k": 30}
        unstored = client("POST", "/v1/sessions/s5/events", alone | {"event": "purchase"}).json
        assert (unstored["stored"], unstored["recommendations"]["items"]) == (False, left)
        assert client("POST", "/v1/recommend", alone).json["items"] == whole
        assert client("POST", "/v1/recommend", alone | {"after": "purchase"}).json["items"] == left
        sessions = {"sessions": [alone["items"], []], "k": 30, "after": "purchase"}
        several = client("POST", "/v1/recommend", sessions).json["recommendations"]
        assert [len(one["items"]) for one in several] == [30, 30]
        refused = client("POST", "/v1/recommend", alone | {"after": "sale"})
        assert (refused.status, "found 'sale'; measured: purchase" in refused.json["detail"]) == (422, True)


def test_a_service_refuses_an_event_type_that_was_not_measured(
    model: Recommender, nearnext: Command, tmp_path: Path
) -> None:
    folder = save_artifact(model, tmp_path / "model")
    done = nearnext("serve", folder, "--after", "sale")
    assert (done.code, "categories were measured, found 'sale'; measured: purchase" in done.err) == (2, True)

"""The functions of the playground: which items a search finds, and where the map puts items and sessions."""

import numpy as np
import polars as pl
import pytest

from nearnext.data.items import read_items
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.neighbours import VSKNN
from nearnext.recommenders.popularity import Pop
from nearnext.recommenders.rules import Markov
from nearnext.serving.playground import find_items
from nearnext.serving.playground.item_map import ItemMap, neighbours_kept, principal_plane
from serving_support import GROUPS

RARE = "a-rare"
LOG = Sessions.of([*GROUPS, ["a-0", RARE, "a-1"], ["a-0", RARE]])
"""Three groups of items that no session mixes."""


@pytest.fixture(scope="module")
def vsknn() -> Recommender:
    return VSKNN().fit(LOG).remember(LOG)


def test_items_are_found_by_part_of_their_id_those_that_begin_with_it_first():
    log = Sessions.of([["x-10", "10", "X-100", "7"], ["X-100", "7"], ["7"]])
    pop = Pop().fit(log)
    assert [item["id"] for item in find_items(pop, " X-1 ")] == ["X-100", "x-10"]
    assert [item["id"] for item in find_items(pop, "10")] == ["10", "X-100", "x-10"]
    assert [item["id"] for item in find_items(pop, "")] == ["7", "X-100", "x-10", "10"]
    assert find_items(pop, "", limit=1) == [{"id": "7", "clicks": 3, "title": None}]
    assert find_items(pop, ".*") == []


def test_items_are_found_by_part_of_their_title_in_any_case():
    table = read_items(pl.DataFrame({"id": ["b", "a", "t9"], "title": ["Red TENT", "Tent pole", None]}))
    pop = Pop().fit(Sessions.of([["b", "a", "t9", "lamp"], ["b", "a"], ["b"]]), items=table)
    assert [item["id"] for item in find_items(pop, "tent")] == ["a", "b"]
    assert [item["id"] for item in find_items(pop, "T")] == ["a", "t9", "b"]
    assert find_items(pop, "pole") == [{"id": "a", "clicks": 2, "title": "Tent pole"}]
    assert find_items(pop, "lamp") == [{"id": "lamp", "clicks": 1, "title": None}]


def test_integer_ids_are_found_by_their_digits():
    pop = Pop().fit(Sessions.of([[120, 12, 9012345678901234567]]))
    assert [item["id"] for item in find_items(pop, "12")] == [120, 12, 9012345678901234567]


def test_a_limit_below_1_is_refused(vsknn: Recommender):
    with pytest.raises(ConfigError, match="limit must be a whole number of at least 1"):
        find_items(vsknn, "a", 0)


def test_the_principal_plane_keeps_the_distances_of_points_in_a_plane_up_to_their_scale():
    rng = np.random.default_rng(3)
    flat = rng.normal(size=(12, 2)) @ np.linalg.qr(rng.normal(size=(5, 2)))[0].T
    points, longest = principal_plane(flat), np.linalg.norm(flat - flat.mean(axis=0), axis=1).max()
    for one in range(12):
        apart = np.linalg.norm(flat - flat[one], axis=1) / longest
        assert np.linalg.norm(points - points[one], axis=1) == pytest.approx(apart)
    assert neighbours_kept(flat, points) == 1.0


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_few_or_equal_vectors_have_a_finite_layout(n: int):
    for vectors in (np.zeros((n, 4)), np.eye(n, 4), np.ones((n, 1))):
        points = principal_plane(vectors)
        assert points.shape == (n, 2)
        assert np.isfinite(points).all()
        assert np.linalg.norm(points, axis=1).max() <= 1 + 1e-9


def test_a_layout_keeps_groups_apart_and_is_the_same_every_time():
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 8) * 5, 20, axis=0) + 0.5 * rng.normal(size=(60, 8))
    points, again = principal_plane(vectors), principal_plane(vectors)
    np.testing.assert_allclose(again, points, rtol=1e-5, atol=1e-5)
    centres = points.reshape(3, 20, 2).mean(axis=1)
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert nearest.tolist() == np.repeat(np.arange(3), 20).tolist()


def with_groups_apart(model: Recommender) -> Recommender:
    """The same model with item embeddings that a training may or may not give: each near the axis of its group."""
    table = 0.1 * np.random.default_rng(0).normal(size=(len(model.vocabulary) + 1, 16))
    for index, item in enumerate(model.vocabulary.ids.to_list(), start=1):
        table[index, "abc".find(item[0])] += 1.0
    return model.restore(model.vocabulary, {**model.state(), "network.item_embedding.weight": table.astype(np.float32)})


@pytest.mark.parametrize("name", ["vsknn", "markov-1", "sml-maxpool-ncas"])
def test_a_session_lies_among_the_items_of_its_group(name: str):
    options = {"dim": 16, "epochs": 1, "dense_layers": 0, "device": "cpu"} if name.startswith("sml") else {}
    model = make_recommender(name, options).fit(LOG)
    if name.startswith("sml"):
        model = with_groups_apart(model)
    model.remember(LOG)
    item_map = ItemMap(model)
    shown = item_map.as_dict()
    assert len(shown["ids"]) == len(set(shown["ids"])) == len(shown["x"]) == len(shown["y"]) == len(shown["clicks"])
    assert shown["clicks"] == sorted(shown["clicks"], reverse=True)
    assert shown["source"] == ("embeddings" if name.startswith("sml") else "sessions")
    points = np.array([shown["x"], shown["y"]]).T
    for group in "abc":
        own = np.array([str(item).startswith(group) for item in shown["ids"]])
        place = item_map.place([f"{group}-0", f"{group}-4", "never seen"])
        assert place is not None
        distances = np.linalg.norm(points - place, axis=1)
        assert distances[own].mean() < distances[~own].mean()


def test_a_smaller_map_shows_the_most_popular_items(vsknn: Recommender):
    assert ItemMap(vsknn, limit=5).as_dict()["ids"] == ItemMap(vsknn).as_dict()["ids"][:5]


def test_items_outside_a_small_map_place_sessions_all_the_same(vsknn: Recommender):
    item_map = ItemMap(vsknn, limit=5)
    assert RARE not in item_map.as_dict()["ids"]
    assert item_map.place([RARE]) is not None


def test_methods_without_vectors_have_no_map():
    with pytest.raises(ConfigError, match=r"pop has no map.*--remember"):
        ItemMap(Pop().fit(LOG))
    with pytest.raises(ConfigError, match="markov-1 has no map"):
        ItemMap(Markov().fit(LOG))


def test_a_session_without_known_clicks_lies_nowhere(vsknn: Recommender):
    item_map = ItemMap(vsknn)
    assert item_map.place([]) is None
    assert item_map.place(["never seen"]) is None

"""Served lists are those of the recommender, alone or in batches, for every kind of method; new items join them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.model.encoding import SessionEncoding
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import BASELINES, make_recommender
from nearnext.recommenders.ranking import Recommendation
from nearnext.recommenders.space import space_of
from nearnext.serving.catalogue import Catalogue, Change, Entry
from nearnext.serving.loading import LoadedModel
from nearnext.serving.served import Query, ServedModel
from nearnext.testing import assert_same_lists
from nearnext.types import RawId
from serving_support import LOG, served_model
from training_support import seeded

pytestmark = pytest.mark.slow

QUICK: dict[str, dict[str, Any]] = {
    "metric-fast": {},
    "gru4rec": {"layers": (8, 6), "epochs": 2, "batch_size": 8, "n_sample": 16},
    "sml-gru-ncas": {"dim": 8, "epochs": 2, "batch_size": 16, "extra": 32, "device": "cpu"},
    "sml-maxpool-triplet": {"dim": 8, "epochs": 2, "batch_size": 16, "device": "cpu", "distance": "euclidean"},
}
METHODS = sorted({*BASELINES, *QUICK})
METRIC = ["sml-gru-ncas", "sml-maxpool-triplet"]

_fitted: dict[str, Recommender] = {}


def fitted(name: str) -> Recommender:
    if name not in _fitted:
        _fitted[name] = make_recommender(name, seeded(name, QUICK.get(name))).fit(LOG)
    return _fitted[name]


QUERIES = [
    Query(session, k, exclude, allow, exclude_seen, time)
    for session in (["i1"], ["i1", "x", "i4", "i1"], ["i5", "i6", "i7", "i8"], [], ["x"])
    for k, exclude, allow, exclude_seen, time in (
        (5, (), None, False, None),
        (7, (), None, True, None),
        (5, ["i1", "i2"], None, False, None),
        (5, (), ["i3", "i4", "i9"], False, None),
        (5, (), None, False, 1.5e9),
    )
]


@pytest.mark.parametrize("name", METHODS)
def test_answers_are_the_recommenders_alone_and_in_batches(name: str, tmp_path: Path):
    recommender = fitted(name)
    served = served_model(recommender, tmp_path)
    together = served.answer(QUERIES)
    for query, answer in zip(QUERIES, together, strict=True):
        expected = recommender.recommend(
            [query.items],
            query.k,
            exclude=query.exclude,
            allow=query.allow,
            exclude_seen=query.exclude_seen,
            time=query.time,
        )[0]
        for one in (answer, *served.answer([query])):
            assert_same_lists(one, expected)
            assert (one.unknown, one.shortage) == (expected.unknown, expected.shortage)


@pytest.mark.parametrize("name", METHODS)
def test_new_items_join_in_order_and_once(name: str, tmp_path: Path):
    served = served_model(
        fitted(name),
        tmp_path,
        Change("put", "new-1", clicks=["i1"]),
        Change("put", "new-2", clicks=["i5", "i6"]),
        Change("put", "hidden", available=False, clicks=["i1"]),
        Change("put", "nowhere"),
        Change("put", "gone", clicks=["i1"]),
        Change("delete", "gone"),
        Change("delete", "i2"),
    )
    for query in QUERIES:
        answer = served.answer([query])[0]
        assert answer.scores[: answer.own] == sorted(answer.scores[: answer.own], reverse=True)
        assert len(set(answer.items)) == len(answer.items) <= query.k
        assert not {"i2", "hidden", "nowhere", "gone"} & set(answer.items)
        if query.allow is not None:
            assert set(answer.items) <= set(query.allow)


@pytest.mark.parametrize("name", METRIC)
def test_a_new_item_lies_at_the_mean_of_the_sessions_that_touched_it(name: str, tmp_path: Path):
    recommender = fitted(name)
    served = served_model(
        recommender,
        tmp_path,
        Change("put", "new"),
        Change("touch", "new", clicks=["i1", "i2"]),
        Change("touch", "new", clicks=["i7"]),
    )
    space = space_of(recommender)
    assert space
    encode = recommender.vocabulary.encode
    vectors, _ = space.sessions(Prefixes.of([encode(["i1", "i2"]), encode(["i7"]), encode(["i3"])]))
    mean = vectors[:2].astype(np.float64).mean(axis=0)
    if space.distance == "cosine":
        expected = 1.0 + mean @ vectors[2] / np.linalg.norm(mean)
    else:
        expected = -np.linalg.norm(mean - vectors[2])
    answer = served.answer([Query(["i3"], 1, allow=["new"])])[0]
    assert answer.items == ["new"]
    assert answer.scores[0] == pytest.approx(expected, abs=1e-5)


def test_where_votes_count_too_a_new_item_stands_behind_as_many_items_as_are_nearer(tmp_path: Path):
    # Attention keeps a session near its clicks, so that some sessions have nearer items however short the training.
    options = {**QUICK["metric-fast"], "encoder": "attention"}
    recommender = make_recommender("metric-fast", seeded("metric-fast", options)).fit(LOG)
    served = served_model(recommender, tmp_path, Change("put", "new", clicks=["i1"]))
    space = space_of(recommender)
    assert space
    encode = recommender.vocabulary.encode
    new, _ = space.sessions(Prefixes.of([encode(["i1"])]))
    places: list[int] = []  # items that are nearer than the new one, by more than rounding
    for session in (["i1"], ["i2"], ["i5", "i6", "i7", "i8"], ["i4", "i9"], ["i12"], ["i15"]):
        plain = recommender.recommend([session], k=10)[0]
        answer = served.answer([Query(session, 10)])[0]
        vectors, _ = space.sessions(Prefixes.of([encode(session)]))
        above = space.index.search(vectors, 10, admissible=space.located).scores[0] - (1.0 + float(new[0] @ vectors[0]))
        least, most = (max(int(np.count_nonzero(above > bound)), 1) for bound in (1e-5, -1e-5))
        places.append(least)
        if most < 10:
            assert least <= answer.items.index("new") <= most
        others = [at for at, item in enumerate(answer.items) if item != "new"]
        found, wanted = (
            Recommendation([one.items[at] for at in rows], [one.scores[at] for at in rows], len(others), [])
            for one, rows in ((answer, others), (plain, range(len(others))))
        )
        assert_same_lists(found, wanted)
    assert places[0] == 1
    assert max(places) > 1
    assert served.answer([Query(["i3"], 1, allow=["new"])])[0].items == ["new"]


def test_without_a_space_a_new_item_stands_beside_the_best_where_everybody_reached_it_from(tmp_path: Path):
    model = make_recommender("markov-1").fit(Sessions.of([["a", "b"]] * 3 + [["a", "c"], ["d", "b"]]))
    served = served_model(
        model,
        tmp_path,
        Change("put", "new"),
        Change("touch", "new", clicks=["a"]),
        Change("touch", "new", clicks=["d"]),
    )
    answer = served.answer([Query(["a"], 4)])[0]
    best = answer.scores[0]
    assert answer.items[:2] == ["b", "new"]
    assert answer.scores[1] == pytest.approx(best * 0.5**0.5)
    assert served.answer([Query(["c"], 4)])[0].items == model.recommend([["c"]], k=4)[0].items


def test_what_was_hidden_comes_back_and_the_mask_follows(tmp_path: Path):
    model = make_recommender("pop").fit(LOG)
    catalogue = Catalogue(tmp_path / "changes")
    available = ServedModel(LoadedModel(model, {}, "v1"), catalogue).available
    first = LOG.vocabulary.decode([1])[0]
    for change, admissible in ((Change("delete", first), False), (Change("put", first), True)):
        catalogue.write(change)
        available.update(catalogue.refresh())
        assert available.admissible[1] == admissible
        assert (first in available.hidden) is not admissible


@pytest.mark.parametrize("name", ["vsknn", "metric-fast", *METRIC])
def test_items_that_come_and_go_lie_where_a_later_start_puts_them(name: str, tmp_path: Path):
    recommender, draw = fitted(name), np.random.default_rng(0)
    catalogue = Catalogue(tmp_path / "changes")
    model = LoadedModel(recommender, {}, "v1")
    served = ServedModel(model, catalogue)
    for turn in range(400):
        item = f"new-{draw.integers(60)}"
        known: list[str | int] = [f"i{number}" for number in draw.integers(23, size=draw.integers(3))]
        op = ("put", "touch", "delete")[int(draw.choice(3, p=[0.5, 0.4, 0.1]))]
        catalogue.write(Change(op, item, bool(turn % 7), known), durable=False)
        served.available.update(catalogue.refresh())
        if turn % 20:
            continue
        later = ServedModel(model, catalogue)
        assert len(served.available.new) == len(later.available.new)
        session: list[str | int] = [f"i{number}" for number in draw.integers(23, size=3)]
        some: list[str | int] = [f"new-{number}" for number in range(0, 60, 3)]
        whole = later.answer([Query(session, 100)])[0]
        scores = dict(zip(whole.items, whole.scores, strict=True))
        for query in (Query(session, 100), Query(session, 5), Query(session, 5, allow=some), Query(session, 5, some)):
            one, other = (each.answer([query])[0] for each in (served, later))
            assert one.scores == pytest.approx(other.scores, abs=1e-6)
            if query.allow is None:
                assert [scores[item] for item in one.items] == pytest.approx(one.scores, abs=1e-6)


@pytest.mark.parametrize("name", ["vsknn", "metric-fast", *METRIC])
def test_refused_new_items_cost_the_others_no_place(name: str, tmp_path: Path):
    crowd: list[str | int] = [f"near-{number}" for number in range(30)]
    served = served_model(
        fitted(name),
        tmp_path,
        *(Change("put", item, clicks=["i1"]) for item in [*crowd, "beside"]),
        Change("put", "far", clicks=["i1", "i5"]),
    )
    for query in (Query(["i1"], 40, [*crowd, "beside"]), Query(["i1"], 40, crowd, ["near-3", "far"])):
        answer = served.answer([query])[0]
        assert "far" in answer.items
        assert not set(crowd) & set(answer.items)
    assert served.answer([Query(["i1"], 1, exclude=["near-3"], allow=["near-3", "far"])])[0].items == ["far"]


def test_new_items_are_found_by_the_embeddings_of_the_models_own_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    served = served_model(fitted("metric-fast"), tmp_path, Change("put", "new", clicks=["i1"]))
    encoded: list[int] = []
    encode = SessionEncoding.__call__

    def counted(self: SessionEncoding, prefixes: Prefixes) -> Any:
        encoded.append(len(prefixes))
        return encode(self, prefixes)

    monkeypatch.setattr(SessionEncoding, "__call__", counted)
    assert "new" in served.answer([Query(["i1"], 5)])[0].items
    assert all("new" in answer.items for answer in served.answer([Query(["i1"], 5), Query(["i1", "i2"], 25)]))
    assert encoded == [1, 1, 1]


def test_a_model_is_prepared_while_the_catalogue_goes_on_changing(tmp_path: Path):
    class Growing(dict[RawId, Entry]):
        def get(self, item: Any, default: Any = None) -> Any:
            if len(self) < 5:  # as the thread that answers requests adds items
                self[f"more-{len(self)}"] = Entry()
            return super().get(item, default)

    catalogue = Catalogue(tmp_path / "changes")
    catalogue.entries = Growing({"i1": Entry(available=False), "new": Entry(like=("i2",))})
    available = ServedModel(LoadedModel(fitted("markov-1"), {}, "v1"), catalogue).available
    assert ("i1" in available.hidden, "new" in available.new, len(catalogue.entries)) == (True, True, 4)


def test_integer_catalogues_take_ids_from_paths(tmp_path: Path):
    model = make_recommender("markov-1").fit(Sessions.of([[1, 2], [1, 3], [1, 2]]))
    served = served_model(model, tmp_path, Change("delete", "2"))
    assert served.answer([Query(["1"], 3)])[0].items == [3, 1]

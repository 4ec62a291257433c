"""Similar items, for models with embeddings, with training sessions, and with neither."""

from pathlib import Path
from typing import Any

import pytest

from nearnext.data.sessions import Sessions
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.space import space_of
from nearnext.serving.answers import SimilarAnswer
from nearnext.serving.catalogue import Change
from nearnext.serving.served import ServedModel
from serving_support import served_model

pytestmark = pytest.mark.slow

LOG = Sessions.of([["a", "b"], ["a", "b", "c"], ["c", "d"], ["e", "d"], ["e", "f"]])


def served(name: str, tmp_path: Path, *changes: Change, remember: bool = False, **options: Any) -> ServedModel:
    recommender: Recommender = make_recommender(name, options).fit(LOG)
    if remember:
        recommender.remember(LOG)
    return served_model(recommender, tmp_path, *changes)


def found(similar: SimilarAnswer | None) -> SimilarAnswer:
    assert similar is not None
    return similar


def test_items_of_the_same_sessions_are_similar_where_there_are_no_embeddings(tmp_path: Path):
    """a is in sessions 1 and 2, b in the same ones: 2 / √(2·2); c is in 2 and 3, of which a shares one: 1 / √(2·2)."""
    for name, remember in (("vsknn", False), ("markov-1", True), ("pop", True)):
        answer = found(served(name, tmp_path, remember=remember).similar("a", 5))
        assert (answer.basis, answer.items, answer.scores) == ("sessions", ["b", "c"], [1.0, 0.5])
        assert answer.shortage == "2 of 5: no further item shares a session with it"


def test_what_is_out_of_stock_is_not_similar_and_the_next_one_is(tmp_path: Path):
    model = served("vsknn", tmp_path, Change("put", "b", available=False), Change("delete", "never-seen"))
    assert found(model.similar("a", 1)).items == ["c"]
    assert found(model.similar("b", 2)).items == ["a", "c"]


def test_without_sessions_they_are_what_is_recommended_after_the_item_and_the_answer_says_so(tmp_path: Path):
    model = served("markov-1", tmp_path)
    answer = found(model.similar("c", 2))
    assert (answer.basis, answer.items[0]) == ("recommendations", "d")
    assert "c" not in answer.items


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_in_a_metric_space_they_are_the_nearest(tmp_path: Path, distance: str):
    model = served(
        "sml-maxpool-triplet",
        tmp_path,
        Change("delete", "b"),
        dim=4,
        epochs=1,
        batch_size=4,
        device="cpu",
        distance=distance,
    )
    answer = found(model.similar("a", 10))
    assert answer.basis == "embeddings"
    assert answer.scores == sorted(answer.scores, reverse=True)
    space = space_of(model.recommender)
    assert space is not None
    located = set(model.recommender.vocabulary.decode([at for at in range(1, 7) if space.located[at]]))
    assert {"a", "b", "c"} <= located
    assert set(answer.items) == located - {"a", "b"}
    assert answer.shortage == f"{len(located) - 2} of 10: no further item may be recommended"


def test_what_training_never_saw_is_like_nothing(tmp_path: Path):
    assert served("vsknn", tmp_path, Change("put", "new", clicks=["a"])).similar("new", 3) is None

"""Retraining: it starts from the weights of another fit, over the items of the new log, and leaves that fit alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearnext.data.items import read_items
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.model.propagation import extended_embeddings
from nearnext.recommenders.metric import selection
from nearnext.recommenders.metric.recommender import Metric
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.trained import TrainedRecommender
from training_support import assert_same_weights, seeded

pytestmark = pytest.mark.slow

YESTERDAY = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(60)])
TODAY = Sessions.of([[f"i{3 + (s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(60)] + [["alone", "too"]] * 2)
"""i0, i1, i2 are gone; i9, i10 and i11 are new among the others, "alone" and "too" without a known neighbour."""

METHODS: dict[str, dict[str, Any]] = {
    "metric": {"dim": 6, "epochs": 2, "batch_size": 16, "neighbours": 4, "reranker_steps": 3},
    "sml-gru-ncas": {"preset": "quick", "dim": 6, "hidden": 6, "epochs": 2, "batch_size": 16, "device": "cpu"},
    "sml-maxpool-triplet": {"preset": "paper", "dim": 6, "item_hidden": 4, "common_embedding": False, "epochs": 1},
    "gru4rec": {"layers": (6,), "embedding": 4, "constrained_embedding": False, "n_sample": 8, "epochs": 2},
}
TABLES = ("network.item_embedding.weight", "network.click_embedding.weight", "outputs", "inputs")


def fitted(name: str) -> TrainedRecommender:
    model = make_recommender(name, seeded(name, METHODS[name])).fit(YESTERDAY)
    assert isinstance(model, TrainedRecommender)
    return model


@pytest.fixture(params=METHODS)
def yesterday(request: pytest.FixtureRequest) -> TrainedRecommender:
    return fitted(request.param)


def test_the_items_are_those_of_the_log_and_the_model_to_start_from_stays(yesterday: TrainedRecommender):
    before = {name: array.copy() for name, array in yesterday.state().items()}
    today = yesterday.retrain(TODAY)
    assert set(today.vocabulary.ids) == set(TODAY.vocabulary.ids)
    assert len(today.history) == (2 if yesterday.name == "metric" else 1)
    assert today.start is None
    assert today.params() == yesterday.params()
    assert {"alone", "i11"} & set(today.recommend([["i3", "i4"]], k=30)[0].items)
    for name, array in yesterday.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_one_epoch_has_later_sessions_twice_where_they_are_many(monkeypatch: pytest.MonkeyPatch):
    yesterday, learned = fitted("metric"), list[Sessions]()
    recipe = Metric.recipe

    def watched(self: Metric, network: Any, sessions: Sessions, *more: Any) -> Any:
        learned.append(sessions)
        return recipe(self, network, sessions, *more)

    monkeypatch.setattr(Metric, "recipe", watched)
    later = Sessions.of([["i3", "i4"]] * 20, starts=range(10**6, 10**6 + 20))
    assert len(yesterday.retrain(YESTERDAY.followed_by(later)).history) == 1
    assert len(yesterday.retrain(YESTERDAY.followed_by(later.select([0]))).history) == 2
    assert [sessions.n_sessions for sessions in learned] == [60 + 2 * 20, 60 + 1]


def test_training_begins_with_the_weights_of_the_other_fit(
    yesterday: TrainedRecommender, monkeypatch: pytest.MonkeyPatch
):
    for module in ("training.loop", "recommenders.metric.recommender", "recommenders.sml.recommender"):
        monkeypatch.setattr(f"nearnext.{module}.train", lambda *_, **__: [])  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr("nearnext.recommenders.metric.recommender.halfway", lambda *_: None)  # pyright: ignore[reportUnknownLambdaType]
    before, after = yesterday.state(), _silent(yesterday)
    known = [raw for raw in TODAY.vocabulary.ids if raw in set(YESTERDAY.vocabulary.ids)]
    then, now = yesterday.vocabulary.encode(known), TODAY.vocabulary.encode(known)
    compared = [name for name in before if name in TABLES and len(before[name])]
    assert compared
    for name in compared:
        learned = before[name][then].any(axis=1)  # items that only a validation part has were not learned
        np.testing.assert_array_equal(after[name][now][learned], before[name][then][learned])
        assert after[name][1:].any(axis=1).all()
    layers = {name for name in before if name.startswith(("network.", "layer"))} - set(TABLES)
    assert_same_weights({name: after[name] for name in layers}, {name: before[name] for name in layers})


def test_metric_begins_halfway_to_a_fresh_start(monkeypatch: pytest.MonkeyPatch):
    yesterday, given = fitted("metric"), list[dict[str, Any]]()

    def watched(*networks: Any) -> None:
        given.extend(network.state_dict() for network in networks)

    monkeypatch.setattr("nearnext.recommenders.metric.recommender.halfway", watched)
    yesterday.retrain(TODAY)
    trained, fresh = given
    assert trained.keys() == fresh.keys()
    assert any((trained[name] != fresh[name]).any() for name in trained)


def _silent(yesterday: TrainedRecommender) -> dict[str, Any]:
    """The state of a retraining without a step; GRU4Rec silences what took none."""
    if yesterday.name != "gru4rec":
        return yesterday.retrain(TODAY).state()
    drawn: Any = yesterday.successor()
    return drawn.drawn(TODAY).to_state()


def test_a_saved_model_is_retrained_as_the_one_in_memory(yesterday: TrainedRecommender, tmp_path: Path):
    from nearnext.artifact import load

    loaded = load(yesterday.save(tmp_path / "model"))
    assert isinstance(loaded, TrainedRecommender)
    found, expected = (model.retrain(TODAY).state() for model in (loaded, yesterday))
    for state in (found, expected):
        state.pop("history", None)
    assert_same_weights(found, expected)


def test_the_reranker_is_kept_and_reads_the_new_log(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
    yesterday = fitted("metric")
    assert isinstance(yesterday, Metric)
    today = yesterday.retrain(TODAY)
    assert yesterday.reranker is not None
    assert today.reranker is yesterday.reranker
    assert today.generators is not None
    assert {voter.vocabulary for voter in today.generators.voters.values()} == {today.vocabulary}


def test_new_items_start_at_the_mean_of_their_neighbours_with_the_median_length():
    sessions = Sessions.of([["a", "new", "b"]] * 3 + [["c", "a"]] * 2)
    known = Sessions.of([["a"], ["b"], ["c"]])
    table = np.array([[0, 0], [3, 0], [0, 3], [0, 5]], np.float32)
    found = extended_embeddings(table, known.vocabulary, sessions)
    new = found[sessions.vocabulary.encode(["new"])[0]]
    assert np.linalg.norm(new) == pytest.approx(3, rel=1e-6)
    assert (new > 0).all()
    assert found[sessions.vocabulary.encode(["c"])[0]].tolist() == [0, 5]
    assert not found[0].any()


def test_items_stay_known_by_their_attributes(tmp_path: Path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,category\n" + "".join(f"i{n},{'even' if n % 2 else 'odd'}\n" for n in range(20)), "utf-8")
    yesterday = make_recommender("metric", METHODS["metric"]).fit(YESTERDAY, items=read_items(path))
    assert isinstance(yesterday, Metric)
    today = yesterday.retrain(TODAY)
    assert "i19" in set(today.vocabulary.ids)
    assert today.items is yesterday.items


def test_what_cannot_be_started_from_is_refused():
    yesterday = fitted("gru4rec")
    with pytest.raises(DataError, match=r"expected item ids that are texts.*found whole numbers; fit from scratch"):
        yesterday.retrain(Sessions.of([[1, 2], [2, 3]]))
    with pytest.raises(DataError, match="expected items of the model to start from in the log, found none"):
        yesterday.retrain(Sessions.of([["x", "y"], ["y", "z"]]))
    with pytest.raises(ConfigError, match="pop has no weights to start from; fit a new one"):
        make_recommender("pop").fit(TODAY).retrain(TODAY)
    with pytest.raises(ConfigError, match="not fitted"):
        make_recommender("gru4rec").retrain(TODAY)  # type: ignore[attr-defined]
    nothing = make_recommender("metric").fit(Sessions.of([["a"], ["b"]]))
    with pytest.raises(DataError, match="nothing was learned"):
        nothing.retrain(TODAY)  # type: ignore[attr-defined]
    voted = fitted("metric")
    assert isinstance(voted, Metric)
    voted.features = ()
    voted.reranker = voted.reranker or selection.Reranker(*[np.zeros(60, np.float32)] * 6)
    with pytest.raises(ConfigError, match="older nearnext"):
        voted.retrain(TODAY)

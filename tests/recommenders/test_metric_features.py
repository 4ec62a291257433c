"""Groups of features by hand, the statistics of items, and artifacts from before there were any."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metric_support import LOG, tiny
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.recommenders.metric import selection
from nearnext.recommenders.metric.features import GROUPS, Evidence, Lists, collect, feature_names, features_used
from nearnext.recommenders.metric.reranker import Reranker, fit_reranker, reranker_recipe
from nearnext.recommenders.metric.statistics import ITEM_FEATURES, item_statistics
from nearnext.testing import assert_same_lists

VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, -1]], np.float32)
POPULARITY = np.array([0, 0.1, 0.2, 0.3, 0.4], np.float32)
STATISTICS = np.arange(45, dtype=np.float32).reshape(5, 9)


def described(*clicks: Sequence[int]) -> list[dict[str, list[float]]]:
    """The features of candidates 1 to 4, in order, by name, for each session."""
    n, scratch = len(clicks), np.zeros((2, 5), np.int32)
    near = Lists(np.tile(np.arange(1, 5, dtype=np.int32), (n, 1)), np.ones((n, 4), np.float32))
    none = Lists(np.zeros((0, n, 1), np.int32), np.zeros((0, n, 1), np.float32))
    prefixes = Prefixes.of([np.array(session, np.int32) for session in clicks])
    evidence, sessions = Evidence(VECTORS, POPULARITY, STATISTICS, 0.5), np.tile(VECTORS[:1], (n, 1))
    found = collect(prefixes, near, sessions, none, evidence, scratch)
    assert not scratch.any()
    assert found.items.tolist() == [1, 2, 3, 4] * n
    columns = found.features.reshape(n, 4, -1).transpose(0, 2, 1).tolist()
    return [dict(zip(feature_names([], GROUPS), session, strict=True)) for session in columns]


@pytest.mark.parametrize(
    ("clicks", "expected"),
    [
        ([2], {"distinct share": 1, "distinct": 0, "recent revisits": 0, "revisit": 0, "back and forth": 0}),
        ([2, 3, 2], {"distinct share": 2 / 3, "distinct": np.log(2), "recent revisits": 1 / 3, "revisit": 1}),
        ([2, 3, 2], {"back and forth": 1}),
        ([1, 1, 2, 3, 4, 2, 3], {"distinct share": 4 / 7, "recent revisits": 2 / 5, "revisit": 1, "back and forth": 0}),
        ([0, 0, 0], {"distinct share": 1, "recent revisits": 0, "revisit": 0, "back and forth": 0}),
    ],
)
def test_a_session_that_repeats_itself_says_so(clicks: list[int], expected: dict[str, float]):
    (found,) = described(clicks)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], [value] * 4, rtol=1e-6, err_msg=name)


def test_what_a_session_did_with_a_candidate():
    # Item 1 three times, last three clicks ago; after the last click's item, 2, came 1 and 3, each once.
    (found,) = described([1, 2, 1, 1, 2, 3, 2])
    one = 1.0
    expected = {
        "last": [0, 1, 0, 0],
        "last but one": [0, 0, 1, 0],
        "clicks since": [one + np.log(4), one, one + np.log(2), 0],
        "distinct since": [one + np.log(3), one, one + np.log(2), 0],
        "loop": [1, 1 / 3, 2 / 3, 0],
        "followed last": [np.log(2), 0, np.log(2), 0],
        "followed both": [0, 0, 0, 0],
        "led to last": [np.log(3), 0, np.log(2), 0],
        "count rank": [1 / 2, 1, 1 / 3, 0],
        "share of clicks": [3 / 7, 3 / 7, 1 / 7, 0],
        "count over age": [np.log(3 / 4), np.log(3), np.log(1 / 2), 0],
        "share after last": [1 / 2, 0, 1 / 2, 0],
    }
    assert tuple(expected) == tuple(GROUPS["own"])
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_what_followed_the_last_two_clicks():
    (found,) = described([3, 1, 2, 3, 1])
    np.testing.assert_allclose(found["followed both"], [0, np.log(2), 0, 0], rtol=1e-6)


def test_a_candidate_is_compared_with_the_last_two_clicks_and_has_its_statistics():
    found, first, unknown = described([1, 3, 2], [3], [2, 0])
    np.testing.assert_allclose(found["cosine with last"], [0, 1, 0.8, -1], rtol=1e-6)
    np.testing.assert_allclose(found["cosine with last but one"], [0.6, 0.8, 1, -0.8], rtol=1e-6)
    assert first["cosine with last but one"] == [0] * 4
    assert unknown["cosine with last"] == [0] * 4
    np.testing.assert_allclose(unknown["cosine with last but one"], [0, 1, 0.8, -1], rtol=1e-6)
    np.testing.assert_allclose(found["popularity of last"], [0.2] * 4, rtol=1e-6)
    assert found["last rate of last"] == [STATISTICS[2, 7]] * 4
    assert found["revisit after last"] == [STATISTICS[2, 8]] * 4
    for column, name in enumerate(ITEM_FEATURES):
        assert found[name] == STATISTICS[1:, column].tolist()


def test_a_prefix_does_not_change_the_features_of_another():
    sessions = [[1, 2, 1, 1, 2, 3, 2], [], [2, 0], [4, 4, 4]]
    assert described(*sessions) == [described(session)[0] for session in sessions]


def test_statistics_of_items_by_hand():
    # "a": clicks 1, 3 and 4 of 6, one a revisit, one begins and one ends a session; after it "b", then "a" again.
    sessions = Sessions.of([["a", "b", "a"], ["a", "c", "b"]])
    found = dict(zip(ITEM_FEATURES, item_statistics(sessions).T.tolist(), strict=True))
    assert sessions.vocabulary.ids.to_list()[0] == "a"
    a, little = 1, 6**-0.5
    assert found["since last click"][a] == pytest.approx(np.log(3 / 6 + little))
    assert found["since first click"][a] == pytest.approx(np.log(1 + little))
    assert found["long trend"][a] == pytest.approx(np.log(1 / (3 / 2 + 1)))
    assert found["revisit rate"][a] == pytest.approx((1 + 5 / 6) / 8)
    assert found["first rate"][a] == pytest.approx((2 + 5 * 2 / 6) / 8)
    assert found["last rate"][a] == pytest.approx((1 + 5 * 2 / 6) / 8)
    assert found["revisit after"][a] == pytest.approx((0 + 5 * 1 / 4) / 7)
    for values in found.values():
        assert values[0] == pytest.approx(np.mean(values[1:]), abs=1e-6)


def test_items_without_a_click_have_the_mean_of_the_others():
    log = Sessions.of([["a", "b"], ["a", "c"]])
    found = item_statistics(log.select([0]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[3], found[1:3].mean(axis=0), rtol=1e-6)


def test_statistics_of_a_large_log_are_rounded(monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(7)
    log = Sessions.of([(draw.zipf(1.4, 5) % 20).tolist() for _ in range(400)])
    exact = item_statistics(log)
    monkeypatch.setattr("nearnext.recommenders.metric.statistics.EXACT", 1000)
    monkeypatch.setattr("nearnext.data.blocks.BLOCK", 300)
    large = item_statistics(log)
    assert np.abs(large[:, 1:] - exact[:, 1:]).max() < 0.1
    assert np.abs(np.exp(large[:, 0]) - np.exp(exact[:, 0])).max() < 0.01


def test_groups_that_are_left_out_count_for_nothing():
    rng = np.random.default_rng(5)
    used = features_used([], ["item"])
    features = rng.standard_normal((400, len(used))).astype(np.float32)
    found = selection.Candidates(np.arange(0, 401, 8), np.tile(np.arange(1, 9), 50).astype(np.int32), features)
    model = fit_reranker(reranker_recipe(found, rng.integers(0, 8, 50), used=used, hidden=4, steps=20))
    other = np.where(used, features, rng.standard_normal(features.shape)).astype(np.float32)
    np.testing.assert_array_equal(model.probabilities(found), model.probabilities(found._replace(features=other)))
    assert (model.scale[used] > 0).all()


def test_an_unknown_group_is_refused():
    with pytest.raises(ConfigError, match="unknown group of features 'time'; known: session, own, last, item"):
        tiny(features="session,time")


@pytest.fixture
def _always(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]


def without(state: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: array for name, array in state.items() if name not in names}


@pytest.mark.usefixtures("_always")
def test_what_was_saved_before_there_were_groups_gives_the_same_lists(tmp_path: Path):
    prefixes = Prefixes.every(LOG)
    model = tiny(features="").fit(LOG)
    assert model.reranker is not None
    assert "item_statistics" not in model.state()
    # As before: no such option in the manifest, so that its default is taken.
    loaded = tiny().restore(model.vocabulary, model.state())
    assert_same_lists(loaded.rank(prefixes, 10), model.rank(prefixes, 10))
    again = load_artifact(save_artifact(loaded, tmp_path / "model", {})).recommender
    assert_same_lists(again.rank(prefixes, 10), model.rank(prefixes, 10))
    assert "a new fit will" in again.note  # pyright: ignore[reportAttributeAccessIssue]
    assert again.params()["features"] == list(GROUPS)
    assert "item_statistics" in again.fit(LOG).state()


@pytest.mark.usefixtures("_always")
def test_statistics_of_another_catalogue_are_refused():
    model = tiny().fit(LOG)
    state = model.state() | {"item_statistics": np.zeros((3, 9), np.float32)}
    with pytest.raises(DataError, match=r"expected item_statistics to be float32 \[62, 9\], found float32 \[3, 9\]"):
        tiny().restore(model.vocabulary, state)
    with pytest.raises(DataError, match="expected the array item_statistics, which its re-ranker reads, found none"):
        tiny().restore(model.vocabulary, without(model.state(), "item_statistics"))


def test_a_few_candidates_stand_for_all():
    # Of 200 candidates one is always right, by one feature alone; 24 are drawn in a step.
    rng = np.random.default_rng(6)
    positions = rng.integers(0, 200, 60)
    features = np.zeros((60, 200, 2), np.float32)
    features[:, :, 1] = rng.standard_normal((60, 200))
    features[np.arange(60), positions, 1] = 4.0
    found = selection.Candidates(
        np.arange(0, 12001, 200), np.tile(np.arange(1, 201), 60).astype(np.int32), features.reshape(-1, 2)
    )
    model = fit_reranker(reranker_recipe(found, positions, hidden=4, steps=60))
    assert isinstance(model, Reranker)
    right = model.probabilities(found).reshape(60, 200)[np.arange(60), positions]
    assert (right > model.probabilities(found).reshape(60, 200).mean(axis=1)).all()

"""The default recommender: what it learns from, when it re-ranks, and the laws its lists keep with and without."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_support import audit_split
from metric_support import CLICKS, LOG, N_ITEMS, tiny
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_at, split_last
from nearnext.errors import ArtifactError, ConfigError
from nearnext.recommenders.agreement import differing_lists, list_of
from nearnext.recommenders.metric import selection
from nearnext.recommenders.metric.recommender import Metric
from nearnext.recommenders.metric.reranker import Reranker
from nearnext.recommenders.named import DEFAULTS
from nearnext.recommenders.ranking import Ranking, Recommendation
from nearnext.testing import assert_same_lists
from nearnext.training.recipe import Recipe
from training_support import assert_same_weights, seed

pytestmark = pytest.mark.slow

PREFIXES = Prefixes.every(LOG)
every_name = pytest.mark.parametrize("name", DEFAULTS)


def lists(model: Metric) -> Ranking:
    return model.rank(PREFIXES, 25)


@pytest.fixture
def reranked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The re-ranker is used, although a tiny log proves nothing."""
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]


@pytest.fixture(scope="module")
def voted() -> Metric:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
        return tiny().fit(LOG)


@pytest.fixture(scope="module")
def plain() -> Metric:
    return tiny(voters=[]).fit(LOG)


@pytest.fixture(params=["voted", "plain"])
def fitted(request: pytest.FixtureRequest) -> Metric:
    return request.getfixturevalue(request.param)


# Laws of lists, by votes and by distance


def test_a_prefix_alone_gets_the_list_it_gets_among_all(fitted: Metric):
    whole = fitted.rank(PREFIXES, 25, threads=2)
    for row in range(0, len(PREFIXES), 9):
        alone = fitted.rank(PREFIXES.slice(row, row + 1), 25, threads=1)
        assert_same_lists(alone, list_of(whole, row))


def test_threads_change_no_list(fitted: Metric, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nearnext.recommenders.ranking.CHUNK", 16)
    assert_same_lists(fitted.rank(PREFIXES, 25, threads=3), fitted.rank(PREFIXES, 25, threads=1))


@pytest.mark.usefixtures("reranked")
def test_the_same_seed_gives_the_same_lists_and_another_others(voted: Metric):
    before = LOG.fingerprint()
    assert_same_lists(lists(tiny().fit(LOG)), lists(voted))
    assert differing_lists(lists(tiny().fit(LOG, seed=seed(8))), lists(voted)).any()
    assert LOG.fingerprint() == before


def test_a_saved_model_gives_the_same_lists(fitted: Metric, tmp_path: Path):
    loaded = load_artifact(save_artifact(fitted, tmp_path / "model", {})).recommender
    assert isinstance(loaded, Metric)
    assert_same_lists(lists(loaded), lists(fitted))
    assert loaded.params() == fitted.params()
    assert_same_lists(loaded.recommend([["i1", "i2"]]), fitted.recommend([["i1", "i2"]]))
    assert (loaded.reranker is None) == (fitted.reranker is None)


def test_the_weights_of_an_older_artifact_are_those_of_the_reranker(voted: Metric):
    state = {name.replace("reranker.", "calibration."): array for name, array in voted.state().items()}
    assert "calibration.linear" in state
    assert_same_lists(lists(tiny().restore(voted.vocabulary, state)), lists(voted))


ids = st.sampled_from([f"i{number}" for number in range(N_ITEMS)])


@pytest.mark.parametrize("kind", ["voted", "plain"])
@settings(max_examples=40, deadline=None)
@given(
    session=st.lists(ids | st.just("unheard-of"), max_size=6),
    k=st.integers(1, 80),
    exclude=st.lists(ids, max_size=50),
    allow=st.none() | st.lists(ids, max_size=30),
    exclude_seen=st.booleans(),
)
def test_lists_are_distinct_admissible_and_never_short(
    request: pytest.FixtureRequest,
    kind: str,
    session: list[str],
    k: int,
    exclude: list[str],
    allow: list[str] | None,
    exclude_seen: bool,
):
    fitted: Metric = request.getfixturevalue(kind)
    answer = fitted.recommend([session], k, exclude=exclude, allow=allow, exclude_seen=exclude_seen)[0]
    known = set(map(str, LOG.vocabulary.ids.to_list()))
    admissible = (known if allow is None else known & set(allow)) - set(exclude)
    admissible -= set(session) if exclude_seen else set[str]()
    assert set(map(str, answer.items)) <= admissible
    assert len(set(answer.items)) == len(answer.items) == min(k, len(admissible))
    assert answer.scores[: answer.own] == sorted(answer.scores[: answer.own], reverse=True)
    assert np.isfinite(answer.scores).all()
    assert answer.unknown == [raw for raw in session if raw == "unheard-of"]


def test_allowed_items_that_nothing_proposes_are_listed(voted: Metric):
    proposed = set(voted.recommend([["i1"]], k=20)[0].items)
    others = [raw for raw in LOG.vocabulary.ids.to_list() if raw not in proposed][-5:]
    assert set(voted.recommend([["i1"]], k=5, allow=others)[0].items) == set(others)


@pytest.mark.parametrize("session", [[], ["unheard-of"]])
def test_nothing_known_gives_the_popular_items(fitted: Metric, session: list[str]):
    answer = fitted.recommend([session], k=4)[0]
    assert (answer.items, answer.own) == (LOG.vocabulary.decode([1, 2, 3, 4]), 0)


def test_without_a_time_the_question_is_asked_at_the_end_of_training(voted: Metric):
    end = float(LOG.ends.max()) / 1e6
    now, then = voted.recommend([["i1", "i2"]], k=25), voted.recommend([["i1", "i2"]], k=25, time=end)
    assert_same_lists(then, now)
    assert sum(now[0].scores) <= 1 + 1e-6


# What is learned from


def recorded(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Sessions], list[Sessions]]:
    """The sessions of each training, and of each fit of voters."""
    trained, voting = list[Sessions](), list[Sessions]()
    recipe, fit_voters = Metric.recipe, Metric._fitted  # pyright: ignore[reportPrivateUsage]

    def recipe_too(self: Metric, network: Any, sessions: Sessions, *others: Any) -> Any:
        trained.append(sessions)
        return recipe(self, network, sessions, *others)

    def fit_too(self: Metric, network: Any, index: Any, sessions: Sessions) -> Any:
        voting.append(sessions)
        return fit_voters(self, network, index, sessions)

    monkeypatch.setattr(Metric, "recipe", recipe_too)
    monkeypatch.setattr(Metric, "_fitted", fit_too)
    return trained, voting


LATE = [["a", "b", "c"]] * 36 + [["a", "late"], ["late", "b"], ["a", "b"], ["b", "c"]]


@pytest.mark.usefixtures("reranked")
def test_the_first_training_sees_nothing_of_the_sessions_held_out(monkeypatch: pytest.MonkeyPatch):
    trained, voting = recorded(monkeypatch)
    log = Sessions.of(LATE)
    tiny().fit(log)
    first, refit = trained
    assert [sessions.n_sessions for sessions in (first, refit, *voting)] == [36, 40, 36, 40]
    for sessions in (first, voting[0]):
        assert sessions.vocabulary.ids.to_list() == ["a", "b", "c"]
        assert set(sessions.session_ids.to_list()) <= set(range(36))
    assert "late" in refit.vocabulary.ids.to_list()


@pytest.mark.usefixtures("reranked")
def test_fewer_prefixes_take_fewer_steps_of_the_reranker(monkeypatch: pytest.MonkeyPatch):
    taken = list[int]()
    fit = selection.fit_reranker

    def counted(recipe: Recipe[Any]) -> Reranker:
        taken.append(recipe.batches.n_batches)
        return fit(recipe)

    monkeypatch.setattr(selection, "fit_reranker", counted)
    monkeypatch.setattr("nearnext.recommenders.metric.reranker.FEW_STEPS", 3)
    n = len(Prefixes.every(split_last(LOG, 0.1).test))
    tiny(reranker_steps=60, reranker_prefixes=100).fit(LOG)
    assert taken == [60 * (n // 2) // 100, 60 * (n // 2) // 100, 60 * n // 100]
    assert taken[0] > 3, "no fewer than that would be taken in any case"


def test_what_is_held_out_changes_no_loss_of_the_first_training():
    other = [*LATE[:36], ["c", "a"], ["c", "b"], ["c", "late"], ["late", "late"]]
    one, two = tiny(refit=False).fit(Sessions.of(LATE)), tiny(refit=False).fit(Sessions.of(other))
    assert one.history[0]["loss"] == pytest.approx(two.history[0]["loss"], rel=1e-5)


@pytest.mark.usefixtures("reranked")
def test_without_a_second_training_late_items_are_among_their_neighbours():
    model = tiny(refit=False).fit(Sessions.of(LATE))
    assert model.network is not None
    vectors = model.network.item_embedding.weight.detach().numpy()
    late, a, b = (vectors[model.vocabulary.encode([raw])[0]] for raw in ("late", "a", "b"))
    others = np.delete(vectors, [0, model.vocabulary.encode(["late"])[0]], axis=0)
    assert np.linalg.norm(late) == pytest.approx(np.median(np.linalg.norm(others, axis=1)), rel=1e-5)
    plane = np.stack([a, b]).T  # its neighbours, once each
    np.testing.assert_allclose(plane @ np.linalg.lstsq(plane, late, rcond=None)[0], late, atol=1e-5)
    assert len(model.recommend([["late"]], k=4)[0].items) == 4


@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_items_keep_their_embeddings_whatever_the_order_of_equal_counts(fraction: float):
    clicks = [["a", "x"]] * 20 + [["b", "y"]] * 20
    log = Sessions.of(clicks)
    turned = log.select(np.arange(40)[::-1].copy())  # now b comes first, and the vocabulary still begins with a
    model = tiny(validation_fraction=fraction, encoder="attention", epochs=4, voters=[]).fit(turned)
    answers = model.recommend([["a"], ["b"]], k=1, exclude_seen=True)
    assert [answer.items for answer in answers] == [["x"], ["y"]]


def test_items_that_nobody_clicked_are_no_obstacle():
    log = Sessions.of([["a", "b"]] * 20 + [["z"]])
    model = tiny(validation_fraction=0.0).fit(log.select(np.arange(20)))
    assert set(model.recommend([["a"]], k=3)[0].items) == {"a", "b", "z"}


# Runs that stop and go on


@pytest.mark.usefixtures("reranked")
def test_an_interrupted_fit_resumes_to_the_lists_of_one_that_was_not(tmp_path: Path):
    through = tiny(epochs=3).fit(LOG)
    stopped = tiny(epochs=3, directory=str(tmp_path / "run"))

    def stop(figures: Mapping[str, float]) -> None:
        if figures["epoch"] == 2:
            raise KeyboardInterrupt

    stopped.watch = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(LOG)
    resumed = tiny(epochs=3).with_checkpoints(tmp_path / "run").fit(LOG)
    assert resumed.resume
    assert_same_lists(lists(resumed), lists(through))
    assert resumed.training_seconds > 0
    assert_same_weights(resumed.state(), through.state())
    with pytest.raises(ConfigError, match="is of other data"):
        tiny(epochs=3).with_checkpoints(tmp_path / "run").fit(Sessions.of(CLICKS[:80]))
    with pytest.raises(ArtifactError, match="resume it or choose another directory"):
        tiny(epochs=3, directory=str(tmp_path / "run")).fit(LOG)


# The leak audit


@pytest.mark.usefixtures("reranked")
@every_name
def test_the_leak_audit_passes(name: str):
    split = split_at(LOG, 70)
    verdict = audit_split(
        split,
        lambda planted: split_at(LOG.followed_by(planted), 70),
        [(tiny(name).fit(split.train), 0.0)],
        refit=lambda _, train: tiny(name).fit(train),
    )
    assert verdict.passed, verdict.checks


def test_a_short_list_is_the_beginning_of_a_longer_one(monkeypatch: pytest.MonkeyPatch):
    reranked = "nearnext.recommenders.metric.selection.significantly_better"
    monkeypatch.setattr(reranked, lambda *_: True)  # type: ignore[reportUnknownLambdaType]
    draw = np.random.default_rng(4)
    log = Sessions.of([[f"i{item}" for item in 25 * (n % 3) + draw.integers(0, 25, 5)] for n in range(500)])
    model = Metric(dim=8, epochs=1, candidates=20, reranker_steps=5, seed=seed()).fit(log)
    assert model.reranker is not None
    (short,), (long,) = (model.recommend([["i3", "i30"]], k=k) for k in (20, 75))
    assert_same_lists(Recommendation(long.items[:20], long.scores[:20], 20, []), short)
    assert len(set(long.items)) == long.own == 75
    assert long.scores == sorted(long.scores, reverse=True)

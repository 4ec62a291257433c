"""Explanations: right numbers by hand, for every method, and one clear line where there is nothing to say."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError, ConfigError
from nearnext.explanation import explain, near_sessions, similar_items
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import BASELINES, make_recommender
from nearnext.recommenders.neighbours import SKNN, VSKNN
from nearnext.recommenders.popularity import Pop
from nearnext.recommenders.ranking import Recommendation
from nearnext.recommenders.rules import AssociationRules, Markov
from nearnext.recommenders.session_index import SessionMemory, build_index
from nearnext.recommenders.space import space_of
from nearnext.testing import assert_same_lists
from training_support import seed, seeded

pytestmark = pytest.mark.slow

Command = Callable[..., Any]

LOG = Sessions.of([["a", "b"], ["a", "b", "c"], ["d", "c"], ["d", "e", "e"]])

MODELS = [*BASELINES, "gru4rec", "sml-gru-ncas", "sml-maxpool-triplet"]
SMALL: dict[str, dict[str, Any]] = {
    "gru4rec": {"layers": (6,), "epochs": 2, "batch_size": 4, "n_sample": 8},
    "sml-gru-ncas": {"dim": 6, "epochs": 2, "batch_size": 4, "extra": 8, "device": "cpu"},
    "sml-maxpool-triplet": {"dim": 6, "epochs": 2, "batch_size": 4, "device": "cpu", "distance": "euclidean"},
}
MANY = Sessions.of([[f"i{(s * 7 + j * j) % 13}" for j in range(2 + s % 4)] for s in range(60)])


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Recommender:
    return (
        make_recommender(request.param, seeded(request.param, SMALL.get(request.param)))
        .fit(MANY)
        .remember(MANY, limit=40, keep_ids=True)
    )


def test_every_method_explains_the_first_item_of_its_list_and_says_what_it_leaves_out(model: Recommender):
    session = ["i1", "i5", "i2"]
    answer = model.recommend([session], k=3)[0]
    why = explain(model, session, answer.items[0], n=3)
    assert why.rank == 1
    assert why.score == pytest.approx(answer.scores[0], rel=1e-5)
    assert [click.item for click in why.clicks] == session
    assert len(why.similar) == 3
    assert why.evidence is not None
    assert json.loads(json.dumps(why.as_dict()))["similar"][0] == {
        "item": why.similar[0][0],
        "score": why.similar[0][1],
    }


def test_leaving_a_click_out_is_the_same_as_asking_without_it(model: Recommender):
    session = ["i1", "i5", "i2"]
    item = model.recommend([session], k=2)[0].items[1]
    for left, click in enumerate(explain(model, session, item).clicks):
        without = model.recommend([session[:left] + session[left + 1 :]], k=13)[0]
        at = without.items.index(item)
        assert click.rank_without == at + 1
        assert click.without == (pytest.approx(without.scores[at], rel=1e-5) if at < without.own else None)


@pytest.mark.parametrize("name", ["metric-fast", "sml-gru-ncas"])
def test_a_share_among_candidates_is_no_score_of_an_item_that_is_not_listed(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nearnext.recommenders.metric.selection.significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(sys.modules[explain.__module__], "DEPTH", 3)
    options = SMALL.get(name, {"dim": 8, "epochs": 1, "reranker_steps": 20})
    model = make_recommender(name, seeded(name, options)).fit(MANY)
    listed = model.recommend([["i1", "i5"]], k=13)[0]
    why = explain(model, ["i1", "i5"], listed.items[-1])
    assert why.rank is None
    # In a metric space a score is that of a distance; the re-ranker would give 1 to an item alone.
    assert why.score == (None if name == "metric-fast" else pytest.approx(listed.scores[-1], rel=1e-4))


def test_near_sessions_are_in_order_of_distance_and_those_listed_contain_the_item(model: Recommender):
    clicks = model.vocabulary.encode(["i1", "i5"])
    item = int(model.vocabulary.encode(["i2"])[0])
    evidence = near_sessions(model, clicks, item, n=50)
    assert evidence.containing == len(evidence.sessions) <= evidence.nearest
    assert all(near.contains and "i2" in near.items for near in evidence.sessions)
    order = [-near.similarity if near.similarity is not None else near.distance for near in evidence.sessions]
    assert order == sorted(order)
    for near in evidence.sessions:
        assert near.overlap == len({"i1", "i5"} & set(near.items))
        assert near.id is None or MANY.raw(MANY.session_ids.to_list().index(near.id)) == near.items


def test_effects_of_clicks_are_votes_by_hand():
    # Rules of association a → b: 2, d → b: 0. Only the last click recommends.
    why = explain(AssociationRules().fit(LOG), ["d", "a"], "b")
    assert (why.rank, why.score) == (1, 2.0)
    first, last = why.clicks
    assert (first.effect, first.without, first.rank_without) == (0.0, 2.0, 1)
    assert (last.effect, last.without) == (None, None), "without its click the item has no score, which is not 0"


def test_an_effect_of_a_neighbour_method_is_a_difference_of_votes():
    # Cosine to each neighbour of {a, c}: [a b] 1/√2·√2 = 1/2, [a b c] 2/√6, [d c] 1/2. "b" is in the first two.
    why = explain(SKNN().fit(LOG), ["a", "c"], "b")
    assert why.score == pytest.approx(1 / 2 + 2 / math.sqrt(6), rel=1e-6)
    # Without c: [a b] 1/√2, [a b c] 1/√3. Without a: only [a b c] has a "b": 1/√3.
    assert why.clicks[0].without == pytest.approx(1 / math.sqrt(3), rel=1e-6)
    assert why.clicks[1].without == pytest.approx(1 / math.sqrt(2) + 1 / math.sqrt(3), rel=1e-6)
    assert why.clicks[0].effect == pytest.approx(1 / 2 + 2 / math.sqrt(6) - 1 / math.sqrt(3), rel=1e-5)
    assert why.clicks[1].effect == pytest.approx(
        1 / 2 + 2 / math.sqrt(6) - 1 / math.sqrt(2) - 1 / math.sqrt(3), rel=1e-5
    )


def test_items_are_similar_by_the_cosine_of_their_sessions():
    # a is in sessions 0 and 1, b in the same, c in 1 and 2, d in 2 and 3, e in 3.
    assert similar_items(SKNN().fit(LOG), "a", k=5) == [("b", 1.0), ("c", 0.5)]
    # Remembered sessions do for methods that keep none; here only the last two are remembered.
    markov = Markov().fit(LOG).remember(LOG, limit=2)
    assert similar_items(markov, "d") == [
        ("c", pytest.approx(1 / math.sqrt(2))),
        ("e", pytest.approx(1 / math.sqrt(2))),
    ]
    assert similar_items(markov, "a") == []


def test_items_of_a_metric_model_are_similar_by_distance():
    model = make_recommender("sml-maxpool-ncas", {"dim": 4, "epochs": 1, "device": "cpu", "seed": seed()}).fit(MANY)
    space = space_of(model)
    assert space is not None
    located = np.flatnonzero(space.located)
    vectors = space.items(located.astype(np.int32)).astype(np.float64)
    wanted = 1.0 + vectors @ vectors[3]
    names = model.vocabulary.decode(located.astype(np.int32))
    order = [at for at in np.argsort(-wanted, kind="stable").tolist() if at != 3]
    found = similar_items(model, names[3], k=100)
    expected = Recommendation([names[at] for at in order], wanted[order].tolist(), len(order), [])
    assert_same_lists(
        Recommendation([item for item, _ in found], [score for _, score in found], len(found), []), expected
    )


def test_the_nearest_session_of_a_metric_model_is_the_same_session():
    model = make_recommender("sml-gru-ncas", SMALL["sml-gru-ncas"]).fit(MANY).remember(MANY)
    item = int(model.vocabulary.encode(["i7"])[0])
    session = next(session for session in range(59, -1, -1) if "i7" in MANY.raw(session))
    evidence = near_sessions(model, model.vocabulary.encode(MANY.raw(session)), item, n=3)
    assert evidence.sessions[0].distance == pytest.approx(0.0, abs=1e-5)
    assert evidence.sessions[0].items == MANY.raw(session)


def test_overlap_and_distance_of_near_sessions_by_hand():
    sknn = SKNN().fit(LOG).remember(LOG)
    evidence = near_sessions(sknn, sknn.vocabulary.encode(["a", "c", "a"]), int(sknn.vocabulary.encode(["b"])[0]))
    assert (evidence.nearest, evidence.containing) == (3, 2)
    first, second = evidence.sessions
    assert (first.id, first.items, first.overlap) == (1, ["a", "b", "c"], 2)
    assert first.distance == pytest.approx(1 - 2 / math.sqrt(6))
    assert (second.id, second.items, second.overlap) == (0, ["a", "b"], 1)
    assert second.distance == pytest.approx(1 - 1 / 2)


def test_when_no_near_session_has_the_item_the_nearest_are_shown_as_such():
    sknn = SKNN().fit(LOG).remember(LOG)
    evidence = near_sessions(sknn, sknn.vocabulary.encode(["b"]), int(sknn.vocabulary.encode(["e"])[0]))
    assert (evidence.nearest, evidence.containing) == (2, 0)
    assert [near.contains for near in evidence.sessions] == [False, False]


def test_sessions_older_than_the_memory_have_no_id_but_their_items():
    vsknn = VSKNN().fit(LOG).remember(LOG, limit=1)
    evidence = near_sessions(vsknn, vsknn.vocabulary.encode(["a"]), int(vsknn.vocabulary.encode(["b"])[0]))
    assert {(near.id, tuple(near.items)) for near in evidence.sessions} == {(None, ("a", "b")), (None, ("a", "b", "c"))}


def test_an_empty_session_is_explained_by_popularity():
    log = Sessions.of([["a", "b", "a"], ["a", "c"]])
    why = explain(SKNN().fit(log).remember(log), [], "b")
    assert (why.rank, why.score, why.popularity, why.popularity_rank) == (2, None, 1, 2)
    assert (why.clicks, why.evidence) == ([], None)
    assert set(why.left_out) == {"score", "evidence"}


def test_only_the_last_clicks_of_a_long_session_are_left_out_in_turn():
    session = ["a", "d"] * 40
    why = explain(SKNN().fit(LOG), session, "b")
    assert [click.position for click in why.clicks] == list(range(31, 81))
    assert why.left_out["clicks"] == "only the last 50 of 80 clicks"


def test_a_method_without_sessions_says_so():
    why = explain(Pop().fit(LOG), ["a"], "b")
    assert why.similar == []
    assert why.evidence is None
    assert "--remember" in why.left_out["similar"]
    assert "--remember" in why.left_out["evidence"]


@pytest.mark.parametrize(
    ("session", "item", "message"),
    [
        (["a"], "nope", "unknown item 'nope': it does not occur in what sknn was fitted on; choose another"),
        (["x", "y"], "a", "no click of the session occurs in what sknn was fitted on; give one that does"),
    ],
)
def test_unknown_ids_are_one_clear_line(session: list[str], item: str, message: str):
    with pytest.raises(ConfigError) as error:
        explain(SKNN().fit(LOG), session, item)
    assert str(error.value) == message


def test_some_unknown_clicks_are_ignored_and_reported():
    assert explain(SKNN().fit(LOG), ["nope", "a"], "b").unknown == ["nope"]


def test_an_unfitted_recommender_explains_nothing():
    with pytest.raises(ConfigError, match="not fitted"):
        explain(SKNN(), ["a"], "b")
    with pytest.raises(ConfigError, match="not fitted"):
        SKNN().remember(LOG)


def test_memory_keeps_the_most_recent_sessions_under_the_numbers_of_the_whole_index():
    log = Sessions.of([["a"], ["b"], ["c"], ["a", "b"]], starts=[30, 10, 30, 20])
    whole, memory = build_index(log, 0.0), SessionMemory.of(log, limit=3, keep_ids=True)
    ids = {frozenset(log.raw(session)): log.session_ids[session] for session in range(4)}
    for number in range(4):
        items = whole.session_items[whole.session_offsets[number] : whole.session_offsets[number + 1]]
        expected = ids[frozenset(log.vocabulary.decode(items))] if number < 3 else None
        assert memory.session_id(number) == expected
        if number < 3:
            offsets = memory.index.session_offsets
            assert memory.index.session_items[offsets[number] : offsets[number + 1]].tolist() == items.tolist()


def test_refitting_forgets_and_memory_changes_no_list():
    sknn = SKNN().fit(LOG)
    before = sknn.recommend([["a", "d"]], k=3)
    assert sknn.remember(LOG, limit=1).recommend([["a", "d"]], k=3) == before
    assert sknn.fit(LOG).memory is None


@pytest.mark.parametrize("ids", ["integers", "strings"])
def test_an_artifact_keeps_the_memory(tmp_path: Path, ids: str):
    log = LOG
    if ids == "strings":
        log = Sessions(LOG.items, LOG.offsets, LOG.times, LOG.vocabulary, LOG.session_ids.cast(str))
    markov = Markov().fit(log).remember(log, limit=3, keep_ids=True)
    loaded = load_artifact(save_artifact(markov, tmp_path / "model", {})).recommender
    assert markov.memory is not None
    assert loaded.memory is not None
    assert loaded.memory.sessions.fingerprint() == markov.memory.sessions.fingerprint()
    assert explain(loaded, ["a"], "b") == explain(markov, ["a"], "b")


def test_an_artifact_without_memory_has_no_such_file_and_a_damaged_one_is_refused(tmp_path: Path):
    folder = save_artifact(Markov().fit(LOG), tmp_path / "model", {})
    assert not (folder / "sessions.parquet").exists()
    assert load_artifact(folder).recommender.memory is None
    save_artifact(Markov().fit(LOG).remember(LOG), folder, {})
    (folder / "sessions.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match="checksum"):
        load_artifact(folder)


def test_the_command_prints_tables_and_json(nearnext: Command, tmp_path: Path):
    folder = save_artifact(SKNN().fit(LOG).remember(LOG), tmp_path / "model", {})
    shown = nearnext("explain", folder, "--session", "a,nope", "--item", "b")
    assert shown.code == 0, shown.err
    for part in ("b by sknn: rank 2", "2 of the 2 nearest training sessions clicked it", "never saw them: nope"):
        assert part in shown.out
    whole = json.loads(nearnext("explain", folder, "--session", "a", "--item", "b", "--k", "1", "--json").out)
    assert (whole["rank"], whole["similar"], len(whole["evidence"]["sessions"])) == (
        2,
        [{"item": "a", "score": 1.0}],
        1,
    )


def test_the_command_refuses_unknown_ids_with_one_line(nearnext: Command, tmp_path: Path):
    folder = save_artifact(SKNN().fit(LOG), tmp_path / "model", {})
    for arguments in (("--session", "a", "--item", "[b]"), ("--session", "x", "--item", "b")):
        done = nearnext("explain", folder, *arguments)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    for nothing in ("", " ", ",", '""', "a,,b", "a,", ",a", 'a, "",b', "a, ,b"):
        done = nearnext("explain", folder, "--session", nothing, "--item", "b")
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "expected item ids as --session" in done.err


def test_fit_remembers_sessions_unless_asked_not_to(nearnext: Command, tmp_path: Path):
    log = tmp_path / "log.csv"
    rows = [f"s{session},{item},{session * 60 + at}" for session in range(9) for at, item in enumerate("abc")]
    log.write_text("session_id,item_id,timestamp\n" + "\n".join(rows) + "\n", "utf-8")
    for limit, kept in ((4, 4), (0, None)):
        assert nearnext("fit", log, "--method", "sr", "--remember", limit, "--out", tmp_path / "m").code == 0
        memory = load_artifact(tmp_path / "m").recommender.memory
        assert (None if memory is None else memory.sessions.n_sessions) == kept
        if memory is not None:
            assert memory.sessions.session_ids.to_list() == [0, 1, 2, 3]
            assert not any(b"s5" in file.read_bytes() for file in (tmp_path / "m").iterdir())
    assert nearnext("fit", log, "--method", "sr", "--keep-session-ids", "--out", tmp_path / "m").code == 0
    memory = load_artifact(tmp_path / "m").recommender.memory
    assert memory is not None
    assert memory.sessions.session_ids.to_list() == [f"s{number}" for number in range(9)]
    refused = nearnext("fit", log, "--method", "sr", "--remember", -1, "--out", tmp_path / "m")
    assert (refused.code, refused.err) == (2, "error: remember must be a whole number of at least 0, found -1\n")

"""Example cases of a comparison."""

from nearnext.data.sessions import Sessions
from nearnext.evaluation.cases import N_CLICKS, N_EXAMPLES, ExampleCases
from nearnext.recommenders.rules import Markov

TRAIN = Sessions.of([["a", "b", "c", "d"], ["b", "c"], ["c", "d", "a"]])


def test_each_is_a_prefix_of_another_session_that_training_knows():
    raw = [["a", "b", "new", "c"], ["new", "a"], *([["d", "a", "b"]] * 9)]
    test = Sessions.of(raw).with_vocabulary(TRAIN.vocabulary)
    drawn = ExampleCases.draw(test, seed=3)
    assert {tuple(clicks) for clicks in drawn.clicks} == {("d", "a")}
    assert len(drawn.next) == N_EXAMPLES
    assert all("new" not in [*clicks, item] for clicks, item in zip(drawn.clicks, drawn.next, strict=True))


def test_single_clicks_come_after_longer_sessions():
    test = Sessions.of([["a", "b"], ["a", "b", "c"], ["b", "c"]]).with_vocabulary(TRAIN.vocabulary)
    drawn = ExampleCases.draw(test, seed=0)
    assert [len(clicks) for clicks in drawn.clicks] == [2, 1, 1]


def test_a_log_of_unknown_items_has_none():
    drawn = ExampleCases.draw(Sessions.of([["x", "y"]]).with_vocabulary(TRAIN.vocabulary), seed=0)
    assert drawn.facts() == [] == drawn.lists(Markov().fit(TRAIN))


def test_only_the_last_clicks_are_shown_and_all_are_seen():
    long = Sessions.of([["a", *["b", "c"] * N_CLICKS]]).with_vocabulary(TRAIN.vocabulary)
    drawn = ExampleCases.draw(long, seed=5)
    assert len(drawn.clicks[0]) <= N_CLICKS
    assert drawn.prefixes.starts.tolist() == [0]


def test_lists_are_those_of_the_recommender():
    markov = Markov().fit(TRAIN)
    test = Sessions.of([["a", "b", "c"], ["c", "d", "a"]]).with_vocabulary(TRAIN.vocabulary)
    drawn = ExampleCases.draw(test, seed=1)
    asked = markov.recommend(drawn.clicks, k=4)
    assert drawn.lists(markov) == [list(answer.items) for answer in asked]

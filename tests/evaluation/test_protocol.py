"""An evaluation says whether its sessions were predicted: later than training, and not part of it."""

import pytest

from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_last
from nearnext.errors import DataError, LeakWarning
from nearnext.evaluation.protocol import evaluate
from nearnext.experiments.compare import Comparison, compare
from nearnext.recommenders.popularity import Pop

LOG = Sessions.of([["a", "b", "c"], ["b", "c"], ["c", "a", "b"]] * 20)
SPLIT = split_last(LOG, 0.2)


def test_an_honest_evaluation_is_clean(recwarn: pytest.WarningsRecorder):
    found = evaluate(Pop().fit(SPLIT.train), SPLIT.test, k=2)
    assert found.leaks is not None
    assert found.leaks.clean
    assert str(found).startswith("pop: ")
    assert not recwarn.list


@pytest.mark.parametrize("saved", [False, True])
def test_an_evaluation_on_training_sessions_warns_and_prints_it_first(saved: bool, tmp_path: str):
    recommender = Pop().fit(SPLIT.train)
    if saved:
        recommender = load_artifact(save_artifact(recommender, f"{tmp_path}/model", {})).recommender
    with pytest.warns(LeakWarning, match="all 48 test sessions are training sessions"):
        found = evaluate(recommender, SPLIT.train, k=2)
    assert found.leaks is not None
    assert found.leaks.copied_sessions == 48
    assert str(found).startswith("not clean: all 48 test sessions are training sessions")


def test_leaks_that_are_known_already_are_not_looked_for(recwarn: pytest.WarningsRecorder):
    found = evaluate(Pop().fit(SPLIT.train), SPLIT.train, k=2, leaks=SPLIT.leaks)
    assert found.leaks is SPLIT.leaks
    assert not recwarn.list


def test_a_comparison_warns_once_and_begins_with_it(recwarn: pytest.WarningsRecorder):
    honest = compare(SPLIT.train, SPLIT.test, Comparison(["pop", "sr"], ks=(2,), replicates=50))
    assert (honest["warnings"], honest["leaks"]["clean"], len(recwarn)) == ([], True, 0)
    with pytest.warns(LeakWarning) as caught:
        dirty = compare(LOG, SPLIT.test, Comparison(["pop", "sr"], ks=(2,), replicates=50))
    assert len(caught) == 1
    assert next(iter(dirty)) == "warnings"
    assert dirty["warnings"][0].startswith("not clean: all 12 test sessions are training sessions")
    assert dirty["audit"]["verdict"].startswith("not clean: the test part against the training part: ")
    assert dirty["significance"][0]["correction"] == "Holm, 1 comparisons"


def test_a_test_log_without_an_item_of_training_is_refused():
    fitted = Pop().fit(SPLIT.train)
    with pytest.raises(DataError, match="no test click is on an item that pop was fitted on, such as 'b'"):
        evaluate(fitted, Sessions.of([["A", "B"], [1, 2]]), k=2)
    later = Sessions.of([["a", "new"]], starts=["2030-01-01"])
    assert evaluate(fitted, later, k=2).values()["HitRate@2"] == 0

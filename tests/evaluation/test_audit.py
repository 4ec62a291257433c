"""The leak audit passes honest methods, and catches each kind of leak that it is there for."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import pytest
from narwhals.typing import IntoDataFrame

from audit_support import audit_split
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.data.splits import Split, split_at
from nearnext.evaluation.audit import Verdict, not_tried
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.method import State
from nearnext.recommenders.named import BASELINES, make_recommender
from nearnext.recommenders.popularity import Pop
from nearnext.recommenders.ranking import RankChunk, Request
from nearnext.recommenders.rules import Markov
from nearnext.types import IndexArray, ScoreArray
from training_support import seeded

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(120)])
N_TRAIN = 90


def resplit(planted: Sessions) -> Split:
    return split_at(LOG.followed_by(planted), N_TRAIN)


def verdict_on(
    method: Recommender, make: Callable[[], Recommender], again: Callable[[Sessions], Split] = resplit
) -> Verdict:
    split = split_at(LOG, N_TRAIN)
    return audit_split(split, again, [(method.fit(split.train), 0.0)], refit=lambda _, train: make().fit(train))


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


TRAINED = {
    "gru4rec": {"layers": (8,), "epochs": 1, "n_sample": 16},
    "sml-gru-triplet": {"preset": "quick", "dim": 8, "hidden": 8, "epochs": 1, "device": "cpu"},
}


@pytest.mark.parametrize("name", [*BASELINES, *TRAINED])
def test_honest_methods_pass(name: str):
    def made() -> Recommender:
        return make_recommender(name, seeded(name, TRAINED.get(name)))

    verdict = verdict_on(made(), made)
    assert verdict.passed, verdict.checks
    assert len(verdict.checks) == 6


def test_a_vocabulary_of_the_whole_log_is_caught():
    def leaky(planted: Sessions) -> Split:
        grown = LOG.followed_by(planted)
        split = split_at(grown, N_TRAIN)
        return replace(split, train=split.train.with_vocabulary(grown.reindexed().vocabulary))

    assert "training data, vocabulary and item counts" in failed(verdict_on(Pop(), Pop, leaky))


def test_a_split_that_moves_with_later_data_is_caught():
    def leaky(planted: Sessions) -> Split:
        grown = LOG.followed_by(planted)
        return split_at(grown, grown.n_sessions * 3 // 4)

    names = failed(verdict_on(Markov(), Markov, leaky))
    assert "training data, vocabulary and item counts" in names
    assert "markov-1: what was learned" in names


@dataclass(eq=False)
class Peeking(Recommender):
    """Recommends the click that follows the prefix in memory: the answer."""

    name: ClassVar[str] = "peeking"

    def _learn(self, sessions: Sessions) -> None: ...

    def _state(self) -> State:
        return {}

    def _restore(self, state: State) -> None: ...

    def _ranker(self) -> RankChunk:
        def rank_chunk(prefixes: Prefixes, _request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            items[:, 0] = prefixes.items[np.minimum(prefixes.ends, len(prefixes.items) - 1)]
            scores[:, 0] = 1.0
            return (items[:, 0] > 0).astype(np.int32)

        return rank_chunk


def test_a_method_that_peeks_behind_the_prefix_is_caught():
    assert "no look-ahead inside test sessions" in failed(verdict_on(Peeking(), Peeking))


@dataclass(eq=False)
class Learning(Peeking):
    """Recommends the item that it has met most often while ranking: it learns from the test sessions.

    It has a `fit` of its own: that of `Recommender` checks the lists of a user's own method, and would refuse this one.
    """

    name: ClassVar[str] = "learning"
    met: IndexArray = field(init=False, repr=False)

    def fit(self, sessions: Sessions | IntoDataFrame, *, items: object = None) -> Self:  # noqa: ARG002
        assert isinstance(sessions, Sessions)
        fitted = Pop().fit(sessions)
        self.vocabulary, self.popularity, self.imprint = fitted.vocabulary, fitted.popularity, fitted.imprint
        self.met = np.zeros(sessions.n_items + 1, dtype=np.int32)
        return self

    def _ranker(self) -> RankChunk:
        def rank_chunk(prefixes: Prefixes, _request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            np.add.at(self.met, prefixes.items[prefixes.starts], 1)
            items[:, 0] = 1 + np.argmax(self.met[1:])
            scores[:, 0] = self.met.max()
            return np.ones(len(prefixes), dtype=np.int32)

        return rank_chunk


def test_a_method_that_learns_from_other_test_sessions_is_caught():
    assert "no learning from other test sessions" in failed(verdict_on(Learning(), Learning))


@dataclass(eq=False)
class Deaf(Peeking):
    """Always the same list, whatever it is fitted on: an audit could not see a leak through it."""

    name: ClassVar[str] = "deaf"

    def _ranker(self) -> RankChunk:
        def rank_chunk(prefixes: Prefixes, _request: Request, items: IndexArray, _scores: ScoreArray) -> IndexArray:
            items[:, 0] = self.vocabulary.encode(["i0"])[0]
            return np.ones(len(prefixes), dtype=np.int32)

        return rank_chunk


def test_the_control_runs_on_what_was_refitted():
    checks = {check.name: check for check in verdict_on(Deaf(), Deaf).checks}
    control = checks["control: the audit notices decoys planted before the cut"]
    assert "deaf" in control.detail


def test_integer_ids_at_the_end_of_their_range_leave_room_for_decoys():
    top = np.iinfo(np.int64).max
    log = Sessions.of([[top, 1], [1, top]] * 10)
    split = split_at(log, 15)
    verdict = audit_split(
        split,
        lambda planted: split_at(log.followed_by(planted), 15),
        [(Pop().fit(split.train), 0.0)],
        refit=lambda _, train: Pop().fit(train),
    )
    assert verdict.passed, verdict.checks


def test_a_control_without_any_method_fitted_again_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nearnext.evaluation.audit.REFIT_SECONDS", 30.0)
    split = split_at(LOG, N_TRAIN)
    methods = [(Pop().fit(split.train), 60.0)]
    verdict = audit_split(split, resplit, methods, refit=lambda _, train: Pop().fit(train))
    control = verdict.checks[-1]
    assert control.passed
    assert "no method was fitted on them" in control.detail
    assert "not fitted again (60 s)" in verdict.checks[2].detail
    assert [check.tried for check in verdict.checks[:3]] == [True, True, False]
    assert verdict.text == "passed; not tried: pop: what was learned"
    assert not_tried([]) == ""
    assert not_tried(["pop: what was learned"] * 13).startswith("; not tried: 13 checks (of methods that were")

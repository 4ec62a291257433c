"""Rankers that a recommender keeps from call to call: of the model as it is, and for one thread at a time."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.neighbours import VSKNN
from nearnext.recommenders.popularity import Pop
from nearnext.recommenders.ranking import RankChunk, Recommendation, Request, rank_in_chunks
from nearnext.types import IndexArray, RawId

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 29}" for j in range(2 + s % 4)] for s in range(60)])


def test_a_recommender_makes_a_ranker_once_until_it_changes(monkeypatch: pytest.MonkeyPatch):
    made = list[int]()

    def ranker(self: Pop, *, fill: bool = True) -> RankChunk:
        made.append(1)
        return Recommender.ranker(self, fill=fill)

    monkeypatch.setattr(Pop, "ranker", ranker)
    model = Pop().fit(Sessions.of([["a", "b"], ["a", "c"]]))
    assert [model.recommend([["a"]], k=1)[0].items for _ in range(3)] == [["a"]] * 3
    assert len(made) == 1
    assert deepcopy(model).recommend([["a"]], k=1)[0].items == ["a"]
    assert len(made) == 2
    model.fit(Sessions.of([["c", "b"], ["c", "a"]]))
    assert model.recommend([["a"]], k=1)[0].items == ["c"]
    assert len(made) == 3
    model.popularity = model.popularity.copy()
    model.recommend([["a"]], k=1)
    assert len(made) == 4


def test_threads_that_recommend_at_the_same_time_share_no_ranker():
    model = VSKNN().fit(LOG)
    sessions = [LOG.raw(at)[:-1] for at in range(LOG.n_sessions)]

    def listed(session: list[RawId]) -> Recommendation:
        return model.recommend([session], k=5)[0]

    expected = list(map(listed, sessions))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(listed, sessions * 3))
    assert found == expected * 3


def test_a_ranker_that_was_stopped_is_not_used_again(monkeypatch: pytest.MonkeyPatch):
    model, stopped = Pop().fit(LOG), list[bool]()

    def ranker(self: Pop, *, fill: bool = True) -> RankChunk:
        rank, broken = Recommender.ranker(self, fill=fill), not stopped

        def rank_chunk(*given: Any) -> IndexArray:
            stopped.append(True)
            if broken:
                raise KeyboardInterrupt
            return rank(*given)

        return rank_chunk

    monkeypatch.setattr(Pop, "ranker", ranker)
    with pytest.raises(KeyboardInterrupt):
        model.recommend([["a"]], k=1)
    assert len(model.recommend([["a"]], k=1)[0].items) == 1


def test_the_last_ranker_may_be_taken_by_another_thread_first():
    class Raced(list[RankChunk]):
        def __bool__(self) -> bool:  # as it was before the other thread took it
            return True

    model, prefixes = Pop().fit(LOG), Prefixes.every(LOG).slice(0, 2)
    request = Request(1, np.arange(LOG.n_items + 1) > 0)
    kept = Raced()
    assert len(rank_in_chunks(model.ranker, prefixes, request, threads=1, kept=kept)) == 2
    assert len(kept) == 1

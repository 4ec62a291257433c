"""The laws that every recommender keeps, run over every name in the registry."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import DEFAULTS, make_recommender, method_options
from nearnext.recommenders.ranking import Ranking
from nearnext.registry import RECOMMENDERS
from nearnext.testing import assert_same_lists, check_recommender
from training_support import seeded

TRAIN = Sessions.of(
    [[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(60)] + [["i1", "i1", "i2"]] * 3
)
TEST = Sessions.of([[f"i{(s * 5 + j * 3) % 23}" for j in range(2 + s % 6)] for s in range(40)])

METRIC_MODELS = ("sml-gru-ncas", "sml-maxpool-triplet", "sml-tagspace-bpr", "sml-weightedpool-pml:multi-similarity")
"""Some of the metric models, of every kind of encoder and loss; the laws of each part have tests of their own."""

TINY = {"dim": 8, "epochs": 1, "negatives": 16, "hidden": 4, "reranker_steps": 5, "reranker_prefixes": 100}
"""Options of the default method; its laws with votes have tests of their own."""

SMALL: dict[str, dict[str, Any]] = {
    "gru4rec": {"layers": (8, 6), "epochs": 2, "batch_size": 8, "n_sample": 16},
    **dict.fromkeys((*DEFAULTS, "sasrec", "narm"), TINY),
    **{name: {"dim": 8, "epochs": 2, "batch_size": 16, "extra": 32, "device": "cpu"} for name in METRIC_MODELS},
}
"""Options of methods whose defaults are too slow for a law that is checked many times; any options keep the laws."""

every_method = pytest.mark.parametrize("name", sorted([*RECOMMENDERS, *METRIC_MODELS]))


def make(name: str) -> Recommender:
    return make_recommender(name, seeded(name, SMALL.get(name)))


@cache
def fitted(name: str) -> Recommender:
    """Fitted once for the laws that only ask it."""
    return make(name).fit(TRAIN)


def prefixes() -> Prefixes:
    return Prefixes.every(TEST.with_vocabulary(TRAIN.vocabulary))


@every_method
def test_a_weight_of_1_for_each_event_changes_nothing(name: str):
    weighted = make(name).fit(replace(TRAIN, weights=np.ones(TRAIN.n_events)))
    assert_same_lists(weighted.rank(prefixes(), 7), fitted(name).rank(prefixes(), 7))
    assert weighted.popularity.tolist() == fitted(name).popularity.tolist()


@every_method
def test_the_laws_of_recommenders_hold(name: str):
    check_recommender(make(name))


@every_method
def test_batches_and_threads_change_no_list(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nearnext.recommenders.ranking.CHUNK", 16)
    whole = fitted(name).rank(prefixes(), k=7, threads=3)
    for begin in range(0, len(prefixes()), 17):
        rows = slice(begin, begin + 17)
        part = fitted(name).rank(prefixes().slice(begin, begin + 17), k=7, threads=1)
        assert_same_lists(part, Ranking(whole.items[rows], whole.scores[rows], whole.own[rows]))


@every_method
def test_only_allowed_items_come_and_a_shortage_is_explained(name: str):
    answer = fitted(name).recommend([["i1"]], k=5, allow=["i4", "i5"])[0]
    assert set(answer.items) == {"i4", "i5"}
    assert answer.shortage == "2 of 5: no further item may be recommended"


@pytest.mark.slow
@every_method
@settings(max_examples=25, deadline=None)
@given(
    sessions=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=8), k=st.integers(1, 9)
)
def test_any_small_log_gives_full_distinct_lists(name: str, sessions: list[list[int]], k: int):
    log = Sessions.of(sessions)
    ranking = make(name).fit(log).rank(Prefixes.of([log.items[:1]]), k)
    listed = ranking.items[0][ranking.items[0] > 0].tolist()
    assert len(set(listed)) == len(listed) == min(k, log.n_items)


@every_method
def test_unfitted_and_badly_called_recommenders_say_so(name: str):
    with pytest.raises(ConfigError, match="not fitted"):
        make(name).recommend([["a"]])
    with pytest.raises(ConfigError, match="k must be a whole number of at least 1"):
        fitted(name).recommend([["i1"]], k=0)
    with pytest.raises(DataError, match="found none"):
        make(name).fit(TRAIN.select(np.zeros(TRAIN.n_sessions, dtype=np.bool_)))


@every_method
def test_clicks_of_another_vocabulary_are_refused(name: str):
    larger = Sessions.of([[f"x{j}", f"y{j}"] for j in range(40)])
    with pytest.raises(DataError, match="with_vocabulary"):
        fitted(name).rank(Prefixes.every(larger), k=3)


@every_method
def test_unknown_options_list_the_known_ones(name: str):
    with pytest.raises(ConfigError, match=f"known: {', '.join(method_options(name)) or 'none'}"):
        make_recommender(name, {"no_such_option": 1})


def test_unknown_methods_list_the_known_ones():
    with pytest.raises(ConfigError, match="unknown method 'nope'; known: metric, metric-fast, pop, spop"):
        make_recommender("nope")


def test_option_values_of_the_wrong_type_are_refused():
    with pytest.raises(ConfigError, match="vsknn: k must be a whole number of at least 1, found 'many'"):
        make_recommender("vsknn", {"k": "many"})

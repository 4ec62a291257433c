"""The default recommender on logs with little in them, or with what nobody would wish for."""

from pathlib import Path

import numpy as np
import pytest

from metric_support import CLICKS, LOG, tiny
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.recommenders.metric import selection
from nearnext.testing import assert_same_lists

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("clicks", "said"),
    [
        ([["a"], ["b"], ["a"]] * 10, "nothing was learned, all lists are by popularity"),
        ([["a", "b"]], "no validation part, neither the best epoch nor votes were chosen: cannot split 1 session"),
        ([["a", "b"]] * 20 + [["a"]] * 20, "no validation part"),
        ([["a", "b", "c"]] * 36 + [["x", "y"]] * 4, "votes of other methods make lists no better"),
        ([["only", "only"]] * 40, "votes of other methods make lists no better"),
    ],
)
def test_what_little_there_is_to_learn_is_learned_and_said(clicks: list[list[str]], said: str):
    log = Sessions.of(clicks)
    model = tiny().fit(log)
    assert model.note.startswith(said)
    answer = model.recommend([clicks[0]], k=9)[0]
    assert len(answer.items) == log.n_items


NEW = [[f"new{(s + j) % 6}" for j in range(3)] for s in range(9)]
ODD: dict[str, list[list[str]]] = {
    "two items": [["a", "b"], ["b", "a", "a"]] * 20,
    "three sessions": [["a", "b", "c"], ["b", "c"], ["a", "c"]],
    "one item": [["a", "a", "a"]] * 40,
    "all alike": [["a", "b", "c", "d"]] * 40,
    "each item once": [[f"{s}-{j}" for j in range(3)] for s in range(40)],
    "each session its own item": [[f"{s}"] * 3 for s in range(40)],
    "a giant": [[f"i{j * 7 % 31}" for j in range(700)]],
    "giants": [[f"i{(s + j * (1 + s % 3)) % 31}" for j in range(120)] for s in range(12)],
    "only new items held out": [*CLICKS[:81], *NEW],
    "strange ids": [["żółć", "a,b", '"', " ", "\u202eabc", "n" * 3000][s % 3 : s % 3 + 3] for s in range(40)],
}
"""Logs nobody would wish for, sessions in order of time."""


@pytest.mark.parametrize("same_time", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_odd_logs_give_whole_lists_of_finite_scores(
    name: str, same_time: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    log = Sessions.of(ODD[name], starts=[1.5e9 + 60 * s * (not same_time) for s in range(len(ODD[name]))])
    for better in (False, True):
        monkeypatch.setattr(selection, "significantly_better", lambda *_, better=better: better)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        fitted = tiny().fit(log)
        loaded = load_artifact(save_artifact(fitted, tmp_path / f"{better}", {})).recommender
        k = min(log.n_items, 20)
        for model in (fitted, loaded):
            ranking = model.rank(Prefixes.every(log), k)
            assert np.isfinite(ranking.scores).all()
            assert (ranking.scores >= 0).all()
            assert (ranking.items > 0).all()
            assert (np.diff(np.sort(ranking.items, axis=1), axis=1) > 0).all()


def test_a_log_that_teaches_nothing_is_no_model_to_keep():
    model = tiny().fit(Sessions.of([["a"], ["b"], ["a"]]))
    with pytest.raises(DataError, match="metric: nothing was learned"):
        model.require_learned()
    assert model.space() is None


def test_long_sessions_are_learned_from_and_only_their_last_clicks_seen():
    log = Sessions.of([[f"i{(s + j) % 7}" for j in range(30)] for s in range(20)])
    model = tiny(max_length=3, voters=[]).fit(log)
    long, short = model.recommend([["i0", "i1", "i2", "i3", "i4"], ["i2", "i3", "i4"]], k=5)
    assert_same_lists(long, short)


def test_a_loss_that_leaves_all_bounds_is_said():
    with pytest.raises(ConfigError, match=r"expected .* lower learning_rate"):
        tiny(learning_rate=1e30).fit(LOG)

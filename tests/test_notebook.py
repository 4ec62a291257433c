"""What a notebook does: frames in and out, lengths and indexing, cards, saving and loading, reports."""

import re
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

import nearnext
from nearnext.errors import ConfigError, DataError

pytestmark = pytest.mark.slow

LOG = nearnext.Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])


def test_sessions_are_a_sequence_of_lists():
    log = nearnext.Sessions.of([["a", "b"], ["b", "c", "<i>"], ["c", "a"]])
    assert len(log) == 3
    assert log[0] == ["a", "b"]
    assert log[-1] == ["c", "a"]
    assert [*log] == [["a", "b"], ["b", "c", "<i>"], ["c", "a"]]
    assert [*log[1:]] == [["b", "c", "<i>"], ["c", "a"]]
    assert [*log[log.lengths > 2]] == [["b", "c", "<i>"]]
    assert repr(log) == "Sessions(3 sessions, 7 clicks, 4 items)"
    assert "&lt;i&gt;" in log._repr_html_()  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(IndexError, match=r"0\.\.2, found 3"):
        log[3]
    with pytest.raises(TypeError, match=r"expected a session's number, a slice or a mask, found 1\.5"):
        log[1.5]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert log[3:]  # sessions that hold none are sessions, too


def test_a_frame_of_sessions_can_be_read_again():
    frame = LOG.to_frame()
    assert frame.columns == ["session_id", "item_id", "timestamp"]
    again = nearnext.sessionise(nearnext.read_events(frame), collapse_repeats=False)
    assert [*again] == [*LOG]
    assert again.times.tolist() == LOG.times.tolist()
    lost = LOG.with_vocabulary(nearnext.Vocabulary.of(["i1", "i2"]))
    assert lost.to_frame()["item_id"].null_count() == int((lost.items == 0).sum()) > 0


@pytest.mark.parametrize("library", [pl.DataFrame, pd.DataFrame])
def test_frames_are_fitted_and_evaluated(library: type[pl.DataFrame] | type[pd.DataFrame]):
    frame = LOG.to_frame()
    given = frame if library is pl.DataFrame else frame.to_pandas()
    by_frame, by_sessions = nearnext.Markov().fit(given), nearnext.Markov().fit(LOG)
    assert by_frame.recommend([["i3"]]) == by_sessions.recommend([["i3"]])
    assert nearnext.evaluate(by_frame, given).values() == nearnext.evaluate(by_sessions, LOG).values()


def test_what_is_no_log_is_refused():
    with pytest.raises(ConfigError, match="training sessions"):
        nearnext.Markov().fit([["a", "b"]])  # type: ignore[arg-type]
    with pytest.raises(DataError):
        nearnext.Markov().fit(pl.DataFrame({"a": [1]}))


def test_recommendations_have_a_length_items_and_a_frame():
    markov = nearnext.Markov().fit(LOG)
    one = markov.recommend([["i3", "never"]], k=4)[0]
    assert len(one) == 4
    assert [*one] == one.items
    assert one[0] == one.items[0]
    frame = one.to_frame()
    assert frame["item_id"].to_list() == one.items
    assert frame["source"].to_list() == ["model"] * one.own + ["popular"] * (len(one) - one.own)
    assert "unknown to training: never" in one._repr_html_()  # pyright: ignore[reportPrivateUsage]
    nothing = markov.recommend([["i3"]], k=4, allow=[])[0]
    assert nothing.to_frame().height == 0
    assert nothing


def test_an_item_table_is_a_card():
    rows = {"sku": [f"i{n}" for n in range(30)], "name": ["1 < 2", *["Tent"] * 29], "category": ["a|b", *["c"] * 29]}
    shown = nearnext.read_items(pl.DataFrame(rows))._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert "<b>frame: 30 items with title, categories</b>" in shown
    assert "<tr><td>i0</td><td>1 &lt; 2</td><td>a,b</td></tr>" in shown
    assert shown.count("<tr>") == 1 + 10


def test_an_evaluation_and_a_recommender_are_cards():
    markov = nearnext.Markov().fit(LOG)
    found = nearnext.evaluate(markov, LOG, k=5)
    frame = found.to_frame()
    assert dict(frame.select("metric", "value").iter_rows()) == found.values()
    assert frame.filter(pl.col("metric") == "Coverage@5")["low"].to_list() == [None]
    assert repr(found) == f"Evaluation(markov-1: {found.filled.n_cases:,} cases)"
    assert "markov-1: " in found._repr_html_()  # pyright: ignore[reportPrivateUsage]
    card = nearnext.VSKNN(k=7)._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert "vsknn, not fitted" in card
    assert "<td>idf_weighting</td><td>2</td>" in card
    assert "<td>remind</td><td>true</td>" in card
    assert "&quot;" not in card
    assert "hellip" not in card
    assert "<td>layers</td><td>64,32</td>" in nearnext.GRU4Rec(layers=(64, 32))._repr_html_()  # pyright: ignore[reportPrivateUsage]


def test_a_comparison_is_a_frame_a_card_and_a_report(tmp_path: Path):
    result = nearnext.compare(LOG, comparison=nearnext.Comparison(["pop", "markov-1"], ks=(2, 5), metrics=["NDCG"]))
    frame = result.to_frame()
    assert frame["method"].to_list() == ["markov-1", "pop"]
    assert frame["NDCG@5"][1] == result["methods"][0]["metrics"]["NDCG@5"]["value"]
    assert repr(result) == f"ComparisonResult({result.title()})"
    assert f"{result['protocol']['cases']:,} cases" in result._repr_html_()  # pyright: ignore[reportPrivateUsage]
    page = result.report(tmp_path / "x.html").read_text("utf-8")
    assert "<html" in page
    assert "Normalised discounted cumulative gain" in page


def test_a_search_is_a_frame_and_a_card():
    found = nearnext.tune(LOG.to_frame(), "sr", nearnext.Tuning(trials=3, metric="MRR@5"))
    frame = found.to_frame()
    assert sorted(frame["trial"].to_list()) == [0, 1, 2]
    assert frame["MRR@5"][0] == found["best_figure"]
    assert {"steps", "weighting"} <= set(frame.columns)
    assert repr(found).startswith("TuningResult(sr: MRR@5 0.")
    assert "<b>sr: MRR@5 0." in found._repr_html_()  # pyright: ignore[reportPrivateUsage]


def test_the_first_table_of_the_paper_has_its_filter():
    before, after, taken = nearnext.table1(nearnext.Sessions.of([["a", "b"]] * 5 + [["c", "a"], ["a"]]))
    assert (before.sessions, after.sessions) == (7, 5)
    assert (taken.short_sessions, taken.rare_clicks) == (2, 1)


def test_a_saved_model_is_loaded_and_has_a_card(tmp_path: Path):
    fitted = nearnext.VSKNN(k=9).fit(LOG)
    loaded = nearnext.load(fitted.save(tmp_path / "model"))
    assert loaded.recommend([["i3"]]) == fitted.recommend([["i3"]])
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert card.startswith("# A next-item model: vsknn\n")
    assert "| `k` | 9 |" in card
    assert "It knows 17 items." in card
    with pytest.raises(ConfigError, match="not fitted"):
        nearnext.VSKNN().save(tmp_path / "other")


def test_the_card_of_a_fit_says_what_it_learned_from():
    from nearnext.model_card import model_card

    data = {"sessions": 1234, "events": 5678, "first": "2025-01-01", "last": "2025-01-31"}
    manifest = {
        "method": "sml-gru-ncas",
        "items": 99,
        "params": {"a": "x|y"},
        "versions": {"nearnext": "0.1.0"},
        "data": data,
        "fit_seconds": 12.34,
        "command": "nearnext fit clicks.csv",
        "own_parts": [{"kind": "loss", "name": "squared", "from": "own_loss.py"}],
    }
    figures = {"HitRate@20": [0.3, 0.29, 0.25], "MRR@20": [0.1, 0.13, 0.1], "best_epoch": [1, 2, 2]}
    history = [{"epoch": 1 + at, "loss": 1.0, **{name: figures[name][at] for name in figures}} for at in range(3)]
    text = model_card(manifest, history)
    assert "1,234 sessions with 5,678 clicks on 99 items, from 2025-01-01 to 2025-01-31" in text
    assert "$ nearnext fit clicks.csv" in text
    assert "HitRate@20 0.2900, MRR@20 0.1300 (epoch 2)" in text
    assert r"| `a` | x\|y |" in text
    assert "the loss `squared` of `own_loss.py`" in text
    assert not re.search(r"\n\n\n", text)
    assert "(epoch 2, of lists by distance, before the re-ranker)" in model_card(manifest, history, reranks=True)


@pytest.mark.parametrize("better", [True, False])
def test_the_card_of_a_metric_model_has_the_figures_of_its_lists(
    better: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from nearnext.recommenders.metric import selection

    monkeypatch.setattr(selection, "significantly_better", lambda *_: better)  # pyright: ignore[reportUnknownLambdaType]
    model = nearnext.Metric(dim=8, epochs=1, reranker_steps=20).fit(LOG)
    found = model.held_out
    assert found["prefixes"] > 0
    assert 1 >= found["HitRate@20"] >= found["MRR@20"] > 0
    again = nearnext.load(model.save(tmp_path / "model"))
    assert isinstance(again, nearnext.Metric)
    assert again.held_out == found
    again.save(tmp_path / "again")
    card, other = ((tmp_path / name / "README.md").read_text("utf-8") for name in ("model", "again"))
    assert card == other
    assert f"they reach HitRate@20 {found['HitRate@20']:.4f}, MRR@20 {found['MRR@20']:.4f}." in card
    by_distance = f"lists by distance reach HitRate@20 {found['HitRate@20 by distance']:.4f}"
    assert by_distance in card
    assert ("this model ranks by distance" in card) is not better

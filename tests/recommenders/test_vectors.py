"""Similar items and vectors of recommenders, in Python and on the command line."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nearnext import SKNN, SML, Markov, Sessions
from nearnext.artifact import save_artifact
from nearnext.errors import ConfigError, DataError
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.space import embedded

pytestmark = pytest.mark.slow

Command = Callable[..., Any]

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(120)])
WITHOUT = "has no vectors; the methods metric, metric-fast and sml-ENCODER-LOSS have: fit one"
SMALL = {"preset": "quick", "epochs": 2, "dim": 8, "device": "cpu"}


@pytest.fixture(scope="module")
def model() -> SML:
    made = make_recommender("sml-maxpool-ncas", SMALL).fit(LOG)
    assert isinstance(made, SML)
    return made


def test_the_nearest_vectors_are_the_recommended_items(model: SML):
    frame = model.item_vectors()
    assert frame.columns == ["item_id", "vector", "clicks"]
    assert frame["clicks"].is_sorted(descending=True)
    sessions = [["i3", "i6"], ["i1"], ["never", "i5"]]
    assert len(model.similar(["i1"], k=10**30)[0].items) == len(frame) - 1
    vectors, queries = frame["vector"].to_numpy(), model.session_vectors(sessions)
    assert queries.shape == (3, vectors.shape[1])
    space = model.space()
    assert space is not None
    assert space.distance == "cosine"
    units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, queries)]
    for scores, listed in zip(units[1] @ units[0].T, model.recommend(sessions, k=5), strict=True):
        best = np.sort(scores)[::-1][:5]
        np.testing.assert_allclose(
            scores[[frame["item_id"].to_list().index(item) for item in listed.items]], best, 1e-4
        )


def test_a_session_without_known_clicks_has_a_zero_vector(model: SML):
    assert not model.session_vectors([["never"]]).any()
    with pytest.raises(DataError, match="sessions"):
        model.session_vectors(["i1", "i2"])


def test_similar_items_are_listed_for_several_items():
    sknn = SKNN().fit(Sessions.of([["a", "b"], ["a", "b", "c"]]))
    one, two, three = sknn.similar(["a", "zz", "c"], k=2)
    assert sknn.similar(["a"], k=10**30)[0].items == one.items
    assert (one.items, one.scores[0], one.shortage) == (["b", "c"], 1.0, None)
    assert (two.items, two.unknown, two.shortage) == ([], ["zz"], "0 of 2: training never saw 'zz'")
    assert set(three.items) == {"a", "b"}


def test_a_recommender_without_a_space_compares_the_sessions_it_remembers():
    markov = Markov().fit(LOG)
    with pytest.raises(ConfigError, match="--remember"):
        markov.similar(["i1"])
    assert markov.remember(LOG).similar(["i1"], k=3)[0].items == SKNN().fit(LOG).similar(["i1"], k=3)[0].items


@pytest.mark.parametrize("name", ["markov-1", "gru4rec"])
def test_a_method_without_vectors_says_which_have_them(name: str, nearnext: Command, tmp_path: Path):
    method = make_recommender(name)
    for ask in (method.item_vectors, partial(method.session_vectors, [["i1"]]), partial(embedded, method)):
        with pytest.raises(ConfigError, match=f"{name} {WITHOUT}"):
            ask()
    if name == "gru4rec":
        method = method.unfitted(layers=(8,), n_sample=8, epochs=1)
    saved = save_artifact(method.fit(LOG), tmp_path / "model", {})
    for option, file in (("--vectors", "i.parquet"), ("--onnx", "e.onnx")):
        refused = nearnext("export", saved, option, tmp_path / file)
        assert (refused.code, refused.err) == (2, f"error: {name} {WITHOUT}\n")


@pytest.mark.parametrize(
    "call",
    [SML().item_vectors, partial(SML().session_vectors, [["a"]]), partial(SKNN().similar, ["a"])],
)
def test_what_is_not_fitted_says_so(call: Callable[[], object]):
    with pytest.raises(ConfigError, match="not fitted"):
        call()


def test_the_command_line_writes_vectors_and_lists_similar_items(nearnext: Command, model: SML, tmp_path: Path):
    folder = save_artifact(model, tmp_path / "model", {})
    assert nearnext("similar", folder, "i3", "--json", "-").code == 0  # which keeps standard output for its result
    done = nearnext("export", folder, "--vectors", tmp_path / "items.parquet")
    assert done.code == 0, done.err
    assert "8 dimensions, cosine distance" in done.out
    assert pl.read_parquet(tmp_path / "items.parquet").equals(model.item_vectors())
    answers = json.loads(nearnext("similar", folder, "i3", "i4", "--k", 2, "--json", "-").out)
    assert [one["items"] for one in answers] == [one.items for one in model.similar(["i3", "i4"], 2)]
    shown = nearnext("similar", folder, "i3", "nope")
    assert all(item in shown.out for item in model.similar(["i3"])[0].items)
    assert "training never saw 'nope'" in shown.out
    assert "expected the ids of items, found an empty one" in nearnext("similar", folder, "i3", " ").err
    csv = nearnext("export", folder, "--vectors", tmp_path / "items.csv")
    assert "written as Parquet; name a file that ends in .parquet" in csv.err
    assert not (tmp_path / "items.csv").exists()
    without = save_artifact(Markov().fit(LOG), tmp_path / "markov", {})
    graph = tmp_path / "none.onnx"
    twice = nearnext("export", folder, "--vectors", graph.with_suffix(".items.parquet"), "--onnx", graph)
    assert (twice.code, list(tmp_path.glob("none.*"))) == (2, [])
    assert "writes this file too; choose another name" in twice.err
    refused = nearnext("export", without, "--vectors", tmp_path / "none.parquet")
    assert f"markov-1 {WITHOUT}" in refused.err
    refused = nearnext("export", folder)
    assert refused.code == 2
    assert "name a file with --onnx, --vectors or both" in refused.err


def test_faiss_finds_the_same_items(model: SML):
    faiss = pytest.importorskip("faiss")
    frame = model.item_vectors()
    vectors = frame["vector"].to_numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    query = model.session_vectors([["i3", "i6"]])
    _, found = index.search(query / np.linalg.norm(query, axis=1, keepdims=True), 5)
    assert {frame["item_id"][int(row)] for row in found[0]} == set(model.recommend([["i3", "i6"]], k=5)[0].items)

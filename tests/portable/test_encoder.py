"""An exported encoder lies beside what another program needs to use it: items, description, checksums."""

import hashlib
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest

from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.portable import encoder as portable
from nearnext.portable.encoder import EncoderLatency, encode_by_onnx, export_encoder
from nearnext.portable.graph import OnnxEncoder
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.space import space_of
from nearnext.testing import assert_same_lists
from training_support import seed

pytestmark = pytest.mark.slow

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # "late" occurs in the part that is held out alone: it has no embedding.
    sessions = Sessions.of([["a", "b", "c"]] * 39 + [["c", "late"]])
    fitted = make_recommender(
        "sml-avgpool-ncas", {"dim": 4, "epochs": 1, "validation_fraction": 0.1, "device": "cpu", "seed": seed()}
    ).fit(sessions)
    return save_artifact(fitted, tmp_path_factory.mktemp("portable") / "model", {"data": {"sessions": 40}})


def test_the_command_writes_graph_items_and_description(nearnext, model: Path, tmp_path: Path):  # pyright: ignore
    done = nearnext("export", model, "--onnx", tmp_path / "new" / "encoder.onnx")
    assert done.code == 0
    assert "largest difference from the model on 120 random sessions of every length" in done.out
    assert "one session, median on one thread: onnxruntime" in done.out
    folder = tmp_path / "new"
    assert sorted(path.name for path in folder.iterdir()) == ["encoder.items.parquet", "encoder.json", "encoder.onnx"]
    described = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    assert described["model"]["method"] == "sml-avgpool-ncas"
    assert described["model"]["data"] == {"sessions": 40}
    assert described["graph"]["max_length"] == 15
    assert described["agreement"]["max_difference"] <= 1e-5
    for name, checksum in described["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum
    recommender = load_artifact(model).recommender
    items = pl.read_parquet(folder / "encoder.items.parquet")
    assert items["item_id"].to_list() == recommender.vocabulary.ids.to_list()
    assert items.filter(~pl.col("knows"))["item_id"].to_list() == ["late"]
    # What another program would do with these files gives the model's embedding.
    index = {row["item_id"]: row["item_index"] for row in items.iter_rows(named=True) if row["knows"]}
    clicks = [index[item] for item in ["b", "late", "a"] if item in index]
    space = space_of(recommender)
    assert space is not None
    wanted = space.sessions(Prefixes.of([recommender.vocabulary.encode(["b", "late", "a"])]))[0]
    found = OnnxEncoder(folder / "encoder.onnx").encode(np.array([clicks], np.int32))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_methods_without_an_encoder_say_so(nearnext, tmp_path: Path):  # pyright: ignore
    pop = make_recommender("pop").fit(Sessions.of([["a", "b"]]))
    saved = save_artifact(pop, tmp_path / "pop", {})
    refused = nearnext("export", saved, "--onnx", tmp_path / "encoder.onnx")
    assert refused.code == 2
    assert "pop has no vectors; the methods metric, metric-fast and sml-ENCODER-LOSS have" in refused.err
    assert not (tmp_path / "encoder.onnx").exists()


def test_a_model_that_learned_nothing_says_so():
    empty = make_recommender("sml-avgpool-ncas", {"dim": 4, "device": "cpu"}).fit(Sessions.of([["a"]]))
    with pytest.raises(ConfigError, match=r"sml-avgpool-ncas has no vectors: .*popularity"):
        export_encoder(empty, {}, "encoder.onnx")


def test_onnxruntime_encodes_sessions_where_it_is_faster(model: Path, monkeypatch: pytest.MonkeyPatch):
    own = load_artifact(model).recommender
    sessions = [["a"], ["b", "late", "a"], ["late"], [], ["c"] * 40]
    for onnx, replaced in ((1.0, True), (3.0, False)):
        other = load_artifact(model).recommender
        measured = EncoderLatency(2.0, onnx)
        monkeypatch.setattr(portable, "encoder_latency", Mock(return_value=measured))
        assert encode_by_onnx(other) == measured
        assert (other.network.compiled() is not None) == replaced  # type: ignore[attr-defined]
        assert_same_lists(other.recommend(sessions, k=3), own.recommend(sessions, k=3))


def test_methods_without_an_encoder_are_left_as_they_are():
    assert encode_by_onnx(make_recommender("pop").fit(Sessions.of([["a", "b"]]))) is None

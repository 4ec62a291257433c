"""A service whose sessions are encoded by onnxruntime."""

from pathlib import Path

import pytest

from nearnext.artifact import load_artifact
from nearnext.testing import assert_same_lists
from serving_support import fitted, started

pytestmark = pytest.mark.slow

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


def test_lists_are_those_of_the_model_up_to_rounding(tmp_path: Path):
    model = fitted("sml-lstm-ncas", tmp_path / "model", dim=8, epochs=1, device="cpu")
    own = load_artifact(model).recommender
    known = own.vocabulary.ids.to_list()
    with started(model, "--onnx", folder=tmp_path) as server:
        client = server.client
        for session in ([known[0]], known[:4], [known[2], "never seen", known[1]], []):
            answer = client("POST", "/v1/recommend", {"items": session, "k": 5}).json
            assert_same_lists(answer, own.recommend([session], k=5))
        (said,) = [said for said in server.messages() if "sessions are encoded by" in said]
    assert said.startswith("sessions are encoded by onnxruntime: onnxruntime takes ")


def test_a_model_without_an_encoder_is_served_all_the_same(artifact: Path, tmp_path: Path):
    with started(artifact, "--onnx", folder=tmp_path) as server:
        assert server.client("POST", "/v1/recommend", {"items": [], "k": 1}).status == 200
        assert not [said for said in server.messages() if "encoded" in said]

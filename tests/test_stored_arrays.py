"""Arrays of a model are mapped: whole, shared, and the same after the file was replaced."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from nearnext.artifact import STATE, load_artifact, save_artifact
from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError
from nearnext.recommenders.named import make_recommender
from nearnext.stored_arrays import mapped_arrays

LOG = Sessions.of([[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(80)])
ARRAYS = {
    "flags": np.array([True, False, True]),
    "bytes": np.arange(5, dtype=np.int8),
    "none": np.zeros((0, 3), np.float32),
    "table": np.arange(12, dtype=np.float32).reshape(3, 4),
    "times": np.array([-(2**60), 2**60]),
    "digests": np.array([2**64 - 1], np.uint64),
}


def test_arrays_are_those_that_were_saved(tmp_path: Path):
    save_file(ARRAYS, tmp_path / "arrays")
    found = mapped_arrays(tmp_path / "arrays")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_what_is_written_to_an_array_never_reaches_the_file(tmp_path: Path):
    save_file(ARRAYS, tmp_path / "arrays")
    before = (tmp_path / "arrays").read_bytes()
    mapped_arrays(tmp_path / "arrays")["table"][:] = 7
    assert (tmp_path / "arrays").read_bytes() == before


def test_arrays_that_are_not_aligned_are_read_all_the_same(tmp_path: Path):
    header = {
        "small": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "large": {"dtype": "F64", "shape": [2], "data_offsets": [1, 17]},
    }
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + b"\5" + np.array([0.5, -2.0]).tobytes()
    (tmp_path / "arrays").write_bytes(content)
    found = mapped_arrays(tmp_path / "arrays")
    assert (found["small"].tolist(), found["large"].tolist()) == ([5], [0.5, -2.0])
    assert found["large"].flags.aligned


def test_damaged_files_and_other_types_are_refused(tmp_path: Path):
    save_file(ARRAYS, tmp_path / "arrays")
    whole = (tmp_path / "arrays").read_bytes()
    for damaged in (whole[:-1], whole + b"x", b"", b"\xff" * 20):
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(SafetensorError):
            mapped_arrays(tmp_path / "damaged")
    header = b'{"half": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}'
    (tmp_path / "half").write_bytes(len(header).to_bytes(8, "little") + header + b"  ")
    with pytest.raises(ArtifactError, match="holds half as BF16"):
        mapped_arrays(tmp_path / "half")


@pytest.mark.parametrize("method", ["sml-weightedpool-ncas", "vsknn"])
def test_a_model_answers_the_same_after_another_took_its_place(method: str, tmp_path: Path):
    options = {"epochs": 1, "dim": 8, "device": "cpu"} if method != "vsknn" else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nearnext.recommenders.embedded.LARGE", 0)  # stored with what is searched
        saved = save_artifact(make_recommender(method, options).fit(LOG), tmp_path / "model", {})
    model, expected = load_artifact(saved).recommender, load_artifact(saved).recommender.recommend([["i1"], ["i5"]])
    assert any(name.startswith("index.") for name in mapped_arrays(saved / STATE)) == (method != "vsknn")
    other = Sessions.of([["x", "y"], ["y", "z"]] * 20)
    save_artifact(make_recommender("markov-1").fit(other), saved, {})
    (tmp_path / "copy").mkdir()
    save_artifact(load_artifact(saved).recommender, tmp_path / "copy", {})
    assert model.recommend([["i1"], ["i5"]]) == expected
    assert load_artifact(saved).recommender.recommend([["x"]], k=1)[0].items == ["y"]


def test_an_array_that_the_network_lacks_is_named():
    fitted = make_recommender("sml-weightedpool-ncas", {"epochs": 1, "dim": 8, "device": "cpu"}).fit(LOG)
    state = {**fitted.state(), "network.more": np.zeros(1, np.float32)}
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"more"'):
        fitted.unfitted().restore(LOG.vocabulary, state)

"""The exported graph gives the network's embeddings for sessions of every length, alone, together and padded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nearnext.data.prefixes import Prefixes
from nearnext.errors import ArtifactError, ConfigError, DataError
from nearnext.model.encoding import SessionEncoding
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.portable import graph as module
from nearnext.portable.graph import METADATA, OnnxEncoder, export_onnx
from nearnext.registry import ENCODERS
from nearnext.types import IndexArray
from training_support import seed

pytestmark = pytest.mark.slow

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

SMALL: dict[str, dict[str, Any]] = {
    "textcnn": {"filters": 4},
    "tagspace": {"filters": 6},
    "caser": {"length": 5, "heights": [1, 3]},
    "rnn": {"hidden": 5, "layers": 2},
    "gru": {"hidden": 5, "layers": 2},
    "lstm": {"hidden": 5, "layers": 2},
}
N_ITEMS, DIM = 30, 6


def network_of(name: str, **options: Any) -> SessionItemNetwork:
    torch.manual_seed(seed(3))
    options.setdefault("max_length", 5)
    config = ENCODERS.make(name, dim=DIM, **SMALL.get(name, {}))
    return SessionItemNetwork(N_ITEMS, ItemTower(dim=DIM), config, **options).eval()


@pytest.fixture(scope="module")
def gru(tmp_path_factory: pytest.TempPathFactory) -> tuple[SessionItemNetwork, Path, Any]:
    """A network, its exported graph, and the graph in memory: exporting takes seconds."""
    network, file = network_of("gru"), tmp_path_factory.mktemp("gru") / "encoder.onnx"
    program = module._program(network)  # pyright: ignore[reportPrivateUsage]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_program", lambda _network: program)  # pyright: ignore
        export_onnx(network.train(), file, metadata={"shop": "Käse & Co"})
    assert network.training
    return network.eval(), file, program


@pytest.fixture
def exported_before(gru: tuple[SessionItemNetwork, Path, Any], monkeypatch: pytest.MonkeyPatch) -> SessionItemNetwork:
    """The network, whose export takes its graph as it was."""
    monkeypatch.setattr(module, "_program", lambda _network: gru[2])  # pyright: ignore
    return gru[0]


def of(network: SessionItemNetwork, clicks: IndexArray) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        return network.encode_sessions(torch.from_numpy(clicks.astype(np.int64))).numpy()


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_is_exported(name: str, tmp_path: Path):
    network = network_of(name)
    done = export_onnx(network, tmp_path / "encoder.onnx")
    assert done.sessions == 5 * 8
    assert done.max_difference < 1e-5
    encoder = OnnxEncoder(done.file)
    rng = np.random.default_rng(0)
    for length in range(1, 6):
        for rows in (1, 3):
            clicks = rng.integers(1, N_ITEMS + 1, (rows, length)).astype(np.int32)
            np.testing.assert_allclose(encoder.encode(clicks), of(network, clicks), atol=1e-5)
    padded = np.array([[4, 9, 0, 0], [1, 0, 0, 0], [7, 7, 2, 5]], np.int32)
    np.testing.assert_allclose(encoder.encode(padded), of(network, padded), atol=1e-5)


def test_a_table_for_clicks_alone_and_a_space_without_bounds(tmp_path: Path):
    network = network_of("avgpool", distance="euclidean", common_embedding=False)
    encoder = OnnxEncoder(export_onnx(network, tmp_path / "encoder.onnx").file)
    clicks = np.array([[3, 8]], np.int32)
    np.testing.assert_allclose(encoder.encode(clicks), of(network, clicks), atol=1e-5)
    assert encoder.about["distance"] == "euclidean"


def test_sessions_of_one_click_at_most(tmp_path: Path):
    network = network_of("maxpool", max_length=1)
    encoder = OnnxEncoder(export_onnx(network, tmp_path / "encoder.onnx").file)
    one = np.array([[3]], np.int32)
    np.testing.assert_allclose(encoder.encode(one), of(network, one), atol=1e-5)


def test_prefixes_are_read_as_the_model_reads_them(gru: tuple[SessionItemNetwork, Path, Any]):
    network, encoder = gru[0], OnnxEncoder(gru[1])
    clicks = [[0, 3, 0, 9], [], [1, 2, 3, 4, 5, 6, 7], [0], [8]]
    prefixes = Prefixes.of([np.array(one, np.int32) for one in clicks])
    trained = np.arange(N_ITEMS + 1) != 3
    trained[0] = False
    found, known = encoder.session_vectors(prefixes, trained)
    wanted, wanted_known = SessionEncoding(network, trained)(prefixes)
    assert known.tolist() == wanted_known.tolist() == [1, 0, 5, 0, 1]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert not found[1].any()


def test_the_graph_says_what_it_takes(gru: tuple[SessionItemNetwork, Path, Any]):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(gru[1])
    about = json.loads({entry.key: entry.value for entry in graph.metadata_props}[METADATA])
    assert about["shop"] == "Käse & Co"
    assert (about["n_items"], about["max_length"], about["dim"]) == (30, 5, 6)
    assert [entry.name for entry in graph.graph.input] == ["clicks"]
    assert [entry.name for entry in graph.graph.output] == ["session"]
    onnx.checker.check_model(graph)


def test_a_graph_that_differs_is_refused_and_not_kept(exported_before: SessionItemNetwork, tmp_path: Path):
    target = tmp_path / "encoder.onnx"
    target.write_text("the one before")
    with pytest.raises(
        ArtifactError, match=r"differs from the network by .* more than the tolerance of 0; nothing was"
    ):
        export_onnx(exported_before, target, tolerance=0.0)
    assert target.read_text() == "the one before"
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]


def test_a_graph_of_other_weights_is_found_out(exported_before: SessionItemNetwork, tmp_path: Path):
    torch.manual_seed(seed(4))
    other = SessionItemNetwork(
        N_ITEMS, ItemTower(dim=DIM), ENCODERS.make("gru", dim=DIM, **SMALL["gru"]), max_length=5
    ).eval()
    assert other.max_length == exported_before.max_length
    with pytest.raises(ArtifactError, match=r"differs from the network by [01]\."):
        export_onnx(other, tmp_path / "encoder.onnx")


def test_a_graph_of_no_numbers_is_found_out(
    exported_before: SessionItemNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encode = OnnxEncoder.encode
    monkeypatch.setattr(OnnxEncoder, "encode", lambda self, clicks: encode(self, clicks) * np.float32(np.nan))  # pyright: ignore
    with pytest.raises(ArtifactError, match="differs from the network by inf"):
        export_onnx(exported_before, tmp_path / "encoder.onnx")


def test_large_weights_are_in_a_file_of_their_own(
    exported_before: SessionItemNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LARGEST_FILE", 10)
    encoder = OnnxEncoder(export_onnx(exported_before, tmp_path / "encoder.onnx").file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.onnx", "encoder.onnx.data"]
    clicks = np.array([[3, 8]], np.int32)
    np.testing.assert_allclose(encoder.encode(clicks), of(exported_before, clicks), atol=1e-5)


class _Unportable(nn.Module):
    """Its result depends on the values of its input in a way that no graph has."""

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return clicks.sum(dim=1) if float(clicks.detach().abs().sum()) > float(mask.sum()) else clicks[:, 0]


def test_what_cannot_be_expressed_is_said(tmp_path: Path):
    network = network_of("maxpool")
    network.session_encoder = _Unportable()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ConfigError, match="_Unportable cannot be expressed in ONNX: "):
        export_onnx(network, tmp_path / "encoder.onnx")
    assert not list(tmp_path.iterdir())


class _Fixed(nn.Module):
    """Its result is of three clicks, and three only."""

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        assert mask.ndim == 2
        return clicks.reshape(clicks.shape[0], 3, DIM).sum(dim=1)


def test_a_graph_for_one_length_is_no_graph(tmp_path: Path):
    network = network_of("maxpool")
    network.session_encoder = _Fixed()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ConfigError, match="_Fixed cannot be expressed in ONNX for sessions of any number and length"):
        export_onnx(network, tmp_path / "encoder.onnx")


def test_foreign_files_are_refused(exported_before: SessionItemNetwork, tmp_path: Path):
    file = tmp_path / "encoder.onnx"
    with pytest.raises(ArtifactError, match="no session encoder that nearnext exported"):
        OnnxEncoder(file)
    file.write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match="no session encoder that nearnext exported"):
        OnnxEncoder(file)
    with pytest.raises(DataError, match="cannot write"):
        export_onnx(exported_before, tmp_path / "no" / "folder" / "encoder.onnx")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"ONNX needs the package onnxscript; install it with: pip install 'nearnext"):
        export_onnx(network_of("maxpool"), tmp_path / "encoder.onnx")

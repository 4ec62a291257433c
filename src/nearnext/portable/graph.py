"""The session encoder φ as an ONNX graph, and that graph computed by onnxruntime; both need the extra ``onnx``.

The graph takes item indices and gives session embeddings. It agrees with the network up to rounding:
onnxruntime adds in another order.
"""

import json
import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nearnext.atomic import scratch_path
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ArtifactError, ConfigError, DataError
from nearnext.extras import needed
from nearnext.model.encoding import last_known_clicks
from nearnext.model.network import SessionItemNetwork
from nearnext.model.tensors import as_tensor
from nearnext.options import path_of
from nearnext.types import BoolArray, IndexArray, ScoreArray

INPUT, OUTPUT = "clicks", "session"
"""Names of the graph's input, int64 [B, T], and of its output, float32 [B, D]."""

METADATA = "nearnext"
"""Name of the graph's metadata entry, a JSON object."""

TOLERANCE = 1e-5
"""Difference between graph and network, in any dimension, above which an export is refused."""

CHECKED_ROWS = 8
"""Random sessions of each length on which graph and network are compared."""

LARGEST_FILE = 1_500_000_000
"""Bytes of weights from which they go into a file of their own: one ONNX file holds at most 2 GiB."""


@dataclass(frozen=True)
class OnnxExport:
    """What was written, and how far it was found from the network."""

    file: Path  # the graph
    max_difference: float  # largest absolute difference of an embedding in any dimension
    sessions: int  # random sessions that were compared, of every length from 1 on

    @property
    def items(self) -> Path:
        """Parquet: ``item_id``, its ``item_index`` in the graph's input, and whether the encoder ``knows`` it."""
        return self.file.with_suffix(".items.parquet")

    @property
    def description(self) -> Path:
        """JSON: what the graph takes and gives, the artifact's method, options and data, checksums."""
        return self.file.with_suffix(".json")


class OnnxEncoder:
    """Session embeddings computed by onnxruntime, on one thread, from a file that `export_onnx` wrote."""

    def __init__(self, file: str | Path) -> None:
        runtime = needed("onnxruntime", "onnx", "ONNX")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session: Any = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            about = json.loads(self._session.get_modelmeta().custom_metadata_map[METADATA])
            self.max_length, self.n_items = int(about["max_length"]), int(about["n_items"])
            self.about: Mapping[str, Any] = about
        except Exception as error:  # onnxruntime's errors have no common class
            raise ArtifactError(
                f"{file} is no session encoder that nearnext exported ({_one_line(error)}); export it again"
            ) from error

    def encode(self, clicks: IndexArray) -> ScoreArray:
        """Session embeddings of known item indices, oldest first, padded at the right with 0: [B, T] → [B, D]."""
        return cast("ScoreArray", self._session.run([OUTPUT], {INPUT: clicks.astype(np.int64)})[0])

    def session_vectors(self, prefixes: Prefixes, trained: BoolArray | None = None) -> tuple[ScoreArray, IndexArray]:
        """As `nearnext.model.encoding.SessionEncoding`, one session after the other: [B, D], [B]."""
        clicks, known = last_known_clicks(prefixes, self.n_items, self.max_length, trained)
        vectors = np.zeros((len(prefixes), int(self.about["dim"])), dtype=np.float32)
        self.write(clicks, known, vectors)
        return vectors, known

    def write(self, clicks: IndexArray, known: IndexArray, vectors: ScoreArray) -> None:
        """Embeddings of sessions of ``known`` clicks [B], of [B, L], written into ``vectors`` [B, D], one by one."""
        for row in np.flatnonzero(known):
            vectors[row] = self.encode(clicks[row : row + 1, : known[row]])[0]


def export_onnx(
    network: SessionItemNetwork,  # in any mode; it is exported for evaluation, without dropout
    file: str | Path,  # where to; weights of more than 1.5 GB go to ``file`` + ``.data`` next to it
    *,
    metadata: Mapping[str, Any] | None = None,  # further entries of the graph's metadata
    tolerance: float = TOLERANCE,  # largest absolute difference allowed in any dimension
) -> OnnxExport:
    """The session encoder written as an ONNX graph, and how far it is from the network on random sessions.

    A graph that differs by more than ``tolerance`` is not kept.
    """
    target = path_of("file", file)
    for package in ("onnxruntime", "onnxscript"):
        needed(package, "onnx", "ONNX")
    about = {
        **(metadata or {}),
        "input": f"{INPUT}: int64 [B, T], the last {network.max_length} known clicks at most as item indices, oldest "
        "first, padded at the right with 0",
        "output": f"{OUTPUT}: float32 [B, D]",
        "n_items": network.n_items,
        "max_length": network.max_length,
        "dim": network.item_embedding.embedding_dim,
        "distance": network.distance,
    }
    training = network.training
    network.eval()
    try:
        program = _program(network)
        program.model.metadata_props[METADATA] = json.dumps(about, ensure_ascii=False)
        weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
        with _whole_files(target) as unfinished:
            program.save(str(unfinished), external_data=weights > LARGEST_FILE)
            difference, sessions = _difference(network, OnnxEncoder(unfinished))
            if not difference <= tolerance:
                raise ArtifactError(
                    f"the exported encoder differs from the network by {difference:.2g}, more than the tolerance of "
                    f"{tolerance:g}; nothing was written: raise the tolerance if that is close enough"
                )
    finally:
        network.train(training)
    return OnnxExport(target, difference, sessions)


@contextmanager
def _whole_files(target: Path) -> Generator[Path]:
    """A temporary path with the target's own file name, by which a graph refers to its weights."""
    try:
        with scratch_path(target) as folder:
            folder.mkdir()
            yield folder / target.name
            for written in sorted(folder.iterdir(), reverse=True):  # the graph, of the shorter name, last
                written.replace(target.parent / written.name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {target}: {reason}; choose a writable folder with space") from error


class _Clicks(nn.Module):
    """What is exported: clean clicks to session embeddings."""

    def __init__(self, network: SessionItemNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, clicks: Tensor) -> Tensor:
        return self.network.encode_clicks(clicks)


def _program(network: SessionItemNetwork) -> Any:
    """The graph in memory, for any number of sessions of any length."""
    length = min(3, network.max_length)
    shapes: dict[int, Any] = {0: torch.export.Dim("sessions", min=1)}
    if length > 1:
        shapes[1] = torch.export.Dim("length", min=1, max=network.max_length)
    clicks = torch.ones(2, length, dtype=torch.int64)
    try:
        with torch.no_grad(), _quiet():
            program = cast("Any", torch.onnx).export(
                _Clicks(network).eval(),
                (clicks,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=(shapes,),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever an operation raised
        encoder = type(network.session_encoder).__name__
        raise ConfigError(f"{encoder} cannot be expressed in ONNX: {_one_line(error.__cause__ or error)}") from error
    # Where an operation needs a fixed shape, the exporter fixes it without a word.
    fixed = [axis for axis, size in enumerate(program.model.graph.inputs[0].shape) if isinstance(size, int)]
    if set(fixed) & set(shapes):
        encoder = type(network.session_encoder).__name__
        raise ConfigError(f"{encoder} cannot be expressed in ONNX for sessions of any number and length")
    return program


@contextmanager
def _quiet() -> Generator[None]:
    """Without the exporter's notes on packages that are not there and on its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _difference(network: SessionItemNetwork, encoder: OnnxEncoder) -> tuple[float, int]:
    """Largest difference on random sessions of every length, alone, together and padded, and how many there were."""
    rng = np.random.default_rng(0)
    worst, longest = 0.0, network.max_length
    for length in range(1, longest + 1):
        clicks = np.zeros((CHECKED_ROWS, longest), dtype=np.int32)
        clicks[:, :length] = rng.integers(1, network.n_items + 1, (CHECKED_ROWS, length))
        with torch.inference_mode():
            expected = network.encode_sessions(as_tensor(clicks).long().to(network.item_embedding.weight.device))
        together = encoder.encode(clicks[:, :length])
        padded = encoder.encode(clicks)
        alone = encoder.encode(clicks[:1, :length])
        for found, rows in ((together, CHECKED_ROWS), (padded, CHECKED_ROWS), (alone, 1)):
            distances = np.abs(found.astype(np.float64) - expected.cpu().numpy()[:rows])
            worst = max(worst, float(np.nan_to_num(distances, nan=np.inf).max()))
    return worst, CHECKED_ROWS * longest


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"

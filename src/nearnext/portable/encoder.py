"""The session encoder of a fitted metric model as files that other programs can use: ONNX graph, items, description."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nearnext.atomic import whole_file
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.model.encoding import SessionEncoding
from nearnext.model.network import SessionItemNetwork
from nearnext.portable.graph import TOLERANCE, OnnxEncoder, OnnxExport, export_onnx
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.space import learned_space
from nearnext.stored_arrays import checksum
from nearnext.types import IndexArray

KEPT = ("method", "params", "data", "versions")
"""Entries of an artifact's manifest that the description repeats."""

TIMED = 300
"""Sessions that are encoded one by one to measure the latency."""


@dataclass(frozen=True)
class EncoderLatency:
    """Median microseconds that one session computes on one thread: as lists are computed, and the ONNX graph alone."""

    model: float
    onnx: float


def export_encoder(
    recommender: Recommender, manifest: Mapping[str, Any], file: str | Path, *, tolerance: float = TOLERANCE
) -> OnnxExport:
    """Write ``file``, and next to it its items (``.items.parquet``) and description (``.json``).

    Clicks on items that the encoder does not know are left out of a session.
    """
    network, space = _network(recommender), learned_space(recommender)
    done = export_onnx(network, file, metadata={"method": recommender.name}, tolerance=tolerance)
    table = pl.DataFrame(
        {
            "item_id": recommender.vocabulary.ids,
            "item_index": np.arange(1, network.n_items + 1, dtype=np.int32),
            "knows": space.informed[1:],
        }
    )
    with whole_file(done.items) as unfinished:
        table.write_parquet(unfinished)
    described = {
        "graph": {**OnnxEncoder(done.file).about, "file": done.file.name},
        "items": {"file": done.items.name, "columns": {name: str(kind) for name, kind in table.schema.items()}},
        "agreement": {"max_difference": done.max_difference, "tolerance": tolerance, "sessions": done.sessions},
        "model": {name: manifest[name] for name in KEPT if name in manifest},
        "sha256": {path.name: checksum(path) for path in (done.file, done.items)},
    }
    with whole_file(done.description) as unfinished:
        unfinished.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return done


def encoder_latency(recommender: Recommender, file: str | Path) -> EncoderLatency:
    """How long single sessions of random known items take both ways."""
    network, encoder = _network(recommender), OnnxEncoder(file)
    rng = np.random.default_rng(0)
    lengths = 1 + rng.geometric(0.25, TIMED) % network.max_length
    sessions = list[Prefixes]()
    for length in lengths.tolist():
        one: IndexArray = rng.integers(1, network.n_items + 1, int(length), dtype=np.int32)
        sessions.append(Prefixes.of([one]))
    encode = SessionEncoding(network)
    return EncoderLatency(_timed(sessions, encode), _timed(sessions, encoder.session_vectors))


def encode_by_onnx(recommender: Recommender) -> EncoderLatency | None:
    """Replace the session encoder at inference by onnxruntime if that is faster than the model.

    Returns the measurements. Embeddings are then equal to the model's up to rounding. None: the method has no session
    encoder.
    """
    network = getattr(recommender, "network", None)
    if not isinstance(network, SessionItemNetwork):
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(network, Path(folder) / "encoder.onnx").file
        measured, encoder = encoder_latency(recommender, file), OnnxEncoder(file)
    if measured.onnx < measured.model:
        network.instead = encoder.write
    return measured


def _timed(sessions: list[Prefixes], encode: Callable[[Prefixes], object]) -> float:
    """Median microseconds of one session; the first call is not counted."""
    encode(sessions[0])
    seconds = list[float]()
    for one in sessions:
        begin = time.thread_time()
        encode(one)
        seconds.append(time.thread_time() - begin)
    return float(np.median(seconds)) * 1e6


def _network(recommender: Recommender) -> SessionItemNetwork:
    learned_space(recommender)
    network = getattr(recommender, "network", None)
    if not isinstance(network, SessionItemNetwork):
        raise ConfigError(f"{recommender.name} has no session encoder of nearnext; only such a one can be exported")
    return network

"""Artifacts with valid checksums and impossible contents: refused in one line, or the lists are whole and finite."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from nearnext.artifact import IMPRINT, INDEX, MANIFEST, SESSIONS, STATE, VOCABULARY, load_artifact, save_artifact
from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError, NearnextError
from nearnext.explanation import explain
from nearnext.indexing import reindex
from nearnext.recommenders.named import BASELINES, make_recommender
from nearnext.stored_arrays import checksum

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(80)] * 2)

OPTIONS: dict[str, dict[str, Any]] = {
    "metric-fast": {"epochs": 1, "reranker_steps": 20},
    "gru4rec": {"layers": (8, 6), "epochs": 1, "batch_size": 8, "n_sample": 16},
    "sml-gru-ncas": {"dim": 8, "epochs": 1, "batch_size": 16, "device": "cpu"},
    "sml-maxpool-triplet": {"dim": 8, "epochs": 1, "batch_size": 16, "device": "cpu", "distance": "euclidean"},
}
GROUPS = {
    "classical": [name for name in BASELINES if name not in OPTIONS],
    "trained": [name for name in OPTIONS if name != "metric-fast"],
    "metric-fast": ["metric-fast"],
}
"""Methods that are tried in one process, whose start takes longer than the trial."""


def values(array: NDArray[Any]) -> list[Any]:
    """Values that the array should not hold, or might."""
    if array.dtype == np.bool_:
        return [True, False]
    if array.dtype.kind == "f":
        return [-1, 0, 1, np.nan, np.inf, 1e30, np.finfo(array.dtype).max, np.finfo(array.dtype).min]
    info = np.iinfo(array.dtype)
    return [value for value in (-1, 0, 1, 23, 24, 10_000, info.max, info.min) if info.min <= value <= info.max]


def mutants(array: NDArray[Any], rng: np.random.Generator) -> Iterator[tuple[str, NDArray[Any]]]:
    """Arrays that somebody else might have put in its place."""
    yield "empty", array[:0]
    yield "shorter", array[:-1]
    yield "longer", np.concatenate([array, array[-1:]]) if len(array) else np.ones(3, array.dtype)
    yield "nested", array[np.newaxis]
    yield "floats", array.astype(np.float64 if array.dtype != np.float64 else np.float32)
    yield "bytes", np.zeros(array.shape, np.int8)
    if array.size == 0:
        return
    yield "reversed", array[::-1]
    possible = values(array)
    for value in rng.permutation(np.array(possible, object))[:3]:
        yield f"all {value}", np.full_like(array, value)
    for value in rng.permutation(np.array(possible, object))[:3]:
        changed = array.copy()
        changed.flat[rng.integers(array.size)] = value
        yield f"one {value}", changed
    yield "shuffled", rng.permutation(array.ravel()).reshape(array.shape)
    noise = np.frombuffer(rng.bytes(array.nbytes), np.uint8)
    noise = (noise % 2).astype(np.bool_) if array.dtype == np.bool_ else noise.view(array.dtype)
    yield "noise", noise.reshape(array.shape)


def frames(path: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    """Tables that somebody else might have put in its place."""
    frame = pl.read_parquet(path)
    yield "empty", frame.head(0)
    yield "shorter", frame.head(len(frame) - 1)
    yield "twice", pl.concat([frame, frame])
    for name in frame.columns:
        yield f"no {name}", frame.drop(name)
        yield f"one null {name}", frame.with_columns(pl.when(pl.int_range(pl.len()) > 0).then(pl.col(name)))
        yield f"same {name}", frame.with_columns(pl.col(name).first())
        for value in (None, -1, 24, 2**40, 0.5, "x", [1], [0, 25], [], [None], [-1], ["x"]):
            yield f"{value} {name}", frame.with_columns(pl.Series(name, [value] * len(frame)))


def signed(folder: Path) -> Path:
    """The folder with the checksums of what is in it."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"] = {name: checksum(folder / name) for name in manifest["sha256"]}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def spoiled(model: Path, left_out: set[str]) -> Iterator[tuple[str, Path]]:
    """The model again and again, with one thing changed each time, in any file but those left out."""
    rng = np.random.default_rng(0)
    for file in sorted(path.name for path in model.iterdir() if path.name not in left_out | {MANIFEST}):
        copy = model.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(model, copy)
        if file.endswith(".safetensors"):
            arrays: dict[str, NDArray[Any]] = load_file(model / file)
            for name, array in arrays.items():
                for what, mutant in mutants(array, rng):
                    save_file(arrays | {name: np.ascontiguousarray(mutant)}, copy / file)
                    yield f"{file}: {name} {what}", signed(copy)
                save_file({other: one for other, one in arrays.items() if other != name}, copy / file)
                yield f"{file}: no {name}", signed(copy)
        elif file.endswith(".parquet"):
            for what, frame in frames(model / file):
                frame.write_parquet(copy / file)
                yield f"{file}: {what}", signed(copy)
        else:
            whole = (model / file).read_bytes()
            for turn in range(60):
                changed = bytearray(whole)
                begin = int(rng.integers(len(whole)))
                changed[begin : begin + 4] = rng.bytes(4)
                (copy / file).write_bytes(bytes(changed[: len(whole)]))
                yield f"{file}: bytes {turn}", signed(copy)


def try_all(models: list[Path]) -> None:
    """Load each spoiled model; what loads must answer with whole and finite lists.

    Files that every method has are one code path, and are spoiled in the first model only.
    """
    for number, model in enumerate(models):
        try_one(model, {IMPRINT, SESSIONS, VOCABULARY} if number else set())


def try_one(model: Path, left_out: set[str]) -> None:
    counts = {"refused": 0, "refused in several lines": 0, "loaded": 0}
    for what, folder in spoiled(model, left_out):
        sys.stdout.write(f"{model.name}: {what}\n")
        sys.stdout.flush()
        try:
            recommender = load_artifact(folder).recommender
        except ArtifactError as error:
            counts["refused" if "\n" not in str(error) else "refused in several lines"] += 1
            continue
        counts["loaded"] += 1
        known = recommender.vocabulary.ids.to_list()
        sessions = [known[:1], known[-3:], known[5:9] * 3, ["unknown"], []]
        for answer in recommender.recommend(sessions, k=10, time=1.5e9) + recommender.recommend(sessions, k=30):
            assert len(set(answer.items)) == len(answer.items) >= min(10, len(known)), what
            assert np.isfinite(answer.scores).all(), what
        if counts["loaded"] % 4 == 0:
            try:
                explain(recommender, known[:2], known[2])
            except NearnextError:
                continue
    assert counts["refused"] > 0 == counts["refused in several lines"]


@pytest.mark.parametrize("methods", GROUPS.values(), ids=GROUPS.keys())
def test_impossible_contents_are_refused_or_harmless(
    methods: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("nearnext.recommenders.embedded.LARGE", 0)
    models: list[Path] = []
    for method in methods:
        fitted = make_recommender(method, OPTIONS.get(method)).fit(LOG).remember(LOG)
        models.append(save_artifact(fitted, tmp_path / method, {}))
        assert {STATE, VOCABULARY, SESSIONS, IMPRINT} <= {file.name for file in models[-1].iterdir()}
    run(*models)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("item_statistics", "expected the array item_statistics, which its re-ranker reads, found none"),
        ("reranker.inner", "expected the re-ranker's arrays mean, scale, linear, inner, inner_bias, outer, found "),
        ("reranker.", "expected the arrays of the re-ranker that its votes are for, found none"),
        ("voter.", "expected the array 'session_items', found none"),
    ],
)
def test_a_model_without_a_part_of_its_reranker_is_refused(voted: Path, left_out: str, message: str):
    arrays: dict[str, NDArray[Any]] = load_file(voted / STATE)
    kept = {name: array for name, array in arrays.items() if not name.startswith(left_out)}
    assert len(kept) < len(arrays)
    save_file(kept, voted / STATE)
    with pytest.raises(ArtifactError, match=re.escape(message)):
        load_artifact(signed(voted))


def test_an_impossible_graph_is_refused_or_harmless(tmp_path: Path):
    pytest.importorskip("faiss")
    method = "sml-maxpool-triplet"
    recommender = make_recommender(method, OPTIONS[method]).fit(LOG)
    reindex(recommender, kind="approximate", recall_floor=0.0)
    model = save_artifact(recommender, tmp_path / "model", {})
    assert (model / INDEX).is_file()
    for file in (STATE, IMPRINT, VOCABULARY):
        assert (model / file).is_file()
    run(model)


@pytest.mark.parametrize("method", ["vsknn", "gru4rec", "sml-gru-ncas"])
def test_odd_manifests_are_refused_or_harmless(method: str, tmp_path: Path):
    model = save_artifact(make_recommender(method, OPTIONS.get(method)).fit(LOG), tmp_path / "model", {"data": {}})
    manifest = json.loads((model / MANIFEST).read_text())
    odd: list[Any] = [None, -1, 10**30, 0.5, "x", "", [], [1], [[]], {}, {"x": None}, {"kind": "encoder"}, True]
    for name in manifest:
        inside: dict[str, Any] = manifest[name] if isinstance(manifest[name], dict) else {}
        entries = [(manifest, name), *((inside, key) for key in inside)]
        for place, key in entries:
            before = place[key]
            for value in odd:
                place[key] = value
                (model / MANIFEST).write_text(json.dumps(manifest))
                try:
                    load_artifact(model)
                except ArtifactError as error:
                    refused = str(error)
                    assert_one_line(refused)
            place[key] = before
    (model / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_artifact(model)
    with pytest.raises(ArtifactError, match="cannot be read"):
        save_artifact(make_recommender("pop").fit(LOG), model, {})


@pytest.fixture(scope="module")
def _voted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log = Sessions.of([[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(80)] * 12)
    model = make_recommender("metric-fast", OPTIONS["metric-fast"]).fit(log)
    return save_artifact(model, tmp_path_factory.mktemp("voted") / "model", {})


@pytest.fixture
def voted(_voted: Path, tmp_path: Path) -> Path:
    """A model with a re-ranker, to be changed."""
    return shutil.copytree(_voted, tmp_path / "model")


def assert_one_line(text: str) -> None:
    assert "\n" not in text


def run(*models: Path) -> None:
    """Try all in a process of its own, which may crash."""
    program = f"import sys; sys.path[:0] = {sys.path!r}; import {__name__} as tests; "
    program += f"tests.try_all([tests.Path(one) for one in {[*map(str, models)]!r}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-3000:]

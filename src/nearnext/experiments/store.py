"""Finished runs kept in a folder, so that an interrupted comparison resumes where it stopped."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType] - arrays of any type

from nearnext.artifact import versions
from nearnext.atomic import made_folder, whole_file
from nearnext.errors import ArtifactError
from nearnext.evaluation.audit import MethodAudit
from nearnext.evaluation.protocol import Evaluation
from nearnext.evaluation.sums import SUMS, MetricSums
from nearnext.experiments.result import Run
from nearnext.options import path_of

SCHEMA = 2
"""Version of what a file holds; raised when older files would be misread."""

LISTS = ("filled", "unfilled")


@cache
def source_fingerprint() -> str:
    """SHA-256 of this package's source files, so that a run made by other code is never taken for one of this code."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class RunKey:
    """Everything that a run depends on; the versions of the libraries and the source of this package count as well."""

    data: str
    name: str
    params: Mapping[str, Any]
    ks: tuple[int, ...]
    seed: int
    further: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The key as plain data."""
        return {"schema": SCHEMA, "versions": versions(), "source": source_fingerprint(), **asdict(self)}

    def digest(self) -> str:
        """SHA-256 of the key."""
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True, default=str).encode()).hexdigest()


class RunStore:
    """Runs in a folder, one file each, found by everything that they depend on."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = made_folder(path_of("folder of runs", folder), "keep runs in")

    def path(self, key: RunKey) -> Path:
        """The file of the run with this key."""
        return self.folder / f"{_stem(key)}.safetensors"

    def unfinished(self, key: RunKey) -> Path:
        """Where a fit of the run with this key keeps checkpoints; it goes once the run is saved."""
        return self.folder / f"{_stem(key)}.unfinished"

    def load(self, key: RunKey) -> Run | None:
        """The run with this key, or None where there is none yet."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            opened: Any = safe_open(path, "numpy")
            with opened as file:
                metadata: dict[str, str] = file.metadata()
                arrays: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts, checksum = json.loads(metadata["run"]), metadata["sha256"]
            if _checksum(facts, arrays) != checksum:
                raise ArtifactError(f"{path} was altered: its checksum differs; delete it and run again")
            return _run(facts, arrays)
        except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
            raise ArtifactError(f"{path} is damaged ({error}); delete it and run again") from error

    def save(self, key: RunKey, run: Run) -> Path:
        """Keep a run, whole or not at all."""
        arrays = {
            f"{lists}.{name}": np.ascontiguousarray(getattr(getattr(run.evaluation, lists), name))
            for lists in LISTS
            for name in SUMS
        }
        facts: dict[str, Any] = {
            "key": key.facts(),
            "name": run.evaluation.name,
            "params": run.evaluation.params,
            "ks": list(run.evaluation.filled.ks),
            "further": list(run.evaluation.filled.further),
            "seconds": run.evaluation.seconds,
            "evaluation_peak_rss_mb": run.evaluation.peak_rss_mb,
            "fit_seconds": run.fit_seconds,
            "peak_rss_mb": run.peak_rss_mb,
            "audit": asdict(run.audit) if run.audit is not None else None,
            "examples": [list(one) for one in run.examples],
        }
        text = json.dumps(facts, default=str)
        metadata = {"run": text, "sha256": _checksum(json.loads(text), arrays)}
        path = self.path(key)
        with whole_file(path) as unfinished:
            try:
                save_file(arrays, unfinished, metadata)
            except SafetensorError as error:  # how safetensors says that the disk is full
                raise OSError(str(error)) from error
        shutil.rmtree(self.unfinished(key), ignore_errors=True)
        return path


def _stem(key: RunKey) -> str:
    return f"{re.sub(r'[^a-z0-9-]', '-', key.name)}-{key.digest()[:24]}"


def _checksum(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _run(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Run:
    filled, unfilled = (
        MetricSums(
            tuple(facts["ks"]), **{name: arrays[f"{lists}.{name}"] for name in SUMS}, further=tuple(facts["further"])
        )
        for lists in LISTS
    )
    evaluation = Evaluation(
        facts["name"], facts["params"], filled, unfilled, facts["seconds"], facts["evaluation_peak_rss_mb"]
    )
    audit = MethodAudit(**facts["audit"]) if facts["audit"] is not None else None
    return Run(evaluation, facts["fit_seconds"], facts["peak_rss_mb"], audit, True, facts["examples"])

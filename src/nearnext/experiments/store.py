"""Finished runs kept in a folder, so that an interrupted comparison goes on where it stopped."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType] - arrays of any type

from nearnext.artifact import versions
from nearnext.errors import ArtifactError, ConfigError
from nearnext.evaluation.audit import AuditCheck, MethodAudit
from nearnext.evaluation.protocol import Evaluation
from nearnext.evaluation.sums import MetricSums
from nearnext.experiments.result import Run

__all__ = ["RunStore"]

SCHEMA = 1
"""Version of what a file holds; raised when older files would be misread."""

SUMS = ("session_sums", "session_cases", "bucket_sums", "bucket_cases", "recommended")
LISTS = ("filled", "unfilled")


class RunStore:
    """Runs in a folder, one file each, by everything that they depend on: data, method, options, seed, version.

    Args:
        folder: made where it does not exist.

    Raises:
        ConfigError: the folder cannot be made.

    >>> with TemporaryDirectory() as folder:
    ...     print(RunStore(folder).load({"method": "pop"}))
    None
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot use {self.folder} for finished runs: {error.strerror}; choose another"
            ) from error

    def path(self, key: Mapping[str, Any]) -> Path:
        """The file of the run with this key."""
        text = json.dumps(_identity(key), sort_keys=True, default=str)
        return self.folder / f"{key['method']}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"

    def load(self, key: Mapping[str, Any]) -> Run | None:
        """The run with this key, or None where there is none yet.

        Raises:
            ArtifactError: its file is damaged.
        """
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "numpy") as file:
                facts = json.loads(file.metadata()["run"])
                checksum = file.metadata()["sha256"]
                arrays: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _checksum(facts, arrays) != checksum:
                raise ArtifactError(f"{path} was altered: its checksum differs; delete it and run again")
            return _run(facts, arrays)
        except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
            raise ArtifactError(f"{path} is damaged ({error}); delete it and run again") from error

    def save(self, key: Mapping[str, Any], run: Run) -> Path:
        """Keep a run, whole or not at all.

        Raises:
            ArtifactError: it cannot be written.
        """
        arrays = {
            f"{lists}.{name}": np.ascontiguousarray(getattr(getattr(run.evaluation, lists), name))
            for lists in LISTS
            for name in SUMS
        }
        facts: dict[str, Any] = {
            "key": _identity(key),
            "name": run.evaluation.name,
            "params": run.evaluation.params,
            "ks": list(run.evaluation.filled.ks),
            "seconds": run.evaluation.seconds,
            "evaluation_peak_rss_mb": run.evaluation.peak_rss_mb,
            "fit_seconds": run.fit_seconds,
            "peak_rss_mb": run.peak_rss_mb,
            "audit": asdict(run.audit) if run.audit is not None else None,
        }
        text = json.dumps(facts, default=str)
        metadata = {"run": text, "sha256": _checksum(json.loads(text), arrays)}
        path = self.path(key)
        try:
            with TemporaryDirectory(dir=self.folder, prefix=".unfinished-") as scratch:
                unfinished = Path(scratch) / path.name
                save_file(arrays, unfinished, metadata)
                unfinished.replace(path)
        except (OSError, SafetensorError) as error:
            raise ArtifactError(f"cannot write {path}: {error}; free some space or choose another folder") from error
        return path


def _identity(key: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "version": versions()["nearnext"], **key}


def _checksum(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _run(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Run:
    filled, unfilled = (
        MetricSums(tuple(facts["ks"]), *(arrays[f"{lists}.{name}"] for name in SUMS)) for lists in LISTS
    )
    evaluation = Evaluation(
        facts["name"], facts["params"], filled, unfilled, facts["seconds"], facts["evaluation_peak_rss_mb"]
    )
    audit = facts["audit"]
    if audit is not None:
        audit = MethodAudit(**{**audit, "learned": AuditCheck(**audit["learned"])})
    return Run(evaluation, facts["fit_seconds"], facts["peak_rss_mb"], audit, kept=True)

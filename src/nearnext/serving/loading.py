"""Models from a directory that is watched: what is put there is tried, and taken over or refused with a reason."""

import hashlib
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from nearnext.artifact import load_artifact
from nearnext.atomic import exclusive_folder, whole_folder
from nearnext.errors import ArtifactError, NearnextError
from nearnext.explanation import explain
from nearnext.manifest import MANIFEST, require_model, verified_manifest
from nearnext.processes import trim_memory
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.ruled import rules_over
from nearnext.types import RawId

VERIFIED = "verified.json"
"""File with the states of a model and its copy whose checksums were verified."""

log = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int, int], ...]


def artifact_signature(folder: Path) -> Signature:
    """What tells one state of a directory from another without reading it: name, inode, size, last change of each."""
    try:
        found = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    except OSError:
        return ()
    return tuple((name, entry.st_ino, entry.st_size, entry.st_ctime_ns) for name, entry in found)


class LoadedModel(NamedTuple):
    """A recommender as it was read, its manifest, and its version: a checksum over everything it was read from."""

    recommender: Recommender
    manifest: Mapping[str, Any]
    version: str


def load_model(folder: Path, *, onnx: bool = False, rules: ItemRules | None = None, verify: bool = True) -> LoadedModel:
    """A model from its directory, after it has answered once; the first answer also compiles what is needed.

    ``verify`` is as in `load_artifact`.
    """
    try:
        loaded = _loaded(folder, onnx=onnx, verify=verify)
        rules_over(loaded.recommender, rules)
        return loaded
    except NearnextError:
        raise
    except MemoryError as error:
        raise ArtifactError(f"not enough memory for the model in {folder}; free some") from error
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ArtifactError(f"{folder} holds a model that cannot be used ({reason}); fit it again") from error


def _loaded(folder: Path, *, onnx: bool, verify: bool) -> LoadedModel:
    before = artifact_signature(folder)
    artifact = load_artifact(folder, verify=verify)
    version = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:12]
    if artifact_signature(folder) != before:
        raise ArtifactError(f"{folder} was changed while it was read; wait until it is complete")
    msgspec.json.encode(artifact.manifest)  # requests will ask for it
    recommender = artifact.recommender
    if recommender.memory is not None:  # a session's raw id is what opens it to a client
        recommender.memory = recommender.memory.numbered()
    if onnx:
        _encode_by_onnx(recommender)
    first: list[RawId] = recommender.vocabulary.ids.head(2).to_list()
    answers = recommender.recommend([first, []], k=2, exclude_seen=True)
    explain(recommender, first[:1], first[-1], n=1)  # compiles too what the first explanation needs
    trim_memory()
    if not all(np.isfinite(answer.scores).all() for answer in answers):
        raise ArtifactError(f"{folder} holds a model that gives no finite scores; fit it again")
    return LoadedModel(recommender, artifact.manifest, version)


def _encode_by_onnx(recommender: Recommender) -> None:
    from nearnext.portable.encoder import encode_by_onnx  # needs an extra

    measured = encode_by_onnx(recommender)
    if measured is not None:
        which = "onnxruntime" if measured.onnx < measured.model else "the model's own code"
        times = f"onnxruntime takes {measured.onnx:.0f} µs, the model's own code {measured.model:.0f} µs"
        log.info("sessions are encoded by %s: %s", which, times)


class ModelWatcher:
    """Loads the model in a directory whenever it changes, from a copy, which is kept if the model works.

    With the copy a process starts even if the directory holds a model that is refused. Its files are mapped and
    never written to; all processes that serve the same model share them.
    """

    def __init__(self, folder: Path, kept: Path, *, onnx: bool = False, rules: ItemRules | None = None) -> None:
        self._folder, self._kept, self._onnx, self._rules = folder, kept, onnx, rules
        self._signature = artifact_signature(folder)
        self.refused: str | None = None

    @property
    def changed(self) -> bool:
        """Whether the directory has changed since it was last read."""
        return artifact_signature(self._folder) != self._signature

    def require(self) -> None:
        """A check that there is a model to begin with, before anything is loaded or written."""
        try:
            require_model(self._folder, self._rules)
        except NearnextError as error:
            try:
                require_model(self._kept, self._rules)
            except NearnextError:
                raise error from None

    def first(self) -> LoadedModel:
        """The model to begin with."""
        loaded = self.look()
        if loaded is not None:
            return loaded
        if (self._kept / MANIFEST).is_file():
            try:
                return load_model(self._kept, onnx=self._onnx, rules=self._rules)
            except NearnextError as error:
                log.warning("%s cannot be served either: %s", self._kept, error)
        raise self._error

    def look(self) -> LoadedModel | None:
        """The model there now; None: it is refused, and ``refused`` says why. It takes a while."""
        self._signature = artifact_signature(self._folder)
        try:
            loaded = self._loaded()
        except NearnextError as error:
            self._error, self.refused = error, str(error)
            return None
        self.refused = None
        return loaded

    def _loaded(self) -> LoadedModel:
        try:
            # A lock of its own: that of the folder guards the catalogue, which requests wait for.
            lock = self._lock
            lock.mkdir(parents=True, exist_ok=True)
            with exclusive_folder(lock):  # the first process makes the copy, the others find it
                if not _same(self._folder / MANIFEST, self._kept / MANIFEST):
                    return self._copied()
            verified = self._verified_before()
            if not verified:
                verified_manifest(self._folder)
            with suppress(NearnextError):
                loaded = load_model(self._kept, onnx=self._onnx, rules=self._rules, verify=not verified)
                self._note_verified()
                return loaded
            with exclusive_folder(lock):  # the copy was damaged
                return self._copied()
        except OSError as error:
            log.warning("no copy of the model is kept in %s (%s)", self._kept, error)
        return load_model(self._folder, onnx=self._onnx, rules=self._rules)

    @property
    def _lock(self) -> Path:
        return self._kept.with_name(f"{self._kept.name}.lock")

    @property
    def _states(self) -> bytes:
        """What the model and its copy were when they were last looked at."""
        return msgspec.json.encode([self._signature, artifact_signature(self._kept)])

    def _verified_before(self) -> bool:
        """Whether checksums were verified, by any process, and no file has changed since: they take a second a GB."""
        with suppress(OSError):
            return (self._lock / VERIFIED).read_bytes() == self._states
        return False

    def _note_verified(self) -> None:
        with suppress(OSError):
            (self._lock / VERIFIED).write_bytes(self._states)

    def _copied(self) -> LoadedModel:
        """The model from a new copy, which is kept if it works."""
        with whole_folder(self._kept) as fresh:
            for file in self._folder.iterdir():
                if file.is_file():
                    shutil.copyfile(file, fresh / file.name)
            if self.changed:
                raise ArtifactError(f"{self._folder} was changed while it was read; wait until it is complete")
            try:
                loaded = load_model(fresh, onnx=self._onnx, rules=self._rules)
            except NearnextError as error:
                raise type(error)(str(error).replace(str(fresh), str(self._folder))) from error
        self._note_verified()
        return loaded


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()

"""A fitted recommender as one directory: manifest, arrays, raw ids, sessions. Nothing in it is executable."""

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType] - arrays of any type

from nearnext.atomic import whole_folder
from nearnext.data.imprint import Imprint
from nearnext.data.items import ItemTable
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ArtifactError, ConfigError, MissingPackageError
from nearnext.forks import require_polars
from nearnext.manifest import (
    CARD,
    IMPRINT,
    INDEX,
    ITEMS,
    MANIFEST,
    OWN,
    SCHEMA,
    SESSIONS,
    STATE,
    STORED,
    VOCABULARY,
    left_categories_of,
    read_manifest,
    replaced_method,
    verified_manifest,
)
from nearnext.model_card import model_card
from nearnext.options import path_of, require_type
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.method import State
from nearnext.recommenders.named import stored_recommender
from nearnext.recommenders.session_index import SessionMemory
from nearnext.recommenders.space import HasSpace, space_of, table_note
from nearnext.registration import origins
from nearnext.registry import REGISTRIES
from nearnext.stored_arrays import checksum, mapped_arrays


@dataclass(frozen=True)
class Artifact:
    """A recommender read from a directory, and what its manifest says of it.

    Attributes:
        recommender: ready to recommend.
        manifest: schema, method, options, provenance and checksums.
    """

    recommender: Recommender
    manifest: Mapping[str, Any]

    @property
    def provenance(self) -> dict[str, Any]:
        """What was said of the recommender when it was saved."""
        return {name: value for name, value in self.manifest.items() if name not in OWN}


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on."""
    found = {"python": platform.python_version()}
    for package in ("nearnext", "numba", "numpy", "polars", "pyarrow", "scipy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def save_artifact(recommender: Recommender, directory: str | Path, provenance: Mapping[str, Any] | None = None) -> Path:
    """Write a fitted recommender; an artifact that is already there is replaced in one step, anything else is kept.

    Args:
        recommender: fitted.
        directory: where to; its parent must exist.
        provenance: what it was learned from and how long that took (data fingerprint, seed, command, duration).

    Raises:
        ArtifactError: the directory holds something else, or cannot be written.
        ConfigError: the recommender is not fitted, or has an invalid option.

    >>> import tempfile
    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.named import make_recommender
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fitted = make_recommender("markov-1").fit(Sessions.of([["a", "b"]]))
    ...     path = save_artifact(fitted, Path(folder) / "model", {})
    ...     load_artifact(path).recommender.recommend([["a"]], k=1)[0].items
    ['b']
    """
    require_polars("saving a model")
    require_type("recommender", recommender, Recommender, "make one with make_recommender('vsknn').fit(sessions)")
    require_type("provenance", {} if provenance is None else provenance, Mapping, "give for example {}")
    if not recommender.fitted:
        raise ConfigError(f"{recommender.name} is not fitted; call fit(sessions) before saving")
    recommender.unfitted()  # checks options set as attributes: a model with invalid ones could not be loaded
    target = path_of("directory", directory)
    replaced_method(target)
    try:
        with whole_folder(target) as fresh:
            _write(recommender, fresh, provenance or {})
    except (OSError, SafetensorError, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"cannot write {target}: {reason}; nothing was replaced") from error
    return target


def _write(recommender: Recommender, folder: Path, provenance: Mapping[str, Any]) -> None:
    arrays = {name: np.asarray(array, order="C") for name, array in recommender.state().items()}
    save_file(arrays, folder / STATE)
    pl.DataFrame({"item_id": recommender.vocabulary.ids}).write_parquet(folder / VOCABULARY)
    if recommender.memory is not None:
        recommender.memory.to_frame().write_parquet(folder / SESSIONS)
    if recommender.items is not None:
        recommender.items.frame.write_parquet(folder / ITEMS)
    if recommender.imprint is not None:
        save_file(recommender.imprint.arrays(), folder / IMPRINT)
    _write_index(recommender, folder / INDEX)
    written = [name for name in STORED if (folder / name).is_file()]
    for name in written:
        (folder / name).chmod(0o644)  # safetensors leaves it to its owner alone; a service runs as another user
    manifest = {
        "schema": SCHEMA,
        "method": recommender.name,
        "params": recommender.params(),
        "items": len(recommender.vocabulary),
        "left_categories": {event: asdict(measured) for event, measured in recommender.left_categories.items()},
        "items_without_clicks": table_note(recommender),
        "versions": versions(),
        "own_parts": origins(recommender.parts()),
        **provenance,
        "sha256": {name: checksum(folder / name) for name in written},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    history, held_out = getattr(recommender, "history", ()), getattr(recommender, "held_out", {})
    reranks = getattr(recommender, "reranker", None) is not None
    (folder / CARD).write_text(model_card(manifest, history, held_out, reranks=reranks), encoding="utf-8")


def _write_index(recommender: Recommender, file: Path) -> None:
    if (space := space_of(recommender)) is not None:
        from nearnext.retrieval import ApproximateIndex

        if isinstance(space.index, ApproximateIndex):
            space.index.save(file)


def _read_index(recommender: Recommender, file: Path) -> None:
    from nearnext.retrieval import ApproximateIndex, ExactIndex

    space = space_of(recommender)
    if not isinstance(recommender, HasSpace) or space is None or not isinstance(space.index, ExactIndex):
        raise ArtifactError(f"{file} is the index of embeddings that its model lacks; fit the model again")
    recommender.search_by(ApproximateIndex.load(space.index, file))


def load(directory: str | Path) -> Recommender:
    """Load the recommender that `Recommender.save` or ``nearnext fit`` wrote; see `load_artifact`.

    >>> import tempfile
    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.named import make_recommender
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = make_recommender("markov-1").fit(Sessions.of([["a", "b"]])).save(f"{folder}/model")
    ...     load(path).recommend([["a"]], k=1)[0].items
    ['b']
    """
    return load_artifact(directory).recommender


def load_artifact(directory: str | Path, *, verify: bool = True) -> Artifact:
    """The recommender of a directory, after its checksums were verified; without ``verify`` they were before.

    Raises:
        ArtifactError: no artifact, a damaged or altered file, a schema that this version cannot read, or a part of the
            user's own that is not registered; the message says what to import.
        ConfigError: it has an approximate index, and the extra ``ann`` is not installed.
    """
    require_polars("loading a model")
    folder, waited = path_of("directory", directory), False
    while True:
        before = _identity(folder)
        try:
            artifact = _loaded(folder, verified_manifest(folder) if verify else read_manifest(folder))
        except Exception:
            if _identity(folder) == before and (before or waited):
                raise
            time.sleep(0.2)  # some file systems lack a folder for a moment while it is replaced
            waited = True
        else:
            if _identity(folder) == before:
                return artifact
        # Another model took its place while it was read: read that one.


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """What tells a folder from another one of the same name, which may have got its inode."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _loaded(folder: Path, manifest: dict[str, Any]) -> Artifact:
    _require_own_parts(folder, manifest)
    try:
        state = mapped_arrays(folder / STATE)
        ids = pl.read_parquet(folder / VOCABULARY, glob=False)["item_id"]
        if str(ids.dtype) not in {"Int64", "String"} or not len(ids) or len(ids) != manifest.get("items", len(ids)):
            raise ArtifactError(f"{folder / VOCABULARY} holds other items than its model; fit the model again")
        recommender = _restored(folder, manifest, Vocabulary(ids), state)
    except (ArtifactError, MissingPackageError, MemoryError):
        raise
    except Exception as error:  # whatever a part makes of arrays that are not its own
        lacking, said = isinstance(error, KeyError), " ".join(str(error).split()) or type(error).__name__
        reason = f"expected the array {said}, found none" if lacking else said
        raise ArtifactError(f"{folder} does not hold what its manifest says ({reason}); fit the model again") from error
    if INDEX in manifest["sha256"]:
        _read_index(recommender, folder / INDEX)
    return Artifact(recommender, manifest)


def _restored(folder: Path, manifest: Mapping[str, Any], vocabulary: Vocabulary, state: State) -> Recommender:
    recommender = stored_recommender(manifest["method"], manifest["params"])
    if ITEMS in manifest["sha256"]:
        recommender.items = ItemTable(pl.read_parquet(folder / ITEMS, glob=False))
    recommender.restore(vocabulary, state)
    if SESSIONS in manifest["sha256"]:
        recommender.memory = SessionMemory.from_frame(pl.read_parquet(folder / SESSIONS, glob=False), vocabulary)
    if IMPRINT in manifest["sha256"]:
        recommender.imprint = Imprint.from_arrays(mapped_arrays(folder / IMPRINT))
    recommender.left_categories = left_categories_of(manifest)
    return recommender


def _require_own_parts(folder: Path, manifest: Mapping[str, Any]) -> None:
    """A check that the user's own parts of a model are registered, by an entry point if there is one."""
    parts: Any = manifest.get("own_parts", [])
    for part in cast("list[Any]", parts) if isinstance(parts, list) else [parts]:
        try:
            registry, name, source = REGISTRIES[part["kind"]], str(part["name"]), str(part["from"])
        except (LookupError, TypeError) as error:
            raise ArtifactError(f"{folder} does not say which parts it is made of; fit the model again") from error
        if name not in registry:
            raise ArtifactError(
                f"{folder} is made with the {registry.label} '{name}' of {source}, which is not registered; import it "
                f"before loading, at the command line with --import {source}"
            )

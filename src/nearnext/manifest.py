"""The manifest of a model directory: what it says of the model, read and checked before the model is loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import numpy as np
import polars as pl

from nearnext.atomic import has_utf8_name
from nearnext.data.files import MODEL
from nearnext.data.item_columns import ItemColumns
from nearnext.errors import ArtifactError
from nearnext.options import path_of
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.left_categories import LeftCategories
from nearnext.stored_arrays import checksum

SCHEMA = 1
"""Version of the directory's layout; raised when an older nearnext could no longer read it."""

CARD = "README.md"
"""The model card; nothing reads it back."""

(MANIFEST, STATE), VOCABULARY = MODEL, "vocabulary.parquet"
OWN = (
    "schema",
    "method",
    "params",
    "items",
    "left_categories",
    "items_without_clicks",
    "versions",
    "own_parts",
    "sha256",
)
"""Entries of a manifest that saving adds to the provenance."""

INDEX = "index.faiss"
"""The graph of an approximate index; an artifact that is searched exactly lacks the file."""

SESSIONS = "sessions.parquet"
"""The training sessions that the recommender remembers; an artifact of one that remembers none lacks the file."""

ITEMS = "items.parquet"
"""The item table; missing if the model was fitted without one."""

IMPRINT = "training.safetensors"
"""Times and digests of the training sessions, to recognise them in a test log; missing if they are not known."""

STORED = (STATE, VOCABULARY, SESSIONS, ITEMS, IMPRINT, INDEX)
"""Files whose checksums the manifest has."""


class Origin(NamedTuple):
    """How errors name a model, and what they advise if it is damaged, incomplete or no model."""

    name: str
    damaged: str
    incomplete: str
    none: str

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """The origin of a model in a directory."""
        again = "fit the model again"
        return cls(str(folder), again, f"{again} or copy the whole directory", "name a directory made by fit")

    def file(self, name: str) -> str:
        """The name of a file of the model."""
        return str(Path(self.name) / name)


def replaced_method(directory: str | Path) -> str | None:
    """The method of the model that saving to a directory would replace; None: there is none."""
    target = Path(directory)
    try:
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return None
        loaded: Any = json.loads((target / MANIFEST).read_text("utf-8")) if (target / MANIFEST).is_file() else None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{target} cannot be read ({error}); choose another name") from error
    if loaded is None:
        raise ArtifactError(f"{target} exists and is no nearnext artifact; choose another name")
    return str(cast("dict[str, Any]", loaded).get("method")) if isinstance(loaded, dict) else "an unknown method"


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model, intact or not."""
    return all((folder / name).is_file() for name in MODEL)


def require_model(directory: str | Path, rules: ItemRules | None = None) -> None:
    """A check, before anything is loaded, that a directory holds a model, and one whose item table has what rules name.

    Raises:
        ArtifactError: no artifact, or one that this version cannot read.
        ConfigError: a rule that the model cannot follow.
    """
    folder = path_of("directory", directory)
    manifest = read_manifest(folder)
    if rules is None:
        return
    from nearnext.recommenders.ruled import RuledItems, no_item_table  # with compiled code, which takes a while

    table = folder / ITEMS
    if ITEMS not in manifest["sha256"]:
        raise no_item_table(manifest["method"])
    try:
        frame = pl.read_parquet(table, glob=False)
        ruled = RuledItems([ItemColumns.of(frame)], np.arange(frame.height), left_categories_of(manifest))
    except Exception:  # loading the model says what is damaged
        return
    ruled.apply(rules)


def verified_manifest(folder: Path, origin: Origin | None = None) -> dict[str, Any]:
    """The manifest of a model directory, after a check of its checksums; `ArtifactError` if one differs.

    Errors name the origin of the model, by default the directory.
    """
    origin = origin or Origin.of_folder(folder)
    manifest = read_manifest(folder, origin)
    for name, expected in manifest["sha256"].items():
        file = folder / Path(name).name
        where = origin.file(file.name)
        if not file.is_file():
            raise ArtifactError(f"{where} is missing; {origin.incomplete}")
        if checksum(file) != expected:
            raise ArtifactError(f"{where} was altered or cut short: its checksum differs; {origin.damaged}")
    return manifest


def left_categories_of(manifest: Mapping[str, Any]) -> dict[str, LeftCategories]:
    """The categories that sessions leave, by event type."""
    return {event: LeftCategories(**measured) for event, measured in manifest.get("left_categories", {}).items()}


def read_manifest(folder: Path, origin: Origin | None = None) -> dict[str, Any]:
    """The manifest of a model directory; `ArtifactError` where there is none that this version can read."""
    origin = origin or Origin.of_folder(folder)
    path, where = folder / MANIFEST, origin.file(MANIFEST)
    if not has_utf8_name(folder):
        raise ArtifactError(f"cannot read {origin.name}: its path is not UTF-8; rename it")
    if not path.is_file():
        raise ArtifactError(f"{origin.name} holds no nearnext model ({MANIFEST} is missing); {origin.none}")
    try:
        loaded: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{where} cannot be read ({reason}); {origin.damaged}") from error
    manifest = cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}
    schema = manifest.get("schema")
    if schema != SCHEMA:
        raise ArtifactError(
            f"{where} has schema {schema}, this nearnext reads {SCHEMA}; {origin.damaged} or match versions"
        )
    kinds = {"method": str, "params": dict, "sha256": dict}
    if (
        not all(isinstance(manifest.get(name), kind) for name, kind in kinds.items())
        or not {STATE, VOCABULARY} <= manifest["sha256"].keys()
    ):
        raise ArtifactError(f"{where} lacks a method, its options or checksums; {origin.damaged}")
    return manifest

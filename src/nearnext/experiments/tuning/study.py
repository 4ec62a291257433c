"""The file of a study: what it is of, and every trial that has ended; replaced in one step after each of them."""

import fcntl
import hashlib
import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from nearnext.atomic import whole_file
from nearnext.errors import ArtifactError, ConfigError
from nearnext.experiments.tuning.trial import Trial

__all__ = ["Study", "open_study"]

SCHEMA = 1
"""Version of what a file holds; raised when older files would be misread."""

WHAT = {
    "data": "another log, split or filter",
    "method": "another method",
    "start": "other options to begin with",
    "space": "another search space",
    "metric": "another metric",
    "seed": "another seed",
    "versions": "other versions of the libraries",
}
"""What differs between two studies, in words."""


class Study:
    """The trials of one search, in order; kept in a file where there is one.

    Args:
        identity: everything that a trial's figure depends on, beside its options, as plain data.
        path: of the file; None: trials are kept in memory alone.
        trials: those that have ended.
    """

    def __init__(self, identity: Mapping[str, Any], path: Path | None = None, trials: Sequence[Trial] = ()) -> None:
        self.identity, self.path, self.trials = identity, path, list(trials)

    def add(self, trial: Trial) -> None:
        """One more trial, written at once.

        Raises:
            DataError: the file cannot be written.
        """
        self.trials.append(trial)
        if self.path is None:
            return
        facts = _plain({"identity": self.identity, "trials": [asdict(each) for each in self.trials]})
        text = json.dumps({"nearnext_study": SCHEMA, **facts, "sha256": _checksum(facts)}, indent=1, ensure_ascii=False)
        with whole_file(self.path) as unfinished:
            unfinished.write_text(text + "\n", encoding="utf-8")


@contextmanager
def open_study(place: Path | None, identity: Mapping[str, Any]) -> Generator[Study]:
    """The study with this identity, for this process alone: a new one, or what an earlier run has left.

    Args:
        place: a file; or a folder, in which each study has a file of its own; None: nothing is kept.
        identity: as plain data, with ``method`` and ``data`` among it.

    Raises:
        ArtifactError: the file is no study, damaged, or in use.
        ConfigError: the file is a study of something else, or it cannot be made.
    """
    if place is None:
        yield Study(identity)
        return
    path = _file(place, identity)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise ConfigError(f"cannot keep a study in {path}: {error.strerror or error}; choose another place") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ArtifactError(f"{path} is in use by another run; wait for it or choose another place") from error
        yield Study(identity, path, _load(path, identity))


def _file(place: Path, identity: Mapping[str, Any]) -> Path:
    if place.is_file() or (place.suffix and not place.is_dir()):
        return place
    method = re.sub(r"[^a-z0-9-]", "-", str(identity["method"]))
    digest = hashlib.sha256(json.dumps(_plain(identity), sort_keys=True).encode()).hexdigest()
    return place / f"{method}-{digest[:12]}.json"


def _load(path: Path, identity: Mapping[str, Any]) -> list[Trial]:
    if not path.exists():
        return []
    try:
        loaded: Any = json.loads(path.read_bytes())
        schema = loaded["nearnext_study"]
        found = {"identity": loaded["identity"], "trials": loaded["trials"]}
        if _checksum(found) != loaded["sha256"]:
            raise ArtifactError(f"{path} was altered: its checksum differs; delete it or name another file")
        trials = [Trial(**(facts | {"epochs": tuple(facts["epochs"])})) for facts in found["trials"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is no study of nearnext, or was cut short; delete it or name another file"
        ) from error
    if schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {schema}, this nearnext reads {SCHEMA}; name another file")
    _require_same(path, _plain(identity), found["identity"])
    return trials


def _require_same(path: Path, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    for name in (*WHAT, *sorted({*expected, *found} - WHAT.keys())):
        if expected.get(name) != found.get(name):
            raise ConfigError(
                f"{path} is a study of {WHAT.get(name, f'another {name}')}; tune as it was begun, or name another file"
            )


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The data as they come back from a file."""
    return cast("dict[str, Any]", json.loads(json.dumps(value)))


def _checksum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

"""Where a fitted model goes: what it replaces, and what is done where it cannot be saved."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearnext.cli.output import console, writable_folder
from nearnext.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from nearnext.recommenders.base import Recommender


def require_outside(replaced: Path, *outputs: str | Path | None) -> None:
    """Make sure that nothing is written to a folder that the command replaces as a whole."""
    for path in outputs:
        if path is not None and Path(path).resolve().is_relative_to(replaced.resolve()):
            raise ConfigError(f"cannot write {path}: {replaced} is written as a whole; choose a path outside")


def announce_replacement(out: Path, method: str, *outputs: str | Path | None) -> None:
    """Say which model a fit will replace, where it is of another method; no other output may be inside."""
    from nearnext.manifest import replaced_method

    if not out.name:
        raise ArtifactError(f"expected the name of a folder to make for the model, found {out}; name one, e.g. model")
    require_outside(out, *outputs)
    writable_folder(out.absolute().parent, out)
    before = replaced_method(out)
    if before is not None and before != method:
        text = f"{out} holds a model of {before}; the one of {method} will replace it"
        console.print(text, style="yellow")


def save(recommender: "Recommender", out: Path, provenance: Mapping[str, Any]) -> None:
    """Save a fitted model; where that fails, save it to a folder that has room, and say which."""
    from nearnext.artifact import save_artifact

    try:
        save_artifact(recommender, out, provenance)
    except ArtifactError as error:
        while True:
            for other in _other_folders(out):
                try:
                    saved = save_artifact(recommender, other, provenance)
                except ArtifactError:
                    with suppress(OSError):  # a failed removal must not hide why the save failed
                        other.parent.rmdir()
                    continue
                raise ArtifactError(f"{error}; the fitted model is in {saved}: move it where you want it") from error
            if not _asked_for_another_try(error):
                raise


def _other_folders(out: Path) -> Iterator[Path]:
    """Names for a model in the folder for temporary files, the home folder and the current one."""
    for folder in (tempfile.gettempdir, Path.home, Path.cwd):
        try:
            other = Path(tempfile.mkdtemp(dir=folder(), prefix="nearnext-")) / out.name
        except (OSError, RuntimeError):  # there is no such folder, or it cannot be written
            continue
        yield other


def _asked_for_another_try(error: ArtifactError) -> bool:
    """Whether a user at the terminal has freed space: then nothing needs to be fitted again."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{error}\nno other folder has room; free some, then press Enter to try again: ")
    sys.stderr.flush()
    return bool(sys.stdin.readline())

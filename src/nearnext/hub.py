"""Models on a Hugging Face hub: push a model folder, pull one."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nearnext.atomic import whole_folder
from nearnext.errors import ArtifactError, NearnextError
from nearnext.extras import needed
from nearnext.manifest import CARD, MANIFEST, STORED, replaced_method, verified_manifest
from nearnext.options import path_of

FILES = [CARD, MANIFEST, *STORED]
"""The files of a model folder; nothing else is uploaded or downloaded."""

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token with that right"


def push(directory: str | Path, repo: str, *, public: bool = False) -> str:
    """Upload a model folder with its model card; files of an earlier model in the repository are replaced.

    The folder holds the training sessions that the model remembers, see `Recommender.remember`.

    Args:
        directory: a model folder, from `Recommender.save` or ``nearnext fit``.
        repo: ``NAME`` or ``OWNER/NAME`` on the hub of the variable ``HF_ENDPOINT``, by default huggingface.co.
        public: visibility of a repository that this call creates; one that exists keeps its own.

    Returns:
        The address of the repository.

    Raises:
        ArtifactError: no model, or a damaged one; no token, no right, no network.
        MissingPackageError: the extra ``hub`` is not installed.
    """
    folder = path_of("directory", directory)
    method = verified_manifest(folder)["method"]
    with _hub(f"push {folder} to {repo}") as hub:
        api = hub.HfApi(library_name="nearnext")
        created = api.create_repo(repo, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=created.repo_id,
            folder_path=folder,
            commit_message=f"Upload a {method} model",
            allow_patterns=FILES,
            delete_patterns=FILES,
        )
    return str(created)


def pull(repo: str, directory: str | Path, *, revision: str | None = None) -> Path:
    """Download a model folder and verify its checksums; a model that is already in the directory is replaced.

    Args:
        repo: ``OWNER/NAME``, see `push`.
        directory: where to; load it with `nearnext.load`.
        revision: branch, tag or commit; default: the newest.

    Returns:
        The directory.

    Raises:
        ArtifactError: the directory holds something else, or the repository no intact model; no such repository, no
            right, no network.
        MissingPackageError: the extra ``hub`` is not installed.
    """
    target = path_of("directory", directory)
    replaced_method(target)  # refuses a folder that is no model
    try:
        with whole_folder(target) as fresh:
            with _hub(f"pull {repo}") as hub:
                hub.snapshot_download(repo, revision=revision, local_dir=fresh, allow_patterns=FILES)
            shutil.rmtree(fresh / ".cache", ignore_errors=True)  # of the library
            try:
                verified_manifest(fresh)
            except ArtifactError as error:
                raise ArtifactError(str(error).replace(str(fresh), repo)) from error
    except OSError as error:
        raise ArtifactError(f"cannot write {target}: {error.strerror or error}; nothing was replaced") from error
    return target


@contextmanager
def _hub(doing: str) -> Generator[Any]:
    """The library of the hub; its errors as one line."""
    what = doing.partition(" ")[0]
    hub, errors = needed("huggingface_hub", "hub", what), needed("huggingface_hub.errors", "hub", what)
    try:
        yield hub
    except NearnextError:
        raise
    except Exception as error:  # of the library, its HTTP client or the system
        status = getattr(getattr(error, "response", None), "status_code", None)
        if getattr(error, "errno", None) is not None and not isinstance(error, ConnectionError):
            raise  # of a local file
        if isinstance(error, errors.RepositoryNotFoundError):
            reason = f"the hub has no such model repository, or a private one; check its name, and {LOG_IN}"
        elif isinstance(error, errors.LocalTokenNotFoundError) or status in (401, 403):
            reason = f"the hub refused it; {LOG_IN}"
        elif isinstance(error, errors.HFValidationError | errors.RevisionNotFoundError) or status is not None:
            reason = next(line for line in reversed(str(error).splitlines()) if line.strip())
        else:
            said = " ".join(str(error.__cause__ or error).split())
            reason = f"{hub.constants.ENDPOINT} cannot be reached ({said}); check the network"
        raise ArtifactError(f"cannot {doing}: {reason}") from error

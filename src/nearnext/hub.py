"""Models on a Hugging Face hub: push a model folder, pull one."""

import logging
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nearnext.atomic import whole_folder
from nearnext.errors import ArtifactError, NearnextError
from nearnext.extras import needed
from nearnext.manifest import CARD, MANIFEST, STORED, Origin, replaced_method, verified_manifest
from nearnext.options import path_of
from nearnext.progress import shows_bars

FILES = [CARD, MANIFEST, *STORED]
"""The files of a model folder; nothing else is uploaded or downloaded."""

REFUSED, BUSY, SERVER_FAILED = (401, 403), (408, 429), 500
"""HTTP statuses; the last one is the least of its kind."""

PUSH_AGAIN = "push the model again"
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
            verified_manifest(fresh, Origin(repo, PUSH_AGAIN, PUSH_AGAIN, "name a repository made by push"))
    except OSError as error:
        raise ArtifactError(f"cannot write {target}: {error.strerror or error}; nothing was replaced") from error
    return target


@contextmanager
def _hub(doing: str) -> Generator[Any]:
    """The library of the hub; its errors as one line, its progress bars only where ours are shown."""
    what = doing.partition(" ")[0]
    modules = ("", ".errors", ".utils", ".utils.logging")
    hub, errors, bars, log = (needed(f"huggingface_hub{module}", "hub", what) for module in modules)
    level, without_bars = log.get_verbosity(), bars.are_progress_bars_disabled()
    try:
        log.set_verbosity(logging.CRITICAL)  # each retry would be a line
        if not (without_bars or shows_bars()):
            bars.disable_progress_bars()
        yield hub
    except NearnextError:
        raise
    except Exception as error:  # of the library, its HTTP client or the system
        chain = [error, *filter(None, (error.__cause__, error.__context__))]
        answer = next(filter(None, (getattr(one, "response", None) for one in chain)), None)
        if answer is None and getattr(error, "errno", None) is not None and not isinstance(error, ConnectionError):
            raise  # of a local file
        raise ArtifactError(f"cannot {doing}: {_reason(chain, answer, hub.constants.ENDPOINT, errors)}") from error
    finally:
        log.set_verbosity(level)
        if not without_bars:
            bars.enable_progress_bars()


def _reason(chain: Sequence[BaseException], answer: Any, endpoint: str, errors: Any) -> str:
    """Why the library failed, and what to do; ``chain`` is its error, then the causes."""

    def among(*kinds: type[BaseException]) -> BaseException | None:
        return next((one for one in chain if isinstance(one, kinds)), None)

    said = " ".join(str(chain[0].__cause__ or chain[0]).split())
    from_hub = " ".join(str(next(filter(None, (getattr(one, "server_message", None) for one in chain)), "")).split())
    detail = f" ({from_hub})" if from_hub else ""
    status = getattr(answer, "status_code", 0)
    again = "; try again later" if status in BUSY or status >= SERVER_FAILED else ""
    reasons = (
        (
            among(errors.HFValidationError),
            f"expected NAME or OWNER/NAME: {said.removesuffix(' Use `repo_type` argument if needed.')}",
        ),
        (among(errors.GatedRepoError), f"the repository is gated{detail}; ask for access on its page, then {LOG_IN}"),
        (
            among(errors.RepositoryNotFoundError),
            f"the hub has no such model repository, or a private one; check its name, and {LOG_IN}",
        ),
        (
            among(errors.RevisionNotFoundError),
            f"the repository has no such revision{detail}; name one of its branches, tags or commits",
        ),
        (among(errors.LocalTokenNotFoundError) or status in REFUSED, f"the hub refused it{detail}; {LOG_IN}"),
        (status, f"the hub answered {status} {getattr(answer, 'reason_phrase', '')}{detail}{again}"),
        (among(errors.OfflineModeIsEnabled), "the library of the hub is in offline mode; unset HF_HUB_OFFLINE"),
        (among(UnicodeError), f"its token has characters that tokens do not have; {LOG_IN}"),
        (  # no JSON
            among(ValueError),
            f"{endpoint} does not answer as a hub does ({said}); check HF_ENDPOINT, and whether a proxy answers",
        ),
        (True, f"{endpoint} cannot be reached ({said}); check the network and HF_ENDPOINT"),
    )
    return next(reason for holds, reason in reasons if holds)

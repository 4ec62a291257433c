"""Optional dependencies: each belongs to an extra of nearnext and is imported when used."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from nearnext.errors import MissingPackageError

PACKAGES = {"faiss": "faiss-cpu", "pytorch_metric_learning": "pytorch-metric-learning"}
"""Package names of modules with another name."""

TRAINING = ("torch",)
"""Modules of the extra train, which nearnext's own modules import wherever they train or use what was trained."""


def missing(purpose: str, modules: Sequence[str], extra: str) -> MissingPackageError:
    """The error for a missing optional package, with the command that installs it.

    >>> str(missing("approximate search", ["faiss"], "ann"))
    "approximate search needs the package faiss-cpu; install it with: pip install 'nearnext[ann]'"
    """
    names = [PACKAGES.get(module, module) for module in modules]
    what = f"the package {names[0]}" if len(names) == 1 else f"the packages {', '.join(names)}"
    them = "it" if len(names) == 1 else "them"
    return MissingPackageError(f"{purpose} needs {what}; install {them} with: pip install 'nearnext[{extra}]'")


def needed(module: str, extra: str, purpose: str) -> Any:
    """Import a module; `MissingPackageError` if its package is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise missing(purpose, [module.partition(".")[0]], extra) from error


def require_training(purpose: str) -> None:
    """Make sure, before any work is done, that the extra train is installed; nothing is imported."""
    with training_extra(purpose):
        for module in TRAINING:
            if find_spec(module) is None:
                raise ModuleNotFoundError(name=module)


@contextmanager
def training_extra(purpose: str) -> Generator[None]:
    """Import modules that may train; `MissingPackageError` if a package of the extra train is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in TRAINING:
            raise
        text = f"{missing(purpose, [error.name], 'train')}; methods that count, such as vstan and sr, work without"
        raise MissingPackageError(text) from error

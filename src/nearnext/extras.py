"""Optional dependencies: each belongs to an extra of nearnext and is imported when used."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from nearnext.errors import ConfigError

PACKAGES = {"faiss": "faiss-cpu", "pytorch_metric_learning": "pytorch-metric-learning"}
"""Package names of modules with another name."""


def missing(purpose: str, modules: Sequence[str], extra: str) -> ConfigError:
    """The error for a missing optional package, with the command that installs it.

    >>> str(missing("approximate search", ["faiss"], "ann"))
    "approximate search needs the package faiss-cpu; install it with: pip install 'nearnext[ann]'"
    """
    names = [PACKAGES.get(module, module) for module in modules]
    what = f"the package {names[0]}" if len(names) == 1 else f"the packages {', '.join(names)}"
    them = "it" if len(names) == 1 else "them"
    return ConfigError(f"{purpose} needs {what}; install {them} with: pip install 'nearnext[{extra}]'")


def needed(module: str, extra: str, purpose: str) -> Any:
    """Import a module; `ConfigError` if its package is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise missing(purpose, [module.partition(".")[0]], extra) from error

"""Checks of names and of kinds of objects, with one wording everywhere."""

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from nearnext.errors import ConfigError

__all__ = ["path_of", "require_known", "require_option", "require_type", "shown"]


def require_known(kind: str, name: object, known: Iterable[str]) -> None:
    """A check that ``name`` is one of the known names of its kind.

    Raises:
        ConfigError: it is not; the message lists the known ones.

    >>> require_known("decay", "cubic", ["linear", "log"])
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown decay 'cubic'; known: linear, log
    """
    names = tuple(known)
    if not isinstance(name, str) or name not in names:
        raise ConfigError(f"unknown {kind} '{name}'{_known(name, names)}")


def require_option(owner: str, option: object, known: Iterable[str]) -> None:
    """A check that something has an option of this name.

    Raises:
        ConfigError: it has not; the message lists the known ones.
    """
    names = tuple(known)
    if option not in names:
        raise ConfigError(f"{owner} has no option '{option}'{_known(option, names)}")


def require_type(name: str, value: object, kind: type[Any], remedy: str) -> None:
    """A check that an argument is an object of the kind that is expected.

    Raises:
        ConfigError: it is not.

    >>> require_type("test", [["a"]], dict, "give dict(...)")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: expected dict as test, found a list; give dict(...)
    """
    if isinstance(value, type) or not isinstance(value, kind):
        found = "None" if value is None else f"a {type(value).__name__}"
        found = f"the class {value.__name__}" if isinstance(value, type) else found
        raise ConfigError(f"expected {kind.__name__} as {name}, found {found}; {remedy}")


def path_of(name: str, value: object) -> Path:
    """The path that an argument names.

    Raises:
        ConfigError: it names none.
    """
    if not isinstance(value, str | os.PathLike) or not str(value):  # pyright: ignore[reportUnknownArgumentType]
        raise ConfigError(f"expected a path as {name}, found {shown(value)}")
    return Path(cast("str", value))


def shown(value: Any) -> str:
    """A value as messages show it: plain ones themselves, of others the class."""
    plain = type(value) in (str, int, float, bool, list, tuple, type(None))
    return repr(value) if plain else f"a {type(value).__name__}"


def _known(name: object, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1) if isinstance(name, str) else []
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f"{meant}; known: {', '.join(names) or 'none'}"

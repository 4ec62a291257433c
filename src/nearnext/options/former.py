"""Options that were renamed: their former names still work, with a warning."""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from nearnext.errors import ConfigError

__all__ = ["current_names", "formerly"]

C = TypeVar("C", bound=type[Any])


def formerly(**names: str) -> Callable[[C], C]:
    """A decorator of a class of options: the present name of each former one, also for its subclasses' arguments.

    >>> from dataclasses import dataclass
    >>> import pytest
    >>> @formerly(breadth="width")
    ... @dataclass
    ... class Box:
    ...     width: int
    >>> with pytest.warns(FutureWarning, match="option breadth is now called width"):
    ...     Box(breadth=2)
    Box(width=2)
    """

    def decorate(cls: C) -> C:
        made = cls.__init__

        @wraps(made)
        def init(self: object, *args: Any, **given: Any) -> None:
            made(self, *args, **current_names(cls, given))

        cls.__init__ = init
        cls.former_options = names
        return cls

    return decorate


def current_names(kind: type[Any], given: Mapping[str, Any], *, warn: bool = True) -> dict[str, Any]:
    """Options under their present names.

    Args:
        kind: the class of options.
        given: options by present or former name.
        warn: whether a former name gives a warning.

    Raises:
        ConfigError: an option is given under both of its names.
    """
    former: Mapping[str, str] = getattr(kind, "former_options", {})
    result: dict[str, Any] = {}
    for name, value in given.items():
        present = former.get(name, name)
        if present != name and present in given:
            raise ConfigError(f"{name} is now called {present}, found both; give {present} alone")
        if present != name and warn:
            # One place in the code, so that Python shows it once.
            warnings.warn(f"option {name} is now called {present}", FutureWarning, stacklevel=1)
        result[present] = value
    return result

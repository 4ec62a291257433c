"""Laws of parts: each is a check that gives an example where it is broken, and one error that names the law."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from nearnext.errors import ConfigError, ContractError

P = TypeVar("P")

Law = Callable[[P], str | None]
"""Gives None for a part that keeps the law, otherwise an example of how it does not."""

Laws = Mapping[str, Law[P]]
"""Laws by what they say, in the order in which they are tried."""


def require_lawful(part: P, laws: Laws[P], called: str) -> None:
    """A check that a part keeps all laws of its kind; `ConfigError` for a class instead of an object of it.

    >>> require_lawful(3, {"a number is even": lambda number: f"found {number}" if number % 2 else None}, "three")
    Traceback (most recent call last):
    nearnext.errors.ContractError: three breaks a law: a number is even; found 3
    """
    if isinstance(part, type):
        raise ConfigError(f"expected an object, found the class {part.__name__}; make one: {part.__name__}(...)")
    for law, example_of in laws.items():
        try:
            example, cause = example_of(part), None
        except Exception as error:  # whatever the part raises, the law it belongs to says more than a traceback
            example, cause = f"found {type(error).__name__}: {' '.join(str(error).split())}", error
        if example is not None:
            raise ContractError(f"{called} breaks a law: {law}; {example}") from cause

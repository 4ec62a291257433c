"""Checks that the options of samplers are known and in range."""

import math
from collections.abc import Iterable

from nearnext.errors import ConfigError

__all__ = ["require_at_least", "require_exponent", "require_known"]


def require_at_least(minimum: int, **options: int) -> None:
    """A check that every option is a whole number of at least ``minimum``.

    Raises:
        ConfigError: an option is smaller, or not a whole number.

    >>> require_at_least(1, batch_size=0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: batch_size must be a whole number of at least 1, found 0
    """
    for name, value in options.items():
        if type(value) is not int or value < minimum:
            raise ConfigError(f"{name} must be a whole number of at least {minimum}, found {value!r}")


def require_exponent(name: str, value: float) -> None:
    """A check that an exponent of popularity is a finite number of at least 0.

    Raises:
        ConfigError: it is not.

    >>> require_exponent("alpha", -1.0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: alpha must be a finite number of at least 0, found -1.0
    """
    if type(value) not in {int, float} or not math.isfinite(value) or value < 0:
        raise ConfigError(f"{name} must be a finite number of at least 0, found {value!r}")


def require_known(kind: str, name: object, known: Iterable[str]) -> None:
    """A check that ``name`` is one of the known names of its kind.

    Raises:
        ConfigError: it is not; the message lists the known ones.

    >>> require_known("fill", "zero", ["mask", "repeat"])
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown fill 'zero'; known: mask, repeat
    """
    names = tuple(known)
    if name not in names:
        raise ConfigError(f"unknown {kind} '{name}'; known: {', '.join(names)}")

"""Checks that every loss shares: an option outside its range is one clear line."""

import math

from nearnext.errors import ConfigError

__all__ = ["require_choice", "require_number"]


def require_number(name: str, value: object, *, at_least: float = -math.inf, above: float = -math.inf) -> None:
    """A finite number in range, or a ``ConfigError`` that names the option, the range and what was found.

    >>> require_number("margin", -1.0, at_least=0.0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: margin must be a finite number of at least 0, found -1.0
    """
    # YAML gives True and strings where a number was meant: both are refused here rather than in the first batch.
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number < at_least or number <= above:
        bound = f" above {above:g}" if above > -math.inf else f" of at least {at_least:g}"
        raise ConfigError(f"{name} must be a finite number{bound}, found {value!r}")


def require_choice(name: str, value: object, known: tuple[object, ...]) -> None:
    """One of the known values, or a ``ConfigError`` that lists them.

    >>> require_choice("swap", "maybe", (True, False))
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown swap 'maybe'; known: True, False
    """
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in known):
        raise ConfigError(f"unknown {name} {value!r}; known: {', '.join(str(choice) for choice in known)}")

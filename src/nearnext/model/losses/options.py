"""Checks that the options of a loss are in range."""

import math

from nearnext.errors import ConfigError

__all__ = ["require_number", "require_switch"]


def require_number(name: str, value: object, *, at_least: float = -math.inf, above: float = -math.inf) -> None:
    """A check that an option is a finite number in range.

    Raises:
        ConfigError: it is not.

    >>> require_number("margin", -1.0, at_least=0.0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: margin must be a finite number of at least 0, found -1.0
    """
    # YAML gives True and strings where a number was meant: both are refused here rather than in the first batch.
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number < at_least or number <= above:
        bound = f" above {above:g}" if above > -math.inf else f" of at least {at_least:g}"
        raise ConfigError(f"{name} must be a finite number{bound}, found {value!r}")


def require_switch(name: str, value: object) -> None:
    """A check that an option is True or False, not a word that Python would take for True.

    Raises:
        ConfigError: it is neither.

    >>> require_switch("swap", "no")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: swap must be true or false, found 'no'
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, found {value!r}")

"""Checks of single options; each is deleted with its last use."""

import math
from collections.abc import Sequence
from typing import Any, cast

from nearnext.errors import ConfigError
from nearnext.options.names import shown

__all__ = [
    "require_at_least",
    "require_dropout",
    "require_number",
    "require_same_dim",
    "require_switch",
    "whole_number",
    "whole_numbers",
]


def require_at_least(minimum: int, **options: int) -> None:
    """A check that every option is a whole number of at least ``minimum``.

    Raises:
        ConfigError: an option is smaller, or not a whole number.

    >>> require_at_least(1, dim=0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: dim must be a whole number of at least 1, found 0
    """
    for name, value in options.items():
        if type(value) is not int or value < minimum:
            raise ConfigError(f"{name} must be a whole number of at least {minimum}, found {value!r}")


def whole_numbers(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """The values of an option that takes several whole numbers of at least 1, as a tuple: config files have lists.

    Raises:
        ConfigError: there are none, or one is smaller or not a whole number.

    >>> whole_numbers("filter_sizes", [1, 3])
    (1, 3)
    """
    if not isinstance(values, list | tuple) or not values:
        raise ConfigError(f"{name} must be a list of whole numbers, found {values!r}; give for example [1, 3, 5]")
    for value in values:
        require_at_least(1, **{name: value})
    return tuple(values)


def require_dropout(dropout: float) -> None:
    """A check that ``dropout`` is a probability in [0, 1).

    Raises:
        ConfigError: it is not.

    >>> require_dropout(0.5)
    """
    if type(dropout) not in {int, float} or not 0.0 <= dropout < 1.0:
        raise ConfigError(f"dropout must be a number of at least 0 and below 1, found {dropout!r}")


def require_same_dim(encoder: str, dim: int, input_dim: int) -> None:
    """A check that an encoder without weights gets clicks of the dimension it gives.

    Raises:
        ConfigError: it does not.

    >>> require_same_dim("maxpool", 4, 4)
    """
    if dim != input_dim:
        raise ConfigError(f"{encoder} keeps the clicks' dimension: expected {dim}, found {input_dim}; make them equal")


def require_number(
    name: str, value: object, *, at_least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> None:
    """A check that an option is a finite number in range.

    Raises:
        ConfigError: it is not.

    >>> require_number("margin", -1.0, at_least=0.0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: margin must be a finite number of at least 0, found -1.0
    """
    # YAML gives True and strings where a number was meant: both are refused here rather than in the first batch.
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number < at_least or number <= above or number >= below:
        lower = f" of at least {at_least:g}" if at_least > -math.inf else ""
        lower = f" above {above:g}" if above > -math.inf else lower
        upper = f"{' and' if lower else ''} below {below:g}" if below < math.inf else ""
        raise ConfigError(f"{name} must be a finite number{lower}{upper}, found {value!r}")


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


def whole_number(name: str, value: object, at_least: int) -> int:
    """The value of an option that is a whole number, numpy's included, as an ``int``.

    Raises:
        ConfigError: it is none, or smaller.

    >>> whole_number("k", 5, 1)
    5
    >>> whole_number("k", 2.0, 1)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: k must be a whole number of at least 1, found 2.0
    """
    number = _plain(value)
    if type(number) is not int or number < at_least:
        raise ConfigError(f"{name} must be a whole number of at least {at_least}, found {shown(value)}")
    return number


def _plain(value: object) -> object:
    """A number of numpy as Python's; numpy itself takes a while to import, and is not needed for that."""
    of_numpy = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return cast("Any", value).item() if of_numpy else value

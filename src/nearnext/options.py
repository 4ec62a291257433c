"""Checks that options are known, of their type and in range, with one wording everywhere.

One rule for numbers from Python, config files and artifacts: a whole number is an ``int`` or one of numpy's, neither
``True`` nor ``2.0`` nor ``"2"``; other numbers are finite. Text becomes a number only where there is nothing but text:
on the command line, in `nearnext.recommenders.registry`.
"""

import difflib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from nearnext.errors import ConfigError

__all__ = [
    "path_of",
    "read_option",
    "require_at_least",
    "require_dropout",
    "require_known",
    "require_number",
    "require_option",
    "require_same_dim",
    "require_switch",
    "require_type",
    "settle",
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

    >>> require_option("sknn", "K", ["k"])
    Traceback (most recent call last):
    nearnext.errors.ConfigError: sknn has no option 'K'; known: k
    """
    names = tuple(known)
    if option not in names:
        raise ConfigError(f"{owner} has no option '{option}'{_known(option, names)}")


def _known(name: object, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1) if isinstance(name, str) else []
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f"{meant}; known: {', '.join(names) or 'none'}"


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
        raise ConfigError(f"{name} must be a whole number of at least {at_least}, found {_shown(value)}")
    return number


def require_type(name: str, value: object, kind: type[Any], remedy: str) -> None:
    """A check that an argument is an object of the kind that is expected.

    Raises:
        ConfigError: it is not.

    >>> require_type("test", [["a"]], dict, "give dict(...)")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: expected dict as test, found a list; give dict(...)
    """
    if not isinstance(value, kind):
        found = "None" if value is None else f"a {type(value).__name__}"
        raise ConfigError(f"expected {kind.__name__} as {name}, found {found}; {remedy}")


def read_option(name: str, value: object, kind: Any) -> Any:
    """The value of an option, as its type has it; text is read by it: several values as 32,16, none as "".

    Raises:
        ConfigError: the text, or the value, is not of the type.

    >>> read_option("layers", "32,16", tuple[int, ...]), read_option("refit", "no", bool)
    ((32, 16), False)
    >>> read_option("k", True, int)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: k must be a whole number, found True
    """
    if isinstance(value, str):
        from pydantic import TypeAdapter, ValidationError

        parts = [part.strip() for part in value.split(",")] if value.strip() else []
        try:
            value = TypeAdapter(kind).validate_python(parts if get_origin(kind) is tuple else value)
        except ValidationError as error:
            raise ConfigError(f"{name} cannot be {value!r}: {error.errors()[0]['msg']}") from error
    return _as_type(name, value, kind)


def path_of(name: str, value: object) -> Path:
    """The path that an argument names.

    Raises:
        ConfigError: it names none.

    >>> path_of("directory", "model").name
    'model'
    """
    if not isinstance(value, str | os.PathLike) or not str(value):  # pyright: ignore[reportUnknownArgumentType]
        raise ConfigError(f"expected a path as {name}, found {_shown(value)}")
    return Path(cast("str", value))


def settle(options: object) -> None:
    """Give every field of a dataclass a value of its type: an ``int`` for numpy's, a tuple for a list.

    Raises:
        ConfigError: a value that is not of the type, or a number that is not finite.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Options:
    ...     widths: tuple[int, ...]
    >>> options = Options([4])
    >>> settle(options)
    >>> options.widths
    (4,)
    """
    for name, kind in _types(type(options)).items():
        value = getattr(options, name)
        settled = _as_type(name, value, kind)
        if settled is not value:
            object.__setattr__(options, name, settled)


@cache
def _types(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {entry.name: hints[entry.name] for entry in fields(kind) if entry.init}


def _as_type(name: str, value: object, kind: Any) -> object:
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in inside:
            return None
        others = [other for other in inside if other is not NoneType]
        return _as_type(name, value, others[0]) if len(others) == 1 else value
    if origin is Literal:
        require_known(name, value, inside)
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            example = "[64, 32]" if inside[0] is int else "['vsknn', 'sr']"
            raise ConfigError(f"{name} must be a list, found {_shown(value)}; give for example {example}")
        return tuple(_as_type(name, one, inside[0]) for one in cast("Sequence[object]", value))
    return _as_plain(name, value, kind)


def _as_plain(name: str, value: object, kind: Any) -> object:
    plain = _plain(value)
    if kind is int:
        if type(plain) is not int:
            raise ConfigError(f"{name} must be a whole number, found {_shown(value)}")
    elif kind is float:
        require_number(name, plain)
    elif kind is bool:
        require_switch(name, plain)
    elif kind is str and not isinstance(plain, str):
        raise ConfigError(f"{name} must be a text, found {_shown(value)}")
    elif kind is Path:
        return path_of(name, plain)
    return plain if kind in (int, float, bool, str) else value


def _plain(value: object) -> object:
    """A number of numpy as Python's; numpy itself takes a while to import, and is not needed for that."""
    of_numpy = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return cast("Any", value).item() if of_numpy else value


def _shown(value: Any) -> str:
    shown = type(value) in (str, int, float, bool, list, tuple, type(None))
    return repr(value) if shown else f"a {type(value).__name__}"

"""Values as their types have them: plain types with a range, checked by pydantic in one wording.

One rule for values from Python, config files and artifacts: a whole number is an ``int`` or one of numpy's, neither
``True`` nor ``2.0`` nor ``"2"``; other numbers are finite; a list stands for a tuple. Text becomes a number only where
there is nothing but text: on the command line (``text=True``).
"""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen

from nearnext.errors import ConfigError

LIMITS = (Ge, Gt, Le, Lt, MinLen)


at_least, at_most, above, below = Ge, Le, Gt, Lt
"""Numeric bounds, named as in pydantic."""

Count = Annotated[int, at_least(1)]
"""A whole number of at least 1."""

Natural = Annotated[int, at_least(0)]
"""A whole number of at least 0."""

Positive = Annotated[float, above(0)]
"""A number above 0."""

NonNegative = Annotated[float, at_least(0)]
"""A number of at least 0."""

Fraction = Annotated[float, at_least(0), below(1)]
"""A number in [0, 1)."""

Part = Annotated[float, above(0), below(1)]
"""A number in (0, 1)."""

Probability = Annotated[float, at_least(0), at_most(1)]
"""A number in [0, 1]."""

LISTS = (tuple, Sequence)
"""Annotations that stand for a list of values."""

SOME = MinLen(1)
"""A list of at least one value."""

NAMES: Mapping[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    bool: ("true or false", "true or false"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
}
"""One and several of each plain type, as messages have them."""


def checked(name: str, value: object, kind: Any, *, text: bool = False) -> Any:
    """The value of an option or an argument, as its type has it.

    Args:
        name: of the option, for messages.
        value: what is given.
        kind: the type, for example ``Count``, ``Positive | None`` or ``tuple[Count, ...]``.
        text: whether text is read by the type: several values as 32,16, none as "".

    Raises:
        ConfigError: a value that is not of the type, or out of range.

    >>> checked("layers", "32,16", tuple[int, ...], text=True), checked("refit", "no", bool, text=True)
    ((32, 16), False)
    >>> checked("k", 0, Count)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: k must be a whole number of at least 1, found 0
    >>> checked("decay", "cubic", Literal["linear", "log"])
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown decay 'cubic'; known: linear, log
    """
    bare, adapter = _reader(kind)
    if adapter is None:
        if isinstance(bare, type) and not getattr(bare, "_is_protocol", False):
            require_type(name, value, bare, "make it first")
        return value
    reads = text and isinstance(value, str)
    if reads and get_origin(bare) in LISTS:
        given: object = tuple(part.strip() for part in str(value).split(",")) if str(value).strip() else ()
    else:
        given = value if type(value) is bare else _prepared(value, bare)
    try:
        return adapter.validate_python(given, strict=not reads)
    except ValueError:
        if get_origin(bare) is Literal:
            require_known(name, value, get_args(bare))
        raise ConfigError(f"{name} must be {expected(kind)}, found {shown(value)}{_example(bare, reads)}") from None


@cache
def _reader(kind: Any) -> tuple[Any, Any]:
    """A type without its constraints, and what checks its values; None where it is not made of plain types."""
    if not _readable(kind):
        return _bare(kind), None
    from pydantic import ConfigDict, TypeAdapter  # as long to import as numpy, and defaults need no check

    return _bare(kind), TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validator


def _example(bare: Any, reads: bool) -> str:
    if get_origin(bare) not in LISTS:
        return ""
    several = [64, 32] if _bare(get_args(bare)[0]) is int else ["one", "other"]
    return f"; give for example {','.join(map(str, several)) if reads else several}"


def _bare(kind: Any) -> Any:
    """A type without its constraints, and without None."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        others = [inside for inside in get_args(kind) if inside is not NoneType]
        return _bare(others[0]) if len(others) == 1 else kind
    return kind


def values_of(kind: Any) -> tuple[Any, ...]:
    """All values of a type that has but a few; of others none."""
    bare = _bare(kind)
    return get_args(bare) if get_origin(bare) is Literal else (False, True) if bare is bool else ()


def metadata_of(kind: Any) -> list[Any]:
    """The constraints of a type, its own ones first; those of the elements of a tuple are not among them."""
    if get_origin(kind) is Annotated:
        inside, *own = get_args(kind)
        return [*own, *metadata_of(inside)]
    if get_origin(kind) in (Union, UnionType):
        return [each for inside in get_args(kind) for each in metadata_of(inside)]
    return []


def _readable(kind: Any) -> bool:
    """Whether a type is made of plain ones, which pydantic checks; of others, only the class is looked at."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _readable(get_args(kind)[0])
    if origin in (*LISTS, Mapping, Union, UnionType):
        return all(inside is Ellipsis or _readable(inside) for inside in get_args(kind))
    return origin is Literal or kind in (NoneType, Any) or kind in NAMES


def _prepared(value: object, bare: Any) -> object:
    """A sequence as a tuple, a text that is a path as such, a number of numpy, which is not imported, as plain."""
    if get_origin(bare) in LISTS and _in_order(value):
        return tuple(_prepared(one, _bare(get_args(bare)[0])) for one in value)
    if get_origin(bare) is Mapping and isinstance(value, Mapping):
        return {
            name: _prepared(one, _bare(get_args(bare)[1])) for name, one in cast("Mapping[Any, Any]", value).items()
        }
    if bare is Path and value and isinstance(value, str | os.PathLike):
        return Path(cast("str", value))
    of_numpy = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return cast("Any", value).item() if of_numpy else value


def _in_order(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | Set)


def expected(kind: Any, *, several: bool = False) -> str:
    """The type and range of a value in words."""
    bare = _bare(kind)
    limits = {
        rule: bound for each in metadata_of(kind) if isinstance(each, LIMITS) for rule, bound in asdict(each).items()
    }
    if get_origin(bare) is Literal:
        return f"one of {', '.join(map(str, get_args(bare)))}"
    if get_origin(bare) is Mapping:
        of, to = (None if each is Any else expected(each, several=True) for each in get_args(bare))
        words = f"{'mappings' if several else 'a mapping'} of {of}"
        return words if to is None else f"{words} to {to}"
    if get_origin(bare) in LISTS:
        some = "one or several " if "min_length" in limits else ""
        return f"{'lists' if several else 'a list'} of {some}{expected(get_args(bare)[0], several=True)}"
    words = NAMES[bare][several] if bare in NAMES else f"a {getattr(bare, '__name__', bare)}"
    lower = [f" of at least {limits['ge']}"] if "ge" in limits else []
    lower += [f" above {limits['gt']}"] if "gt" in limits else []
    upper = [f"below {limits['lt']}"] if "lt" in limits else []
    upper += [f"at most {limits['le']}"] if "le" in limits else []
    joined = f"{' and ' if lower else ' of ' if upper[0].startswith('at') else ' '}{upper[0]}" if upper else ""
    return f"{words}{''.join(lower)}{joined}"


def require_known(kind: str, name: object, known: Iterable[str]) -> None:
    """A check that ``name`` is one of the known names of its kind."""
    names = tuple(known)
    if not isinstance(name, str) or name not in names:
        raise ConfigError(f"unknown {kind} '{name}'{_known(name, names)}")


def require_option(owner: str, option: object, known: Iterable[str]) -> None:
    """A check that something has an option of this name."""
    names = tuple(known)
    if option not in names:
        raise ConfigError(f"{owner} has no option '{option}'{_known(option, names)}")


def require_type(name: str, value: object, kind: type[Any], remedy: str) -> None:
    """A check that an argument is an object of the kind that is expected."""
    if isinstance(value, type) or not isinstance(value, kind):
        found = "None" if value is None else f"a {type(value).__name__}"
        found = f"the class {value.__name__}" if isinstance(value, type) else found
        raise ConfigError(f"expected {kind.__name__} as {name}, found {found}; {remedy}")


def path_of(name: str, value: object) -> Path:
    """The path that an argument names."""
    if not isinstance(value, str | os.PathLike) or str(value) == "" or "\0" in str(value):  # pyright: ignore[reportUnknownArgumentType]
        raise ConfigError(f"expected a path as {name}, found {shown(value)}")
    return Path(cast("str", value))


def shown(value: Any) -> str:
    """A value as messages show it: plain ones themselves, of others the class."""
    plain = type(value) in (str, int, float, bool, list, tuple, dict, type(None))
    return repr(value) if plain else f"a {type(value).__name__}"


def _known(name: object, names: Sequence[str]) -> str:
    text = str(name)
    near = difflib.get_close_matches(text, names, 1, 0.7)  # a first letter is rarely mistyped
    near = near or difflib.get_close_matches(text, [each for each in names if each[:1] == text[:1]], 1)
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f"{meant}; known: {', '.join(names) or 'none'}"

"""Options: each a field whose annotation says its type, its range and what tuning may try.

A class of options is a dataclass. `options` makes one that checks itself; `options_of` lists the options of any::

    @options
    class Decay:
        rate: Annotated[Positive, Search(0.01, 1.0, log=True, why="slow to fast")] = 0.1

What a field is for stands in the docstring of its class.
"""

import inspect
import re
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, partial, wraps
from types import MappingProxyType
from typing import Any, TypeVar, cast, dataclass_transform, overload
from typing import get_type_hints as hints_of

from nearnext.errors import ConfigError
from nearnext.options.names import Search, require_option
from nearnext.options.values import checked, expected, metadata_of, values_of

T = TypeVar("T")

NO_DEFAULT = inspect.Parameter.empty


@dataclass(frozen=True)
class Option:
    """A field of a class of options.

    Attributes:
        name: of the field.
        kind: its type, with the constraints of the annotation.
        default: `NO_DEFAULT` where it has none.
        search: what tuning tries; None: nothing.
        help: what it is for.
    """

    name: str
    kind: Any
    default: Any = NO_DEFAULT
    search: Search | None = None
    help: str = ""

    @property
    def has_default(self) -> bool:
        """Whether the field may be left out."""
        return self.default is not NO_DEFAULT

    def __str__(self) -> str:
        return expected(self.kind)


@overload
def options(cls: type[T], /) -> type[T]: ...
@overload
def options(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def options(cls: type[Any] | None = None, /, *, kw_only: bool = False) -> Any:
    """A class of options: a frozen dataclass whose values are checked, and only then given to its ``__post_init__``.

    Raises:
        ConfigError: when one is made, with a value that is not of its field's type, or out of range.

    >>> from nearnext.options.values import Positive
    >>> @options
    ... class Decay:
    ...     rate: Positive = 0.1
    >>> Decay(rate=2), Decay()
    (Decay(rate=2.0), Decay(rate=0.1))
    >>> Decay(rate=0)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: rate must be a finite number above 0, found 0
    """
    if cls is None:
        return partial(_checking, kw_only=kw_only)
    return _checking(cls, kw_only=kw_only)


def _checking(cls: type[Any], *, kw_only: bool) -> type[Any]:
    together = getattr(cls, "__post_init__", None)

    def check_all(self: object) -> None:
        check(self)
        if together is not None:
            together(self)

    cls.__post_init__ = check_all
    return dataclass(frozen=True, kw_only=kw_only)(cls)


@cache
def options_of(kind: type[Any]) -> Mapping[str, Option]:
    """The options of a dataclass by name; a field declared again without a range keeps that of the class before.

    >>> from nearnext.recommenders.rules import SequentialRules
    >>> steps = options_of(SequentialRules)["steps"]
    >>> str(steps), str(steps.search), steps.default, steps.help
    ('a whole number of at least 1', '1 to 20', 4, 'how many clicks after an item count, at least 1.')
    """
    helps = _helps(kind)
    found: dict[str, Option] = {}
    for entry in fields(kind):
        if entry.init:
            declared = _declared(kind, entry.name)
            default = entry.default if entry.default_factory is MISSING else entry.default_factory()
            default = NO_DEFAULT if default is MISSING else default
            search = next((each for each in metadata_of(declared) if isinstance(each, Search)), None)
            if search is not None and (values := values_of(declared)):
                search = search.among(values)
            found[entry.name] = Option(entry.name, declared, default, search, helps.get(entry.name, ""))
    return MappingProxyType(found)


def _declared(kind: type[Any], name: str) -> Any:
    plain, nearest = hints_of(kind)[name], hints_of(kind, include_extras=True)[name]
    for base in kind.__mro__:
        if name in vars(base).get("__annotations__", {}):
            declared = hints_of(base, include_extras=True)[name]
            if declared != plain and hints_of(base)[name] == plain:
                return declared
    return nearest


def _helps(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a class and its bases say of their attributes."""
    helps: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        _, _, after = inspect.cleandoc(vars(base).get("__doc__") or "").partition("\nAttributes:\n")
        block = re.split(r"\n(?=\S)", after, maxsplit=1)[0]
        for name, text in re.findall(r"(?m)^    (\w+): ((?:.*)(?:\n     .*)*)", block):
            helps[name] = " ".join(text.split())
    return helps


def check(options: object) -> None:
    """Give every field of a dataclass the value that its type makes of it: an ``int`` for numpy's, a tuple for a list.

    Raises:
        ConfigError: a value that is not of the type, or out of range.
    """
    owner = getattr(type(options), "name", "")
    with named(owner if isinstance(owner, str) else ""):
        for name, option in options_of(type(options)).items():
            given = getattr(options, name)
            value = given if given is option.default else checked(name, given, option.kind)
            if value is not given:
                object.__setattr__(options, name, value)


def make(kind: Callable[..., T], given: Mapping[str, Any], owner: str, *, text: bool = False) -> T:
    """A class of options made from values by name.

    Args:
        kind: the class.
        given: the values; others keep their defaults.
        owner: what messages call it.
        text: whether text is read as the type has it: several values as 32,16, none as "".

    Raises:
        ConfigError: an unknown option, or a value that it cannot take.

    >>> from nearnext.recommenders.neighbours import VSKNN
    >>> make(VSKNN, {"k": "500"}, "vsknn", text=True).k
    500
    """
    known = options_of(cast("type[Any]", kind))
    for name in given:
        require_option(owner, name, known)
    with named(owner):
        return kind(**{name: checked(name, value, known[name].kind, text=text) for name, value in given.items()})


@contextmanager
def named(owner: str) -> Generator[None]:
    """A context in which messages about options begin with the name of what has them."""
    try:
        yield
    except ConfigError as error:
        if not owner or str(error).startswith(owner):
            raise
        raise ConfigError(f"{owner}: {error}") from None


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
            # A single call, so that Python shows it once.
            warnings.warn(f"option {name} is now called {present}", FutureWarning, stacklevel=1)
        result[present] = value
    return result

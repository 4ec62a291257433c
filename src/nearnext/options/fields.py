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
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache, wraps
from types import MappingProxyType
from typing import Any, TypeVar, cast, dataclass_transform, get_type_hints

from nearnext.errors import ConfigError
from nearnext.options.values import checked, expected, metadata_of, require_option, values_of

T = TypeVar("T")

hints_of = cache(get_type_hints)

DIGITS = 4
"""Significant digits of a number that tuning tries: more say nothing, and make option files unreadable."""


def as_plain(value: Any) -> Any:
    """A value as JSON and TOML have it: tuples are lists."""
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Search:
    """What tuning tries for an option: numbers between two, some values, or all values of its type.

    Attributes:
        low: smallest number; whole numbers are tried where ``low`` and ``high`` are.
        high: largest number.
        log: whether equal ratios are equally likely, instead of equal differences.
        choices: the values, instead of numbers; without numbers either, all that the type has.
        why: what the option trades off, or where the range comes from.
        where: it is searched only where other options have one of these values.

    Raises:
        ConfigError: a range that holds nothing, or a logarithmic one that reaches 0.

    >>> k, rate = Search(50, 1500, log=True, why="neighbours"), Search(0.01, 0.25, why="steps")
    >>> k.holds(500), k.holds(60.5), rate.rounded(0.0123456), str(k)
    (True, False, 0.01235, '50 to 1500, log')
    >>> bpreg = Search(0.0, 2.0, why="keeps scores small", where={"loss": ("bpr-max",)})
    >>> bpreg.applies({"loss": "cross-entropy"}), Search(choices=([64], [128]), why="width").holds((64,))
    (False, True)
    """

    low: float = 0
    high: float = 0
    log: bool = field(default=False, kw_only=True)
    choices: Sequence[Any] = field(default=(), kw_only=True, hash=False)
    why: str = field(kw_only=True)
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]], kw_only=True, hash=False)

    def __post_init__(self) -> None:
        named = self.log or (self.low, self.high) != (0, 0)
        if named and not (self.low < self.high and (self.low > 0 or not self.log)):
            raise ConfigError(f"expected a range from a lower to a higher number to search, found {self}")

    def among(self, values: Sequence[Any]) -> "Search":
        """The search in an option whose type has these values alone; it may name some of them, or none."""
        return self if self.choices else replace(self, choices=tuple(values))

    @property
    def whole(self) -> bool:
        """Whether whole numbers are tried."""
        return type(self.low) is int and type(self.high) is int

    def holds(self, value: Any) -> bool:
        """Whether a value is one that may be tried."""
        if self.choices:
            return as_plain(value) in [as_plain(choice) for choice in self.choices]
        return type(value) in ({int} if self.whole else {int, float}) and self.low <= value <= self.high

    def rounded(self, value: float) -> float:
        """The number that is tried instead of this one."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def applies(self, options: Mapping[str, Any]) -> bool:
        """Whether the option is searched together with these."""
        return all(options.get(name) in values for name, values in self.where.items())

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(str(as_plain(choice)) for choice in self.choices)
        low, high = (self.low, self.high) if self.whole else (f"{self.low:g}", f"{self.high:g}")
        return f"{low} to {high}{', log' if self.log else ''}"


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


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def options(cls: type[T]) -> type[T]:
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
    together = getattr(cls, "__post_init__", None)

    def check_all(self: object) -> None:
        check(self)
        if together is not None:
            together(self)

    cast("Any", cls).__post_init__ = check_all
    return dataclass(frozen=True)(cls)


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
    """A class of options made from values by name."""
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
    """A decorator of a class of options: the present name of each former one, also for its subclasses' arguments."""

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
    """Options under their present names."""
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

"""Options' names and search ranges: checks with one wording everywhere, and what tuning tries."""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from nearnext.errors import ConfigError


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
    """
    names = tuple(known)
    if option not in names:
        raise ConfigError(f"{owner} has no option '{option}'{_known(option, names)}")


def require_type(name: str, value: object, kind: type[Any], remedy: str) -> None:
    """A check that an argument is an object of the kind that is expected.

    Raises:
        ConfigError: it is not.

    >>> require_type("test", [["a"]], dict, "give dict(...)")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: expected dict as test, found a list; give dict(...)
    """
    if isinstance(value, type) or not isinstance(value, kind):
        found = "None" if value is None else f"a {type(value).__name__}"
        found = f"the class {value.__name__}" if isinstance(value, type) else found
        raise ConfigError(f"expected {kind.__name__} as {name}, found {found}; {remedy}")


def path_of(name: str, value: object) -> Path:
    """The path that an argument names.

    Raises:
        ConfigError: it names none.
    """
    if not isinstance(value, str | os.PathLike) or not str(value):  # pyright: ignore[reportUnknownArgumentType]
        raise ConfigError(f"expected a path as {name}, found {shown(value)}")
    return Path(cast("str", value))


def shown(value: Any) -> str:
    """A value as messages show it: plain ones themselves, of others the class."""
    plain = type(value) in (str, int, float, bool, list, tuple, type(None))
    return repr(value) if plain else f"a {type(value).__name__}"


def _known(name: object, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1) if isinstance(name, str) else []
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f"{meant}; known: {', '.join(names) or 'none'}"


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

"""What tuning tries for an option, as part of the option's annotation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from nearnext.errors import ConfigError

__all__ = ["Search", "as_plain"]

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

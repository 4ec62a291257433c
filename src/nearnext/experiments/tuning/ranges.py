"""What a search may try: ranges of numbers and choices, each for one option, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from nearnext.options import require_at_least, require_number

__all__ = ["Choice", "Range", "Real", "Searched", "Space", "Whole", "as_plain"]

DIGITS = 4
"""Significant digits of a number that is tried: more say nothing, and make option files unreadable."""


def as_plain(value: Any) -> Any:
    """An option's value as JSON and TOML have it: tuples become lists.

    >>> as_plain((100, 50))
    [100, 50]
    """
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Whole:
    """Whole numbers from ``low`` to ``high``, both included; with ``log`` equal ratios are equally likely.

    >>> Whole(50, 1500, log=True).holds(500), Whole(1, 20).holds(2.5)
    (True, False)
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        require_at_least(1 if self.log else 0, low=self.low)
        require_at_least(self.low, high=self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return type(value) is int and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Real:
    """Numbers from ``low`` to ``high``, of four significant digits; with ``log`` equal ratios are equally likely.

    >>> Real(0.01, 0.25, log=True).rounded(0.0123456), Real(0.0, 1.0).holds(2.0)
    (0.01235, False)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if self.log:
            require_number("low", self.low, above=0.0)
        require_number("high", self.high, above=self.low)

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return type(value) in {int, float} and self.low <= value <= self.high

    def rounded(self, value: float) -> float:
        """The number that is tried instead of this one."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of several values.

    >>> Choice("recent", "random").holds("recent"), Choice([64], [128]).holds((64,))
    (True, True)
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", tuple(as_plain(value) for value in values))

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return as_plain(value) in self.values

    def __str__(self) -> str:
        return ", ".join(str(value) for value in self.values)


Range = Whole | Real | Choice
"""What an option may be."""


@dataclass(frozen=True)
class Searched:
    """An option that is searched.

    Attributes:
        option: its name.
        values: what it may be.
        reason: what it trades off, or where the range comes from.
        where: it is searched only where other options have one of these values.

    >>> bpreg = Searched("bpreg", Real(0.0, 2.0), "keeps scores small", {"loss": ("bpr-max",)})
    >>> bpreg.applies({"loss": "cross-entropy"})
    False
    """

    option: str
    values: Range
    reason: str
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])

    def applies(self, options: Mapping[str, Any]) -> bool:
        """Whether it is searched beside these options."""
        return all(options.get(name) in values for name, values in self.where.items())


@dataclass(frozen=True)
class Space:
    """All that a search of one method may try.

    Attributes:
        searched: its options; one whose ``where`` names another comes after that one.
        note: why there is nothing to tune, where there is not.

    >>> Space((), "it has no options").without(["k"]).searched
    ()
    """

    searched: tuple[Searched, ...]
    note: str = ""

    def without(self, held: Sequence[str]) -> "Space":
        """The space in which these options are held as they are."""
        left = tuple(each for each in self.searched if each.option not in held)
        note = self.note or ("" if left else "all of its options that are searched are held as they are")
        return Space(left, note)

    def facts(self) -> list[dict[str, Any]]:
        """The space as plain data.

        >>> Space((Searched("k", Whole(1, 9), "neighbours"),)).facts()
        [{'option': 'k', 'values': '1 to 9', 'reason': 'neighbours'}]
        """
        return [
            {
                "option": each.option,
                "values": str(each.values),
                "reason": each.reason,
                **({"where": {name: list(values) for name, values in each.where.items()}} if each.where else {}),
            }
            for each in self.searched
        ]

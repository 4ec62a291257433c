"""Rules on items by their attributes, as they are given: a condition, boosts, and limits per category."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from nearnext.data.conditions import require_readable
from nearnext.errors import ConfigError
from nearnext.options import Count, at_least, at_most, checked

Number = TypeVar("Number", int, float)

STRONGEST = 10.0
"""Largest factor of a boost, and of several for one item."""
WEAKEST = 1 / STRONGEST
MOST = 10
"""Most boosts and most limits."""
Factor = Annotated[float, at_least(WEAKEST), at_most(STRONGEST)]


@dataclass(frozen=True)
class ItemRules:
    """Rules as they are given.

    >>> ItemRules.of("price < 50", {"brand = 'acme'": 2}, {"category": 3})
    ItemRules(where=('price < 50',), boost=(("brand = 'acme'", 2.0),), at_most=(('category', 3),), after=None)
    """

    where: tuple[str, ...] = ()
    boost: tuple[tuple[str, float], ...] = ()
    at_most: tuple[tuple[str, int], ...] = ()
    after: str | None = None

    @classmethod
    def parse(
        cls, where: str | None, boost: Sequence[str], at_most: Sequence[str], after: str | None = None
    ) -> "ItemRules | None":
        """Checked rules from texts: factors and limits stand before a colon; None where there is none."""
        return cls.of(where, numbered("boost", boost, float), numbered("at_most", at_most, int), after)

    @classmethod
    def of(
        cls,
        where: str | None = None,
        boost: Mapping[str, Any] | None = None,
        at_most: Mapping[str, Any] | None = None,
        after: str | None = None,
    ) -> "ItemRules | None":
        """Checked rules; None where there is none."""
        conditions = () if where is None else (checked("where", where, str),)
        boosts, limits = _each("boost", boost, Factor), _each("at_most", at_most, Count)
        for condition in (*conditions, *(one for one, _ in boosts)):
            require_readable(condition)
        rules = cls(conditions, boosts, limits, after if after is None else checked("after", after, str))
        return None if rules == cls() else rules

    def besides(self, own: "ItemRules | None") -> "ItemRules":
        """These rules for a request with rules of its own: both conditions hold, all else replaces these.

        >>> ItemRules(("price < 50",), at_most=(("category", 3),)).besides(ItemRules(("available",)))
        ItemRules(where=('price < 50', 'available'), boost=(), at_most=(('category', 3),), after=None)
        """
        if own is None:
            return self
        return ItemRules(
            (*self.where, *own.where), own.boost or self.boost, own.at_most or self.at_most, own.after or self.after
        )

    def without_after(self) -> "ItemRules | None":
        """These rules for sessions that end with another event; None where no other rule is left."""
        rules = replace(self, after=None)
        return None if rules == ItemRules() else rules


def _each(option: str, given: Mapping[str, Any] | None, kind: Any) -> tuple[tuple[str, Any], ...]:
    numbers: Mapping[str, Any] = {} if given is None else checked(option, given, Mapping[str, Any])
    if len(numbers) > MOST:
        raise ConfigError(f"expected at most {MOST} rules of {option}, found {len(numbers)}")
    return tuple((name, checked(f"{option} of {name!r}", number, kind)) for name, number in numbers.items())


def numbered(option: str, texts: Sequence[str], number: Callable[[str], Number]) -> dict[str, Number]:
    """Numbers by condition or column, from texts such as ``2:category``.

    >>> numbered("--at-most", ["2:category"], int)
    {'category': 2}
    """
    found: dict[str, Number] = {}
    for text in texts:
        given, _, rest = text.partition(":")
        name = rest.strip()
        try:
            if not name or name in found:
                raise ValueError
            found[name] = number(given)
        except ValueError:
            raise ConfigError(f"{option} {text}: expected NUMBER:TEXT, e.g. 2:category, each text once") from None
    return found

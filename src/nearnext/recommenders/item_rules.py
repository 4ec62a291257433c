"""Rules on items by their attributes, as they are given: a condition, boosts, and limits per category."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from nearnext.errors import ConfigError

Number = TypeVar("Number", int, float)

STRONGEST = 10.0
"""Largest factor of a boost, and of several for one item."""
WEAKEST = 1 / STRONGEST
MOST = 10
"""Most boosts and most limits."""
EXAMPLES = {"where": "price < 50", "boost": '{"price < 50": 2}', "at_most": '{"category": 2}', "after": "purchase"}


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
        for name, each in (("boost", boost), ("at_most", at_most)):
            if each is not None and not isinstance(each, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(f"expected a mapping as {name}, found {type(each).__name__}; e.g. {EXAMPLES[name]}")
            if each and len(each) > MOST:
                raise ConfigError(f"expected at most {MOST} rules of {name}, found {len(each)}")
        for name, text in (("where", where), ("after", after)):
            if text is not None and not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(f"expected a text as {name}, found {type(text).__name__}; e.g. {EXAMPLES[name]}")
        for condition, factor in (boost or {}).items():
            if isinstance(factor, bool) or not isinstance(factor, int | float) or not WEAKEST <= factor <= STRONGEST:
                raise ConfigError(f"boost {condition!r}: expected a factor in {WEAKEST}..{STRONGEST}, found {factor}")
        for column, limit in (at_most or {}).items():
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ConfigError(f"at most {limit} per {column}: expected a whole number of at least 1")
        boosts = tuple((condition, float(factor)) for condition, factor in (boost or {}).items())
        rules = cls(() if where is None else (where,), boosts, tuple((at_most or {}).items()), after)
        return None if rules == cls() else rules

    def besides(self, own: "ItemRules | None") -> "ItemRules":
        """These rules for a request with rules of its own: both conditions hold, its boosts and limits replace these.

        >>> ItemRules(("price < 50",), at_most=(("category", 3),)).besides(ItemRules(("available",)))
        ItemRules(where=('price < 50', 'available'), boost=(), at_most=(('category', 3),), after=None)
        """
        if own is None:
            return self
        return ItemRules((*self.where, *own.where), own.boost or self.boost, own.at_most or self.at_most, own.after)


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

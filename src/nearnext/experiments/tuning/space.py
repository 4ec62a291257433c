"""The search space of a method: those of its options that have a search range.

The first trial of a study is always the option set that the search begins with, inside these ranges or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nearnext.options import Search
from nearnext.recommenders.registry import method_options

__all__ = ["Space", "space_of"]


@dataclass(frozen=True)
class Space:
    """All that a search of one method may try.

    Attributes:
        searched: what is tried, by option; one that is searched only where another has some value comes after it.
        note: why there is nothing to tune, where there is not.
    """

    searched: Mapping[str, Search]
    note: str = ""

    def without(self, held: Sequence[str]) -> "Space":
        """The space in which these options are held as they are."""
        left = {option: search for option, search in self.searched.items() if option not in held}
        note = self.note or ("" if left else "all of its options that are searched are held as they are")
        return Space(left, note)

    def facts(self) -> list[dict[str, Any]]:
        """The space as plain data."""
        return [
            {
                "option": option,
                "values": str(search),
                "reason": search.why,
                **({"where": {name: list(values) for name, values in search.where.items()}} if search.where else {}),
            }
            for option, search in self.searched.items()
        ]


def space_of(method: str) -> Space:
    """The search space of a method.

    Raises:
        ConfigError: there is no such method.

    >>> [option for option in space_of("sml-maxpool-triplet").searched if option in ("margin", "swap", "decay")]
    ['margin', 'swap']
    >>> space_of("pop").note
    'it has no options'
    """
    options = method_options(method)
    searched = {name: option.search for name, option in options.items() if option.search is not None}
    note = "none of its options has a search range" if options else "it has no options"
    return Space(searched, "" if searched else note)

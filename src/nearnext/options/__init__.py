"""One option system: typed fields with range, search range and help."""

from nearnext.options.fields import Option, check, make, named, options, options_of
from nearnext.options.names import Search, as_plain, path_of, require_known, require_option, require_type
from nearnext.options.values import (
    SOME,
    Count,
    Fraction,
    Limit,
    Natural,
    NonNegative,
    Part,
    Positive,
    Probability,
    above,
    at_least,
    at_most,
    below,
    checked,
)

__all__ = [
    "SOME",
    "Count",
    "Fraction",
    "Limit",
    "Natural",
    "NonNegative",
    "Option",
    "Part",
    "Positive",
    "Probability",
    "Search",
    "above",
    "as_plain",
    "at_least",
    "at_most",
    "below",
    "check",
    "checked",
    "make",
    "named",
    "options",
    "options_of",
    "path_of",
    "require_known",
    "require_option",
    "require_type",
]

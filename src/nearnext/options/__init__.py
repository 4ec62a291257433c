"""One option system: typed fields with range, search range and help."""

from annotated_types import Ge, Gt, Le, Lt, MinLen

from nearnext.options.fields import Option, check, make, named, options, options_of
from nearnext.options.names import path_of, require_known, require_option, require_type
from nearnext.options.search import Search, as_plain
from nearnext.options.values import Count, Fraction, Natural, NonNegative, Part, Positive, Probability, checked

__all__ = [
    "Count",
    "Fraction",
    "Ge",
    "Gt",
    "Le",
    "Lt",
    "MinLen",
    "Natural",
    "NonNegative",
    "Option",
    "Part",
    "Positive",
    "Probability",
    "Search",
    "as_plain",
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

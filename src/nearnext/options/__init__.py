"""One option system: typed fields with range, search range and help."""

from annotated_types import Ge, Gt, Le, Lt, MinLen

from nearnext.options.fields import Option, check, make, named, options, options_of
from nearnext.options.names import path_of, require_known, require_option, require_type
from nearnext.options.old import (
    require_at_least,
    require_dropout,
    require_number,
    require_same_dim,
    require_switch,
    whole_number,
    whole_numbers,
)
from nearnext.options.search import Search, as_plain
from nearnext.options.values import Count, Fraction, Natural, NonNegative, Positive, Probability, checked

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
    "require_at_least",
    "require_dropout",
    "require_known",
    "require_number",
    "require_option",
    "require_same_dim",
    "require_switch",
    "require_type",
    "whole_number",
    "whole_numbers",
]

"""One option system: typed fields with range, search range and help."""

from nearnext.options.fields import Option as Option
from nearnext.options.fields import Search as Search
from nearnext.options.fields import as_plain as as_plain
from nearnext.options.fields import check as check
from nearnext.options.fields import make as make
from nearnext.options.fields import named as named
from nearnext.options.fields import options as options
from nearnext.options.fields import options_of as options_of
from nearnext.options.values import SOME as SOME
from nearnext.options.values import Count as Count
from nearnext.options.values import Fraction as Fraction
from nearnext.options.values import Natural as Natural
from nearnext.options.values import NonNegative as NonNegative
from nearnext.options.values import Part as Part
from nearnext.options.values import Positive as Positive
from nearnext.options.values import Probability as Probability
from nearnext.options.values import at_least as at_least
from nearnext.options.values import at_most as at_most
from nearnext.options.values import checked as checked
from nearnext.options.values import path_of as path_of
from nearnext.options.values import require_known as require_known
from nearnext.options.values import require_option as require_option
from nearnext.options.values import require_type as require_type

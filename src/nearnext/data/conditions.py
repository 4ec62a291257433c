"""Conditions on items, such as ``category = 'bikes' and price < 50 and available``, evaluated over an item table.

    condition  = both { "or" both }
    both       = single { "and" single }
    single     = "not" single | "(" condition ")" | column [ comparison ]
    comparison = ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value | [ "not" ] "in" "(" value { "," value } ")"
    value      = 'text' | "text" | number | "true" | "false"

A comparison with a missing value is unknown, and so is its negation: the item does not match. An item may have several
categories: ``=`` is true if one of them is the value, ``!=`` if none is; without a category both are unknown.
"""

import operator
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import polars as pl

from nearnext.data.item_columns import AVAILABLE, ItemColumns
from nearnext.data.raw import microseconds_of
from nearnext.errors import ConfigError
from nearnext.types import BoolArray

LONGEST, DEEPEST = 1_000, 20
"""Most characters of a condition, and most brackets and negations within each other."""

TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<column>`[^`]+`)|(?P<word>[^\W\d]\w*)|(?P<sign><=|>=|!=|[=<>(),])|(?P<end>$))"""
)
YEAR = re.compile(r"\d{4}")
COMPARISONS: dict[str, Callable[[Any, Any], pl.Series]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
RESERVED = ("and", "or", "not", "in", "true", "false")


class _Token(NamedTuple):
    kind: str
    text: str
    at: int  # character, from 1

    @property
    def word(self) -> str:
        """The keyword or sign that it is, else nothing."""
        return self.text.lower() if self.kind in ("word", "sign") else ""


def matching_rows(columns: ItemColumns, condition: str, now: int | None = None) -> BoolArray:
    """Which rows match a condition, at a time in microseconds since 1970 UTC, by default now: [n].

    Raises:
        ConfigError: the condition cannot be read, or names an unknown column.

    >>> rows = pl.DataFrame({"item_id": ["a", "b"], "categories": [["tent", "brand=acme"], []], "price": [9.5, None]})
    >>> matching_rows(ItemColumns.of(rows), "brand = 'acme' or price < 5").tolist()
    [True, False]
    """
    return _Condition(condition, columns, now).matching().fill_null(False).to_numpy()


@lru_cache
def require_readable(condition: str) -> None:
    """A check of the grammar of a condition; `ConfigError` where it cannot be read, whatever the columns are."""
    _Condition(condition, None, 0).matching()


class _Condition:
    """One condition, evaluated while it is read; without columns it is only read."""

    def __init__(self, text: str, columns: ItemColumns | None, now: int | None) -> None:
        self._text, self._columns = text, columns
        self._now = time.time_ns() // 1_000 if now is None else now
        self._depth = self._next = 0
        if len(text) > LONGEST:
            raise ConfigError(
                f"expected a condition of at most {LONGEST:,} characters, found {len(text):,}; shorten it"
            )
        self._tokens = [*self._read()]

    def _read(self) -> Iterator[_Token]:
        at = 0
        while True:
            found = TOKEN.match(self._text, at)
            if found is None or found.lastgroup is None:
                rest = self._text[at:].lstrip()
                what = "a closing quote" if rest[0] in "'\"`" else "a column, a value or a sign"
                self._fail(what, _Token("", rest[:1], len(self._text) - len(rest) + 1))
            yield _Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) + 1)
            if found.lastgroup == "end":
                return
            at = found.end()

    def matching(self) -> pl.Series:
        """Which items match, null where it is unknown."""
        found = self._either()
        if self._token.kind != "end":
            self._fail("'and', 'or' or the end", self._token)
        return found

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *words: str) -> str:
        """The next word, if it is one of these."""
        word = self._token.word
        if word not in words:
            return ""
        self._next += 1
        return word

    def _expect(self, word: str) -> None:
        if not self._take(word):
            self._fail(f"'{word}'", self._token)

    def _fail(self, expected: str, found: _Token, remedy: str = "") -> NoReturn:
        what = f"'{found.text}'" if found.text else "the end"
        raise ConfigError(
            f"condition {self._text!r}: expected {expected} at character {found.at}, found {what}{remedy}"
        )

    def _either(self) -> pl.Series:
        found = self._both()
        while self._take("or"):
            found = found | self._both()
        return found

    def _both(self) -> pl.Series:
        found = self._single()
        while self._take("and"):
            found = found & self._single()
        return found

    def _single(self) -> pl.Series:
        begin = self._token
        if not (opening := self._take("not", "(")):
            return self._comparison()
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(f"at most {DEEPEST} brackets and negations within each other", begin)
        if opening == "not":
            found = ~self._single()
        else:
            found = self._either()
            self._expect(")")
        self._depth -= 1
        return found

    def _comparison(self) -> pl.Series:
        token = self._token
        name = token.text.strip("`")
        columns, known = self._columns, ""
        if columns is not None and name not in columns.names:
            known = f"; known: {', '.join(columns.names) or 'none'}"
        if token.kind not in ("word", "column") or token.word in RESERVED or known:
            self._fail("a column", token, known)
        self._next += 1
        sign = self._take(*COMPARISONS, "in", "not")
        column = self._column(name, sign)
        if not sign:
            if column.dtype != pl.Float64:
                self._fail(f"a comparison after {name}", self._token)
            return column != 0
        if sign not in ("in", "not"):
            return self._compared(column, name, sign)
        if sign == "not":
            self._expect("in")
        self._expect("(")
        found = self._compared(column, name, "=")
        while self._take(","):
            found = found | self._compared(column, name, "=")
        self._expect(")")
        return found if sign == "in" else ~found

    def _column(self, name: str, sign: str) -> pl.Series:
        """The values that a comparison is about, none without columns."""
        if self._columns is None:
            return pl.Series(dtype=pl.Float64)
        stored = name in self._columns.frame.columns and self._token.word not in ("true", "false")
        if name == AVAILABLE and not (sign and stored):
            return self._available(self._columns)
        return self._columns.column(name)

    def _value(self) -> tuple[str, float | None]:
        """The value to compare with, as a text, and the number that stands for a truth value."""
        token = self._token
        truth = {"true": 1.0, "false": 0.0}.get(token.word)
        if truth is None and token.kind not in ("text", "number"):
            remedy = {"word": f"; write a text as '{token.text}'", "sign": "; write one sign"}.get(token.kind, "")
            self._fail("a value", token, remedy)
        self._next += 1
        text = token.text
        if token.kind == "text":
            quote = text[0]
            text = text[1:-1].replace(quote * 2, quote)
        return text, truth

    def _compared(self, column: pl.Series, name: str, sign: str) -> pl.Series:
        token, (text, truth) = self._token, self._value()
        if self._columns is None:
            return column != 0  # of any type
        if column.dtype == pl.Float64:
            if token.kind == "text":
                self._fail(f"a number for {name}", token)
            return COMPARISONS[sign](column, float(text) if truth is None else truth)
        if column.dtype == pl.Int64:
            seconds = token.kind == "number" and not YEAR.fullmatch(text)  # a year alone is no time
            try:
                return COMPARISONS[sign](column, microseconds_of(name, float(text) if seconds else text))
            except ConfigError:
                self._fail(f"a time such as '2030-01-31' for {name}", token)
        if sign not in ("=", "!="):
            self._fail(f"=, != or in for {name}, which is text,", self._tokens[self._next - 2])
        if column.dtype == pl.String:
            return COMPARISONS[sign](column, text)
        found = column.list.contains(text)
        return found if sign == "=" else ~found

    def _available(self, columns: ItemColumns) -> pl.Series:
        """1 for items that are available now, else 0; no date is no limit."""
        found = pl.repeat(True, columns.frame.height, eager=True)
        if AVAILABLE in columns.frame.columns:
            found = found & (columns.frame[AVAILABLE] != 0)
        if "available_from" in columns.frame.columns:
            found = found & (columns.column("available_from") <= self._now).fill_null(True)
        if "available_until" in columns.frame.columns:
            found = found & (columns.column("available_until") > self._now).fill_null(True)
        return found.cast(pl.Float64)

"""The known layouts of click logs, and how the columns of a log are found by their names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nearnext.errors import ConfigError, DataError

Role = Literal["session", "user", "item", "time", "event", "weight", "date"]

NAMES: dict[Role, tuple[str, ...]] = {
    "session": ("sessionid", "session", "usersession"),
    "user": ("userid", "visitorid", "user", "visitor"),
    "item": ("itemid", "aid", "item", "productid"),
    "time": ("timestamp", "time", "ts", "datetime", "eventtime", "eventtimestamp", "timeframe", "eventdate"),
    "event": ("event", "eventtype", "type"),
    "weight": (),
}
"""Column names of each role without case and punctuation, the most telling first; weights are never guessed."""

SESSION_REC = "session-rec TSV"
YOOCHOOSE = "yoochoose-clicks"
RETAILROCKET = "Retailrocket events"
DIGINETICA = "Diginetica"
OTTO = "OTTO JSONL"
BY_NAME = "columns by name"
LAYOUTS = {
    "session-rec": SESSION_REC,
    "yoochoose-clicks": YOOCHOOSE,
    "retailrocket": RETAILROCKET,
    "diginetica": DIGINETICA,
    "otto": OTTO,
    "columns": BY_NAME,
}
"""What each known layout is called: by the ``layout`` option, and in a report."""

MARKS: dict[str, frozenset[str]] = {
    SESSION_REC: frozenset({"SessionId", "ItemId", "Time"}),
    RETAILROCKET: frozenset({"timestamp", "visitorid", "event", "itemid", "transactionid"}),
    DIGINETICA: frozenset({"sessionid", "itemid", "timeframe", "eventdate"}),
    OTTO: frozenset({"session", "events.aid", "events.ts"}),
}
"""The columns that identify a layout; session-rec's and OTTO's by their exact names, the others by plain ones."""

BY_POSITION = "columns by position"
YOOCHOOSE_COLUMNS: dict[Role, str] = {"session": "column 1", "time": "column 2", "item": "column 3"}
YOOCHOOSE_ROW = (r"\d+", r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"\d+", r"\w*")
POSITION = re.compile(r"(?:column )?([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Layout:
    """The name of a layout and the column of each role; ``date``: the day from which ``time`` counts, in ms."""

    name: str
    columns: dict[Role, str]


def plain(name: str) -> str:
    """A column name without case, punctuation, the table or list that it belongs to, and the type that RecBole adds.

    >>> plain("Session_ID"), plain("clicks.item_id"), plain("user_id:token")
    ('sessionid', 'itemid', 'userid')
    """
    return re.sub(r":(token|float)(_seq)?$|[^a-z0-9]", "", name.rsplit(".", 1)[-1].lower())


def known_names(names: Sequence[str], mapped: Mapping[Role, str]) -> int:
    """How many of the names are those of a role or mapped to one; a header has at least one."""
    known = {alias for aliases in NAMES.values() for alias in aliases}
    return sum(name in mapped.values() or plain(name) in known for name in names)


def checked_columns(columns: Mapping[str, str] | None) -> dict[Role, str]:
    """The user's mapping of roles to columns; a ConfigError where a role is not known."""
    known: dict[str, Role] = {str(role): role for role in NAMES}
    if not isinstance(columns, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"expected the column of each role as columns, e.g. {{'item': 'sku'}}, found {columns!r}")
    for role in columns or {}:
        if role not in known:
            raise ConfigError(f"unknown column role '{role}'; known: {', '.join(known)}")
    return {known[role]: str(name) for role, name in (columns or {}).items()}


def recognise(
    where: str, names: Sequence[str], first_row: Sequence[str], mapped: Mapping[Role, str], wanted: str | None
) -> Layout:
    """The layout of a log with these columns; a headerless log has no names and shows its first row.

    The user's mapping wins over what is recognised. It may give positions (``column 5`` or ``5``) instead of names. A
    mapped user column without a mapped session column means: cut sessions per user.
    """
    known = names or [f"column {number}" for number in range(1, len(first_row) + 1)]
    mapped = {role: _mapped(where, role, column, known, header=bool(names)) for role, column in mapped.items()}
    for role, column in mapped.items():
        if twice := [other for other, same in mapped.items() if same == column and other != role]:
            raise DataError(f"{where}: the column {column} is mapped to {role} and {twice[0]}; map it to one of them")
    columns: dict[Role, str] = {role: column for role in NAMES if (column := _column(where, role, names, mapped))}
    if names:
        name = wanted or _known_layout(names)
        _check_marks(where, name, names)
        if name == DIGINETICA and "time" not in mapped:
            columns |= {"time": _named(names, "timeframe"), "date": _named(names, "eventdate")}
    elif wanted in (None, YOOCHOOSE) and _is_yoochoose(first_row, exactly=wanted is None):
        name, columns = YOOCHOOSE, YOOCHOOSE_COLUMNS | columns
    elif mapped and wanted in (None, BY_NAME):
        name = BY_POSITION
    else:
        raise DataError(
            f"{where}: no column names known in the first line ({_listed(first_row)}); expected a header with session, "
            "item and time columns, or map them by name or position, e.g. item=COLUMN or item=5"
        )
    if "user" in mapped and "session" not in mapped:
        columns.pop("session", None)
    _check_roles(where, columns, known)
    return Layout(name, columns)


def _is_yoochoose(first_row: Sequence[str], *, exactly: bool) -> bool:
    """Whether a first row is one of the yoochoose-clicks file, or at least has its columns."""
    if not exactly:
        return len(first_row) >= len(YOOCHOOSE_COLUMNS)
    return len(first_row) == len(YOOCHOOSE_ROW) and all(map(re.fullmatch, YOOCHOOSE_ROW, first_row))


def _mapped(where: str, role: Role, column: str, known: Sequence[str], *, header: bool) -> str:
    """The name of the column that the user names or gives the position of."""
    named_by_number = header and any(map(POSITION.fullmatch, known))  # a number is then a name, never a position
    position = None if named_by_number else POSITION.fullmatch(column)
    if column in known or not position:
        if column not in known:
            hint = "" if header else "; the file has no header: give positions, e.g. item=5"
            raise DataError(f"{where}: no column '{column}' for {role}; found columns {_listed(known)}{hint}")
        return column
    if int(position[1]) > len(known):
        raise DataError(f"{where}: no column {position[1]} for {role}; found {len(known)} columns {_listed(known)}")
    name = known[int(position[1]) - 1]
    return name if known.count(name) == 1 else f"column {position[1]}"


def position_of(column: str, known: Sequence[str]) -> int:
    """Where a column is: the first of its name, else its position, as ``column 2``."""
    return known.index(column) if column in known else int(column.removeprefix("column ")) - 1


def _column(where: str, role: Role, names: Sequence[str], mapped: Mapping[Role, str]) -> str | None:
    if role in mapped:
        candidates = [name for name in names if name == mapped[role]] or [mapped[role]]
    else:
        by_alias = ([name for name in names if plain(name) == alias] for alias in NAMES[role])
        candidates = next(filter(None, by_alias), list[str]())
    if len(candidates) > 1 and len(set(candidates)) == 1:
        position = names.index(candidates[0]) + 1
        raise DataError(
            f"{where}: {len(candidates)} columns are called {candidates[0]}, which is the {role}; map one by its "
            f"position, e.g. {role}={position}"
        )
    if len(candidates) > 1:
        raise DataError(
            f"{where}: columns {_listed(candidates)} could each be the {role}; rename one or map it, e.g. {role}=COLUMN"
        )
    return candidates[0] if candidates else None


def _named(names: Sequence[str], alias: str) -> str:
    return next(name for name in names if plain(name) == alias)


def _known_layout(names: Sequence[str]) -> str:
    shapes = {SESSION_REC: frozenset(names), OTTO: frozenset(names)}
    by_plain = frozenset(map(plain, names))
    return next((name for name, marks in MARKS.items() if marks <= shapes.get(name, by_plain)), BY_NAME)


def _check_marks(where: str, name: str, names: Sequence[str]) -> None:
    if name == YOOCHOOSE:
        raise DataError(f"{where}: a {name} log has no header, found columns {_listed(names)}; leave the layout out")
    marks = {plain(mark) for mark in MARKS.get(name, ())}
    if not marks <= set(map(plain, names)):
        raise DataError(
            f"{where}: a {name} log has columns {_listed(sorted(MARKS[name]))}, found {_listed(names)}; "
            "leave the layout out or name another"
        )


def _check_roles(where: str, columns: Mapping[Role, str], names: Sequence[str]) -> None:
    missing = [role for role in ("item", "time") if role not in columns]
    if not {"session", "user"} & set(columns):
        missing.insert(0, "session or user")
    if missing:
        role = missing[0].split()[0]
        raise DataError(
            f"{where}: no {' and no '.join(missing)} column; found columns {_listed(names)}; map it, e.g. {role}=COLUMN"
        )


def _listed(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 40 else name[:37] + "..." for name in names[:12]]  # noqa: PLR2004 - one line
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")

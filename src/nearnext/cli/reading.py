"""How commands read logs: the options, what is printed, and training and test logs together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from nearnext.atomic import is_special
from nearnext.cli.app import pairs, takes, within
from nearnext.cli.output import console, refuse_inputs, writable
from nearnext.errors import ConfigError
from nearnext.options import Natural

if TYPE_CHECKING:
    from nearnext.data.events import ReadOptions
    from nearnext.data.filters import Filter
    from nearnext.data.imprint import Imprint
    from nearnext.data.items import ItemTable
    from nearnext.data.reading import ReadReport
    from nearnext.data.sessions import Sessions

T = TypeVar("T")

LogArgument = Annotated[
    str, typer.Argument(metavar="LOG", help="Click log: a file, folder or glob (CSV, TSV, JSONL, Parquet).")
]
ItemsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--items",
        metavar="FILE",
        help="Item table: titles, categories, prices and so on (CSV, JSONL, Parquet). Repeatable.",
    ),
]
MaxLength = Annotated[
    int, typer.Option(callback=within(Natural), help="Keep only the last clicks of longer sessions; 0: keep all.")
]


@dataclass(frozen=True)
class Reading:
    """How logs are read and cut into sessions after ``gap`` seconds: options that every command with a LOG has."""

    options: "ReadOptions"
    gap: float
    collapse_repeats: bool | None


def _option(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel="How the log is read")


def _reading_options(
    column: Annotated[
        list[str] | None,
        _option(
            "A column by its name or position, e.g. item=sku or item=5; roles: session, user, item, time, event, "
            "weight. Repeatable.",
            metavar="ROLE=COLUMN",
        ),
    ] = None,
    layout: Annotated[str | None, _option("Known layout, e.g. yoochoose-clicks; default: detected.")] = None,
    time_unit: Annotated[
        str | None, _option("Unit of numeric times: s, ms, us, ns, min, h, d, excel, date; default: detected.")
    ] = None,
    events: Annotated[str | None, _option("Event types to use, e.g. view,click; default: all.")] = None,
    target: Annotated[
        str | None,
        _option("Event types to predict and score, e.g. purchase; the others are input all the same; default: all."),
    ] = None,
    weights: Annotated[
        str | None,
        _option(
            "How much an event counts when it is learned from, by type, e.g. view=1,cart=3,purchase=5; 0: input only; "
            "default: 1 each."
        ),
    ] = None,
    quoting: Annotated[
        bool, _option("Quotes in text files enclose fields, or are part of the text.", "--quoting/--no-quoting")
    ] = True,
    strict: Annotated[
        bool, _option("Stop at a row that cannot be used, or a file of a folder that is no log.", "--strict")
    ] = False,
    rejects: Annotated[Path | None, _option("Write rows that cannot be used to this CSV file.")] = None,
    gap: Annotated[float, _option("Minutes of pause that end a session, where the log has no sessions.")] = 30.0,
    collapse_repeats: Annotated[
        bool | None,
        _option(
            "Count consecutive clicks on an item and copies of rows once, or each; default: once if types differ.",
            "--collapse-repeats/--keep-repeats",
        ),
    ] = None,
) -> Reading:
    from nearnext.data.events import ReadOptions
    from nearnext.options import NonNegative, checked

    if rejects is not None:
        refuse_inputs(rejects, of_folders=False)
        if not is_special(rejects):
            writable(rejects, replaces_input=True)
    columns = pairs(column or [], "--column")
    types, targets = (_event_types(name, given) for name, given in (("--events", events), ("--target", target)))
    factors = None
    if weights is not None:
        factors = {
            name: checked(f"weight of {name}", value, NonNegative, text=True)
            for name, value in pairs(weights.split(","), "--weights").items()
        }
    options = ReadOptions(columns, layout, time_unit, types, quoting, strict, rejects, targets, factors)
    return Reading(options, 60.0 * checked("gap", gap, NonNegative), collapse_repeats)


def _event_types(option: str, given: str | None) -> list[str] | None:
    """Event types separated by commas; an empty one, as of a shell variable without a value, is refused."""
    if given is None:
        return None
    types = [name.strip() for name in given.split(",")]
    if not all(types):
        raise ConfigError(f"expected event types as {option}, found an empty one in {given!r}; give e.g. view,purchase")
    return types


reads_logs = takes("reading", _reading_options)
"""Give a command with a ``reading`` parameter the reading options instead of it."""


def filters_by(*, min_support: int, max_length: int) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """A decorator that gives a command with a parameter ``chosen`` the options of a filter instead of it."""

    def options(
        min_length: Annotated[int, typer.Option(help="Fewest clicks of a session that is kept.")] = 2,
        min_support: Annotated[
            int, typer.Option(help="Fewest clicks of an item that is kept; 1 for a log filtered by its source.")
        ] = min_support,
        mode: Annotated[
            str,
            typer.Option(
                "--filter",
                help="paper: sessions by length, items by clicks, sessions again; iterated: until nothing changes.",
            ),
        ] = "paper",
        max_length: MaxLength = max_length,
    ) -> "Filter":
        from nearnext.data.filters import Filter

        return Filter(min_length, min_support, mode, max_length or None)  # type: ignore[arg-type]

    return takes("chosen", options)


def require_logs(*sources: str | None) -> None:
    """A check that logs exist, before what takes long."""
    from nearnext.data.files import log_files

    for source in sources:
        if source is not None:
            log_files(source)


def read_log(source: str, reading: Reading, *, show: bool = True) -> "tuple[Sessions, ReadReport]":
    """The sessions of a log; how it was read is printed, unless ``show`` is False: `show_reading` does it later."""
    from nearnext.data.sessionise import read_log as read

    sessions, report = read(source, reading.options, gap=reading.gap, collapse_repeats=reading.collapse_repeats)
    if show:
        show_reading(report, reading)
    return sessions, report


def read_test_log(
    source: str, reading: Reading, known: "Imprint | Sessions | None", earlier: "Sequence[ReadReport]" = ()
) -> "tuple[Sessions, ReadReport]":
    """The sessions to predict; leaks with what is learned from (``known``) are printed first.

    ``earlier`` are logs whose reading has not been printed.
    """
    from nearnext.data.leaks import find_leaks

    unweighted = replace(reading.options, weights=None)  # cases count alike, and a test log may lack event types
    sessions, report = read_log(source, replace(reading, options=unweighted), show=False)
    print_warnings(find_leaks(known, sessions).lines())
    for each in (*earlier, report):
        show_reading(each, reading)
    return sessions, report


def read_both(
    source: str, test: str | None, reading: Reading, warnings: Sequence[str]
) -> "tuple[Sessions, Sessions | None, list[dict[str, Any]]]":
    """The sessions of a log, those of a test log where there is one, and reports of how they were read.

    ``warnings`` are those of a split, which a test log makes unnecessary.
    """
    require_logs(source, test)
    print_warnings(warnings if test is None else [])
    sessions, report = read_log(source, reading, show=test is None)
    if test is None:
        return sessions, None, [asdict(report)]
    test_sessions, test_report = read_test_log(test, reading, sessions, [report])
    return sessions, test_sessions, [asdict(report), asdict(test_report)]


def read_item_table(sources: Sequence[str] | None) -> "ItemTable | None":
    """Read the item table and print its summary; None without files."""
    if not sources:
        return None
    from nearnext.data.items import read_items

    table = read_items(list(sources))
    console.print(table.summary())
    return table


def show_described(table: "ItemTable | None", sessions: "Sessions") -> None:
    """Print how many items of a log an item table describes."""
    if table is not None:
        described = table.described(sessions.vocabulary)
        console.print(f"the item table describes {described:,} of the log's {sessions.n_items:,} items")


def show_reading(read: "ReadReport", reading: Reading) -> None:
    """Print how a log was read, notes on its events first."""
    from nearnext.data.repeats import repeat_notes
    from nearnext.report.tables import reading_table

    report = asdict(read)
    if "session" not in read.columns:
        report["sessions"] = f"end after {reading.gap / 60:g} minutes without a click (--gap)"
    print_warnings(repeat_notes([report]))
    console.print(reading_table(report))
    if read.rejected and reading.options.rejects:
        console.print(f"rows that cannot be used are in {reading.options.rejects}", style="dim")


def print_warnings(lines: Sequence[str]) -> None:
    """Print warnings, before any result: what is not clean in red, the rest in yellow."""
    for line in lines:
        console.print(line, style="red" if line.startswith("not clean") else "yellow")


def print_result_warnings(result: Mapping[str, Any]) -> None:
    """Print the warnings of a result but those that `show_reading` has printed."""
    from nearnext.data.repeats import repeat_notes

    printed = repeat_notes(result.get("data", {}).get("reading") or [])
    lines: list[str] = result.get("warnings") or []
    print_warnings([line for line in lines if line not in printed])

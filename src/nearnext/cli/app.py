"""The application object, its console, and the options that commands share."""

import csv
import inspect
import resource
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import nearnext
from nearnext.cli.output import console
from nearnext.errors import ConfigError
from nearnext.progress import show_progress

if TYPE_CHECKING:
    from nearnext.data.events import EventLog, ReadOptions
    from nearnext.data.filters import Filter
    from nearnext.data.imprint import Imprint
    from nearnext.data.sessions import Sessions


class QuickGroup(TyperGroup):
    """The application; for switches without a default typer would import pydantic, a third of the time of help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments; ``-q`` counts behind the command's name as well."""
        quiet = [word for word in args[: [*args, "--"].index("--")] if word in ("-q", "--quiet")]
        return super().parse_args(ctx, [*quiet[:1], *(word for word in args if word not in quiet)])

    def get_params(self, ctx: Any) -> list[Any]:
        """The options of the application, switches off unless given."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if parameter.name in ("help", "install_completion", "show_completion") and parameter.default is None:
                parameter.default = False
        return parameters


app = typer.Typer(
    name="nearnext",
    cls=QuickGroup,
    help="From a click log to a next-item recommender, measured honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

GIB = 1 << 30
LEAST_MEMORY = int(1.8 * GIB)  # addresses without which numpy, polars and numba cannot even be imported

LogArgument = Annotated[str, typer.Argument(help="Click log: a file, folder or glob (CSV, TSV, JSONL, Parquet).")]
MinLength = Annotated[int, typer.Option(help="Shortest session kept, clicks.")]
MinSupport = Annotated[int, typer.Option(help="Fewest clicks of an item that is kept.")]
FilterMode = Annotated[str, typer.Option("--filter", help="paper: length, support, length once each; iterated.")]
MaxLength = Annotated[int, typer.Option(help="Keep only the last clicks of longer sessions; 0: keep all.")]


def _show_version(asked: bool) -> None:
    if asked:
        console.print(f"nearnext {nearnext.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def start(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; before or after the command.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """From a click log to a next-item recommender, measured honestly."""
    _require_memory()
    show_progress(not quiet)


def _require_memory() -> None:
    """Refuse a limit of memory (``ulimit -v``) under which libraries abort, or flood stderr, when imported."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_MEMORY:
        raise ConfigError(
            f"expected {LEAST_MEMORY / GIB:.1f} GiB of addresses, and 4 GiB for methods that train, found a limit of "
            f"{limit / GIB:.1f} GiB (ulimit -v); raise it"
        )


@dataclass(frozen=True)
class Reading:
    """How logs are read and cut into sessions: the options that every command with a LOG has."""

    columns: dict[str, str]
    layout: str | None
    time_unit: str | None
    events: list[str] | None
    quoting: bool
    strict: bool
    rejects: Path | None
    gap: float
    collapse_repeats: bool | None

    def options(self) -> "ReadOptions":
        """What reading itself takes."""
        from nearnext.data.events import ReadOptions

        return ReadOptions(
            self.columns, self.layout, self.time_unit, self.events, self.quoting, self.strict, self.rejects
        )


def pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping.

    >>> pairs(["session=sid"], "--column")
    {'session': 'sid'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{what} {text}: expected NAME=VALUE")
        if name.strip() in found:
            raise ConfigError(f"{what} {text}: {name.strip()} is given twice; give it once")
        found[name.strip()] = value
    return found


def ids(text: str) -> list[str]:
    """Ids separated by commas; an id with a comma stands in double quotes.

    >>> ids('a, "b,c"')
    ['a', 'b,c']
    """
    rows: list[list[str]] = list(csv.reader([text], skipinitialspace=True))
    return [value for row in rows for value in row if value]


def _reading_options(
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="ROLE=NAME or ROLE=5, a column by its name or position; ROLE: session, user, item, time, event."
        ),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Known layout of the log, where it is not recognised.")] = None,
    time_unit: Annotated[
        str | None,
        typer.Option(help="Unit of numeric times: s, ms, us, ns, min, h, d, excel, date; default: detected."),
    ] = None,
    events: Annotated[str | None, typer.Option(help="Event types to use, e.g. view,click; default: all.")] = None,
    quoting: Annotated[
        bool, typer.Option("--quoting/--no-quoting", help="Quotes in text files enclose fields, or are letters.")
    ] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="A row that cannot be used, or a file left out of a folder, is an error.")
    ] = False,
    rejects: Annotated[Path | None, typer.Option(help="Write rows that cannot be used to this CSV file.")] = None,
    gap: Annotated[float, typer.Option(help="Minutes of pause that end a session, where the log has none.")] = 30.0,
    collapse_repeats: Annotated[
        bool | None,
        typer.Option(
            "--collapse-repeats/--keep-repeats",
            help="Count consecutive clicks on an item and copies of rows once, or each; default: once if types differ.",
        ),
    ] = None,
) -> Reading:
    from nearnext.options import NonNegative, checked

    return Reading(
        columns=pairs(column or [], "--column"),
        layout=layout,
        time_unit=time_unit,
        events=[name.strip() for name in events.split(",")] if events else None,
        quoting=quoting,
        strict=strict,
        rejects=rejects,
        gap=60.0 * checked("gap", gap, NonNegative),
        collapse_repeats=collapse_repeats,
    )


def takes(parameter: str | None, options: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that gives a command the options of a function, whose value its parameter of that name then is."""
    added = inspect.signature(options, eval_str=True).parameters

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters

        @wraps(command)
        def with_options(**arguments: Any) -> None:
            value = options(**{name: arguments.pop(name) for name in added})
            command(**arguments, **({parameter: value} if parameter else {}))

        kept = [value for name, value in own.items() if name != parameter]
        parameters = [value.replace(kind=inspect.Parameter.KEYWORD_ONLY) for value in (*kept, *added.values())]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {value.name: value.annotation for value in parameters}
        return with_options

    return decorate


reads_logs = takes("reading", _reading_options)
"""Give a command with a ``reading`` parameter the reading options instead of it."""


def read_log(source: str, reading: Reading, *, show: bool = True) -> "tuple[Sessions, EventLog]":
    """The sessions of a log; how it was read is printed, unless `show_reading` shall do so later."""
    from nearnext.data.events import events_of
    from nearnext.data.sessionise import sessions_of

    log = events_of(source, reading.options())
    sessions, repeats = sessions_of(log, gap=reading.gap, collapse_repeats=reading.collapse_repeats)
    used = {kind: rows for kind, rows in log.report.event_types.items() if kind in (reading.events or [kind])}
    log = replace(log, report=replace(log.report, repeats=repeats.facts(used)))
    if show:
        show_reading(log, reading)
    return sessions, log


def read_test_log(
    source: str, reading: Reading, known: "Imprint | Sessions | None", earlier: "Sequence[EventLog]" = ()
) -> "tuple[Sessions, EventLog]":
    """The sessions to predict; leaks with what is learned from (``known``) are printed first.

    ``earlier`` are logs whose reading has not been printed.
    """
    from nearnext.data.imprint import Imprint
    from nearnext.data.leaks import find_leaks
    from nearnext.data.sessions import Sessions

    sessions, log = read_log(source, reading, show=False)
    imprint = Imprint.of(known) if isinstance(known, Sessions) else known
    print_warnings(find_leaks(imprint, sessions).lines())
    for each in (*earlier, log):
        show_reading(each, reading)
    return sessions, log


def show_reading(log: "EventLog", reading: Reading) -> None:
    """Print how a log was read, first what has to be known of its events."""
    from nearnext.data.repeats import repeat_notes
    from nearnext.report.tables import reading_table

    report = asdict(log.report)
    if "session" not in log.report.columns:
        report["sessions"] = f"end after {reading.gap / 60:g} minutes without a click (--gap)"
    print_warnings(repeat_notes([report]))
    console.print(reading_table(report))
    if log.report.rejected and reading.rejects:
        console.print(f"rows that cannot be used are in {reading.rejects}", style="dim")


def print_warnings(lines: Sequence[str]) -> None:
    """Print what has to be read before any figure: what is not clean in red, the rest in yellow."""
    for line in lines:
        console.print(line, style="red" if line.startswith("not clean") else "yellow", markup=False, soft_wrap=True)


def make_filter(mode: str, min_length: int, min_support: int, max_length: int) -> "Filter":
    """The filter that the options ask for."""
    from nearnext.data.filters import Filter

    if max_length < 0:
        raise ConfigError(f"--max-length must be 0 (keep all) or positive, found {max_length}")
    return Filter(min_length, min_support, mode, max_length or None)  # type: ignore[arg-type]


def command_line() -> str:
    """The command as it was typed, for a result to say how to repeat it."""
    return shlex.join(["nearnext", *sys.argv[1:]])

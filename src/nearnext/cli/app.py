"""The application object, and how commands are given options."""

import csv
import inspect
import os
import resource
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from shutil import get_terminal_size
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

import nearnext
from nearnext.cli.output import console
from nearnext.errors import ConfigError
from nearnext.options import checked
from nearnext.own_parts import VARIABLE, import_parts
from nearnext.progress import show_progress

T = TypeVar("T")

ORDER = ("stats", "prepare", "synth", "compare", "tune", "fit", "evaluate", "recommend", "explain", "serve", "replay")
"""Commands in the order of their use; the others follow."""


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

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The list of commands is a table on every terminal: plain text would cut off what they do."""
        self.rich_markup_mode = "rich"
        super().format_help(ctx, formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, the first to be used first."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


class JsonSwitch(TyperCommand):
    """A command whose ``--json`` once was a switch: alone it still stands for ``--json -``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with the file that a lone ``--json`` leaves out."""
        completed: list[str] = []
        for word, following in zip(args, [*args[1:], "--"], strict=True):
            completed.append(word)
            if word == "--json" and following != "-" and following.startswith("-"):
                sys.stderr.write("--json without a file is deprecated: write --json - for standard output\n")
                completed.append("-")
        return super().parse_args(ctx, completed)


NARROW = 90
"""Columns of a terminal below which the tables of help would cut off names of options: it is plain text then."""

app = typer.Typer(
    name="nearnext",
    cls=QuickGroup,
    help="From a click log to a next-item recommender, measured honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if get_terminal_size().columns >= NARROW else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

GIB = 1 << 30
LEAST_MEMORY = int(1.8 * GIB)  # addresses without which numpy, polars and numba cannot even be imported


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
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_MEMORY:  # libraries would abort, or flood stderr
        raise ConfigError(
            f"expected {LEAST_MEMORY / GIB:.1f} GiB of addresses, and 4 GiB for methods that train, found a limit of "
            f"{limit / GIB:.1f} GiB (ulimit -v); raise it"
        )
    show_progress(not quiet)
    console.stderr = False  # unless this command keeps standard output for its result


def pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{what} {text}: expected NAME=VALUE")
        if name.strip() in found:
            raise ConfigError(f"{what} {text}: {name.strip()} is given twice; give it once")
        found[name.strip()] = value
    return found


def ids(text: str, option: str) -> list[str]:
    """Ids separated by commas, none in a blank text; an id with a comma stands in double quotes.

    >>> ids('a, "b,c"', "--session")
    ['a', 'b,c']
    """
    found: list[str] = next(csv.reader([text], skipinitialspace=True)) if text.strip() else []
    if not all(map(str.strip, found)):
        raise ConfigError(f"expected item ids as {option}, found an empty id in {text!r}; give for example a,b,c")
    return found


def within(kind: Any, name: str = "") -> Callable[[typer.CallbackParam, Any], Any]:
    """The callback of an option that refuses what is not of a type, before its command begins."""

    def check(parameter: typer.CallbackParam, value: Any) -> Any:
        given = value is not None and value != parameter.default
        return checked(name or str(parameter.name), value, kind) if given else value

    return check


def takes(
    parameter: str | None, options: Callable[..., Any], *only: str
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """A decorator: a command takes the options of a function or class, and its value as the argument ``parameter``.

    Help lists them in its place; without a parameter, last. ``only``: names of those it takes, instead of all.
    """
    added = {name: each for name, each in inspect.signature(options).parameters.items() if not only or name in only}

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        own = inspect.signature(command).parameters

        @wraps(command)
        def with_options(**arguments: Any) -> T:
            value = options(**{name: arguments.pop(name) for name in added})
            return command(**arguments, **({parameter: value} if parameter else {}))

        placed = {name: added if name == parameter else {name: value} for name, value in own.items()}
        if parameter is None:
            placed[""] = added
        parameters = [
            value.replace(kind=inspect.Parameter.KEYWORD_ONLY) for group in placed.values() for value in group.values()
        ]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {value.name: value.annotation for value in parameters}
        return with_options

    return decorate


def _own_parts(
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="FILE|MODULE",
            help="Python file or module that registers own parts, e.g. own_encoder.py; also NEARNEXT_IMPORT. "
            "Repeatable.",
        ),
    ] = None,
) -> None:
    """Import what registers own parts, here and in the processes that a command starts."""
    for source in sources or []:
        import_parts(source)
    known = [source for source in os.environ.get(VARIABLE, "").split(os.pathsep) if source]
    if sources:
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*known, *sources]))


imports_parts = takes(None, _own_parts)
"""Give a command the option ``--import``."""


def command_line() -> str:
    """The command as it was typed, for a result to say how to repeat it."""
    return shlex.join(["nearnext", *sys.argv[1:]])

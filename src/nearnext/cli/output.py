"""Where results go: the terminal, JSON, an HTML page. Files are written before anything is printed."""

import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from nearnext.atomic import has_utf8_name, is_special, whole_file
from nearnext.errors import ConfigError, DataError
from nearnext.extras import missing
from nearnext.options import require_known

if TYPE_CHECKING:
    from rich.table import Table


STDOUT = Path("-")
"""The file name that stands for standard output."""

WRITTEN = ("--work", "--study", "--out", "--runs")
"""Options that name folders which commands write to."""

PIPED_WIDTH = 160
"""Columns of the output where it goes to a file or another program."""

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "ann": ("faiss",),
    "onnx": ("torch", "onnx", "onnxruntime", "onnxscript"),
    "replay": ("aiohttp",),
    "report": ("jinja2", "matplotlib"),
    "serve": ("msgspec", "prometheus_client", "uvicorn", "uvloop"),
    "tune": ("optuna",),
}
"""The modules of an extra that its commands cannot do without."""


class _Console(Console):
    """The terminal; if its reader has gone, as after ``head``, the command continues without output."""

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        """Print; texts, unlike tables, are not cut into lines: what is copied from a terminal stays whole."""
        texts = all(isinstance(each, str) for each in objects)
        super().print(*objects, soft_wrap=texts if soft_wrap is None else soft_wrap, **options)

    def on_broken_pipe(self) -> None:
        """Print into nothing from now on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_terminal = sys.stdout is not None and sys.stdout.isatty()  # pyright: ignore[reportUnnecessaryComparison] - closed
# Ids, titles and paths may look like markup or names of emojis.
console = _Console(markup=False, emoji=False, width=None if _terminal or "COLUMNS" in os.environ else PIPED_WIDTH)


JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result to this JSON file; -: to stdout.")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write the result as one HTML page.")]
TableFormat = Annotated[
    str | None,
    typer.Option(
        "--format", help="Write tables to stdout as markdown, latex or csv (first table only), the rest to stderr."
    ),
]


def require_extra(extra: str, purpose: str) -> None:
    """Make sure, before any work is done, that an extra of the package is installed."""
    if lacking := [module for module in EXTRAS[extra] if not _installed(module)]:
        raise missing(purpose, lacking, extra)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # something else has its name
        return sys.modules.get(module) is not None


def writable(*paths: Path | None, replaces_input: bool = False) -> None:
    """Make sure, before any work is done, that results can be written to these files, and replace nothing else."""
    if not replaces_input:
        refuse_inputs(*filter(None, paths))
    for path in paths:
        if path is None:
            continue
        if is_special(path):
            raise ConfigError(f"cannot write {path}: it is a device or a pipe; name a file")
        if path.is_dir():
            raise ConfigError(f"cannot write {path}: it is a folder; choose another path")
        writable_folder(path.parent, path)


def writable_folder(folder: Path | None, shown: Path | None = None) -> None:
    """Make sure that a folder, made where it is missing, takes files; ``shown``: what is to be written, for errors."""
    if folder is not None:
        from nearnext.manifest import is_model

        if not has_utf8_name(shown or folder):
            raise ConfigError(f"cannot write {shown or folder}: its path is not UTF-8; choose another path")
        if model := next((one for one in (folder, *folder.resolve().parents) if is_model(one)), None):
            raise ConfigError(
                f"cannot write {shown or folder}: it would be removed with the model in {model} when another takes its "
                "place; choose another path"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # permissions alone do not tell, for example in /proc
        except OSError as error:
            raise ConfigError(f"cannot write {shown or folder}: {error.strerror}; choose another path") from error


def refuse_inputs(*outputs: Path, of_folders: bool = True) -> None:
    """Make sure that a result replaces nothing else that the command line names, nor a file of a folder it reads.

    ``of_folders``: whether files of folders count, which they do not for a file that reading leaves out.
    """
    words = [word.partition("=")[2] if word.startswith("--") and "=" in word else word for word in sys.argv[1:]]
    for path in outputs:
        named = 0
        for before, word in zip(["", *words], words, strict=False):
            other = Path(word).absolute()
            folder = of_folders and other.is_dir() and before not in WRITTEN
            named += (
                (folder and path.is_file() and path.parent.samefile(other))
                or path.absolute().match(str(other))
                or (path.exists() and _same_file(path, other))
            )
        if named > 1:
            raise ConfigError(f"cannot write {path}: the command reads it or writes it twice; name another file")


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Results:
    """The files that a command writes its result to, checked before the work begins.

    Attributes:
        json: file for the result as JSON; ``-``: standard output, where tables then go to stderr.
        report: file for the HTML page.
        form: format of the tables that standard output gets; all else then goes to stderr.
    """

    json: JsonFile = None
    report: ReportFile = None
    form: TableFormat = None

    def __post_init__(self) -> None:
        console.stderr = self.json == STDOUT or self.form is not None
        if self.form is not None:
            from nearnext.report.formats import FORMATS

            require_known("format of tables", self.form, FORMATS)
            if self.json == STDOUT:
                raise ConfigError("--json - and --format both write to standard output; name a file for --json")
        if self.report is not None:
            require_extra("report", "--report")
        files = [path for path in (self.json, self.report) if path is not None and path != STDOUT]
        refuse_inputs(*files)
        writable(*(path for path in files if not is_special(path)))

    @property
    def printed(self) -> bool:
        """Whether the result is all that standard output gets."""
        return self.json == STDOUT

    def write(self, result: Any, page: Callable[[], str] | None = None) -> None:
        """Write the files: first of all, so that nothing that the terminal does can lose them."""
        if self.json is not None:
            write_json(self.json, result)
        if self.report is not None and page is not None:
            from nearnext.report.html import write_report

            write_report(self.report, page())

    def write_tables(self, tables: "Callable[[int], Sequence[Table]]") -> None:
        """Write tables, rendered for a terminal width, to standard output in the chosen format."""
        if self.form is not None:
            from nearnext.report.formats import WIDEST, formatted

            write_stdout("--format", formatted(tables(WIDEST), self.form).encode("utf-8", "replace"))

    def announce(self) -> None:
        """Print where the result is."""
        if self.json is not None and not self.printed:
            console.print(f"result: {self.json}")
        if self.report is not None:
            console.print(f"report: {self.report}")


def write_json(path: Path, result: Any) -> None:
    """Write a result atomically, in UTF-8; NaN is written as null."""
    text = json.dumps(_plain(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    content = text.encode("utf-8", "replace")  # a file name may hold what is not Unicode
    if path == STDOUT:
        write_stdout("--json -", content)
        return
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


def write_stdout(option: str, content: bytes) -> None:
    """Write the output of an option to standard output; a closed pipe does not stop the command."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - closed by the shell
        raise DataError(f"{option}: standard output is closed; name a file")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        console.on_broken_pipe()
    except OSError as error:
        raise DataError(f"{option}: standard output cannot be written: {error.strerror}; name a file") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in cast("Sequence[Any]", value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)

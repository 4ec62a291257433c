"""The command line: parse, call, print. It repeats the Python API and holds no logic of its own."""

import sys

from nearnext.cli import explain, export, index, logs, models, paper, replay, serve, tune
from nearnext.cli.app import app
from nearnext.errors import NearnextError

__all__ = ["app", "explain", "export", "index", "logs", "main", "models", "paper", "replay", "serve", "tune"]

INTERRUPTED = 130
"""Exit status of a program stopped with Ctrl-C, as shells have it."""


def main() -> None:
    """Run the command line; what is wrong with the input is one line on stderr and exit status 2."""
    try:
        app()
    except NearnextError as error:
        _fail(str(error))
    except MemoryError:
        _fail("not enough memory; filter the log first with 'nearnext prepare', or use a shorter log")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}; check the path, its permissions and the free space")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            said = str(_interruption(ended) or "")  # what was stopped says how to go on, if it can
            sys.stderr.write(f"{said or 'interrupted'}\n")
        raise


def _interruption(ended: BaseException | None) -> BaseException | None:
    """The Ctrl-C that typer has made an exit of."""
    while ended is not None and not isinstance(ended, KeyboardInterrupt):
        ended = ended.__cause__ or ended.__context__
    return ended


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(2)

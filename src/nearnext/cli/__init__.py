"""The command line: parse, call, print. It repeats the Python API and holds no logic of its own."""

import sys

from nearnext.cli import logs, models, paper
from nearnext.cli.app import app
from nearnext.errors import NearnextError

__all__ = ["app", "logs", "main", "models", "paper"]

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
    except KeyboardInterrupt as stopped:
        sys.stderr.write(f"{stopped or 'interrupted'}\n")  # a training says how to go on
        sys.exit(INTERRUPTED)


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(2)

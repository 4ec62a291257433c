"""The command line: parse, call, print. It repeats the Python API and holds no logic of its own."""

import sys
import warnings

__all__ = ["main"]

_shown = set[str]()


def main() -> None:
    """Run the command line; what is wrong with the input is one line on stderr and exit status 2."""
    try:
        from nearnext.cli.ending import one_line  # light: from here on every failure is one line
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    warnings.filterwarnings("ignore", "not clean", UserWarning)  # commands print leaks themselves, first of all
    warnings.showwarning = _show_once
    with one_line():
        from nearnext.cli.commands import app

        app(prog_name="nearnext")


def _show_once(message: Warning | str, *_where: object) -> None:
    line = f"warning: {' '.join(str(message).split())}"
    if line not in _shown:
        _shown.add(line)
        sys.stderr.write(f"{line}\n")

"""The command line: parse, call, print. It repeats the Python API and holds no logic of its own."""

import warnings

__all__ = ["main"]


def main() -> None:
    """Run the command line; what is wrong with the input is one line on stderr and exit status 2."""
    from nearnext.cli.ending import one_line  # light: from here on every failure is one line

    warnings.formatwarning = _one_line
    warnings.filterwarnings("ignore", "not clean", UserWarning)  # commands print leaks themselves, first of all
    with one_line():
        from nearnext.cli.commands import app

        app(prog_name="nearnext")


def _one_line(message: Warning | str, *_where: object, **_more: object) -> str:
    """A warning without the line of code that gave it, which says nothing to a user of the command line."""
    return f"warning: {' '.join(str(message).split())}\n"

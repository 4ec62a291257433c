"""The option that imports the user's own parts before a command works."""

import os
from typing import Annotated

import typer

from nearnext.cli.app import takes
from nearnext.own_parts import VARIABLE, import_parts


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

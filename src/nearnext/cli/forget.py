"""The command that erases a session from an event log."""

from pathlib import Path
from typing import Annotated

import typer

from nearnext.cli.app import app
from nearnext.cli.output import console, require_extra
from nearnext.errors import DataError


@app.command()
def forget(
    *,
    session: Annotated[str, typer.Option(help="Id of the session.")],
    event_log: Annotated[Path, typer.Option(help="Folder that serve logs to.")],
) -> None:
    """Erase a session from an event log, also while a service writes to it; then fit again for a model without it."""
    require_extra("serve", "an event log")
    from nearnext.serving.event_log import forget_session

    erased = forget_session(event_log, session)
    if erased.lines:
        console.print(f"erased {erased.lines:,} lines of {erased.files:,} files in {event_log}", soft_wrap=True)
    if erased.unsearched:
        names = ", ".join(str(path.relative_to(event_log)) for path in erased.unsearched)
        console.print(
            f"[yellow]not searched, as they are no segments of an event log: {names}[/yellow]", soft_wrap=True
        )
    for file, n_lines in erased.unread.items():
        where = file.relative_to(event_log)
        console.print(
            f"[yellow]not searched, as no session can be read there: {n_lines:,} lines of {where}[/yellow]",
            soft_wrap=True,
        )
    if not erased.lines:
        raise DataError(f"{event_log} has no line of session '{session}' that can be read; nothing was erased")
    console.print("the session store: DELETE /v1/sessions/ID; the model: fit it again", style="dim", soft_wrap=True)

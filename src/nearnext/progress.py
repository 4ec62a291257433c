"""Progress of long work: one bar with rate and remaining time, shown on stderr only when asked for."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["show_progress", "track"]

Advance = Callable[[int], None]


class _Rate(ProgressColumn):
    """Units per second, e.g. ``12,345 rows/s``."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "", style="cyan")


class _Display:
    """Whether bars are drawn; the command line switches them on, a library call never does."""

    enabled: bool = False
    active: Progress | None = None


def show_progress(enabled: bool = True) -> None:
    """Draw progress bars on stderr from now on (the command line does), or stop doing so.

    >>> show_progress(False)
    """
    _Display.enabled = enabled


@contextmanager
def track(description: str, total: int | None, unit: str) -> Generator[Advance]:
    """A bar over ``total`` units of work (None: unknown); the value given is called with units done.

    Bars nest: an inner one is drawn below the outer one.

    >>> with track("reading", total=3, unit="rows") as advance:
    ...     advance(3)
    """
    if not _Display.enabled:
        yield lambda _units: None
        return
    outer = _Display.active
    progress = outer or Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    if outer is None:
        _Display.active = progress
        progress.start()
    task = progress.add_task(description, total=total, unit=unit)
    try:
        yield lambda units: progress.advance(task, units)
    finally:
        progress.remove_task(task)
        if outer is None:
            progress.stop()
            _Display.active = None

"""Progress of long work: one bar with rate and remaining time, shown on stderr only when asked for."""

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["Advance", "show_progress", "track"]


SLOW = 10.0
"""Units per second below which the rate is shown with a fraction."""


class Advance:
    """What moves a bar on: called with units just done; ``describe`` changes its text.

    >>> with track("epoch 1", total=3, unit="sessions") as advance:
    ...     advance(2)
    ...     advance.describe("epoch 1, loss 0.25")
    """

    def __init__(self, progress: Progress | None = None, task: TaskID | None = None) -> None:
        self._progress, self._task = progress, task

    def __call__(self, units: int) -> None:
        """Units of work just done."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, units)

    def expect(self, total: int) -> None:
        """Another number of units in all."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=total)

    def describe(self, description: str) -> None:
        """Another text before the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=description)


class _Rate(ProgressColumn):
    """Units per second, e.g. ``12,345 rows/s``."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        digits = 0 if speed and speed >= SLOW else 2
        return Text(f"{speed:,.{digits}f} {task.fields['unit']}/s" if speed else "", style="cyan")


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
        yield Advance()
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
        yield Advance(progress, task)
    finally:
        progress.remove_task(task)
        if outer is None:
            progress.stop()
            _Display.active = None

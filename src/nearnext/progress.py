"""Progress of long work on stderr, only when asked for: bars on a terminal, elsewhere a line every ten seconds."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

SLOW = 10.0
"""Units per second below which the rate is shown with a fraction."""

FIRST, EVERY = 5.0, 10.0
"""Seconds until the first line where there is no terminal, and between two of them."""

MINUTE = 60


@dataclass(eq=False)
class Advance:
    """Work under way, moved on by a call: ``done`` units of ``total`` (None: unknown) since ``begin``, in seconds."""

    description: str = ""
    total: int | None = None
    unit: str = ""
    begin: float = 0.0
    done: int = 0
    bar: Any = None

    def __call__(self, units: int) -> None:
        """Units of work just done."""
        self.done += units
        _display.update(self, advance=units)

    def expect(self, total: int) -> None:
        """Set the total."""
        self.total = total
        _display.update(self, total=total)

    def describe(self, description: str) -> None:
        """Change the text before the bar."""
        self.description = description
        _display.update(self, description=description)

    def line(self, now: float) -> str:
        """The work in words, e.g. ``epoch 2, loss 0.2513: 300 of 900 sessions, 25 sessions/s, 0:24 left``."""
        of = f" of {self.total:,}" if self.total is not None else ""
        parts = [f"{self.description}: {self.done:,}{of} {self.unit}"]
        if self.done and now > self.begin:
            rate = self.done / (now - self.begin)
            parts.append(f"{_rate(rate)} {self.unit}/s")
            if self.total is not None and self.total > self.done:
                parts.append(f"{_clock((self.total - self.done) / rate)} left")
        return ", ".join(parts)


@dataclass
class _Display:
    """What is shown: nothing until the command line switches it on; a library call never does."""

    enabled: bool = False
    tasks: list[Advance] = field(default_factory=list[Advance])
    bars: Any = None
    due: float = 0.0

    def begin(self, task: Advance) -> None:
        if not self.tasks:
            self.due = time.monotonic() + FIRST
            if shows_bars():
                self.bars = _rich_bars()
                self.bars.start()
        self.tasks.append(task)
        if self.bars is not None:
            task.bar = self.bars.add_task(task.description, total=task.total, unit=task.unit)

    def end(self, task: Advance) -> None:
        self.tasks.remove(task)
        if self.bars is not None:
            self.bars.remove_task(task.bar)
            if not self.tasks:
                self.bars.stop()
                self.bars = None

    def update(self, task: Advance, **changes: Any) -> None:
        if task not in self.tasks:  # nothing is shown
            return
        if self.bars is not None:
            self.bars.update(task.bar, **changes)
        elif (now := time.monotonic()) >= self.due:
            self.due = now + EVERY
            self.say("; ".join(one.line(now) for one in self.tasks))

    def say(self, text: str) -> None:
        if self.bars is not None:
            self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
            return
        with suppress(OSError, AttributeError):  # stderr is closed
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


_display = _Display()


def show_progress(enabled: bool = True) -> None:
    """Show the progress of long work on stderr, as the command line does, from now on; or no longer.

    On a terminal as bars; elsewhere, as in notebooks, a line every ten seconds, in a fit with the epoch and its loss.

    >>> show_progress()
    >>> show_progress(False)
    """
    _display.enabled = enabled


def shows_bars() -> bool:
    """Whether progress is shown on a terminal, as bars."""
    return _display.enabled and sys.stderr is not None and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison] - closed


def note(text: str) -> None:
    """One line on stderr about what happens now, where progress is shown."""
    if _display.enabled:
        _display.say(text)


@contextmanager
def track(description: str, total: int | None, unit: str) -> Generator[Advance]:
    """Progress over ``total`` units of work (None: unknown); the value given is called with units done.

    Work nests: an inner bar is drawn below the outer one, and a line names both.

    >>> with track("reading", total=3, unit="rows") as advance:
    ...     advance(3)
    """
    if not _display.enabled:
        yield Advance()
        return
    task = Advance(description, total, unit, time.monotonic())
    _display.begin(task)
    try:
        yield task
    finally:
        _display.end(task)


def _rate(per_second: float) -> str:
    return f"{per_second:,.{0 if per_second >= SLOW else 2}f}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // MINUTE, MINUTE)
    return f"{hours}:{minutes:02}:{whole % MINUTE:02}" if hours else f"{minutes}:{whole % MINUTE:02}"


def _rich_bars() -> Any:
    """Bars with rate and remaining time."""
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class Rate(rich.ProgressColumn):
        """Units per second, e.g. ``12,345 rows/s``."""

        def render(self, task: rich.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{_rate(speed)} {task.fields['unit']}/s" if speed else "", style="cyan")

    return rich.Progress(
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=24),
        rich.MofNCompleteColumn(),
        Rate(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )

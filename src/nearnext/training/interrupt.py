"""Ctrl-C that waits for the step in progress."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["TrainingInterrupted", "deferred_interrupt"]


class TrainingInterrupted(KeyboardInterrupt):
    """Training stopped by Ctrl-C after its checkpoint was written; the message says how to resume."""


@contextmanager
def deferred_interrupt(enabled: bool = True) -> Generator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed; pressed again it interrupts at once.

    Outside the main thread, where signals do not arrive, the answer is always no.
    """
    pressed = False

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what a signal handler gets
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if not enabled or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)

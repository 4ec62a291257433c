"""How a program ends that cannot go on: one line on stderr and an exit status, never a traceback."""

import os
import signal
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from nearnext.errors import NearnextError
from nearnext.extras import training_extra
from nearnext.own_parts import raised, raised_in_own_part

TRACEBACK = "NEARNEXT_TRACEBACK"
"""Environment variable that asks for the traceback of an error before its line."""

INTERRUPTED = 130
"""Exit status of a program stopped with Ctrl-C, as shells have it; SIGTERM: 143."""

NO_MEMORY = "not enough memory; filter the log first with 'nearnext prepare', or use a shorter log"

WHAT_MEMORY_LACKS = ("cannot allocate memory", "can't start new thread", "failed to map segment", "bad_alloc")
"""What libraries say, in errors of many types, where memory or threads run out."""


class _Interrupt:
    """The signal that interrupts, else 0: libraries turn the error into one of their own while they are imported.

    SIGTERM does what Ctrl-C does at that moment: a training writes its checkpoint, and temporary folders are removed.
    """

    signal = 0

    @classmethod
    def note(cls, signum: int, frame: FrameType | None) -> None:
        cls.signal = cls.signal or signum
        signal.default_int_handler(signum, frame)

    @classmethod
    def terminate(cls, signum: int, frame: FrameType | None) -> None:
        cls.signal = signum
        handler = signal.getsignal(signal.SIGINT)  # a job in the background of a script ignores Ctrl-C
        (handler if callable(handler) else signal.default_int_handler)(signum, frame)


@contextmanager
def one_line() -> Generator[None]:
    """Run a program; an error that a user can mend, Ctrl-C, SIGTERM or too little memory ends it with one line."""
    _take_interrupts()
    _print_anything()
    try:
        with training_extra("the command"):
            yield
        _flush()
    except NearnextError as error:
        _fail(str(error), error)
    except (SystemExit, KeyboardInterrupt) as ended:
        _flush()
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        _interrupted(ended)
    except BaseException as error:
        if _Interrupt.signal:
            _interrupted(error)
        if reason := _reason(error):
            _fail(reason, error)
        raise


def _take_interrupts() -> None:
    _Interrupt.signal = 0
    with suppress(ValueError):  # outside the main thread there are no signals
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _Interrupt.note)
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and "TORCHELASTIC_RUN_ID" not in os.environ:
            signal.signal(signal.SIGTERM, _Interrupt.terminate)


def _print_anything() -> None:
    """What a terminal cannot show becomes a question mark: no character ends a program."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # closed, or not a file
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def _flush() -> None:
    """Write what is left to standard output; a reader that has gone, as ``head`` does, is no error."""
    error = _unwritable()
    if error is not None and not isinstance(error, BrokenPipeError):
        _fail(f"standard output cannot be written: {error.strerror}")


def _unwritable() -> OSError | None:
    """Why standard output does not take what is left, which is then dropped: Python would try it again at the end."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - closed by the shell
        return None
    try:
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def _reason(error: BaseException) -> str:
    """Why the program cannot go on, if the cause is outside the program, else empty."""
    text = f"{type(error).__name__} {error}".lower()
    if isinstance(error, MemoryError) or any(lack in text for lack in WHAT_MEMORY_LACKS):
        return NO_MEMORY
    if isinstance(error, OSError):
        where = error.filename or "standard output, or a file"
        return f"{where}: {error.strerror or error}; check the path, its permissions and the free space"
    if raised_in_own_part(error):
        return f"an own part failed: {raised(error)}; mend it, or set {TRACEBACK}=1 to see the traceback"
    return ""


def _interrupted(ended: BaseException) -> NoReturn:
    """End as Ctrl-C does; what was stopped says how to go on, if it can."""
    with suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # once more, it ends the program at once
    said, cause = "", ended
    while cause is not None and not said:
        said = str(cause) if isinstance(cause, KeyboardInterrupt) else ""
        cause = cause.__cause__ or cause.__context__
    _end(said or "interrupted", 128 + (_Interrupt.signal or signal.SIGINT))


def _fail(message: str, error: BaseException | None = None) -> NoReturn:
    if error is not None and os.environ.get(TRACEBACK):
        with suppress(OSError, AttributeError):
            traceback.print_exception(error)
    _end(f"error: {message}", 2)


def _end(message: str, status: int) -> NoReturn:
    with suppress(OSError, AttributeError):  # stderr may be closed too
        sys.stderr.write(f"{' '.join(message.split())}\n")
    _unwritable()
    sys.exit(status)

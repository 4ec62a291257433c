"""What all tests share: threads, where the real logs are, and a way to call the command line in this process."""

import gc
import math
import os
import signal
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from nearnext.cli import main

os.environ["OMP_NUM_THREADS"] = "1"
"""One thread for this process and those that tests start: the tensors are tiny, and several processes test at once.

Torch reads it when it is imported, by the first test file that needs it; the process that gives out tests needs none.
"""

gc.disable()  # until all is imported: it would look through half-read modules again and again

settings.register_profile("nearnext", deadline=None)  # no test waits for the clock of a busy machine
settings.load_profile("nearnext")


@dataclass(frozen=True)
class Outcome:
    """Exit status and output of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def pytest_report_header() -> str:
    """Which seeds the tests that train use: a failure can then be run again."""
    return f"NEARNEXT_TEST_SEED: {os.environ.get('NEARNEXT_TEST_SEED', '0')}"


def pytest_collection_finish() -> None:
    """What was imported stays for all tests, and no garbage collection looks through it."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def nearnext(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line as a function of its arguments."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["nearnext", "--quiet", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def real_logs() -> Path:
    """Folder of real click logs; the test is skipped without it."""
    folder = os.environ.get("NEARNEXT_DATA")
    if not folder:
        pytest.skip("needs real click logs: set NEARNEXT_DATA to their folder")
    return Path(folder)


@pytest.fixture(autouse=True, scope="session")
def fitted_again() -> None:
    """Audits fit every method again, however long a busy machine took for the first time: results are the same."""
    from nearnext.evaluation import audit

    audit.REFIT_SECONDS = math.inf


@pytest.fixture(autouse=True)
def interruptible() -> Generator[None]:
    """Every test begins and ends with Python's own Ctrl-C and SIGTERM.

    A shell that starts the tests in the background has it ignored, and a command that was interrupted leaves it to end
    the process: the next test that presses it would end all tests. A command also takes SIGTERM for itself.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)

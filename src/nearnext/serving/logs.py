"""Logs as lines of JSON on stderr: what happens to the service, and each request. Logging never waits.

One thread writes all lines. If stderr is not read, only this thread waits; later lines are dropped and counted.
"""

import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

GATHER = 0.1
"""Seconds for which lines are buffered before a write."""

PENDING = 10_000
"""Most lines that wait to be written."""

PIECE = 4096
"""Bytes of lines written together: a pipe takes so many in one piece, also from several processes."""

PATIENCE = 1.0
"""Seconds that the process waits at its end for stderr to be read."""


class LineWriter:
    """A buffered log file, written by a thread."""

    def __init__(self, file: int = 2) -> None:
        self._file = file
        self._lines: deque[bytes] = deque()
        self._writing = False
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def write(self, line: bytes) -> None:
        """Write a line, given without its newline."""
        if len(self._lines) >= PENDING:
            self.dropped += 1
            return
        self._lines.append(line)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()

    def flush(self, seconds: float = PATIENCE) -> None:
        """Wait until everything is written, at most so long."""
        deadline = time.monotonic() + seconds
        while (self._lines or self._writing) and time.monotonic() < deadline:
            time.sleep(GATHER / 10)

    def _run(self) -> None:
        while True:
            time.sleep(GATHER)
            self._writing = True
            while self._lines:
                self._put(self._gathered())
            self._writing = False

    def _gathered(self) -> bytes:
        gathered = self._lines.popleft() + b"\n"
        while self._lines and len(gathered) + len(self._lines[0]) < PIECE:
            gathered += self._lines.popleft() + b"\n"
        if dropped := self.dropped:
            self.dropped -= dropped
            gathered += _line(time.time(), "warning", message=f"{dropped} lines were not logged") + b"\n"
        return gathered

    def _put(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._file, data) :]
            except BlockingIOError:
                time.sleep(GATHER)
            except OSError:
                return  # stderr is closed


STDERR = LineWriter()


class JsonLines(logging.Handler):
    """Records as lines of JSON on stderr, without waiting."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that cannot be formatted is left out."""
        with suppress(Exception):
            fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage(), "process": record.process}
            if record.exc_info:
                fields["exception"] = logging.Formatter().formatException(record.exc_info)
            if request_id := getattr(record, "request_id", None):
                fields["request_id"] = request_id
            STDERR.write(_line(record.created, record.levelname.lower(), **fields))

    def flush(self) -> None:
        """Wait a moment until everything is written."""
        STDERR.flush()


def log_config() -> dict[str, Any]:
    """Logging of the whole process as JSON on stderr, for `logging.config.dictConfig`."""
    plain = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"()": JsonLines}},
        "loggers": {"nearnext": plain, "uvicorn": {**plain, "level": "WARNING"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }


def log_request(request_id: str, method: str, route: str, status: int, seconds: float) -> None:
    """One line for a request that was answered; it holds no keys, bodies, sessions or items."""
    ms = round(seconds * 1000, 3)
    STDERR.write(_line(time.time(), "info", request_id=request_id, method=method, route=route, status=status, ms=ms))


def _line(moment: float, level: str, **fields: Any) -> bytes:
    when = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return msgspec.json.encode({"time": when, "level": level, **fields})

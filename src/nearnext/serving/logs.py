"""Logs as lines of JSON on stderr: what happens to the service, and each request. Logging never waits.

One thread writes all lines. Where nobody reads them, it alone waits; later lines are dropped, and counted in the log.
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
"""Seconds in which request lines are gathered before they are written together."""

PENDING = 10_000
"""Lines that wait at most."""

PIECE = 4096
"""Bytes of lines written together: a pipe takes so many in one piece, also from several processes."""

PATIENCE = 1.0
"""Seconds that the end of the process waits for lines that nobody reads."""


class LineWriter:
    """Lines written to a file by a thread."""

    def __init__(self, file: int = 2) -> None:
        self._file = file
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._written = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def write(self, line: bytes, *, now: bool = False) -> None:
        """Write a line, given without its end, now or a tenth of a second later."""
        if len(self._lines) >= PENDING:
            self.dropped += 1
            return
        self._written.clear()
        self._lines.append(line)
        if now:
            self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()

    def flush(self, seconds: float = PATIENCE) -> None:
        """Wait until everything is written, at most so long."""
        if self._thread is not None:
            self._wake.set()
            self._written.wait(seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait(GATHER)
            self._wake.clear()
            while self._lines:
                self._put(self._gathered())
            self._written.set()

    def _gathered(self) -> bytes:
        gathered = self._lines.popleft() + b"\n"
        while self._lines and len(gathered) + len(self._lines[0]) < PIECE:
            gathered += self._lines.popleft() + b"\n"
        if dropped := self.dropped:
            self.dropped -= dropped
            fields = {"time": _iso(time.time()), "level": "warning", "message": f"{dropped} lines were not logged"}
            gathered += msgspec.json.encode(fields) + b"\n"
        return gathered

    def _put(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._file, data) :]
            except BlockingIOError:
                time.sleep(GATHER)
            except OSError:
                return  # nobody will read it


STDERR = LineWriter()


class JsonLines(logging.Handler):
    """Records as lines of JSON on stderr, without waiting."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that cannot be formatted is left out."""
        fields: dict[str, Any] = {
            "time": _iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        with suppress(Exception):
            fields |= {"message": record.getMessage(), "process": record.process}
            if record.exc_info:
                fields["exception"] = logging.Formatter().formatException(record.exc_info)
            if request_id := getattr(record, "request_id", None):
                fields["request_id"] = request_id
            STDERR.write(msgspec.json.encode(fields), now=True)

    def flush(self) -> None:
        """Wait a moment until everything is written."""
        STDERR.flush()


def log_config(level: str = "INFO") -> dict[str, Any]:
    """Logging of the whole process as JSON on stderr, for `logging.config.dictConfig`."""
    plain = {"handlers": ["stderr"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"()": JsonLines}},
        "loggers": {"nearnext": plain, "uvicorn": {**plain, "level": "WARNING"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }


def log_request(request_id: str, method: str, route: str, status: int, seconds: float) -> None:
    """One line for a request that was answered; it holds no keys, bodies, sessions or items."""
    fields = {
        "time": _iso(time.time()),
        "level": "info",
        "request_id": request_id,
        "method": method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 3),
    }
    STDERR.write(msgspec.json.encode(fields))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

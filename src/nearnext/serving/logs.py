"""Logs as lines of JSON on stderr: what happens to the service, and each request."""

import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from select import select
from typing import Any

import msgspec

__all__ = ["AccessLog", "JsonFormatter", "log_config"]

FLUSH = 0.1
"""Seconds between two writes of request lines."""

PENDING = 10_000
"""Request lines that wait at most; where nobody takes them, later ones are dropped rather than requests."""


PIECE = 4096
"""Bytes that a pipe which takes any takes without waiting."""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON.

    >>> record = logging.LogRecord("nearnext", logging.INFO, "", 0, "model %s", ("v1",), None)
    >>> msgspec.json.decode(JsonFormatter().format(record))["message"]
    'model v1'
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields: dict[str, Any] = {
            "time": _iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if request_id := getattr(record, "request_id", None):
            fields["request_id"] = request_id
        return msgspec.json.encode(fields).decode()


def log_config(level: str = "INFO") -> dict[str, Any]:
    """Logging of the whole process as JSON on stderr, for `logging.config.dictConfig`.

    >>> sorted(log_config()["loggers"])
    ['nearnext', 'uvicorn']
    """
    plain = {"handlers": ["stderr"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "loggers": {"nearnext": plain, "uvicorn": {**plain, "level": "WARNING"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }


class AccessLog:
    """One line per request, gathered for a tenth of a second; it holds no keys, bodies, sessions or items.

    Args:
        write: takes bytes and returns how many it took, by default stderr without waiting.

    >>> lines = []
    >>> log = AccessLog(lambda data: lines.append(data) or len(data))
    >>> log.note("r1", "POST", "/v1/recommend", 200, 0.0015)
    >>> log.flush()
    >>> msgspec.json.decode(lines[0])["ms"]
    1.5
    """

    def __init__(self, write: Callable[[bytes], int] | None = None) -> None:
        self._write = write or _write_stderr
        self._lines: list[bytes] = []
        self._rest = b""
        self.dropped = 0

    def note(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Note a request that was answered."""
        if len(self._lines) >= PENDING:
            self.dropped += 1
            return
        self._lines.append(
            msgspec.json.encode(
                {
                    "time": _iso(time.time()),
                    "level": "info",
                    "request_id": request_id,
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1000, 3),
                }
            )
        )

    def flush(self) -> None:
        """Write what has been gathered, as far as it is taken."""
        if not self._rest and self._lines:
            self._rest = b"\n".join(self._lines) + b"\n"
            self._lines.clear()
        while self._rest:
            try:
                taken = self._write(self._rest[:PIECE])
            except BlockingIOError:
                return
            except OSError:
                taken = len(self._rest)  # nobody reads any more
            self._rest = self._rest[taken:]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _write_stderr(data: bytes) -> int:
    file = sys.stderr.fileno()
    if not select([], [file], [], 0)[1]:
        raise BlockingIOError
    return os.write(file, data)

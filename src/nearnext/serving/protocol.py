"""HTTP connections that do not wait for ever, and do not take headers without end."""

import asyncio
import secrets
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from nearnext.serving.problems import PROBLEM, Refusal

__all__ = ["GuardedProtocol"]

HEADER_BYTES = 64 << 10
"""Bytes of a request before its body."""

TOO_LONG = Refusal(431, f"the headers are longer than {HEADER_BYTES} bytes")
TOO_SLOW = Refusal(408, "the request did not come in in time")


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits of time and size for what comes in, and of time for what is taken.

    A request that comes in one piece, as nearly all do, costs no timer.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection on which nothing comes is closed as an idle one is."""
        application: Any = self.config.app
        self._patience: float = application.settings.request_timeout
        self._whole = True
        self._in_headers = False
        self._header_bytes = 0
        self._coming: asyncio.TimerHandle | None = None
        self._going: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """What came in; a request that is not whole yet has a time limit from now on."""
        if self._whole:
            self._header_bytes = 0
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self._end(TOO_LONG)
                return
        if not self._whole and self._coming is None:
            self._coming = self.loop.call_later(self._patience, self._end, TOO_SLOW)
        elif self._whole and self._coming is not None:
            self._coming.cancel()
            self._coming = None

    def on_message_begin(self) -> None:
        """The first line of a request began."""
        self._whole, self._in_headers = False, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers of a request are there."""
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is there."""
        self._whole = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What came in is no HTTP."""
        self._end(Refusal(400, msg))

    def pause_writing(self) -> None:
        """The client does not take its answer: it has a time limit from now on."""
        super().pause_writing()
        self._going = self.loop.call_later(self._patience, self.transport.abort)

    def resume_writing(self) -> None:
        """The client took its answer."""
        super().resume_writing()
        if self._going is not None:
            self._going.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        self._stop_timers()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _stop_timers(self) -> None:
        for timer in (self._coming, self._going):
            if timer is not None:
                timer.cancel()

    def _end(self, refusal: Refusal) -> None:
        """Say what was wrong, where no answer has begun, and close."""
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle
        answering = cycle is not None and cycle.response_started and not cycle.response_complete
        if not answering:
            body = refusal.body(secrets.token_hex(6))
            self.transport.write(
                b"%scontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (STATUS_LINE[refusal.status], PROBLEM, len(body), body)
            )
        self.transport.close()

"""One HTTP connection: the application gets complete requests one at a time, with time and header limits."""

import asyncio
import logging
import re
import secrets
import time
from http import HTTPStatus
from random import Random
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from nearnext.serving.framing import HEADER_BYTES, Chunks, Head, find_head, read_head
from nearnext.serving.problems import PROBLEM, HTTPError, problem
from nearnext.serving.service import Service

DRAINED = 16
"""A body that is too long is read up to this many times the limit, so that its sender gets the response."""

NEVER = float("inf")

REFUSED, NOWHERE = "(refused)", "(unknown)"
"""Routes, in logs and metrics, of invalid requests and unknown paths, since paths may contain ids."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

STATUS = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
COMMON = b"x-content-type-options: nosniff\r\ncache-control: no-store\r\nx-request-id: "
VARY = (b"vary", b"Origin")

Headers = list[tuple[bytes, bytes]]

log = logging.getLogger(__name__)
random_bits = Random(secrets.randbits(256)).getrandbits  # noqa: S311 - ids are no secrets


class Connection(asyncio.Protocol):
    """HTTP/1.1 protocol for uvicorn: each request is one call of the ASGI application, which sends the response.

    One deadline covers the whole request, and no part of a request can be read as another one.
    """

    def __init__(
        self,
        service: Service,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._service, self._settings = service, service.settings
        self._app: ASGIApp = cast("Any", config).loaded_app
        self._server, self._state = server_state, app_state
        self._loop = asyncio.get_running_loop()
        self._data = bytearray()
        self._searched = 0
        self._head: Head | None = None
        self._chunks: Chunks | None = None
        self._begun = self._answering = self._refused = False
        self._last = self._ended = self._lost = False
        self._drained = 0
        self._deadline = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection, and wait for its first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(cast("Any", self))
        self._wait(self._settings.idle_timeout)

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests, and answer the next request if it is complete."""
        if self._refused:
            self._drained += len(data)
            if self._drained > DRAINED * self._settings.max_body:
                self._transport.abort()
            return
        self._data += data
        if self._answering:
            if len(self._data) > HEADER_BYTES:
                self._transport.pause_reading()
        elif not self._advance() and not self._begun:
            self._begun = True
            self._wait(self._settings.request_timeout)

    def eof_received(self) -> bool:
        """The client sends no more; requests that came in are still answered."""
        self._ended = True
        return self._answering or self._stuck is not None

    def pause_writing(self) -> None:
        """Give the client a limited time to read its response."""
        self._stuck = self._loop.call_later(self._settings.request_timeout, self._transport.abort)

    def resume_writing(self) -> None:
        """Continue after the client has read its response."""
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        if not (self._answering or self._refused):
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - for any reason
        """Cancel the timers of a closed connection."""
        self._lost = True
        for timer in (self._timer, self._stuck):
            if timer is not None:
                timer.cancel()
        self._server.connections.discard(cast("Any", self))

    def shutdown(self) -> None:
        """Finish the current request, then close."""
        self._last = True
        if not self._answering:
            self._transport.close()

    def _advance(self) -> bool:
        """Answer the next request, if it is complete."""
        try:
            body = self._next_body()
        except HTTPException as error:
            self._refuse(error)
            return True
        if body is None or self._head is None:
            return False
        task = self._loop.create_task(self._answer(self._head, body))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)
        self._head, self._chunks, self._searched = None, None, 0
        self._answering, self._begun = True, False
        self._deadline = NEVER
        return True

    def _next_body(self) -> bytes | None:
        """The body of the request whose head was read last; None if incomplete."""
        data = self._data
        if self._head is None:
            if data.startswith((b"\r", b"\n")):
                del data[: len(data) - len(data.lstrip(b"\r\n"))]
            if not data:
                return None
            end = find_head(data, self._searched)
            if end < 0:
                self._searched = max(0, len(data) - 3)
                return None
            self._head = read_head(bytes(data[:end]))
            del data[:end]
            self._begin(self._head, waits=not data)
        if self._chunks is not None:
            return self._chunks.take(data)
        length = self._head.length or 0
        if len(data) < length:
            return None
        body = bytes(data[:length])
        del data[:length]
        return body

    def _begin(self, head: Head, *, waits: bool) -> None:
        limit = self._settings.max_body
        if head.length is None:
            self._chunks = Chunks(limit)
        elif head.length > limit:
            raise HTTPError(413, f"the body is longer than {limit} bytes")
        if head.expects and waits:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _answer(self, head: Head, body: bytes) -> None:
        """Let the application answer a request."""
        begin = time.perf_counter()
        given = head.named.get(b"x-request-id")
        request_id = given.decode() if given and REQUEST_ID.fullmatch(given) else f"{random_bits(64):016x}"
        self._last |= head.last
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": head.method,
            "scheme": "http",
            "path": head.path.decode(),  # ids are separated before they are decoded: they may hold a slash
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers,
            "header": head.named,
            "state": self._state,
            "request_id": request_id,
            "route": NOWHERE,
        }
        status, headers = 500, Headers()

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            else:
                self._write(status, headers, message["body"] if head.method != "HEAD" else b"", request_id)

        try:
            await self._app(scope, receive, send)
        except BaseException:
            self._transport.abort()
            raise
        self._service.note(request_id, head.method, scope["route"], status, time.perf_counter() - begin)
        self._answering = False
        if self._stuck is None:
            self._answered()

    def _answered(self) -> None:
        """Start the next request once the response to the last one is sent."""
        if self._lost:
            return
        if self._data and not self._last and self._advance():
            return
        if self._last or self._ended:
            self._transport.close()
        self._begun = bool(self._data)
        waits_for_more = self._begun or self._transport.is_closing()
        self._wait(self._settings.request_timeout if waits_for_more else self._settings.idle_timeout)
        self._transport.resume_reading()

    def _refuse(self, error: HTTPException) -> None:
        """Send a problem document, and read no more requests; bytes under way are read so that the response arrives."""
        self._refused = self._last = True
        request_id = f"{random_bits(64):016x}"
        self._service.note(request_id, "OTHER", REFUSED, error.status_code, 0.0)
        body = problem(error, request_id)
        headers = [(b"content-type", PROBLEM), (b"content-length", b"%d" % len(body))]
        self._write(error.status_code, headers, body, request_id)
        self._transport.write_eof()
        self._data.clear()
        self._transport.resume_reading()
        self._wait(self._settings.request_timeout)

    def _write(self, status: int, headers: Headers, body: bytes, request_id: str) -> None:
        if self._transport.is_closing():
            return
        sent = [*self._server.default_headers, *headers]
        if not any(name == b"vary" for name, _ in headers):
            sent.append(VARY)
        if self._last:
            sent.append((b"connection", b"close"))
        lines = b"".join([b"%s: %s\r\n" % header for header in sent])
        self._transport.write(b"%s%s%s%s\r\n\r\n%s" % (STATUS[status], lines, COMMON, request_id.encode(), body))

    def _wait(self, seconds: float) -> None:
        """Set the deadline; the timer is only moved where it would fire too late."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        now, self._timer = self._loop.time(), None
        if now < self._deadline:
            self._timer = self._loop.call_at(min(self._deadline, now + self._settings.request_timeout), self._look)
        elif self._refused or self._transport.is_closing():
            self._transport.abort()
        elif self._begun:
            self._refuse(HTTPError(408, "the request did not come in in time"))
        else:
            self._transport.close()
            self._wait(self._settings.request_timeout)

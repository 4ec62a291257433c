"""One connection: the server gets whole, well-formed requests one at a time, the rest is refused in limited time."""

import asyncio
import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple, cast

from starlette.exceptions import HTTPException
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from nearnext.serving.framing import HEADER_BYTES, Chunks, Head, find_head, read_head
from nearnext.serving.messages import PROBLEM, HTTPError, problem

DRAINED = 16
"""A body that is too long is read on up to this many times the limit, so that its sender comes to read the answer."""

NEVER = float("inf")


class Limits(NamedTuple):
    """What a connection may take."""

    request: float  # seconds for a request to come in, or an answer to be taken
    idle: float  # seconds without a request
    max_body: int  # bytes
    refused: Callable[[str, int], None]  # gets id and status of what is refused before the application sees it


class _Corked:
    """A transport that writes head and body of an answer in one piece: one system call less."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []
        self.write = self._parts.append

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()

    def close(self) -> None:
        self.flush()
        self._transport.close()


class Connection(asyncio.Protocol):
    """What stands between the network and uvicorn's protocol, which gets one checked request at a time.

    The application calls `answered` (it finds this object as ``connection`` in the state of its scope) when it has sent
    an answer. Every byte counts against one deadline for the whole request, and nothing of one request is read as
    another one.
    """

    def __init__(
        self,
        limits: Limits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._limits = limits
        self._state = {**app_state, "connection": self}
        self._server = HttpToolsProtocol(config, server_state, self._state, _loop)
        self._loop = asyncio.get_running_loop()
        self._data = bytearray()
        self._searched = 0
        self._head: Head | None = None
        self._chunks: Chunks | None = None
        self._begun = self._answering = self._refused = self._ended = False
        self._drained = 0
        self._deadline = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._corked = _Corked(self._transport)
        self._server.connection_made(cast("asyncio.Transport", self._corked))
        self._wait(self._limits.idle)

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        if self._refused:
            self._drained += len(data)
            if self._drained > DRAINED * self._limits.max_body:
                self._transport.abort()
            return
        self._data += data
        if self._answering:
            if len(self._data) > HEADER_BYTES:
                self._transport.pause_reading()
        elif not self._advance() and not self._begun:
            self._begun = True
            self._wait(self._limits.request)

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked is answered all the same."""
        self._ended = True
        return self._answering

    def answered(self) -> None:
        """The request that the server had is answered: the next one may come."""
        self._corked.flush()
        self._answering = False
        if self._data and not self._transport.is_closing() and self._advance():
            return
        if self._ended:
            self._transport.close()
        self._begun = bool(self._data)
        if self._begun or self._transport.is_closing():
            self._wait(self._limits.request)
        else:
            self._wait(self._limits.idle)
        self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The client does not take its answer."""
        self._server.pause_writing()
        self._stuck = self._loop.call_later(self._limits.request, self._transport.abort)

    def resume_writing(self) -> None:
        """The client took its answer."""
        self._server.resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        for timer in (self._timer, self._stuck):
            if timer is not None:
                timer.cancel()
        self._server.connection_lost(exc)
        self._state.clear()

    def _advance(self) -> bool:
        """Give the server the next request, if it is complete."""
        try:
            request = self._next_request()
        except HTTPException as error:
            self._refuse(error)
            return True
        if request is None:
            return False
        self._head, self._chunks, self._searched = None, None, 0
        self._answering, self._begun = True, False
        self._deadline = NEVER
        self._server.data_received(request)
        return True

    def _next_request(self) -> bytes | None:
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
            self._head = self._begin(bytes(data[:end]))
            del data[:end]
        head = self._head
        if self._chunks is not None:
            body = self._chunks.take(data)
            return None if body is None else b"%scontent-length: %d\r\n\r\n%s" % (head.data[:-2], len(body), body)
        length = head.length or 0
        if len(data) < length:
            return None
        body = bytes(data[:length])
        del data[:length]
        return head.data + body

    def _begin(self, data: bytes) -> Head:
        head = read_head(data)
        limit = self._limits.max_body
        if head.length is None:
            self._chunks = Chunks(limit)
        elif head.length > limit:
            raise HTTPError(413, f"the body is longer than {limit} bytes")
        if head.expects and len(self._data) == len(data):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return head

    def _refuse(self, error: HTTPException) -> None:
        """Say what was wrong, and read no more requests; what is on its way is taken so that the answer arrives."""
        self._refused = True
        request_id = secrets.token_hex(8)
        self._limits.refused(request_id, error.status_code)
        body = problem(error, request_id)
        self._transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (error.status_code, HTTPStatus(error.status_code).phrase.encode(), PROBLEM, len(body), body)
        )
        self._transport.write_eof()
        self._data.clear()
        self._transport.resume_reading()
        self._wait(self._limits.request)

    def _wait(self, seconds: float) -> None:
        """Set the deadline; the timer is only moved where it would fire too late."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if now < self._deadline:
            self._timer = self._loop.call_at(min(self._deadline, now + self._limits.request), self._look)
        elif self._refused or self._transport.is_closing():
            self._transport.abort()
        elif self._begun:
            self._timer = None
            self._refuse(HTTPError(408, "the request did not come in in time"))
        else:
            self._timer = None
            self._transport.close()
            self._wait(self._limits.request)

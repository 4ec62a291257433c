"""Sessions on a Redis or Valkey server, shared by all processes that use it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec

from nearnext.errors import ConfigError
from nearnext.extras import needed
from nearnext.serving.requests import MAX_ID, IntegerId
from nearnext.serving.stores.memory import SESSION_BYTES, Event, StoreDown, typed
from nearnext.types import RawId

PREFIX = "nearnext:session:"

PAUSE = 0.5
"""Seconds that a server which failed is left alone: requests then do without it at once."""

CONNECTIONS = 32

TOGETHER = 128
"""Commands that are sent in one go at most."""

SILENCE = 60.0
"""Seconds between two log lines about errors of the server."""

Command = tuple[Any, ...]

PING: Command = ("PING",)

LISTED = """
local kind, reset = redis.call('TYPE', KEYS[1]).ok, 0
if kind ~= 'list' and kind ~= 'none' then reset = redis.call('DEL', KEYS[1]) end
"""
TAIL = """
local items, kept, size, first = redis.call('LRANGE', KEYS[1], -ARGV[1], -1), {}, 0, 1
for at = #items, 1, -1 do
  size = size + #items[at]
  if size > tonumber(ARGV[2]) then first = at + 1 break end
end
for at = first, #items do kept[#kept + 1] = items[at] end
"""
READ = f"{LISTED} {TAIL} return {{reset, kept}}"
APPEND = f"""
{LISTED} redis.call('RPUSH', KEYS[1], unpack(ARGV, 4)) {TAIL}
redis.call('LTRIM', KEYS[1], -#kept, -1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {{reset, kept}}
"""
"""One indivisible step each: no click of another worker comes between. Both give the last clicks within the limits of
number and bytes, and whether the key was something else than a session, and is reset."""

log = logging.getLogger(__name__)
# Two decoders: one of the union of both mistakes the least length of texts, and crashed (msgspec 0.22.0).
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]
decode = msgspec.json.Decoder(IntegerId | Text).decode
decode_typed = msgspec.json.Decoder(tuple[IntegerId | Text, Text]).decode


class RedisStore:
    """Sessions as lists on a server; each step is one command, and commands of the same moment share a round trip.

    A server that fails is not asked again for half a second. Clicks are never sent twice: one whose answer was lost
    counts as not stored.
    """

    def __init__(self, url: str, ttl: float, clicks: int, timeout: float) -> None:
        needed("redis", "serve", "a store on a server")
        from redis import asyncio as redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        if url.startswith("valkey"):
            url = "redis" + url.removeprefix("valkey")
        try:
            number = url.partition("://")[2].partition("?")[0].partition("/")[2]
            int(number or 0)
            pool = redis.BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] - untyped options
                url,
                max_connections=CONNECTIONS,
                timeout=timeout,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise ConfigError(
                f"the store's URL cannot be read ({error}); expected e.g. redis://localhost:6379/0"
            ) from None
        self._redis: Any = redis.Redis(connection_pool=pool)
        self._ttl, self._clicks = int(ttl * 1000), clicks
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._resume_at = self._silent_until = 0.0
        self.state: Literal["up", "down"] = "up"

    async def append(self, session: str, items: Sequence[RawId], event: str | None = None) -> list[Event]:
        """Append clicks of an event type; returns all stored events of the session."""
        encoded = [msgspec.json.encode(one) for one in typed(items, event)]
        kept = await self._session(APPEND, session, self._ttl, *encoded)
        if kept is None:
            kept = await self._session(APPEND, session, self._ttl, *encoded)
        return kept or []

    async def events(self, session: str) -> list[Event]:
        """The events of a session, oldest first, none of an unknown one."""
        return await self._session(READ, session) or []

    async def _session(self, script: str, session: str, *arguments: Any) -> list[Event] | None:
        """The events that a script gives; None where they are no ids, and the session is reset."""
        reset, kept = await self._do("EVAL", script, 1, PREFIX + session, self._clicks, SESSION_BYTES, *arguments)
        if reset:
            log.warning("a session on the store was not a list, and was reset: another program writes to these keys")
        try:
            return [decode_typed(value) if value.startswith(b"[") else decode(value) for value in kept]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("a session on the store holds what is no id, and is reset: %s", error)
            await self.forget(session)
            return None

    async def forget(self, session: str) -> None:
        """Forget a session."""
        await self._do("DEL", PREFIX + session)

    async def check(self) -> None:
        """Ping the server and update ``state``."""
        with suppress(StoreDown):
            await self._do(*PING)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._redis.aclose(close_connection_pool=True)

    async def _do(self, *command: Any) -> Any:
        """The answer to one command; those of one turn of the event loop go to the server together."""
        if self.state == "down" and time.monotonic() < self._resume_at:
            raise StoreDown
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((command, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._send)
        return await answer

    def _send(self) -> None:
        taken, self._waiting = self._waiting, []
        for begin in range(0, len(taken), TOGETHER):
            task = asyncio.get_running_loop().create_task(self._exchange(taken[begin : begin + TOGETHER]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _exchange(self, taken: "Sequence[tuple[Command, asyncio.Future[Any]]]") -> None:
        from redis.exceptions import RedisError

        pipeline = self._redis.pipeline(transaction=False)
        for command, _ in taken:
            pipeline.execute_command(*command)
        found: list[Any] = []
        try:
            found = await pipeline.execute(raise_on_error=False)
            # An error that came back for one command says nothing of the others, unless nothing at all is served.
            failure = next(
                (one for (command, _), one in zip(taken, found, strict=True) if command == PING and one is not True),
                None,
            )
        except (RedisError, OSError, TimeoutError) as error:
            failure = error
            found = [StoreDown()] * len(taken)
        await self._note(failure)
        for (_, answer), one in zip(taken, found, strict=True):
            if answer.done():
                continue
            if isinstance(one, StoreDown):
                answer.set_exception(one)
            elif isinstance(one, Exception):
                said = str(one).partition(" script: ")[0]
                self._refused(said)
                answer.set_exception(StoreDown(f"the session store refuses it: {said}"))
            else:
                answer.set_result(one)

    def _refused(self, said: str) -> None:
        """Log an error of the server, rate-limited, since it may occur at every click."""
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + SILENCE
            log.warning("the session store returned an error (%s); serving without it", said)

    async def _note(self, failure: object) -> None:
        """Set whether the server works, and log changes."""
        if failure is None:
            if self.state == "down":
                self.state = "up"
                log.info("the session store answers again")
            return
        self._resume_at = time.monotonic() + PAUSE
        if self.state == "up":
            self.state = "down"
            said = " ".join(str(failure).split()) or type(failure).__name__
            log.warning("the session store does not answer (%s); serving without it", said)
            # Other connections may have died with this one; those in use find out by themselves.
            await self._redis.connection_pool.disconnect(inuse_connections=False)

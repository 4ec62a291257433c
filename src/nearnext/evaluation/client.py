"""Clicks sent to a service as its clients would send them, each when it is due, and what came back."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import numpy as np
import orjson

from nearnext.errors import ConfigError
from nearnext.extras import needed
from nearnext.options import Count, NonNegative, Positive, options
from nearnext.types import FloatArray, RawId

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession


@options
class Target:
    """A service.

    Attributes:
        url: where it answers, without ``/v1``.
        api_keys: keys of which it accepts one; none: it asks for none.
        timeout: seconds after which an answer is given up.

    >>> Target("localhost:8000")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: expected the URL of a service, e.g. http://localhost:8000, found 'localhost:8000'
    """

    url: str
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    timeout: Positive = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"expected the URL of a service, e.g. http://localhost:8000, found '{self.url}'")

    def at(self, *path: str) -> str:
        """The address of a resource, from its parts."""
        return "/".join([self.url.rstrip("/"), *(quote(part, safe="") for part in path)])


@options
class Load:
    """How fast clicks are sent.

    Attributes:
        rate: clicks per second, whatever the service manages; 0: each as soon as another was answered.
        concurrency: requests under way at a time, at most.
    """

    rate: NonNegative = 0.0
    concurrency: Count = 32


class Click(NamedTuple):
    """A click of a session at a time, in seconds since 1970 UTC."""

    session: str
    item: RawId
    time: float


@dataclass
class Answers:
    """What came back for n clicks.

    Attributes:
        bodies: each answer, parsed; None where there was an error.
        latencies: seconds from when each click was due until its whole answer was there, NaN after an error: [n].
            Without a rate a click is due when it is sent.
        waits: seconds of it before the request was sent, as the client was late, as many requests were under way as
            may be, or as the session's last click was not answered yet: [n].
        errors: how often each kind of error came.
        seconds: from the first click to the last answer.
        client_seconds: processor time that this client took.
    """

    bodies: list[Any]
    latencies: FloatArray
    waits: FloatArray
    errors: Counter[str]
    seconds: float = 0.0
    client_seconds: float = 0.0


def send_clicks(
    clicks: Sequence[Click],
    target: Target,
    load: Load,
    question: dict[str, Any],
    advance: Callable[[int], None] = lambda _clicks: None,
) -> Answers:
    """Every click as an event of its session, with recommendations in the same call; a session's clicks keep order."""
    needed("aiohttp", "replay", "a replay")
    return _run(_send_all(clicks, target, load, question, advance))


def _run(work: Any) -> Answers:
    try:
        import uvloop
    except ImportError:  # it only makes the client cheaper
        return asyncio.run(work)
    return uvloop.run(work)


async def _send_all(
    clicks: Sequence[Click],
    target: Target,
    load: Load,
    question: dict[str, Any],
    advance: Callable[[int], None],
) -> Answers:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=load.concurrency)
    patience = aiohttp.ClientTimeout(total=target.timeout)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as http:
        http.headers.update(await _greet(http, target))
        return await _Sender(http, target, load, question, advance).send(clicks)


async def _greet(http: "ClientSession", target: Target) -> dict[str, str]:
    """The headers that the service takes: with the first of the keys that it accepts."""
    import aiohttp

    status = 0
    for headers in [{"x-api-key": key} for key in target.api_keys] or [{}]:
        try:
            async with http.get(target.at("v1", "model"), headers=headers) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConfigError(
                f"no service answers at {target.url} ({_kind(error)}); start one with 'nearnext serve'"
            ) from error
        if status == 200:  # noqa: PLR2004
            return headers | {"content-type": "application/json"}
    if status in (401, 403):
        raise ConfigError(f"{target.url} refuses the API key; name the file that holds a right one")
    raise ConfigError(f"{target.url} answers /v1/model with status {status}; is it a nearnext service?")


class _Sender:
    """One pass over clicks, with what is shared by the requests under way."""

    def __init__(
        self,
        http: "ClientSession",
        target: Target,
        load: Load,
        question: dict[str, Any],
        advance: Callable[[int], None],
    ) -> None:
        self._http, self._target, self._load = http, target, load
        self._question, self._advance = question, advance
        self._last_of: dict[str, asyncio.Task[None]] = {}

    async def send(self, clicks: Sequence[Click]) -> Answers:
        n = len(clicks)
        self._answers = Answers([None] * n, np.full(n, np.nan), np.full(n, np.nan), Counter())
        slots = asyncio.Semaphore(self._load.concurrency)
        begin, used = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for at, click in enumerate(clicks):
                due = None
                if self._load.rate:
                    due = begin + at / self._load.rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await slots.acquire()
                task = group.create_task(self._send(at, click, due, self._last_of.get(click.session)))
                task.add_done_callback(lambda _task: slots.release())
                self._last_of[click.session] = task
        self._answers.seconds = time.perf_counter() - begin
        self._answers.client_seconds = time.process_time() - used
        return self._answers

    async def _send(self, at: int, click: Click, due: float | None, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        sent = time.perf_counter()
        due = sent if due is None else due
        try:
            body, done = await self._ask(click)
        except _RefusedError as error:
            self._answers.errors[str(error)] += 1
        else:
            self._answers.latencies[at] = done - due
            self._answers.waits[at] = sent - due
            self._answers.bodies[at] = body
        self._advance(1)

    async def _ask(self, click: Click) -> tuple[Any, float]:
        import aiohttp

        body = orjson.dumps({"items": [click.item], "time": click.time, **self._question})
        address = self._target.at("v1", "sessions", click.session, "events")
        try:
            async with self._http.post(address, data=body) as answer:
                return await _parsed(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _RefusedError(_kind(error)) from error


class _RefusedError(Exception):
    """A request without a useful answer, and why."""


async def _parsed(answer: "ClientResponse") -> tuple[Any, float]:
    """The answer, and when it was there."""
    body = await answer.read()
    done = time.perf_counter()
    if answer.status != 200:  # noqa: PLR2004
        raise _RefusedError(f"status {answer.status}")
    try:
        return orjson.loads(body), done
    except orjson.JSONDecodeError:
        raise _RefusedError("an answer that is not JSON") from None


def _kind(error: BaseException) -> str:
    return "timeout" if isinstance(error, TimeoutError) else type(error).__name__

"""Clicks sent to a service as its clients would send them, each when it is due, and what came back."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import numpy as np
import orjson

from nearnext.errors import ConfigError
from nearnext.extras import needed
from nearnext.options import Count, NonNegative, Positive, options
from nearnext.types import FloatArray, RawId

if TYPE_CHECKING:
    from aiohttp import ClientSession


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
    """What came back for n clicks: parsed answers, None after an error, and how often each kind of error came.

    ``latencies`` are seconds from when each click was due (without a rate: sent) until its whole answer was there, NaN
    after an error: [n]; ``waits`` those of them before the request was sent, as the client was late, as many requests
    were under way as may be, or the session's last click was not answered yet: [n].
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
    try:
        from uvloop import run
    except ImportError:  # it only makes the client cheaper
        from asyncio import run
    return run(_send_all(clicks, target, load, question, advance))


async def _send_all(
    clicks: Sequence[Click], target: Target, load: Load, question: dict[str, Any], advance: Callable[[int], None]
) -> Answers:
    import aiohttp

    answers = Answers([None] * len(clicks), np.full(len(clicks), np.nan), np.full(len(clicks), np.nan), Counter())
    last_of: dict[str, asyncio.Task[None]] = {}
    slots = asyncio.Semaphore(load.concurrency)
    connector, patience = aiohttp.TCPConnector(limit=load.concurrency), aiohttp.ClientTimeout(total=target.timeout)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as http:
        http.headers.update(await _greet(http, target))

        async def send(at: int, click: Click, due: float | None, before: asyncio.Task[None] | None) -> None:
            if before is not None:
                await before
            sent = time.perf_counter()
            body = orjson.dumps({"items": [click.item], "time": click.time, **question})
            try:
                answer = await _posted(http, target.at("v1", "sessions", click.session, "events"), body)
            except (_RefusedError, aiohttp.ClientError, TimeoutError, OSError) as error:
                answers.errors[_kind(error)] += 1
            else:
                answers.bodies[at], done = answer
                answers.latencies[at] = done - (due or sent)
                answers.waits[at] = sent - (due or sent)
            slots.release()
            advance(1)

        begin, used = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for at, click in enumerate(clicks):
                due = begin + at / load.rate if load.rate else None
                if due:
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await slots.acquire()
                last_of[click.session] = group.create_task(send(at, click, due, last_of.get(click.session)))
        answers.seconds = time.perf_counter() - begin
        answers.client_seconds = time.process_time() - used
    return answers


def require_service(target: Target) -> None:
    """A check that a service answers, and takes the key, before what takes long."""
    needed("aiohttp", "replay", "a replay")
    import aiohttp

    async def greet() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=target.timeout)) as http:
            await _greet(http, target)

    asyncio.run(greet())


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
        if status == HTTPStatus.OK:
            return headers | {"content-type": "application/json"}
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise ConfigError(f"{target.url} refuses the API key; name the file that holds a right one")
    raise ConfigError(f"{target.url} answers /v1/model with status {status}; is it a nearnext service?")


class _RefusedError(Exception):
    """A request without a useful answer, and why."""


async def _posted(http: "ClientSession", address: str, body: bytes) -> tuple[Any, float]:
    """The answer, and when it was there."""
    async with http.post(address, data=body) as answer:
        text = await answer.read()
        done = time.perf_counter()
        if answer.status != HTTPStatus.OK:
            raise _RefusedError(f"status {answer.status}")
    try:
        return orjson.loads(text), done
    except orjson.JSONDecodeError:
        raise _RefusedError("an answer that is not JSON") from None


def _kind(error: BaseException) -> str:
    if isinstance(error, _RefusedError):
        return str(error)
    return "timeout" if isinstance(error, TimeoutError) else type(error).__name__

"""Work that goes on while requests are answered."""

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar, cast

T = TypeVar("T")

log = logging.getLogger(__name__)


async def in_daemon(work: Callable[[], T]) -> T:
    """The result of work in a thread that the end of the process does not wait for.

    >>> asyncio.run(in_daemon(lambda: 2 + 3))
    5
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", result))

    def run() -> None:
        result, failure = cast("T | None", None), cast("Exception | None", None)
        try:
            result = work()
        except Exception as error:
            failure = error
        except BaseException as error:
            failure = RuntimeError(f"a thread ended with {error!r}")
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True, name="nearnext background").start()
    return await done


def settle_memory() -> None:
    """Take what lives long, as a model, out of the garbage collector's rounds: with it, one takes tenths of a second.

    >>> settle_memory()
    >>> gc.get_freeze_count() > 0
    True
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class Background:
    """Tasks that are repeated; none ends on an exception.

    >>> async def twice() -> tuple[int, bool]:
    ...     runs = []
    ...     background = Background()
    ...     async def fails() -> None:
    ...         runs.append(1)
    ...         raise ValueError("odd")
    ...     background.every(0.0, fails)
    ...     while len(runs) < 2:
    ...         await asyncio.sleep(0)
    ...     works = background.works
    ...     await background.stop()
    ...     return len(runs), works, background.works
    >>> asyncio.run(twice())
    (2, True, False)
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def works(self) -> bool:
        """Whether all of them go on."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Repeat something, with a pause after each time."""

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await work()
                except Exception:
                    log.exception("something that runs while requests are answered failed, and goes on")

        self._tasks.append(asyncio.get_running_loop().create_task(repeat()))

    async def stop(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

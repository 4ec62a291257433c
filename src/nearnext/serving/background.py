"""Work that goes on while requests are answered."""

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


async def in_daemon(work: Callable[[], T]) -> T:
    """The result of work in a thread that the end of the process does not wait for."""
    done = Future[T]()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)
        except BaseException as error:
            done.set_exception(RuntimeError(f"a thread ended with {error!r}"))

    threading.Thread(target=run, daemon=True, name="nearnext background").start()
    return await asyncio.wrap_future(done)


def settle_memory() -> None:
    """Exclude long-lived objects from garbage collection: with a model, one pass takes tenths of a second."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class Background:
    """Tasks that are repeated; none ends on an exception."""

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

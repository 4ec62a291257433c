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


def settle_memory(*, again: bool = False) -> None:
    """Exclude long-lived objects from garbage collection: with a model, one pass takes tenths of a second.

    ``again`` looks once more at what was excluded, to free a model that was replaced; it writes to pages that workers
    share.
    """
    if again:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


async def repeat(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Repeat forever, with a pause before each run; exceptions are logged."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:
            log.exception("a background task failed and will be repeated")

"""The state of one worker process: model, sessions, catalogue and event log, and the work that keeps it up to date."""

import asyncio
import gc
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

from nearnext.errors import ConfigError
from nearnext.serving.catalogue import Catalogue
from nearnext.serving.event_log import EventLogWriter
from nearnext.serving.loading import ModelWatcher
from nearnext.serving.logs import log_request
from nearnext.serving.metrics import Metrics
from nearnext.serving.problems import Access, read_keys
from nearnext.serving.served import ServedModel
from nearnext.serving.settings import ServiceSettings
from nearnext.serving.stores import MemoryStore, make_store
from nearnext.types import RawId

T = TypeVar("T")

WATCH = 0.5
"""Seconds between two looks at the artifact."""

SYNC = 1.0
"""Seconds between two times that the event log is brought to the disk."""

CHECK = 1.0
"""Seconds between two checks of the session store, also when no request needs it."""

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


class Service:
    """What all requests of a worker share; it lives from `start` to `stop`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.access = _access(settings)
        self.store = make_store(settings)
        self.rules = settings.rules
        self.watcher = ModelWatcher(settings.artifact, settings.kept_model, onnx=settings.onnx, rules=self.rules)
        self.watcher.require()
        self.metrics = Metrics()
        lost = self.metrics.events_lost.inc
        self.event_log = EventLogWriter(settings.event_log, lost) if settings.event_log else None
        self.catalogue = Catalogue(settings.catalogue_file)
        self.stopping = False
        try:
            self.model = ServedModel(self.watcher.first(), self.catalogue)
        except BaseException:
            self.catalogue.close()
            raise
        self.metrics.serves(self.model.version, self.model.recommender.name, None)
        self._note_refusal()
        self._tasks: list[asyncio.Task[None]] = []
        self._changed: list[RawId] | None = None  # while another model is prepared
        self._asked = False  # whether the catalogue was checked in this turn of the event loop

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: a model answers, and what replaces it will be taken over."""
        return self._watches and not self.stopping

    @property
    def _watches(self) -> bool:
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def start(self) -> None:
        """Begin to watch the artifact and the rest; SIGHUP calls `reopen`."""
        await self.store.check()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reopen)
        work = ((WATCH, self.follow_artifact), (SYNC, self._sync), (CHECK, self.store.check))
        self._tasks = [asyncio.create_task(repeat(seconds, one)) for seconds, one in work]

    def note(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Count and log a request that was answered."""
        self.metrics.answered(route, method, status, seconds)
        if self.settings.access_log:
            log_request(request_id, method, route, status, seconds)

    async def stop(self) -> None:
        """Stop background tasks, and close all files and connections."""
        self.stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.event_log:
            self.event_log.close()
        self.catalogue.close()
        await self.store.close()

    def reopen(self) -> None:
        """Read the keys again, and begin new files of the event log; what cannot be used changes nothing."""
        if self.event_log:
            self.event_log.close()
        try:
            self.access = _access(self.settings)
        except ConfigError as error:
            log.error("the keys stay as they are: %s", error)

    def current(self) -> ServedModel:
        """The model for a new request, in step with the catalogue of all workers.

        The file is checked once per turn of the event loop. That is enough: a request that a client sends after a
        change was confirmed is read in a later turn than the one that wrote the change.
        """
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._ask_again)
            changed = self.catalogue.refresh()
            if changed:
                self.model.available.update(changed)
                if self._changed is not None:
                    self._changed += changed
        return self.model

    def _ask_again(self) -> None:
        self._asked = False

    async def follow_artifact(self) -> None:
        """Replace the model if there is another one now; one that cannot be used is refused, and the old one stays."""
        if not await in_daemon(lambda: self.watcher.changed):
            return
        loaded = await in_daemon(self.watcher.look)
        if loaded is None:
            self._note_refusal()
        elif loaded.version != self.model.version:
            self._changed = []
            try:
                model = await in_daemon(lambda: ServedModel(loaded, self.catalogue))
                model.available.update(self._changed)
            finally:
                self._changed = None
            before, self.model = self.model, model
            settle_memory(again=True)
            self.metrics.swaps.inc()
            self.metrics.serves(model.version, model.recommender.name, (before.version, before.recommender.name))
            log.info("model %s replaces %s", model.version, before.version)

    def _note_refusal(self) -> None:
        if reason := self.watcher.refused:
            log.warning("the artifact is refused, model %s answers: %s", self.model.version, reason)
            self.metrics.refused.inc()

    async def _sync(self) -> None:
        if self.event_log:
            await in_daemon(self.event_log.unsynced())

    def measure(self) -> bytes:
        """The metrics for Prometheus, those of now included."""
        self.metrics.watcher_up.set(self._watches)
        self.metrics.store_up.set(self.store.state != "down")
        if isinstance(self.store, MemoryStore):
            self.metrics.sessions.set(len(self.store))
            self.metrics.session_bytes.set(self.store.size)
        available = self.current().available
        self.metrics.new_items.set(len(available.new))
        self.metrics.hidden_items.set(len(available.hidden))
        return self.metrics.exposition()


def _access(settings: ServiceSettings) -> Access:
    keys = read_keys(settings.api_key_file) if settings.api_key_file else []
    return Access(keys, settings.origins, settings.hosts)

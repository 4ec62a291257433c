"""The state of one worker process: model, sessions, catalogue and event log, and what keeps them up to date."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any

from nearnext.errors import DataError, NearnextError
from nearnext.serving.access import Access, read_keys
from nearnext.serving.batches import Batches
from nearnext.serving.catalogue import Catalogue
from nearnext.serving.event_log import EventLogWriter
from nearnext.serving.logs import FLUSH, AccessLog
from nearnext.serving.measures import Measures
from nearnext.serving.model import LoadedModel, ServedModel, artifact_signature, load_model
from nearnext.serving.settings import ServiceSettings
from nearnext.serving.stores import MemoryStore, make_store

__all__ = ["Service", "check", "orphaned"]

WATCH = 0.5
"""Seconds between two looks at the artifact."""

SYNC = 1.0
"""Seconds between two times that the event log is brought to the disk."""

log = logging.getLogger(__name__)


class Service:
    """What all requests of a worker share; it lives from `start` to `stop`.

    Args:
        settings: what the service was told.
        loaded: the model, where it has been read already.

    Attributes:
        model: the model that new requests are answered by.
        refused: why the artifact that lies there now is not served, or None.
        stopping: whether a shutdown has begun.

    Raises:
        NearnextError: the model, the catalogue, the store's URL, the event log or the keys cannot be used.
    """

    def __init__(self, settings: ServiceSettings, loaded: LoadedModel | None = None) -> None:
        self.settings = settings
        self.access = Access(read_keys(settings.api_key_file) if settings.api_key_file else [], settings.origins)
        self.store = make_store(settings)
        self._signature = artifact_signature(settings.artifact)
        loaded = loaded or load_model(settings.artifact, onnx=settings.onnx)
        self.catalogue = Catalogue(settings.catalogue_file)
        self.event_log = EventLogWriter(settings.event_log) if settings.event_log else None
        self.measures = Measures()
        self.access_log = AccessLog()
        self.batches = Batches()
        self.refused: str | None = None
        self.stopping = False
        self.model = ServedModel(loaded, self.catalogue)
        self.measures.serves(self.model.version, self.model.recommender.name, None)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to watch the artifact and the rest."""
        self._every(WATCH, self.follow_artifact)
        self._every(SYNC, self._sync)
        self._every(FLUSH, self._flush)

    async def stop(self) -> None:
        """Write what is left and close everything."""
        self.stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.event_log:
            self.event_log.close()
        self.catalogue.close()
        await self.store.close()
        self.access_log.flush()

    def current(self) -> ServedModel:
        """The model that answers a request which begins now, up to date with the catalogue of all workers."""
        changed = self.catalogue.refresh()
        if changed:
            self.model.assortment.update(changed)
        return self.model

    async def follow_artifact(self) -> None:
        """Replace the model if another lies there now; one that cannot be used is refused, and the old one stays."""
        signature = artifact_signature(self.settings.artifact)
        if signature == self._signature:
            return
        try:
            loaded = await asyncio.to_thread(load_model, self.settings.artifact, onnx=self.settings.onnx)
        except (NearnextError, MemoryError) as error:
            self._signature = signature
            self._refuse(str(error) or "not enough memory")
            return
        self._signature = signature
        self.refused = None
        if loaded.version == self.model.version:
            return
        before = (self.model.version, self.model.recommender.name)
        self.current()
        self.model = ServedModel(loaded, self.catalogue)
        self.measures.swaps.inc()
        self.measures.serves(self.model.version, self.model.recommender.name, before)
        log.info("model %s replaces %s", self.model.version, before[0])

    def _refuse(self, reason: str) -> None:
        log.warning("the artifact is refused, model %s stays: %s", self.model.version, reason)
        self.measures.refused.inc()
        self.refused = reason

    async def _sync(self) -> None:
        if self.event_log:
            await asyncio.to_thread(self.event_log.sync)

    async def _flush(self) -> None:
        self.access_log.flush()

    def measure(self) -> bytes:
        """The figures for Prometheus, those of now included."""
        self.measures.store_up.set(self.store.state != "down")
        if isinstance(self.store, MemoryStore):
            self.measures.sessions.set(len(self.store))
            self.measures.session_bytes.set(self.store.size)
        assortment = self.current().assortment
        self.measures.new_items.set(len(assortment))
        self.measures.hidden_items.set(len(assortment.hidden))
        return self.measures.exposition()

    def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await work()
                except (OSError, DataError):
                    log.exception("something that runs beside the requests failed, and goes on")

        self._tasks.append(asyncio.get_running_loop().create_task(repeat()))


def check(settings: ServiceSettings) -> None:
    """A check that a worker could use everything that the settings name; the model is not read.

    Raises:
        NearnextError: something of it cannot be used.

    >>> from pathlib import Path
    >>> check(ServiceSettings(Path("model"), api_key_file=Path("no-such-file")))
    Traceback (most recent call last):
    nearnext.errors.ConfigError: cannot read the API keys in no-such-file: ...
    """
    if settings.api_key_file:
        read_keys(settings.api_key_file)
    make_store(settings)
    if settings.event_log:
        EventLogWriter(settings.event_log).close()
    Catalogue(settings.catalogue_file).close()


def orphaned(parent: int) -> bool:
    """Whether the process that started this one is gone.

    >>> orphaned(os.getppid())
    False
    """
    return os.getppid() != parent

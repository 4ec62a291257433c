"""Session stores: in the process, or on a Redis or Valkey server.

Both keep the clicks of running sessions; each session expires some time after its last click.
"""

from nearnext.serving.settings import MEMORY, ServiceSettings
from nearnext.serving.stores.memory import Counting, Event, MemoryStore, StoreDown, typed
from nearnext.serving.stores.redis import RedisStore

__all__ = ["Counting", "Event", "MemoryStore", "RedisStore", "SessionStore", "StoreDown", "make_store", "typed"]

SessionStore = MemoryStore | RedisStore


def make_store(settings: ServiceSettings) -> SessionStore:
    """The store that the settings name; nothing is connected yet."""
    if settings.store == MEMORY:
        return MemoryStore(settings.session_ttl, settings.session_clicks, settings.store_mib << 20)
    return RedisStore(settings.store, settings.session_ttl, settings.session_clicks, settings.store_timeout)
